"""One change of the spectrum that fools a model on many shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction, as_normal_tensor, frozen_eval
from zoo.attacks.goals import Goal
from zoo.attacks.meshes import check_faces, smooth_bases
from zoo.errors import InputError
from zoo.functional.meshes import face_areas
from zoo.functional.norm_balls import broadcast_per_sample
from zoo.functional.spectral import mesh_eigenvalues


@dataclass(frozen=True, kw_only=True)
class Spectral(Attack):
    """What learning a spectrum and following it share.

    Args:
        faces: of all shapes, (F, 3).
        eigenvalues: k, eigenvalues above 0 that are looked at, default 24.
        band: b, eigenfunctions that a displacement is made of, default 24.
        steps: of Adam, default 150.
        lr: of the coefficients α, default 0.002, in units in which a displacement along one
            eigenfunction has a root mean square of √area: the size of a shape does not matter.
    """

    faces: Tensor | None = None
    eigenvalues: int = 24
    band: int = 24
    steps: int = 150
    lr: float = 0.002

    def with_faces(self, faces: Tensor) -> Attack:
        return replace(self, faces=faces)

    def spectra(self, x: Tensor) -> Tensor:
        """λ_1 … λ_k of each shape, with their gradients, (B, V, 3) → (B, k)."""
        faces = check_faces(self, x)
        return torch.stack(
            [mesh_eigenvalues(shape, faces, self.eigenvalues + 1)[1:] for shape in x]
        )

    def basis(self, x: Tensor) -> Tensor:
        """Displacements by coefficients in these units, (B, V, b)."""
        faces = check_faces(self, x)
        area = torch.stack([face_areas(shape, faces).sum() for shape in x])
        return smooth_bases(x, faces, self.band) * broadcast_per_sample(area, x)


@dataclass(frozen=True, kw_only=True)
class UniversalSpectrum(Spectral):
    """One relative shift ε of the spectrum, shared by all shapes, that fools a model on each.

    min over α_i and ε of c Σ_i [κ + max(z_y − max_{j≠y} z_j, −κ)]
    + w Σ_i mean_j ((λ_j(V_i + Φ_i α_i) − λ_ij (1 + ε_j)) / λ_ij)²

    Φ_i are the b lowest non-constant eigenfunctions of shape i, λ_ij its eigenvalues. ``fit`` gives
    an attack that holds ε and bends any shape, an unseen one too, until its spectrum has shifted
    so: it asks the model for nothing.

    Args:
        weight: w, default 1,000.
        c: default 1.
        confidence: κ, default 1.
        shift_lr: of ε, default 0.02. It must be quick beside ``lr``, or shapes fool the model by
            displacements that their spectra say nothing of, and ε stays small.
        **spectral: see :class:`Spectral`.

    Raises:
        InputError: no faces; no shape to learn from.

    Source: Rampini et al., Universal spectral adversarial attacks for deformable shapes, 2021,
    section 4.
    """

    weight: float = 1_000.0
    c: float = 1.0
    confidence: float = 1.0
    shift_lr: float = 0.02

    def fit(self, model: Any, x: Tensor, y: Tensor) -> ShiftedSpectrum:
        """Learns ε on shapes (B, V, 3) of classes (B,)."""
        if not len(x):
            raise InputError("UniversalSpectrum: there is no shape to learn from")
        with frozen_eval(model):
            x, goal = as_normal_tensor(x), Goal(as_normal_tensor(y))
            scores = ScoreFunction(model, y)
            basis = self.basis(x)
            with torch.no_grad():
                before = self.spectra(x)
            alpha = x.new_zeros(len(x), self.band, 3).requires_grad_()
            shift = x.new_zeros(self.eigenvalues).requires_grad_()
            rates: list[dict[str, Any]] = [
                {"params": [alpha]},
                {"params": [shift], "lr": self.shift_lr},
            ]
            optimizer = torch.optim.Adam(rates, self.lr)
            for _ in range(self.steps):
                bent = x + basis @ alpha
                margin = goal.loss(scores(bent), "margin")
                fooled = (self.confidence + (-margin).clamp(min=-self.confidence)).sum()
                apart = self.spectra(bent) / before - 1 - shift
                loss = self.c * fooled + self.weight * apart.square().mean(1).sum()
                alpha.grad, shift.grad = torch.autograd.grad(loss, [alpha, shift])
                optimizer.step()
            found = (x + basis @ alpha).detach()
        return ShiftedSpectrum(
            shift=shift.detach(), learned=found, faces=self.faces, eigenvalues=self.eigenvalues,
            band=self.band, steps=self.steps, lr=self.lr,
        )  # fmt: skip

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        raise InputError(
            "UniversalSpectrum is learned on many shapes first: "
            "attack = UniversalSpectrum(...).fit(model, x, y)"
        )


@dataclass(frozen=True, kw_only=True)
class ShiftedSpectrum(Spectral):
    """Bends a shape until its spectrum has shifted: min over α of the second term above.

    Args:
        shift: ε, (k,).
        learned: the shapes that it was learned on, fooling the model, (B, V, 3).
        **spectral: see :class:`Spectral`.
    """

    shift: Tensor
    learned: Tensor

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        if not len(x):
            return x
        basis = self.basis(x)
        with torch.no_grad():
            before = self.spectra(x)
        alpha = x.new_zeros(len(x), self.band, 3).requires_grad_()
        optimizer = torch.optim.Adam([alpha], self.lr)
        for _ in range(self.steps):
            apart = self.spectra(x + basis @ alpha) / before - 1 - self.shift.to(x)
            alpha.grad = torch.autograd.grad(apart.square().mean(1).sum(), alpha)[0]
            optimizer.step()
        return x + basis @ alpha.detach()

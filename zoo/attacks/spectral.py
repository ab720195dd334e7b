"""Universal spectral attack: one relative shift of the Laplacian spectrum fools many shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction, as_normal_tensor, frozen_eval
from zoo.attacks.goals import Goal
from zoo.attacks.meshes import check_faces, smooth_bases
from zoo.errors import InputError, check_at_least, check_non_negative
from zoo.functional.meshes import face_areas
from zoo.functional.norm_balls import broadcast_per_sample
from zoo.functional.spectral import mesh_eigenvalues


@dataclass(frozen=True, kw_only=True)
class SpectralAttack(Attack):
    """Base class of attacks that displace a shape to change its spectrum.

    Args:
        faces: faces of all shapes, (F, 3).
        num_eigenvalues: number of positive eigenvalues in the spectrum, k, default 24.
        num_eigenfunctions: number of eigenfunctions that span the displacements, b, default 24.
        steps: number of Adam steps, default 150.
        lr: learning rate of the coefficients α, default 0.002. Their unit is a displacement along
            one eigenfunction with a root mean square of √area, so the scale of a shape does not
            matter.
    """

    faces: Tensor | None = None
    num_eigenvalues: int = 24
    num_eigenfunctions: int = 24
    steps: int = 150
    lr: float = 0.002

    def __post_init__(self) -> None:
        check_at_least(
            1, num_eigenvalues=self.num_eigenvalues, num_eigenfunctions=self.num_eigenfunctions
        )
        check_at_least(0, steps=self.steps)
        check_non_negative(lr=self.lr)

    def with_faces(self, faces: Tensor) -> Attack:
        return replace(self, faces=faces)

    def spectra(self, x: Tensor) -> Tensor:
        """Compute λ_1 … λ_k of each shape, differentiable, (B, V, 3) → (B, k)."""
        faces = check_faces(self, x)
        return torch.stack(
            [mesh_eigenvalues(shape, faces, self.num_eigenvalues + 1)[1:] for shape in x]
        )

    def basis(self, x: Tensor) -> Tensor:
        """Compute the displacements of unit coefficients, (B, V, 3) → (B, V, b)."""
        faces = check_faces(self, x)
        area = torch.stack([face_areas(shape, faces).sum() for shape in x])
        return smooth_bases(x, faces, self.num_eigenfunctions) * broadcast_per_sample(area, x)


@dataclass(frozen=True, kw_only=True)
class UniversalSpectralAttack(SpectralAttack):
    """Learn one relative shift ε of the spectrum, shared by all shapes, that fools a model on each.

    min over α_i and ε of c Σ_i [κ + max(z_y − max_{j≠y} z_j, −κ)]
    + w Σ_i mean_j ((λ_j(V_i + Φ_i α_i) − λ_ij (1 + ε_j)) / λ_ij)²

    Φ_i are the b lowest non-constant eigenfunctions of shape i, and λ_ij its eigenvalues.
    :meth:`fit` returns an attack with a fixed ε that displaces any shape, including unseen ones,
    until its spectrum has this shift; it does not query the model.

    Args:
        spectrum_weight: w, default 1,000.
        c: weight of the margin term, default 1.
        confidence: κ, default 1.
        shift_lr: learning rate of ε, default 0.02. It must be large compared with ``lr``;
            otherwise shapes fool the model by displacements that hardly change their spectra, and
            ε stays small.
        **spectral: see :class:`SpectralAttack`.

    Raises:
        InputError: no faces; no shapes to learn from.

    Source: Rampini et al., Universal spectral adversarial attacks for deformable shapes, 2021,
    section 4.
    """

    spectrum_weight: float = 1_000.0
    c: float = 1.0
    confidence: float = 1.0
    shift_lr: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        check_non_negative(
            spectrum_weight=self.spectrum_weight, c=self.c, confidence=self.confidence,
            shift_lr=self.shift_lr,
        )  # fmt: skip

    def fit(self, model: Any, x: Tensor, y: Tensor) -> SpectralShiftAttack:
        """Learn ε.

        Args:
            model: see :class:`~zoo.attacks.base.Attack`.
            x: vertices of the training shapes, (B, V, 3).
            y: true class indices, int64 (B,).
        """
        if not len(x):
            raise InputError("UniversalSpectralAttack needs at least one shape to learn from")
        with frozen_eval(model):
            x, goal = as_normal_tensor(x), Goal(as_normal_tensor(y))
            scores = ScoreFunction(model, y)
            basis = self.basis(x)
            with torch.no_grad():
                clean_spectra = self.spectra(x)
            alpha = x.new_zeros(len(x), self.num_eigenfunctions, 3).requires_grad_()
            shift = x.new_zeros(self.num_eigenvalues).requires_grad_()
            groups: list[dict[str, Any]] = [
                {"params": [alpha]},
                {"params": [shift], "lr": self.shift_lr},
            ]
            optimizer = torch.optim.Adam(groups, self.lr)
            for _ in range(self.steps):
                displaced = x + basis @ alpha
                margin = goal.loss(scores(displaced), "margin")
                adversarial_loss = (self.confidence + (-margin).clamp(min=-self.confidence)).sum()
                error = self.spectra(displaced) / clean_spectra - 1 - shift
                spectrum_loss = error.square().mean(1).sum()
                loss = self.c * adversarial_loss + self.spectrum_weight * spectrum_loss
                alpha.grad, shift.grad = torch.autograd.grad(loss, [alpha, shift])
                optimizer.step()
            displaced = (x + basis @ alpha).detach()
        return SpectralShiftAttack(
            shift=shift.detach(), training_shapes=displaced, faces=self.faces,
            num_eigenvalues=self.num_eigenvalues, num_eigenfunctions=self.num_eigenfunctions,
            steps=self.steps, lr=self.lr,
        )  # fmt: skip

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        raise InputError(
            "UniversalSpectralAttack must be fitted first: "
            "attack = UniversalSpectralAttack(...).fit(model, x, y)"
        )


@dataclass(frozen=True, kw_only=True)
class SpectralShiftAttack(SpectralAttack):
    """Displace a shape until its spectrum has a given relative shift ε.

    min over α of mean_j ((λ_j(V + Φ α) − λ_j (1 + ε_j)) / λ_j)²; see
    :class:`UniversalSpectralAttack`, which learns ε.

    Args:
        shift: ε, (k,).
        training_shapes: adversarial versions of the shapes that ε was learned on, (B, V, 3).
        **spectral: see :class:`SpectralAttack`.
    """

    shift: Tensor
    training_shapes: Tensor

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        if not len(x):
            return x
        basis = self.basis(x)
        with torch.no_grad():
            clean_spectra = self.spectra(x)
        alpha = x.new_zeros(len(x), self.num_eigenfunctions, 3).requires_grad_()
        optimizer = torch.optim.Adam([alpha], self.lr)
        for _ in range(self.steps):
            error = self.spectra(x + basis @ alpha) / clean_spectra - 1 - self.shift.to(x)
            alpha.grad = torch.autograd.grad(error.square().mean(1).sum(), alpha)[0]
            optimizer.step()
        return x + basis @ alpha.detach()

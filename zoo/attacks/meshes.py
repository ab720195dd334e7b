"""Attacks on the vertices of meshes.

On vertices (B, V, 3), ``PGD(eps=…, norm="point", bounds=None)`` bounds the displacement of each
vertex. This module adds smooth displacements, and a wrapper that applies vertex attacks to PyG
batches of meshes with any connectivity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction, as_normal_tensor, frozen_eval
from zoo.attacks.goals import Goal
from zoo.attacks.gradient import PGD, FeasibleSet
from zoo.attacks.wrappers import AttackWrapper
from zoo.errors import InputError, check_at_least
from zoo.functional.norm_balls import (
    MIN_NORM,
    broadcast_per_sample,
    delta_norm,
    per_sample,
)
from zoo.functional.rng import SampleRNG
from zoo.functional.spectral import (
    cotangent_laplacian,
    laplacian_eigenbasis,
    spectral_operators,
    vertex_masses,
)


def smooth_bases(vertices: Tensor, faces: Tensor, count: int) -> Tensor:
    """Compute the lowest non-constant Laplacian eigenfunctions of shapes with the same faces.

    Shapes: (B, V, 3), (F, 3) → (B, V, count), with φᵀ M φ = I.
    """
    bases = []
    for shape in vertices.detach().double().cpu():
        mass = vertex_masses(shape, faces.cpu())
        bases.append(
            laplacian_eigenbasis(cotangent_laplacian(shape, faces.cpu()), mass, count + 1)[1][:, 1:]
        )
    if not bases:
        return vertices.new_empty(0, vertices.shape[1], count)
    return torch.stack(bases).to(vertices)


def check_faces(attack: Any, x: Tensor) -> Tensor:
    """Return the faces of an attack, after checking that they fit the vertices x.

    Raises:
        InputError: the attack has no faces; x are not vertices (B, V, 3) with these faces; a
            coordinate is not finite.
    """
    if attack.faces is None:
        raise InputError(f"{attack.name} needs the faces of the shapes: set faces, (F, 3)")
    if x.ndim != 3 or x.shape[2] != 3 or int(attack.faces.max()) >= x.shape[1]:
        raise InputError(
            f"{attack.name} needs vertices (B, V, 3) for faces up to vertex "
            f"{int(attack.faces.max())}, got {tuple(x.shape)}"
        )
    is_invalid = (~x.isfinite()).flatten(1).any(1)
    if bool(is_invalid.any()):
        shape = int(is_invalid.nonzero()[0])
        raise InputError(f"{attack.name}: shape {shape} has a coordinate that is not finite")
    return attack.faces


@dataclass(frozen=True)
class SmoothFeasibleSet(FeasibleSet):
    """Displacements Φα that move no vertex further than ε.

    Args:
        x: vertices, (B, V, 3).
        attack: see :class:`~zoo.attacks.gradient.FeasibleSet`.
        model: see :class:`~zoo.attacks.gradient.FeasibleSet`.
        basis: Φ, (B, V, b).
    """

    basis: Tensor

    def ascent_direction(self, gradient: Tensor) -> Tensor:
        return self.normalize(self.basis @ (self.basis.mT @ gradient))

    def project(self, point: Tensor) -> Tensor:
        delta = point - self.x
        norms = broadcast_per_sample(delta_norm(delta, "point").clamp(min=MIN_NORM), delta)
        return self.x + (per_sample(self.attack.eps, delta) / norms).clamp(max=1) * delta

    @staticmethod
    def normalize(delta: Tensor) -> Tensor:
        """Scale displacements to a largest vertex displacement of 1."""
        return delta / broadcast_per_sample(delta_norm(delta, "point").clamp(min=MIN_NORM), delta)


@dataclass(frozen=True, kw_only=True)
class SmoothPGD(PGD):
    """PGD over smooth displacements, x′ = x + Φα, that move no vertex further than ε.

    The columns of Φ are the b lowest non-constant eigenfunctions of the surface Laplacian: the
    shape bends and swells, whereas PGD on vertices would make it rough. Steps follow Φ Φᵀ ∂L/∂x.

    Args:
        eps: largest displacement of a vertex, ε, in the units of x.
        num_eigenfunctions: b, default 32.
        faces: faces of all shapes, (F, 3); :class:`MeshAttack` sets those of each mesh.
        **pgd: see :class:`~zoo.attacks.gradient.PGD`; ``norm`` is ``point`` and ``bounds`` is None.

    Raises:
        InputError: no faces; negative ``eps``; another norm, or bounds.
        ValueError: shapes with fewer than b + 3 vertices.
    """

    num_eigenfunctions: int = 32
    faces: Tensor | None = None
    norm: str = "point"
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, num_eigenfunctions=self.num_eigenfunctions)
        if self.norm != "point" or self.bounds is not None:
            raise InputError(
                "SmoothPGD bounds the displacement of each vertex: leave norm and bounds out"
            )

    def with_faces(self, faces: Tensor) -> Attack:
        return replace(self, faces=faces)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        basis = smooth_bases(x, check_faces(self, x), self.num_eigenfunctions)
        feasible = SmoothFeasibleSet(x, self, model, basis)
        start = x
        if self.random_start and self.steps:
            rng = SampleRNG(x, self.seed)
            coefficients = rng.normal(self.num_eigenfunctions, 3, dtype=x.dtype)
            direction = feasible.normalize(basis @ coefficients)
            fraction = broadcast_per_sample(rng.uniform(dtype=x.dtype), x)
            start = x + per_sample(self.eps, x) * fraction * direction
        return feasible.to_samples(self.ascend(model, feasible, start, goal))


class MeshAttack(AttackWrapper):
    """Apply an attack on vertices (B, V, 3) to each mesh of a PyG batch independently.

    Gradients flow through the vertices while the operators of a mesh, such as its Laplacian, are
    held fixed. The operators of an adversarial mesh are then recomputed from its vertices, so the
    model is evaluated on a consistent mesh.

    Args:
        attack: any attack on tensors, without bounds; an attack that uses faces receives those of
            each mesh.

    Raises:
        InputError: a model that does not use the coordinates of vertices; meshes without faces or
            labels.
    """

    def __call__(self, model: Any, x: Any, y: Tensor | None = None) -> Any:
        """Return a batch of adversarial meshes.

        Args:
            model: a model with a ``logits`` method, or any function that maps PyG batches of B
                meshes to scores, (B, K).
            x: PyG batch of meshes with ``pos`` and ``face``.
            y: true class indices of the meshes, int64 (B,), default ``x.y``.
        """
        from torch_geometric.data import Batch

        if isinstance(x, Tensor):
            raise InputError(
                f"MeshAttack takes PyG batches, got a tensor: call the wrapped {self.name} directly"
            )
        labels = getattr(x, "y", None) if y is None else y
        if labels is None:
            raise InputError(f"{self.name} needs the true classes y: the meshes have no labels")
        if "face" not in x:
            raise InputError(f"{self.name} needs meshes with faces: the batch has none")
        if len(labels) != len(x.ptr) - 1:
            raise InputError(
                f"{self.name} needs one label per mesh, got {len(labels)} labels for "
                f"{len(x.ptr) - 1} meshes"
            )
        with frozen_eval(model):
            meshes = x.clone().apply(as_normal_tensor).to_data_list()
            return Batch.from_data_list(
                [
                    self._attack_mesh(model, mesh, label)
                    for mesh, label in zip(meshes, labels, strict=True)
                ]
            )

    def perturb_batch(self, model: Any, batch: Any) -> Any:
        return self(model, batch)

    def with_attack(self, attack: Attack) -> Attack:
        return MeshAttack(attack)

    def _attack_mesh(self, model: Any, mesh: Any, label: Tensor) -> Any:
        attack = self.attack.with_faces(mesh.face.T)
        scores = partial(scores_at, model, mesh)
        pos = attack(scores, mesh.pos[None], as_normal_tensor(label).view(1))[0]
        attacked = mesh.clone()
        if torch.equal(pos, mesh.pos):
            return attacked
        attacked.pos = pos
        if "eigenvectors" in mesh:
            num_eigenpairs = mesh.eigenvectors.shape[1]
            operators = spectral_operators(pos.cpu(), mesh.face.T.cpu(), num_eigenpairs)
            for name, value in operators.data_attributes().items():
                attacked[name] = value.to(mesh[name])
        return attacked


def scores_at(model: Any, mesh: Any, vertices: Tensor) -> Tensor:
    """Compute the scores of a mesh at other vertex positions, (1, V, 3) → (1, K)."""
    from torch_geometric.data import Batch

    function: Callable[[Any], Tensor] = getattr(model, "logits", model)
    moved = Batch.from_data_list([mesh])
    moved.pos = vertices[0]
    scores = function(moved)
    if vertices.requires_grad and not scores.requires_grad:
        raise InputError(
            f"{type(model).__name__} does not use the coordinates of vertices, only intrinsic "
            "features of the surface: attack a model with input_features=xyz"
        )
    return scores

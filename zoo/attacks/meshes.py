"""Attacks on the vertices of meshes.

A bound for each vertex needs nothing of its own: ``PGD(eps=…, norm="point", bounds=None)`` on
vertices (B, V, 3). Here are smooth displacements, and what brings either to meshes of any
connectivity, PyG batches with operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, AttackWrapper, ScoreFunction, as_normal_tensor, frozen_eval
from zoo.attacks.goals import Goal
from zoo.attacks.gradient import PGD, FeasibleSet
from zoo.errors import InputError
from zoo.functional.norm_balls import broadcast_per_sample, delta_norm
from zoo.functional.rng import SampleRNG
from zoo.functional.spectral import (
    cotangent_laplacian,
    eigenbasis,
    spectral_operators,
    vertex_masses,
)


def smooth_bases(vertices: Tensor, faces: Tensor, count: int) -> Tensor:
    """The lowest non-constant eigenfunctions of shapes with the same faces.

    Shapes: (B, V, 3), (F, 3) → (B, V, count), φᵀ M φ = I.
    """
    bases = []
    for shape in vertices.detach().double().cpu():
        mass = vertex_masses(shape, faces.cpu())
        bases.append(eigenbasis(cotangent_laplacian(shape, faces.cpu()), mass, count + 1)[1][:, 1:])
    if not bases:
        return vertices.new_empty(0, vertices.shape[1], count)
    return torch.stack(bases).to(vertices)


def check_faces(attack: Any, x: Tensor) -> Tensor:
    """The faces of an attack.

    Raises:
        InputError: it has none, or x are no vertices (B, V, 3) that fit them, or no numbers.
    """
    if attack.faces is None:
        raise InputError(f"{attack.name} needs the faces of the shapes: give faces (F, 3)")
    if x.ndim != 3 or x.shape[2] != 3 or int(attack.faces.max()) >= x.shape[1]:
        raise InputError(
            f"{attack.name} needs vertices (B, V, 3) of faces up to vertex "
            f"{int(attack.faces.max())}, got {tuple(x.shape)}"
        )
    bad = (~x.isfinite()).flatten(1).any(1).nonzero()[:, 0]
    if len(bad):
        raise InputError(f"{attack.name}: shape {int(bad[0])} has a coordinate that is no number")
    return attack.faces


@dataclass(frozen=True)
class SmoothFeasibleSet(FeasibleSet):
    """Displacements Φα whose longest is at most ε.

    Args:
        basis: Φ, (B, V, b).
    """

    basis: Tensor

    def uphill(self, gradient: Tensor) -> Tensor:
        return self.unit(self.basis @ (self.basis.mT @ gradient))

    def inside(self, point: Tensor) -> Tensor:
        delta = point - self.x
        share = self.attack.eps / delta_norm(delta, "point").clamp(min=1e-12)
        return self.x + broadcast_per_sample(share.clamp(max=1), delta) * delta

    @staticmethod
    def unit(delta: Tensor) -> Tensor:
        """Displacements whose longest has length 1."""
        return delta / broadcast_per_sample(delta_norm(delta, "point").clamp(min=1e-12), delta)


@dataclass(frozen=True, kw_only=True)
class SmoothPGD(PGD):
    """PGD over displacements of a low band: x′ = x + Φα, no vertex further than ε.

    Φ are the b lowest non-constant eigenfunctions of the surface's Laplacian: the shape bends and
    swells, where PGD on vertices would make it rough. A step goes along Φ Φᵀ ∂L/∂x.

    Args:
        eps: the longest way of a vertex, in the units of x.
        band: b, default 32.
        faces: of all shapes, (F, 3); :class:`OnMeshes` gives those of each mesh.
        **pgd: see :class:`~zoo.attacks.gradient.PGD`; the norm is ``point``, there are no bounds.

    Raises:
        InputError: no faces; a negative ε.
        ValueError: another norm, or fewer than b + 3 vertices.
    """

    band: int = 32
    faces: Tensor | None = None
    norm: str = "point"
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm != "point" or self.bounds is not None:
            raise ValueError("SmoothPGD bounds the way of each vertex: leave norm and bounds out")

    def with_faces(self, faces: Tensor) -> Attack:
        return replace(self, faces=faces)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        ball = SmoothFeasibleSet(x, self, smooth_bases(x, check_faces(self, x), self.band))
        start = x
        if self.random_start and self.steps:
            streams = SampleRNG(x, self.seed)
            bent = ball.unit(ball.basis @ streams.normal(self.band, 3, dtype=x.dtype))
            start = x + broadcast_per_sample(self.eps * streams.uniform(dtype=x.dtype), x) * bent
        return self.climb(model, ball, start, goal)


class OnMeshes(AttackWrapper):
    """An attack on vertices (B, V, 3), on each mesh of a PyG batch by itself.

    The model is followed through the vertices with the operators held; those of the mesh that is
    found are computed anew, so that it is judged as what it is.

    Args:
        attack: any attack on tensors, without bounds; one that asks for faces gets each mesh's.

    Raises:
        InputError: a model that does not look at where the vertices are; meshes without faces.
    """

    def __call__(self, model: Any, x: Any, y: Tensor | None = None) -> Any:
        from torch_geometric.data import Batch

        if isinstance(x, Tensor):
            raise InputError(f"OnMeshes takes PyG batches: on tensors call {self.name} itself")
        labels = getattr(x, "y", None) if y is None else y
        if labels is None:
            raise InputError(f"{self.name} needs the true classes y: the meshes have no labels")
        if "face" not in x:
            raise InputError(f"{self.name} needs meshes with faces: the batch has none")
        if len(labels) != len(x.ptr) - 1:
            raise InputError(
                f"{self.name} attacks what each mesh is, the data has {len(labels)} labels for "
                f"{len(x.ptr) - 1} meshes"
            )
        with frozen_eval(model):
            meshes = x.clone().apply(as_normal_tensor).to_data_list()
            found = [
                self._moved(model, mesh, label) for mesh, label in zip(meshes, labels, strict=True)
            ]
            return Batch.from_data_list(found)

    def on_batch(self, model: Any, batch: Any) -> Any:
        return self(model, batch)

    def around(self, attack: Attack) -> Attack:
        return OnMeshes(attack)

    def _moved(self, model: Any, mesh: Any, label: Tensor) -> Any:
        attack = self.attack.with_faces(mesh.face.T)
        scores = partial(scores_at, model, mesh)
        pos = attack(scores, mesh.pos[None], as_normal_tensor(label).view(1))[0]
        found = mesh.clone()
        if torch.equal(pos, mesh.pos):
            return found
        found.pos = pos
        if "eigenvectors" in mesh:
            pairs = mesh.eigenvectors.shape[1]
            ready = spectral_operators(pos.cpu(), mesh.face.T.cpu(), pairs).as_batch()
            for name, value in ready.items():
                found[name] = value.to(mesh[name])
        return found


def scores_at(model: Any, mesh: Any, vertices: Tensor) -> Tensor:
    """Scores of a mesh with its vertices elsewhere, (1, V, 3) → (1, K)."""
    from torch_geometric.data import Batch

    function: Callable[[Any], Tensor] = getattr(model, "logits", model)
    moved = Batch.from_data_list([mesh])
    moved.pos = vertices[0]
    scores = function(moved)
    if vertices.requires_grad and not scores.requires_grad:
        raise InputError(
            f"{type(model).__name__} does not look at where the vertices are, only at what is "
            "measured inside of the surface: attack a model with input_features=xyz"
        )
    return scores

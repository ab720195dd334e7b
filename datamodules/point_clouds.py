"""Base classes of data modules for point clouds and voxel grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from datamodules.mesh_files import AXIS_ORDER
from zoo.errors import (
    InputError,
    check_at_least,
    check_choice,
    check_non_negative,
    check_positive,
)
from zoo.functional.meshes import sample_surface
from zoo.functional.points import random_rotations, random_z_rotations
from zoo.functional.voxels import voxelize

#: kind of rotation → function that samples rotation matrices
ROTATIONS = {"none": None, "upright": random_z_rotations, "any": random_rotations}
TASKS = ("shapes", "parts")


@dataclass(frozen=True)
class PointAugmentation:
    """Random stretching, shifting and jittering of training clouds.

    Args:
        jitter: standard deviation of the normal noise added to every coordinate, in units of the
            cloud's radius, default 0.01.
        scale: largest factor by which each axis is stretched or compressed, default 1.25.
        shift: largest shift along each axis, in units of the cloud's radius, default 0.1.

    Raises:
        InputError: ``jitter`` or ``shift`` is negative, or ``scale`` is not positive.
    """

    jitter: float = 0.01
    scale: float = 1.25
    shift: float = 0.1

    def __post_init__(self) -> None:
        check_non_negative(**{"augment.jitter": self.jitter, "augment.shift": self.shift})
        check_positive(**{"augment.scale": self.scale})

    def __call__(self, points: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented point clouds, (B, N, 3) → (B, N, 3)."""

        def symmetric(*shape: int) -> Tensor:
            """Sample from the uniform distribution on [−1, 1)."""
            return (2 * torch.rand(shape, generator=generator) - 1).to(points)

        stretch = self.scale ** symmetric(len(points), 1, 3)
        noise = torch.randn(points.shape, generator=generator).to(points)
        return points * stretch + self.shift * symmetric(len(points), 1, 3) + self.jitter * noise


class PointDataModule(TensorDataModule):
    """Base class of data modules for point clouds of equal size; the third axis points upward.

    A subclass implements ``point_clouds`` and has ``class_names``. Each cloud is centered at its
    centroid and scaled to the unit ball. Of the P stored points of a cloud, a training batch has
    a new random sample of ``num_points``; evaluation uses the first ``num_points``.

    Batches are (x, y): x float32 (B, N, 3); y int64, (B,) for ``task="shapes"``, (B, N) for
    ``task="parts"``. With ``voxel_resolution``, x is a grid of zeros and ones, (B, 1, R, R, R), in
    which the voxels of all P points are 1; it is computed for each batch, after rotation and
    augmentation.

    Properties for models: ``num_classes``, ``num_points``; with ``voxel_resolution``
    ``input_shape``; for figures: ``class_names``.

    Args:
        num_points: points per cloud in a batch, N, default 512.
        stored_points: stored points per cloud, P, default 1,024.
        voxel_resolution: voxels along each side of a grid, R, from 3; default 0: point coordinates
            instead of voxel grids.
        task: ``shapes`` (default): classification of the clouds; ``parts``: segmentation, with a
            label for each point.
        rotate: random rotation of each cloud: ``none`` (default), ``upright``: about the third
            axis, or ``any``. Evaluation rotates a cloud in the same way every time.
        rotate_training: random rotation of the training clouds; default ``rotate``.
        augment: augmentation of the training clouds, default none.
        batch_size: training clouds per batch and process, default 32.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an unknown task or rotation, or numbers of points or voxels out of range.
    """

    #: names of the shape or part classes, by index
    class_names: list[str]

    def __init__(
        self,
        num_points: int = 512,
        stored_points: int = 1_024,
        voxel_resolution: int = 0,
        task: str = "shapes",
        rotate: str = "none",
        rotate_training: str | None = None,
        augment: PointAugmentation | None = None,
        batch_size: int = 32,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **data)
        check_choice("task", task, TASKS)
        check_rotations(rotate, rotate_training)
        check_at_least(1, num_points=num_points, stored_points=stored_points)
        if stored_points < num_points:
            raise InputError(
                f"stored_points must be at least num_points={num_points}, got {stored_points}"
            )
        if voxel_resolution:
            check_at_least(3, voxel_resolution=voxel_resolution)
        if voxel_resolution and task == "parts":
            raise InputError(
                "voxel grids have no part labels; set task=shapes, or leave voxel_resolution out"
            )
        self.num_points, self.stored_points, self.task = num_points, stored_points, task
        self.voxel_resolution = voxel_resolution
        self.rotate, self.rotate_training = rotate, rotate_training or rotate
        self.augment = augment

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of shape or part classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of a voxel grid, (1, R, R, R)."""
        if not self.voxel_resolution:
            raise AttributeError(
                "its samples are point clouds; set --data.voxel_resolution 32 for voxel grids"
            )
        return (1, *3 * (self.voxel_resolution,))

    def point_clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        """Return the training or test split: points float32 (M, P, 3), with P of at least
        ``num_points``, and labels int64, (M,) or (M, P)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement point_clouds(train)")

    def load(self, train: bool) -> Batch:
        """Return points, labels and the rotation of each cloud in evaluation, (M, 3, 3)."""
        return self.with_rotations(*self.point_clouds(train), 2 * self.seed + train)

    def with_rotations(self, points: Tensor, labels: Tensor, seed: int) -> Batch:
        """Return scaled points, labels and the rotation of each cloud in evaluation."""
        generator = torch.Generator().manual_seed(seed)
        rotations = sample_rotations(self.rotate, len(points), generator)
        return scale_to_unit_ball(points), labels, rotations

    @property
    def is_training_random(self) -> bool:
        return True

    def prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, y, _ = batch
        if not self.voxel_resolution:
            chosen = torch.randperm(x.shape[1], generator=generator)[: self.num_points].to(x.device)
            x, y = x[:, chosen], y[:, chosen] if y.ndim == 2 else y
        if self.rotate_training != "none":
            x = x @ sample_rotations(self.rotate_training, len(x), generator).to(x).mT
        if self.augment:
            x = self.augment(x, generator)
        return self._to_input(x), y

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, y, rotations = batch
        if not self.voxel_resolution:
            x, y = x[:, : self.num_points], y[:, : self.num_points] if y.ndim == 2 else y
        return self._to_input(x @ rotations.mT), y

    def _to_input(self, points: Tensor) -> Tensor:
        return voxelize(points, self.voxel_resolution) if self.voxel_resolution else points


class SampledPointDataModule(PointDataModule):
    """Base class of data modules whose clouds are sampled from meshes or from other point sets.

    Args:
        stored_points: points sampled from each shape once, default 2,048.
        up: axis of the files that points upward: ``x``, ``y`` or ``z`` (default).
        **points: see :class:`PointDataModule`; ``task`` must be ``shapes``.

    Raises:
        InputError: unknown axis, or ``task="parts"``.
    """

    def __init__(self, stored_points: int = 2_048, up: str = "z", **points: Any) -> None:
        super().__init__(stored_points=stored_points, **points)
        check_choice("up axis", up, AXIS_ORDER)
        if self.task == "parts":
            raise InputError(f"{type(self).__name__} has no part labels; set task=shapes")
        self.up = up

    def sample_points(self, vertices: Tensor, faces: Tensor, generator: torch.Generator) -> Tensor:
        """Sample points of one shape, (stored_points, 3).

        Points of a mesh are uniform over its surface. Without faces, the points are a random sample
        of the vertices, in which each occurs about equally often.

        Args:
            vertices: vertices or points (V, 3).
            faces: faces (F, 3), F = 0 for a point set.
            generator: random number generator.

        Raises:
            ValueError: a mesh without area.
        """
        if len(faces):
            points = sample_surface(vertices, faces, self.stored_points, generator)
        else:
            repeats = -(-self.stored_points // len(vertices))
            order = [torch.randperm(len(vertices), generator=generator) for _ in range(repeats)]
            points = vertices[torch.cat(order)[: self.stored_points]]
        return points[:, AXIS_ORDER[self.up]]


def check_rotations(rotate: str, rotate_training: str | None) -> None:
    """Raise InputError for an unknown kind of rotation; ``rotate_training`` may be None."""
    check_choice("rotate", rotate, ROTATIONS)
    if rotate_training is not None:
        check_choice("rotate_training", rotate_training, ROTATIONS)


def sample_rotations(kind: str, count: int, generator: torch.Generator) -> Tensor:
    """Sample rotation matrices of a kind in ``ROTATIONS``, (count, 3, 3)."""
    sample = ROTATIONS[kind]
    return torch.eye(3).repeat(count, 1, 1) if sample is None else sample(count, generator)


def scale_to_unit_ball(points: Tensor) -> Tensor:
    """Center each cloud at its centroid and scale it to a largest norm of 1, (..., P, 3).

    Raises:
        ValueError: all points of a cloud are at the same position.
    """
    if not bool((points != points[..., :1, :]).flatten(-2).any(-1).all()):
        raise ValueError("all points are at the same position; at least two must differ")
    points = points - points.mean(-2, keepdim=True)
    return points / points.norm(dim=-1).amax(-1)[..., None, None]

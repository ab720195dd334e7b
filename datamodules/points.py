"""Clouds of points: sampled from shapes that are made here, from ModelNet, from files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from zoo.functional.points import random_rotations, random_z_rotations
from zoo.functional.voxels import voxelize

ROTATIONS = {"none": None, "upright": random_z_rotations, "any": random_rotations}
TASKS = ("shapes", "parts")


@dataclass
class PointAugmentation:
    """Random changes to training clouds.

    Args:
        jitter: standard deviation of normal noise on every coordinate, in radii of the cloud;
            default 0.01.
        scale: largest factor by which each axis is stretched or shrunk, default 1.25.
        shift: largest shift along each axis, in radii; default 0.1.
    """

    jitter: float = 0.01
    scale: float = 1.25
    shift: float = 0.1

    def __call__(self, points: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N, 3) → the same."""

        def draw(*shape: int) -> Tensor:
            return (2 * torch.rand(shape, generator=generator) - 1).to(points)

        stretch = self.scale ** draw(len(points), 1, 3)
        noise = torch.randn(points.shape, generator=generator).to(points)
        return points * stretch + self.shift * draw(len(points), 1, 3) + self.jitter * noise


class PointDataModule(TensorDataModule):
    """Clouds of equally many points on the surfaces of shapes, their height the third axis.

    A data set implements ``clouds``: points float32 (M, P, 3) with P at least ``num_points``, and
    labels. Each cloud lies in the unit ball around its centroid. Training draws ``num_points`` of
    the P anew for each batch; evaluation takes the first ones.

    Batches are (x, y): x float32 (B, N, 3); y int64, (B,) for ``task="shapes"``, (B, N) for
    ``task="parts"``. With ``voxels`` x is a grid of 0 and 1, (B, 1, R, R, R), with a voxel for
    every one of the P points, made of each batch after its rotation and augmentation.

    Properties that models ask for: ``num_classes``, ``num_points``; with ``voxels``
    ``input_shape``.

    Args:
        num_points: N, default 512.
        stored_points: P, default 1,024.
        voxels: R, voxels along each side of a grid; default 0: points as they are.
        task: ``shapes`` (default): which shape a cloud is; ``parts``: which part of it a point.
        rotate: of all clouds, training and evaluation: ``none`` (default), ``upright``: about the
            third axis, or ``any``.
        rotate_training: of training clouds alone, default as ``rotate``.
        augment: random changes to training clouds, default none.
        batch_size: default 32.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        ValueError: unknown names, no points.
    """

    def __init__(
        self,
        num_points: int = 512,
        stored_points: int = 1_024,
        voxels: int = 0,
        task: str = "shapes",
        rotate: str = "none",
        rotate_training: str | None = None,
        augment: PointAugmentation | None = None,
        batch_size: int = 32,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **data)
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; choose from {', '.join(TASKS)}")
        check_rotation(rotate)
        check_rotation(rotate_training or rotate)
        if num_points < 1:
            raise ValueError(f"num_points must be at least 1, got {num_points}")
        if stored_points < num_points:
            raise ValueError(
                f"stored_points={stored_points} are fewer than num_points={num_points}"
            )
        if voxels and task == "parts":
            raise ValueError("voxels have no parts: task=shapes, or leave voxels out")
        if voxels < 0 or 0 < voxels < 3:
            raise ValueError(f"voxels must be at least 3 along a side, got {voxels}")
        self.num_points, self.stored_points, self.task = num_points, stored_points, task
        self.voxels = voxels
        self.rotate, self.rotate_training = rotate, rotate_training or rotate
        self.changes = augment

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of a grid of voxels."""
        if not self.voxels:
            raise AttributeError("clouds of points have none, --data.voxels 32 makes grids of them")
        return (1, self.voxels, self.voxels, self.voxels)

    def clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        """The training or test split: points (M, P, 3) and labels, (M,) or (M, P)."""
        raise NotImplementedError(f"{type(self).__name__} has no clouds(train)")

    def load(self, train: bool) -> Batch:
        """Points, labels, and the rotation under which each cloud is evaluated, (M, 3, 3)."""
        points, labels = self.clouds(train)
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        draw = ROTATIONS[self.rotate]
        fixed = (
            torch.eye(3).repeat(len(points), 1, 1) if draw is None else draw(len(points), generator)
        )
        return normalized(points), labels, fixed

    @property
    def is_training_random(self) -> bool:
        return True

    def prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, y, _ = batch
        if not self.voxels:
            chosen = torch.randperm(x.shape[1], generator=generator)[: self.num_points].to(x.device)
            x, y = x[:, chosen], y[:, chosen] if y.ndim == 2 else y
        x = rotated(x, self.rotate_training, generator)
        return self._as_asked(self.changes(x, generator) if self.changes else x), y

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, y, rotation = batch
        if not self.voxels:
            x, y = x[:, : self.num_points], y[:, : self.num_points] if y.ndim == 2 else y
        return self._as_asked(x @ rotation.mT), y

    def _as_asked(self, points: Tensor) -> Tensor:
        return voxelize(points, self.voxels) if self.voxels else points


def check_rotation(kind: str) -> None:
    """ValueError for an unknown rotation."""
    if kind not in ROTATIONS:
        raise ValueError(f"unknown rotation {kind!r}; choose from {', '.join(ROTATIONS)}")


def rotated(points: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Clouds (B, N, 3), each under a random rotation of its own."""
    draw = ROTATIONS[kind]
    if draw is None:
        return points
    return points @ draw(len(points), generator).to(points).mT


def normalized(points: Tensor) -> Tensor:
    """Clouds moved to their centroid and scaled into the unit ball, (..., P, 3) → the same."""
    points = points - points.mean(-2, keepdim=True)
    return points / points.norm(dim=-1).amax(-1)[..., None, None]

"""Part segmentation of an articulated body."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import Data

from datamodules.articulated_body import PARTS, build_body, pose_body, sample_poses
from datamodules.meshes import MeshDataModule
from zoo.errors import check_at_least, check_non_negative


class BodyParts(MeshDataModule):
    """A body in many poses, with the part of each vertex as its label, y (V,).

    Args:
        num_samples: training poses, including validation, default 60; half as many are for
            testing.
        noise: standard deviation of the joint angles around those of the movement, in radians,
            default 0.3.
        batch_size: training meshes per batch and process, default 4.
        **meshes: see :class:`~datamodules.meshes.MeshDataModule`.

    Raises:
        InputError: ``num_samples`` below 2, or negative ``noise``.
    """

    def __init__(
        self, num_samples: int = 60, noise: float = 0.3, batch_size: int = 4, **meshes: Any
    ) -> None:
        super().__init__(batch_size=batch_size, **meshes)
        check_at_least(2, num_samples=num_samples)
        check_non_negative(noise=noise)
        self.num_samples, self.noise = num_samples, noise
        self.class_names = list(PARTS)

    def load(self, train: bool) -> list[Data]:
        count = self.num_samples if train else self.num_samples // 2
        angles, _ = sample_poses(count, self.noise, 2 * self.seed + train)
        body = build_body()
        return [Data(pos=pos, face=body.faces.T, y=body.parts) for pos in pose_body(angles)]

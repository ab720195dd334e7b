"""A moving body whose joint angles are known."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from datamodules.articulated_body import MOVEMENTS, build_body, pose_body, sample_poses
from datamodules.template_meshes import TemplateMeshDataModule
from zoo.errors import check_at_least, check_non_negative


class Articulated(TemplateMeshDataModule):
    """A body that walks, waves, squats and jumps, with eight joint angles for each pose.

    Labels are the four movements. ``angles`` returns the true factors of variation, and
    :func:`datamodules.articulated_body.pose_body` poses the body at any angles.

    Properties for models: ``input_shape``, ``template``, ``num_classes``; for figures:
    ``class_names``.

    Args:
        num_samples: training poses, including validation, default 600; a third as many are for
            testing.
        noise: standard deviation of the joint angles around those of the movement, in radians,
            default 0.08.
        **data: see :class:`~datamodules.template_meshes.TemplateMeshDataModule`.

    Raises:
        InputError: ``num_samples`` below 3, or negative ``noise``.
    """

    num_classes = len(MOVEMENTS)

    def __init__(self, num_samples: int = 600, noise: float = 0.08, **data: Any) -> None:
        super().__init__(**data)
        check_at_least(3, num_samples=num_samples)
        check_non_negative(noise=noise)
        self.num_samples, self.noise = num_samples, noise
        self.class_names = list(MOVEMENTS)

    def make_faces(self) -> Tensor:
        return build_body().faces

    def angles(self, train: bool) -> tuple[Tensor, Tensor]:
        """Return joint angles in radians (N, 8) and indices of the movements (N,) of a split."""
        return sample_poses(
            self.num_samples if train else self.num_samples // 3, self.noise, 2 * self.seed + train
        )

    def meshes(self, train: bool) -> tuple[Tensor, Tensor]:
        angles, labels = self.angles(train)
        return pose_body(angles), labels

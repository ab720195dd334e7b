"""Grids of voxels: which shape fills them."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_choice
from zoo.networks.voxels import VOXEL_NETWORKS, VoxelNetwork


class VoxelClassifier(Classifier):
    """Which shape a grid of voxels shows, by a volumetric CNN.

    Args:
        input_shape: (1, R, R, R).
        num_classes: K.
        network: ``voxnet`` (default) or ``shapenets``; see :mod:`zoo.networks.voxels`.
        width: W, channels of the first convolution, default 32.
        dropout: in the head, default 0.4.
        **classifier: see :class:`~zoo.core.classification.Classifier`.

    Raises:
        ValueError: unknown network; samples that are no cubes of voxels, or too small ones.

    Shapes: (B, 1, R, R, R) → (B, K).
    """

    supports_mixup: ClassVar[bool] = False  # a voxel is full or empty

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        network: str = "voxnet",
        width: int = 32,
        dropout: float = 0.4,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        check_choice("network", network, VOXEL_NETWORKS)
        shape = tuple(input_shape)
        if len(shape) != 4 or shape[0] != 1 or len(set(shape[1:])) != 1:
            raise InputError(
                f"a voxel network needs cubes, (1, R, R, R), the data has {shape}: choose other "
                "data, or its --data.voxel_resolution"
            )
        self.resolution = shape[1]

    def build(self) -> None:
        self.network = self.make_network(self.resolution)

    def make_network(self, resolution: int) -> VoxelNetwork:
        """(B, 1, R, R, R) → (B, K)."""
        hp = self.hparams
        return VOXEL_NETWORKS[hp["network"]](
            resolution, hp["width"], self.num_classes, hp["dropout"]
        )

    def logits(self, x: Tensor) -> Tensor:
        return self.network(x)

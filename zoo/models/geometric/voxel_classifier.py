"""VoxelClassifier: classification of voxel grids."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_at_least, check_choice, check_probability
from zoo.networks.voxels import VOXEL_NETWORKS, VoxelNetwork


class VoxelClassifier(Classifier):
    """Classifier of voxel grids: a volumetric CNN.

    Args:
        input_shape: shape of a voxel grid, (1, R, R, R).
        num_classes: number of classes, K.
        network: ``voxnet`` (default) or ``shapenets`` (3D ShapeNets); see
            :mod:`zoo.networks.voxels`.
        width: number of channels of the first convolution, W, default 32.
        dropout: dropout probability in the head, default 0.4.
        **classifier: see :class:`~zoo.core.classification.Classifier`.

    Shapes: (B, 1, R, R, R) → logits (B, K).

    Raises:
        InputError: unknown network; an ``input_shape`` that is not that of a cubic grid; a grid too
            small for the network; numbers out of range.
    """

    supports_mixup: ClassVar[bool] = False  # a voxel is either full or empty

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
        check_at_least(1, width=width)
        check_probability(dropout=dropout)
        shape = tuple(input_shape)
        if len(shape) != 4 or shape[0] != 1 or len(set(shape[1:])) != 1:
            raise InputError(
                f"VoxelClassifier needs cubic voxel grids, (1, R, R, R), got input_shape={shape}: "
                "choose other data, or set --data.voxel_resolution"
            )
        self.resolution = shape[1]

    def build(self) -> None:
        self.network = self.make_network(self.resolution)

    def make_network(self, resolution: int) -> VoxelNetwork:
        """Create the network, (B, 1, R, R, R) → (B, K).

        Args:
            resolution: side of the voxel grid, R.
        """
        hp = self.hparams
        return VOXEL_NETWORKS[hp["network"]](
            resolution, hp["width"], self.num_classes, hp["dropout"]
        )

    def logits(self, x: Tensor) -> Tensor:
        return self.network(x)

"""Convolutional networks on voxel grids."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from zoo.errors import InputError
from zoo.networks.shapes import infer_output_shape


class VoxelNetwork(nn.Module):
    """Convolutions, then an MLP head with one hidden layer.

    Args:
        features: convolutions, (B, 1, R, R, R) → (B, C, r, r, r).
        stride: total stride of the convolutions, in voxels: shifting the grid by it shifts the
            feature maps by 1.
        resolution: side of the voxel grid, R.
        hidden_dim: width of the hidden layer.
        num_classes: number of classes, K.
        dropout: dropout probability before and after the hidden layer.

    Raises:
        InputError: a voxel grid too small for the convolutions.

    Shapes: (B, 1, R, R, R) → (B, K).
    """

    def __init__(
        self,
        features: nn.Module,
        stride: int,
        resolution: int,
        hidden_dim: int,
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.features, self.stride = features, stride
        try:
            num_features = math.prod(infer_output_shape(features, (1, *[resolution] * 3)))
        except RuntimeError as error:
            raise InputError(
                f"a voxel grid of side {resolution} is too small for these convolutions: choose a "
                "finer grid or another network"
            ) from error
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(num_features, hidden_dim), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden_dim, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def voxnet(resolution: int, width: int, num_classes: int, dropout: float) -> VoxelNetwork:
    """Create a VoxNet: 5³ convolution of stride 2, 3³ convolution, 2³ max pooling, MLP head.

    Args:
        resolution: side of the voxel grid, R; 32 in the paper.
        width: number of channels, W; 32 in the paper. The hidden layer has 4 W units.
        num_classes: number of classes, K.
        dropout: dropout probability before and after the hidden layer.

    Source: Maturana and Scherer, VoxNet, 2015, section III.C.
    """
    features = nn.Sequential(
        nn.Conv3d(1, width, 5, stride=2), nn.LeakyReLU(0.1),
        nn.Conv3d(width, width, 3), nn.LeakyReLU(0.1), nn.MaxPool3d(2),
    )  # fmt: skip
    return VoxelNetwork(features, 4, resolution, 4 * width, num_classes, dropout)


def shapenets(resolution: int, width: int, num_classes: int, dropout: float) -> VoxelNetwork:
    """Create the network of 3D ShapeNets: 6³ and 5³ (stride 2) and 4³ convolutions, MLP head.

    The layers are those of the paper. The network is trained with cross-entropy, as in the paper's
    fine-tuning, instead of as a deep belief network.

    Args:
        resolution: side of the voxel grid, R; 30 in the paper.
        width: channels of the first convolution, W; 48 in the paper. The others have 3 W and 10 W
            channels, and the hidden layer has 25 W units.
        num_classes: number of classes, K.
        dropout: dropout probability before and after the hidden layer.

    Source: Wu et al., 3D ShapeNets, 2015, section 3.
    """
    features = nn.Sequential(
        nn.Conv3d(1, width, 6, stride=2), nn.ReLU(),
        nn.Conv3d(width, 3 * width, 5, stride=2), nn.ReLU(),
        nn.Conv3d(3 * width, 10 * width, 4), nn.ReLU(),
    )  # fmt: skip
    return VoxelNetwork(features, 4, resolution, 25 * width, num_classes, dropout)


VOXEL_NETWORKS: dict[str, Callable[[int, int, int, float], VoxelNetwork]] = {
    "voxnet": voxnet,
    "shapenets": shapenets,
}

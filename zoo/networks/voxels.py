"""Convolutional networks on grids of voxels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class VoxelNetwork(nn.Module):
    """Convolutions, then one hidden layer on what they find.

    Args:
        features: (B, 1, R, R, R) → (B, C, r, r, r).
        stride: voxels of the input by which it must be shifted so that what ``features`` finds is
            shifted by one.
        resolution: R.
        hidden: width of the hidden layer.
        classes: K.
        dropout: in front of the hidden layer and behind it.

    Raises:
        ValueError: a grid too small for the convolutions.

    Shapes: (B, 1, R, R, R) → (B, K).
    """

    def __init__(
        self,
        features: nn.Module,
        stride: int,
        resolution: int,
        hidden: int,
        classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.features, self.stride = features, stride
        try:
            with torch.no_grad():
                found = features.eval()(torch.zeros(1, 1, *[resolution] * 3)).numel()
        except RuntimeError as error:
            raise ValueError(
                f"a grid of {resolution} voxels a side is too small for these convolutions"
            ) from error
        features.train()
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(found, hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def voxnet(resolution: int, width: int, classes: int, dropout: float) -> VoxelNetwork:
    """5³ convolution with stride 2, 3³ convolution, 2³ pooling; W channels, 4 W hidden units.

    Source: Maturana and Scherer, VoxNet, 2015, section III.C (W = 32, R = 32).
    """
    features = nn.Sequential(
        nn.Conv3d(1, width, 5, stride=2), nn.LeakyReLU(0.1),
        nn.Conv3d(width, width, 3), nn.LeakyReLU(0.1), nn.MaxPool3d(2),
    )  # fmt: skip
    return VoxelNetwork(features, 4, resolution, 4 * width, classes, dropout)


def shapenets(resolution: int, width: int, classes: int, dropout: float) -> VoxelNetwork:
    """Convolutions of 6³ with stride 2, 5³ with stride 2 and 4³; W, 3 W and 10 W channels, 25 W
    hidden units.

    Source: Wu et al., 3D ShapeNets, 2015, section 3 (W = 48, R = 30): its layers, trained by
    gradients through cross-entropy, as their fine-tuning is, not as a deep belief network.
    """
    features = nn.Sequential(
        nn.Conv3d(1, width, 6, stride=2), nn.ReLU(),
        nn.Conv3d(width, 3 * width, 5, stride=2), nn.ReLU(),
        nn.Conv3d(3 * width, 10 * width, 4), nn.ReLU(),
    )  # fmt: skip
    return VoxelNetwork(features, 4, resolution, 25 * width, classes, dropout)


VOXEL_NETWORKS: dict[str, Callable[[int, int, int, float], VoxelNetwork]] = {
    "voxnet": voxnet,
    "shapenets": shapenets,
}

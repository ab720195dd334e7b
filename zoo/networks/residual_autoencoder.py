"""Residual encoder and decoder for images of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from zoo.networks.conv_autoencoder import check_encoder_depth
from zoo.networks.mlp import make_activation
from zoo.networks.shapes import halved_sides


class PreActivationBlock(nn.Module):
    """Residual block x + W₂ ∗ φ(W₁ ∗ φ(x)) with 3×3 convolutions, without normalization.

    Shapes: (B, C, H, W) → the same.

    Source: He et al., Identity mappings in deep residual networks, 2016.
    """

    def __init__(self, channels: int, activation: str = "relu") -> None:
        super().__init__()
        self.change = nn.Sequential(
            make_activation(activation), nn.Conv2d(channels, channels, 3, padding=1),
            make_activation(activation), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class ResidualEncoder(nn.Sequential):
    """For each width, a convolution of stride 2 and residual blocks; then a linear layer.

    Args:
        input_shape: shape of one image, (channels, height, width).
        channels: output channels of each convolution of stride 2.
        out_features: dimension of the vector.
        activation: nonlinearity, default ``relu``.
        blocks: number of residual blocks after each convolution of stride 2, default 1.

    Shapes: (B, C, H, W) → (B, out_features).

    Raises:
        InputError: samples that are not images, or images too small for so many halvings; unknown
            activation.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int],
        out_features: int,
        activation: str = "relu",
        blocks: int = 1,
    ) -> None:
        check_encoder_depth(input_shape, channels)
        sides = [halved_sides(side, len(channels))[-1] for side in input_shape[1:]]
        super().__init__(
            make_residual_downsampling(input_shape, channels, activation, blocks),
            make_activation(activation),
            nn.Flatten(),
            nn.Linear(channels[-1] * math.prod(sides), out_features),
        )


def make_residual_downsampling(
    input_shape: Sequence[int], channels: Sequence[int], activation: str = "relu", blocks: int = 1
) -> nn.Sequential:
    """Create the convolutional layers of :class:`ResidualEncoder`: (B, C, H, W) → feature maps.

    Args:
        input_shape: shape of one image, (channels, height, width).
        channels: output channels of each convolution of stride 2.
        activation: nonlinearity, default ``relu``.
        blocks: number of residual blocks after each convolution of stride 2, default 1.

    Shapes: (B, C, H, W) → (B, channels[-1], h, w).
    """
    layers: list[nn.Module] = []
    for in_channels, width in pairwise([input_shape[0], *channels]):
        if layers:
            layers.append(make_activation(activation))
        layers.append(nn.Conv2d(in_channels, width, 3, 2, 1))
        layers += [PreActivationBlock(width, activation) for _ in range(blocks)]
    return nn.Sequential(*layers)


class ResidualDecoder(nn.Sequential):
    """Mirror image of :class:`ResidualEncoder`: vector → image of exactly ``output_shape``.

    Args:
        output_shape: shape of one image, (channels, height, width).
        channels: channels of the mirrored encoder, in the encoder's order.
        in_features: dimension of the vector.
        activation: nonlinearity, default ``relu``.
        blocks: number of residual blocks before each doubling, default 1.

    Shapes: (B, in_features) → (B, C, H, W).

    Raises:
        InputError: samples that are not images, or images too small for so many halvings; unknown
            activation.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        channels: Sequence[int],
        in_features: int,
        activation: str = "relu",
        blocks: int = 1,
    ) -> None:
        check_encoder_depth(output_shape, channels)
        sides = (halved_sides(side, len(channels))[-1] for side in output_shape[1:])
        first_shape = (channels[-1], *sides)
        super().__init__(
            nn.Linear(in_features, math.prod(first_shape)),
            nn.Unflatten(1, first_shape),
            make_residual_upsampling(output_shape, channels, activation, blocks),
        )


def make_residual_upsampling(
    output_shape: Sequence[int], channels: Sequence[int], activation: str = "relu", blocks: int = 1
) -> nn.Sequential:
    """Create the convolutional layers of :class:`ResidualDecoder`: feature maps → (B, C, H, W).

    Args:
        output_shape: shape of one image, (channels, height, width).
        channels: channels of the mirrored encoder, in the encoder's order.
        activation: nonlinearity, default ``relu``.
        blocks: number of residual blocks before each doubling, default 1.

    Shapes: (B, channels[-1], h, w) → (B, C, H, W).
    """
    heights, widths = (halved_sides(side, len(channels)) for side in output_shape[1:])
    out_channels = [output_shape[0], *channels[:-1]]
    layers: list[nn.Module] = []
    for level in reversed(range(len(channels))):
        layers += [PreActivationBlock(channels[level], activation) for _ in range(blocks)]
        output_padding = (1 - heights[level] % 2, 1 - widths[level] % 2)
        layers += [
            make_activation(activation),
            nn.ConvTranspose2d(channels[level], out_channels[level], 3, 2, 1, output_padding),
        ]
    return nn.Sequential(*layers)

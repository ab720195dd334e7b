"""Convolutional encoder and decoder for images of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from zoo.errors import InputError
from zoo.networks.mlp import make_activation
from zoo.networks.shapes import check_image_shape, halved_sides


def check_encoder_depth(image_shape: Sequence[int], channels: Sequence[int]) -> None:
    """Raise :class:`InputError` if an image is too small for n convolutions of stride 2.

    Both sides need at least 2^(n−1) pixels.

    Args:
        image_shape: shape of one image, (channels, height, width).
        channels: output channels of each of the n convolutions, at least one.
    """
    check_image_shape(image_shape)
    if not channels:
        raise InputError("a convolutional network needs at least one width, got hidden_dims=()")
    height, width = image_shape[1:]
    if min(height, width) < 2 ** (len(channels) - 1):
        raise InputError(
            f"{len(channels)} convolutions of stride 2 do not fit images of {height}×{width} "
            f"pixels: shorten hidden_dims={tuple(channels)}"
        )


class ConvEncoder(nn.Sequential):
    """Convolutions of stride 2, then a linear layer: image → vector.

    Args:
        input_shape: shape of one image, (channels, height, width).
        channels: output channels of each convolution.
        out_features: dimension of the vector.
        activation: nonlinearity after each convolution, default ``relu``.

    Shapes:
        (B, C, H, W) → (B, out_features).

    Raises:
        InputError: samples that are not images, or images too small for so many convolutions;
            unknown activation.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int],
        out_features: int,
        activation: str = "relu",
    ) -> None:
        check_encoder_depth(input_shape, channels)
        layers: list[nn.Module] = []
        for in_channels, width in pairwise([input_shape[0], *channels]):
            layers += [nn.Conv2d(in_channels, width, 3, 2, 1), make_activation(activation)]
        sides = [halved_sides(side, len(channels))[-1] for side in input_shape[1:]]
        layers += [nn.Flatten(), nn.Linear(channels[-1] * math.prod(sides), out_features)]
        super().__init__(*layers)


class ConvDecoder(nn.Sequential):
    """Mirror image of :class:`ConvEncoder`: vector → image of exactly ``output_shape``.

    Each transposed convolution inverts one halving; ``output_padding`` restores the parity of the
    sides, which is lost when halving rounds up.

    Args:
        output_shape: shape of one image, (channels, height, width).
        channels: channels of the mirrored encoder, in the encoder's order.
        in_features: dimension of the vector.
        activation: nonlinearity before each transposed convolution, default ``relu``.

    Shapes:
        (B, in_features) → (B, C, H, W).

    Raises:
        InputError: samples that are not images, or images too small for so many convolutions;
            unknown activation.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        channels: Sequence[int],
        in_features: int,
        activation: str = "relu",
    ) -> None:
        check_encoder_depth(output_shape, channels)
        heights, widths = (halved_sides(side, len(channels)) for side in output_shape[1:])
        first_shape = (channels[-1], heights[-1], widths[-1])
        layers: list[nn.Module] = [
            nn.Linear(in_features, math.prod(first_shape)),
            nn.Unflatten(1, first_shape),
        ]
        out_channels = [output_shape[0], *channels[:-1]]
        for level in reversed(range(len(channels))):
            output_padding = (1 - heights[level] % 2, 1 - widths[level] % 2)
            layers += [
                make_activation(activation),
                nn.ConvTranspose2d(channels[level], out_channels[level], 3, 2, 1, output_padding),
            ]
        super().__init__(*layers)

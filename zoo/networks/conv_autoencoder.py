"""Convolutional encoder and decoder that fit any image size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from zoo.networks.mlp import Unflatten, make_activation


def halvings(size: int, times: int) -> list[int]:
    """Side lengths after 0, 1, …, ``times`` convolutions of stride 2: each is ⌈previous / 2⌉."""
    sizes = [size]
    for _ in range(times):
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def check_images(input_shape: Sequence[int], channels: Sequence[int]) -> None:
    if len(input_shape) != 3:
        raise ValueError(
            "a convolutional network needs images (channels, height, width), "
            f"got {tuple(input_shape)}"
        )
    smallest = min(input_shape[1:])
    if smallest < 2 ** (len(channels) - 1):
        raise ValueError(
            f"{len(channels)} convolutions of stride 2 do not fit images of {input_shape[1]}×"
            f"{input_shape[2]} pixels: give fewer widths in hidden={tuple(channels)}"
        )


class ConvEncoder(nn.Sequential):
    """Convolutions of stride 2, then one linear layer: image → vector.

    Args:
        input_shape: (channels, height, width).
        channels: channels after each convolution.
        out_features: length of the vector.
        activation: name of the nonlinearity.

    Shapes:
        (B, C, H, W) → (B, out_features).

    Raises:
        ValueError: when the input is no image or too small for that many convolutions.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int],
        out_features: int,
        activation: str = "relu",
    ) -> None:
        check_images(input_shape, channels)
        widths = [input_shape[0], *channels]
        layers: list[nn.Module] = []
        for fan_in, width in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(fan_in, width, 3, 2, 1), make_activation(activation)]
        height, width = (halvings(side, len(channels))[-1] for side in input_shape[1:])
        layers += [nn.Flatten(), nn.Linear(widths[-1] * height * width, out_features)]
        super().__init__(*layers)


class ConvDecoder(nn.Sequential):
    """The mirror of :class:`ConvEncoder`: vector → image of exactly ``output_shape``.

    Each transposed convolution undoes one halving; ``output_padding`` restores the pixel that
    rounding up an odd side hid.

    Args:
        output_shape: (channels, height, width).
        channels: channels of the mirrored encoder, in the encoder's order.
        in_features: length of the vector.
        activation: name of the nonlinearity.

    Shapes:
        (B, in_features) → (B, C, H, W).

    Raises:
        ValueError: when the output is no image or too small for that many convolutions.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        channels: Sequence[int],
        in_features: int,
        activation: str = "relu",
    ) -> None:
        check_images(output_shape, channels)
        heights, widths = (halvings(side, len(channels)) for side in output_shape[1:])
        start = (channels[-1], heights[-1], widths[-1])
        layers: list[nn.Module] = [
            nn.Linear(in_features, start[0] * start[1] * start[2]),
            Unflatten(start),
        ]
        outputs = [output_shape[0], *channels[:-1]]
        for level in reversed(range(len(channels))):
            padding = (1 - heights[level] % 2, 1 - widths[level] % 2)
            layers += [
                make_activation(activation),
                nn.ConvTranspose2d(channels[level], outputs[level], 3, 2, 1, padding),
            ]
        super().__init__(*layers)

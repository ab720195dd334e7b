"""Residual encoder and decoder that fit any image size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.networks.conv_autoencoder import check_images, halvings
from zoo.networks.mlp import Unflatten, make_activation


class ResidualBlock(nn.Module):
    """x + W₂ ∗ φ(W₁ ∗ φ(x)).

    Shapes: (B, C, H, W) → the same.

    Source: He et al., Identity mappings in deep residual networks, 2016, without the norms.
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
    """For each width: a convolution of stride 2 and residual blocks; one linear layer on top.

    Args:
        input_shape: (channels, height, width).
        channels: channels after each halving.
        out_features: length of the vector.
        activation: name of the nonlinearity.
        blocks: residual blocks after each halving, default 1.

    Shapes: (B, C, H, W) → (B, out_features).

    Raises:
        ValueError: when the input is no image or too small for that many halvings.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int],
        out_features: int,
        activation: str = "relu",
        blocks: int = 1,
    ) -> None:
        check_images(input_shape, channels)
        height, width = (halvings(side, len(channels))[-1] for side in input_shape[1:])
        features = residual_features(input_shape, channels, activation, blocks)
        size = channels[-1] * height * width
        super().__init__(
            features, make_activation(activation), nn.Flatten(), nn.Linear(size, out_features)
        )


def residual_features(
    input_shape: Sequence[int], channels: Sequence[int], activation: str = "relu", blocks: int = 1
) -> nn.Sequential:
    """The convolutions of :class:`ResidualEncoder`: (B, C, H, W) → maps of the last width."""
    layers: list[nn.Module] = []
    for fan_in, width in zip([input_shape[0], *channels[:-1]], channels, strict=True):
        if layers:
            layers.append(make_activation(activation))
        layers.append(nn.Conv2d(fan_in, width, 3, 2, 1))
        layers += [ResidualBlock(width, activation) for _ in range(blocks)]
    return nn.Sequential(*layers)


class ResidualDecoder(nn.Sequential):
    """The mirror of :class:`ResidualEncoder`: vector → image of exactly ``output_shape``.

    Args:
        output_shape: (channels, height, width).
        channels: of the mirrored encoder, in the encoder's order.
        in_features: length of the vector.
        activation: name of the nonlinearity.
        blocks: residual blocks before each doubling, default 1.

    Shapes: (B, in_features) → (B, C, H, W).

    Raises:
        ValueError: when the output is no image or too small for that many doublings.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        channels: Sequence[int],
        in_features: int,
        activation: str = "relu",
        blocks: int = 1,
    ) -> None:
        check_images(output_shape, channels)
        start = (channels[-1], *(halvings(side, len(channels))[-1] for side in output_shape[1:]))
        super().__init__(
            nn.Linear(in_features, start[0] * start[1] * start[2]),
            Unflatten(start),
            residual_images(output_shape, channels, activation, blocks),
        )


def residual_images(
    output_shape: Sequence[int], channels: Sequence[int], activation: str = "relu", blocks: int = 1
) -> nn.Sequential:
    """The convolutions of :class:`ResidualDecoder`: maps of the last width → (B, C, H, W)."""
    heights, widths = (halvings(side, len(channels)) for side in output_shape[1:])
    outputs = [output_shape[0], *channels[:-1]]
    layers: list[nn.Module] = []
    for level in reversed(range(len(channels))):
        layers += [ResidualBlock(channels[level], activation) for _ in range(blocks)]
        padding = (1 - heights[level] % 2, 1 - widths[level] % 2)
        layers += [
            make_activation(activation),
            nn.ConvTranspose2d(channels[level], outputs[level], 3, 2, 1, padding),
        ]
    return nn.Sequential(*layers)

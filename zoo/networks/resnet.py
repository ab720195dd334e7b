"""Residual networks for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.networks.mlp import make_activation
from zoo.networks.normalization import image_norm, removes_bias


class ResidualBlock(nn.Module):
    """y = φ(F(x) + S x): F two 3×3 convolutions with norms, S the identity or a 1×1 convolution.

    Shapes: (B, C_in, H, W) → (B, C_out, ⌈H/stride⌉, ⌈W/stride⌉).

    Source: He et al., Deep residual learning for image recognition, 2016, section 3.3.
    """

    def __init__(
        self, fan_in: int, width: int, stride: int, activation: str, normalization: str
    ) -> None:
        super().__init__()
        bias = not removes_bias(normalization, image=True)
        self.residual = nn.Sequential(
            nn.Conv2d(fan_in, width, 3, stride, 1, bias=bias),
            *image_norm(normalization, width),
            make_activation(activation),
            nn.Conv2d(width, width, 3, 1, 1, bias=bias),
            *image_norm(normalization, width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or fan_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(fan_in, width, 1, stride, bias=bias), *image_norm(normalization, width)
            )
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


class ResNet(nn.Sequential):
    """A 3×3 convolution and stages of residual blocks; each stage after the first halves the image.

    Args:
        channels: of the input.
        widths: channels of each stage, default (16, 32, 64).
        blocks: residual blocks per stage, one number for all or one for each; default 3, which
            with three stages is the paper's ResNet-20.
        stem_stride: of the first convolution, default 1.
        activation: default ``relu``.
        normalization: default ``batch``.

    Shapes: (B, channels, H, W) → (B, widths[-1], ⌈H/2^(stages−1)⌉, …).

    Source: He et al. 2016, section 4.2 (with 1×1 convolutions as shortcuts where shapes change).
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (16, 32, 64),
        blocks: int | Sequence[int] = 3,
        stem_stride: int = 1,
        activation: str = "relu",
        normalization: str = "batch",
    ) -> None:
        counts = [blocks] * len(widths) if isinstance(blocks, int) else list(blocks)
        if len(counts) != len(widths):
            raise ValueError(f"blocks has {len(counts)} values for {len(widths)} stages")
        bias = not removes_bias(normalization, image=True)
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 3, stem_stride, 1, bias=bias),
            *image_norm(normalization, widths[0]),
            make_activation(activation),
        ]
        fan_in = widths[0]
        for stage, (width, count) in enumerate(zip(widths, counts, strict=True)):
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(ResidualBlock(fan_in, width, stride, activation, normalization))
                fan_in = width
        super().__init__(*layers)

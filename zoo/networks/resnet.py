"""Residual network for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.networks.mlp import expand_per_layer, make_activation
from zoo.networks.normalization import cancels_bias, make_image_norm


class BasicBlock(nn.Module):
    """Residual block y = φ(F(x) + S(x)): F is two 3×3 convolutions, each with a normalization.

    The shortcut S is the identity, or a 1×1 convolution with normalization if the shape changes.

    Args:
        in_channels: channels of the input.
        width: channels of the output.
        stride: stride of the first convolution and of the shortcut.
        activation: nonlinearity φ.
        normalization: ``none``, ``batch``, ``layer``, ``instance`` or ``group``.

    Shapes: (B, in_channels, H, W) → (B, width, ⌈H/stride⌉, ⌈W/stride⌉).

    Source: He et al., Deep residual learning for image recognition, 2016, section 3.3.
    """

    def __init__(
        self, in_channels: int, width: int, stride: int, activation: str, normalization: str
    ) -> None:
        super().__init__()
        bias = not cancels_bias(normalization, is_image=True)
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, stride, 1, bias=bias),
            *make_image_norm(normalization, width),
            make_activation(activation),
            nn.Conv2d(width, width, 3, 1, 1, bias=bias),
            *make_image_norm(normalization, width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, width, 1, stride, bias=bias),
                *make_image_norm(normalization, width),
            )
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


class ResNetFeatures(nn.Sequential):
    """A 3×3 convolution and stages of :class:`BasicBlock`: the feature maps of a ResNet.

    Every stage after the first halves the image.

    Args:
        channels: channels of the input.
        widths: channels of each stage, default (16, 32, 64).
        blocks: number of residual blocks of each stage, one value for all stages or one for each;
            default 3, which with three stages is the paper's ResNet-20.
        stem_stride: stride of the first convolution, default 1.
        activation: nonlinearity, default ``relu``.
        normalization: ``none``, ``batch`` (default), ``layer``, ``instance`` or ``group``.

    Shapes: (B, channels, H, W) → (B, widths[-1], ⌈H/s⌉, ⌈W/s⌉), s = stem_stride · 2^(stages−1).

    Raises:
        InputError: unknown names; a sequence of blocks that does not have one value for each stage.

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
        depths = expand_per_layer("blocks", blocks, len(widths), "stages")
        bias = not cancels_bias(normalization, is_image=True)
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 3, stem_stride, 1, bias=bias),
            *make_image_norm(normalization, widths[0]),
            make_activation(activation),
        ]
        in_channels = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(in_channels, width, stride, activation, normalization))
                in_channels = width
        super().__init__(*layers)

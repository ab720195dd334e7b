"""A configurable stack of convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.errors import InputError, check_choice, check_non_negative
from zoo.networks.mlp import expand_per_layer, make_activation
from zoo.networks.normalization import cancels_bias, make_image_norm
from zoo.networks.shapes import check_image_shape, infer_output_shape

PADDINGS = ("valid", "same", "full")
PADDING_MODES = ("zeros", "circular")
POOLINGS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class ConvStack(nn.Sequential):
    """Convolutional layers h ← dropout(φ(norm(pool(W ∗ h + b)))): feature maps of an image.

    Pooling comes first, so with 2×2 pooling the normalization and the nonlinearity work on a
    quarter of the pixels; with only max pooling and ReLU, the order makes no difference. b is
    omitted where the normalization cancels it. Settings of a layer may be one value for all layers
    or one for each.

    Args:
        input_shape: shape of one image, (C, H, W).
        channels: output channels of each convolution.
        kernel_size: side of the kernels in pixels, default 3.
        stride: stride of the convolutions, default 1.
        padding: ``valid`` (none), ``same`` (default; (k−1)/2 on each side, odd k), ``full`` (k−1
            on each side), or the number of pixels on each side.
        padding_mode: ``zeros`` (default) or ``circular``.
        pooling: ``max`` (default) or ``avg``.
        pool_size: side and stride of the pooling windows, default 2; 1 for no pooling.
        normalization: ``none`` (default), ``batch``, ``layer``, ``instance`` or ``group``.
        activation: nonlinearity φ, default ``relu``.
        dropout: probability that a whole feature map is dropped, default 0.

    Attributes:
        output_shape: shape of the last feature map, (C, H, W).

    Shapes: (B, C, H, W) → (B, *output_shape).

    Raises:
        InputError: samples that are not images, or images too small for the layers; unknown names;
            a sequence of settings that does not have one for each layer.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int],
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[str | int] = "same",
        padding_mode: str = "zeros",
        pooling: str = "max",
        pool_size: int | Sequence[int] = 2,
        normalization: str = "none",
        activation: str = "relu",
        dropout: float | Sequence[float] = 0.0,
    ) -> None:
        check_image_shape(input_shape)
        check_choice("pooling", pooling, POOLINGS)
        check_choice("padding_mode", padding_mode, PADDING_MODES)
        count = len(channels)
        kernel_sizes = expand_per_layer("kernel_size", kernel_size, count)
        strides = expand_per_layer("stride", stride, count)
        paddings = expand_per_layer("padding", padding, count)
        pool_sizes = expand_per_layer("pool_size", pool_size, count)
        rates = expand_per_layer("dropout", dropout, count)
        bias = not cancels_bias(normalization, is_image=True)
        layers: list[nn.Module] = []
        in_channels = input_shape[0]
        for i, width in enumerate(channels):
            pixels = padding_in_pixels(paddings[i], kernel_sizes[i])
            layers.append(
                nn.Conv2d(
                    in_channels, width, kernel_sizes[i], strides[i], pixels, bias=bias,
                    padding_mode=padding_mode,  # type: ignore[arg-type]
                )
            )  # fmt: skip
            if pool_sizes[i] > 1:
                layers.append(POOLINGS[pooling](pool_sizes[i]))
            layers += [*make_image_norm(normalization, width), make_activation(activation)]
            if rates[i]:
                layers.append(nn.Dropout2d(rates[i]))
            in_channels = width
        super().__init__(*layers)
        try:
            self.output_shape = infer_output_shape(self, input_shape)
        except RuntimeError as error:
            raise InputError(
                f"images of {input_shape[1]}×{input_shape[2]} pixels are too small for these "
                f"layers: shorten channels={tuple(channels)}, or choose a smaller kernel_size or "
                "pool_size, or more padding"
            ) from error


def padding_in_pixels(padding: str | int, kernel_size: int) -> int:
    """Return the number of pixels added on each side.

    Args:
        padding: ``valid``, ``same``, ``full`` or the number itself; see :class:`ConvStack`.
        kernel_size: side of the kernel in pixels.

    Raises:
        InputError: unknown name; a negative number; ``same`` with an even kernel.
    """
    if isinstance(padding, int):
        check_non_negative(padding=padding)
        return padding
    check_choice("padding", padding, PADDINGS)
    if padding == "same" and kernel_size % 2 == 0:
        raise InputError(f"padding 'same' needs an odd kernel_size, got {kernel_size}")
    return {"valid": 0, "same": kernel_size // 2, "full": kernel_size - 1}[padding]


class GlobalPool(nn.Module):
    """Mean or maximum of each feature map: (B, C, H, W) → (B, C), for any H and W.

    Args:
        pooling: ``avg`` or ``max``.

    Raises:
        InputError: unknown pooling.
    """

    def __init__(self, pooling: str) -> None:
        super().__init__()
        check_choice("pooling", pooling, POOLINGS)
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3)) if self.pooling == "max" else x.mean((2, 3))

    def extra_repr(self) -> str:
        return self.pooling

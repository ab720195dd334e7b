"""A configurable stack of convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.networks.mlp import make_activation
from zoo.networks.normalization import image_norm, removes_bias

PADDINGS = ("valid", "same", "full")
POOLINGS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class ConvStack(nn.Sequential):
    """Layers h ← dropout(φ(norm(pool(W ∗ h + b)))): feature maps of an image.

    Pooling comes first: the nonlinearity and the norm then work on a quarter of the pixels, and
    with ReLU and max pooling alone the order makes no difference. b is left out where the
    normalisation removes it. Every setting of a layer may be one value for all or one for each.

    Args:
        input_shape: (C, H, W).
        channels: after each convolution.
        kernel_size: side in pixels, default 3.
        stride: default 1.
        padding: ``valid`` (none), ``same`` (default; (k−1)/2 on each side, odd k), ``full`` (k−1
            on each side), or pixels on each side.
        padding_mode: ``zeros`` (default) or ``circular``.
        pooling: ``max`` (default) or ``avg``.
        pool_size: side and stride of the pooling, default 2; 1 for none.
        normalization: see :mod:`zoo.networks.normalization`, default ``none``.
        activation: name of φ, default ``relu``.
        dropout: probability by which a whole feature map is dropped, default 0.

    Attributes:
        output_shape: (C, H, W) of the last feature map.

    Shapes: (B, C, H, W) → (B, *output_shape).

    Raises:
        ValueError: no image; unknown names; an image that is too small for the layers.
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
        if len(input_shape) != 3:
            raise ValueError(
                "a convolutional network needs images (channels, height, width), "
                f"got {tuple(input_shape)}"
            )
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}; choose from {', '.join(POOLINGS)}")
        if padding_mode not in ("zeros", "circular"):
            raise ValueError(f"unknown padding_mode {padding_mode!r}; choose from zeros, circular")
        count = len(channels)
        kernels = per_layer("kernel_size", kernel_size, count)
        strides = per_layer("stride", stride, count)
        edges = per_layer("padding", padding, count)
        pools = per_layer("pool_size", pool_size, count)
        rates = per_layer("dropout", dropout, count)
        bias = not removes_bias(normalization, image=True)
        layers: list[nn.Module] = []
        width = input_shape[0]
        for i, out in enumerate(channels):
            margin = resolve_padding(edges[i], kernels[i])
            layers.append(
                nn.Conv2d(
                    width, out, kernels[i], strides[i], margin, bias=bias,
                    padding_mode=padding_mode,  # type: ignore[arg-type]
                )
            )  # fmt: skip
            if pools[i] > 1:
                layers.append(POOLINGS[pooling](pools[i]))
            layers += [*image_norm(normalization, out), make_activation(activation)]
            if rates[i]:
                layers.append(nn.Dropout2d(rates[i]))
            width = out
        super().__init__(*layers)
        self.output_shape = output_shape(self, input_shape)


def per_layer(name: str, value: Any, count: int) -> list[Any]:
    """One value for all layers, or one for each, as a list.

    Raises:
        ValueError: neither one nor ``count`` values.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} values for {count} layers")
    return list(value)


def resolve_padding(name: str | int, kernel: int) -> int:
    """Pixels added on each side."""
    if isinstance(name, int):
        if name < 0:
            raise ValueError(f"padding must not be negative, got {name}")
        return name
    if name not in PADDINGS:
        raise ValueError(f"unknown padding {name!r}; choose from {', '.join(PADDINGS)}")
    if name == "same" and kernel % 2 == 0:
        raise ValueError(f"padding 'same' needs an odd kernel_size, got {kernel}")
    return {"valid": 0, "same": kernel // 2, "full": kernel - 1}[name]


def output_shape(network: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of one output, found by trying.

    Raises:
        ValueError: the input is too small for the layers.
    """
    modes = {m: m.training for m in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            output: Tensor = network(torch.zeros(1, *input_shape))
    except RuntimeError as error:
        raise ValueError(
            f"images of {input_shape[1]}×{input_shape[2]} pixels are too small for these layers: "
            "give fewer channels, a smaller kernel_size or pool_size, or other padding"
        ) from error
    for module, mode in modes.items():
        module.training = mode
    return tuple(output.shape[1:])


class GlobalPool(nn.Module):
    """Mean or maximum of each feature map: (B, C, H, W) → (B, C), whatever H and W."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise ValueError(f"unknown pooling {kind!r}; choose from {', '.join(POOLINGS)}")
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3)) if self.kind == "max" else x.mean((2, 3))

    def extra_repr(self) -> str:
        return self.kind

"""Ensembles as one network: grouped convolutions and batched matrix products.

``torch.func.vmap`` can vectorize any architecture, but it rearranges the activations between
layers, which takes most of the time on a CPU. For chains of common layers, the functions here avoid
that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.networks.conv_stack import GlobalPool
from zoo.networks.mlp import ACTIVATIONS, ScaledSigmoid
from zoo.networks.normalization import Normalize

ELEMENTWISE = tuple(layer for layer in ACTIVATIONS.values() if layer is not ScaledSigmoid)
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
DROPOUTS = (nn.Dropout, nn.Dropout2d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
OTHER_LAYERS = (nn.Conv2d, nn.Linear, nn.Flatten, Normalize, GlobalPool)


@dataclass
class _Activations:
    """Activations of all members in one of three layouts.

    Attributes:
        values: the activations.
        layout: ``shared``: (B, …), the same for all members; ``channels``: (B, M·C, H, W), the
            members' channels side by side; ``stacked``: (M, B, F).
        members: number of members, M.
    """

    values: Tensor
    layout: str
    members: int

    def unshared(self) -> _Activations:
        """Return the same activations with a copy for each member."""
        if self.layout != "shared":
            return self
        if self.values.ndim == 4:
            copies = self.values.repeat(1, self.members, 1, 1)
            return _Activations(copies, "channels", self.members)
        return _Activations(self.stacked(), "stacked", self.members)

    def stacked(self) -> Tensor:
        """Return the values as (M, B, F)."""
        if self.layout == "stacked":
            return self.values
        if self.layout == "shared":
            return self.values.flatten(1).expand(self.members, -1, -1)
        return self.values.reshape(len(self.values), self.members, -1).transpose(0, 1)


def can_group(network: nn.Module) -> bool:
    """Return whether a network is a chain of layers that :func:`grouped_forward` supports."""
    if isinstance(network, nn.Sequential):
        return all(map(can_group, network))
    if isinstance(network, nn.Conv2d):
        return network.groups == 1
    if isinstance(network, BATCH_NORMS):
        return network.track_running_stats and network.momentum is not None
    return isinstance(network, (*ELEMENTWISE, *POOLS, *DROPOUTS, *OTHER_LAYERS))


def grouped_forward(networks: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Compute the outputs of all members for the same input, (B, …) → (M, B, F).

    Gradients reach the parameters of each member, and batch normalization updates its buffers.

    Args:
        networks: M networks of one architecture that ``can_group`` accepts and that ends with a
            linear layer.
        x: input of every member.
    """
    h = _Activations(x, "shared", len(networks))
    rest = list(zip(*(_flat_layers(network) for network in networks), strict=True))
    while rest:
        layers, *rest = rest
        if rest and _can_merge(layers[0], rest[0][0]):
            pools, *rest = rest
            h = _Activations(_conv(layers, h, pools[0]), "channels", len(networks))
        else:
            h = _apply(layers, h)
    return h.stacked()


def _flat_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a network in order, those of nested ``nn.Sequential`` included."""
    if not isinstance(network, nn.Sequential):
        return [network]
    return [layer for part in network for layer in _flat_layers(part)]


def _apply(layers: Sequence[nn.Module], h: _Activations) -> _Activations:
    """Apply one layer of all members."""
    layer, members = layers[0], h.members
    if isinstance(layer, BATCH_NORMS) or (isinstance(layer, DROPOUTS) and layer.training):
        h = h.unshared()  # every member has its own statistics, and its own dropout mask
    x = h.values
    if isinstance(layer, nn.Conv2d):
        return _Activations(_conv(layers, h), "channels", members)
    if isinstance(layer, nn.Linear):
        return _Activations(_linear(layers, h), "stacked", members)
    if isinstance(layer, BATCH_NORMS):
        if h.layout == "stacked":
            flat = _batch_norm(layers, x.transpose(0, 1).flatten(1))  # (B, M·F)
            x = flat.unflatten(1, (members, -1)).transpose(0, 1)
            return _Activations(x, "stacked", members)
        return _Activations(_batch_norm(layers, x), h.layout, members)
    if isinstance(layer, nn.Flatten):
        if h.layout == "shared":
            return _Activations(x.flatten(1), "shared", members)
        return _Activations(h.stacked(), "stacked", members)
    if isinstance(layer, GlobalPool):
        pooled = _Activations(layer(x), h.layout, members)
        return _Activations(pooled.stacked(), "stacked", members)
    return _Activations(layer(x), h.layout, members)


def _can_merge(layer: nn.Module, following: nn.Module) -> bool:
    """Return whether a convolution and the average pooling after it equal one convolution.

    The mean of neighboring outputs is the output of the mean of shifted kernels.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and isinstance(following, nn.AvgPool2d)
        and {*layer.stride, *layer.dilation} == {1}
        and not isinstance(layer.padding, str)
        and isinstance(following.kernel_size, int)
        and (following.padding, following.ceil_mode, following.divisor_override) == (0, False, None)
    )


def _conv(layers: Sequence[nn.Module], h: _Activations, pool: nn.Module | None = None) -> Tensor:
    """Apply a convolution of all members, merged with the average pooling after it if given.

    Merging avoids the feature maps before the pooling, the largest tensors of a training step.
    """
    first: nn.Conv2d = layers[0]  # type: ignore[assignment]
    weight = torch.cat([layer.weight for layer in layers])  # type: ignore[misc]
    bias = None if first.bias is None else torch.cat([layer.bias for layer in layers])  # type: ignore[misc]
    x, padding = h.values, first.padding
    stride: int | tuple[int, ...] = first.stride
    if isinstance(pool, nn.AvgPool2d):
        side, stride = int(pool.kernel_size), pool.stride  # type: ignore[arg-type]
        weight = F.avg_pool2d(F.pad(weight, [side - 1] * 4), side, stride=1)
    if first.padding_mode == "circular":
        x = F.pad(x, first._reversed_padding_repeated_twice, mode="circular")
        padding = (0, 0)
    # Grouped convolutions and pooling are two to three times as fast with the channels last. With a
    # single channel, torch recognizes that layout only by its strides.
    x = x.contiguous(memory_format=torch.channels_last)
    channels, height, width = x.shape[1:]
    x = x.as_strided(x.shape, (height * width * channels, 1, width * channels, channels))
    groups = 1 if h.layout == "shared" else h.members
    return F.conv2d(x, weight, bias, stride, padding, first.dilation, groups)


def _linear(layers: Sequence[nn.Module], h: _Activations) -> Tensor:
    """Apply a linear layer of all members, → (M, B, F)."""
    weight = torch.stack([layer.weight for layer in layers])  # type: ignore[misc]
    if h.layout == "shared":
        flat = h.values @ weight.flatten(0, 1).mT  # (B, M·F)
        y = flat.unflatten(1, (h.members, -1)).transpose(0, 1)
    else:
        y = h.stacked() @ weight.mT
    if layers[0].bias is None:
        return y
    return y + torch.stack([layer.bias for layer in layers])[:, None]  # type: ignore[misc]


def _batch_norm(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Apply batch normalization to (B, M·C, …) and update the running statistics of all members."""
    first: nn.BatchNorm2d = layers[0]  # type: ignore[assignment]
    weight, bias, mean, var = (
        torch.cat([getattr(layer, name) for layer in layers])
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    x = F.batch_norm(x, mean, var, weight, bias, first.training, first.momentum or 0.0, first.eps)
    if first.training:
        size = first.num_features
        for index, layer in enumerate(layers):
            part = slice(index * size, (index + 1) * size)
            layer.running_mean.copy_(mean[part])  # type: ignore[operator]
            layer.running_var.copy_(var[part])  # type: ignore[operator]
            layer.num_batches_tracked += 1  # type: ignore[operator, assignment]
    return x

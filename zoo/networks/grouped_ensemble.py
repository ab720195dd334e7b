"""Several networks of one architecture as one: convolutions by groups, matrices in batches.

What ``torch.func.vmap`` does for any network, these rules do for chains of common layers without
moving the data between layers, which on a CPU is most of the time.
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

POINTWISE = tuple(kind for kind in ACTIVATIONS.values() if kind is not ScaledSigmoid)
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
DROPOUTS = (nn.Dropout, nn.Dropout2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
OTHERS = (nn.Conv2d, nn.Linear, nn.Flatten, Normalize, GlobalPool)


@dataclass
class _State:
    """Activations of all members, in one of three forms.

    ``shared``: (B, …), the same for all; ``channels``: (B, M·C, H, W), the members' channels side
    by side; ``stacked``: (M, B, F).
    """

    values: Tensor
    form: str
    members: int

    def apart(self) -> _State:
        """The same with values of their own for each member."""
        if self.form != "shared":
            return self
        if self.values.ndim == 4:
            return _State(self.values.repeat(1, self.members, 1, 1), "channels", self.members)
        return _State(self.stacked(), "stacked", self.members)

    def stacked(self) -> Tensor:
        """As (M, B, F)."""
        if self.form == "stacked":
            return self.values
        if self.form == "shared":
            return self.values.flatten(1).expand(self.members, -1, -1)
        return self.values.reshape(len(self.values), self.members, -1).transpose(0, 1)


def can_group(network: nn.Module) -> bool:
    """Whether a network is a chain of layers that :func:`grouped_forward` knows."""
    if isinstance(network, nn.Sequential):
        return all(map(can_group, network))
    if isinstance(network, nn.Conv2d):
        return network.groups == 1
    if isinstance(network, NORMS):
        return network.track_running_stats and network.momentum is not None
    return isinstance(network, (*POINTWISE, *POOLS, *DROPOUTS, *OTHERS))


def grouped_forward(networks: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Outputs of all members for the same input, (B, …) → (M, B, F).

    Gradients reach each member's own parameters, statistics of normalisation its own buffers.

    Args:
        networks: of one architecture, which ``can_group`` accepts and which ends in a linear layer.
        x: the input.
    """
    state = _State(x, "shared", len(networks))
    rest = list(zip(*(_chain(network) for network in networks), strict=True))
    while rest:
        layers, *rest = rest
        if rest and _merges(layers[0], rest[0][0]):
            pool, *rest = rest
            state = _State(_convolve(layers, state, pool[0]), "channels", len(networks))
        else:
            state = _apply(layers, state)
    return state.stacked()


def _chain(network: nn.Module) -> list[nn.Module]:
    if not isinstance(network, nn.Sequential):
        return [network]
    return [layer for part in network for layer in _chain(part)]


def _apply(layers: Sequence[nn.Module], state: _State) -> _State:
    """One layer of all members."""
    layer, members = layers[0], state.members
    if isinstance(layer, NORMS) or (isinstance(layer, DROPOUTS) and layer.training):
        state = state.apart()  # each member has its own statistics, and drops its own units
    h = state.values
    if isinstance(layer, nn.Conv2d):
        return _State(_convolve(layers, state), "channels", members)
    if isinstance(layer, nn.Linear):
        return _State(_linear(layers, state), "stacked", members)
    if isinstance(layer, NORMS):
        if state.form == "stacked":
            flat = h.transpose(0, 1).flatten(1)  # (B, M·F)
            flat = _batch_norm(layers, flat)
            return _State(flat.unflatten(1, (members, -1)).transpose(0, 1), "stacked", members)
        return _State(_batch_norm(layers, h), state.form, members)
    if isinstance(layer, nn.Flatten):
        if state.form == "shared":
            return _State(h.flatten(1), "shared", members)
        return _State(state.stacked(), "stacked", members)
    if isinstance(layer, GlobalPool):
        return _State(_State(layer(h), "channels", members).stacked(), "stacked", members)
    return _State(layer(h), state.form, members)


def _merges(layer: nn.Module, following: nn.Module) -> bool:
    """Whether the two are one convolution: the mean of its outputs is that of shifted kernels."""
    return (
        isinstance(layer, nn.Conv2d)
        and isinstance(following, nn.AvgPool2d)
        and {*layer.stride, *layer.dilation} == {1}
        and not isinstance(layer.padding, str)
        and isinstance(following.kernel_size, int)
        and (following.padding, following.ceil_mode, following.divisor_override) == (0, False, None)
    )


def _convolve(layers: Sequence[nn.Module], state: _State, pool: nn.Module | None = None) -> Tensor:
    """A convolution, together with the average pooling after it where there is one.

    The maps before the pooling, the largest tensors of a step, then never exist.
    """
    first: nn.Conv2d = layers[0]  # type: ignore[assignment]
    weight = torch.cat([layer.weight for layer in layers])  # type: ignore[misc]
    bias = None if first.bias is None else torch.cat([layer.bias for layer in layers])  # type: ignore[misc]
    h, padding = state.values, first.padding
    stride: int | tuple[int, ...] = first.stride
    if isinstance(pool, nn.AvgPool2d):
        side, stride = int(pool.kernel_size), pool.stride  # type: ignore[arg-type]
        weight = F.avg_pool2d(F.pad(weight, [side - 1] * 4), side, stride=1)
    if first.padding_mode == "circular":
        h = F.pad(h, first._reversed_padding_repeated_twice, mode="circular")
        padding = (0, 0)
    # grouped kernels and pooling are two to three times as fast with the channels last; with one
    # channel torch cannot tell the layouts apart unless the strides say so
    h = h.contiguous(memory_format=torch.channels_last)
    channels, height, width = h.shape[1:]
    h = h.as_strided(h.shape, (height * width * channels, 1, width * channels, channels))
    groups = 1 if state.form == "shared" else state.members
    return F.conv2d(h, weight, bias, stride, padding, first.dilation, groups)


def _linear(layers: Sequence[nn.Module], state: _State) -> Tensor:
    weight = torch.stack([layer.weight for layer in layers])  # type: ignore[misc]
    if state.form == "shared":
        flat = state.values @ weight.flatten(0, 1).mT  # (B, M·O)
        h = flat.unflatten(1, (state.members, -1)).transpose(0, 1)
    else:
        h = state.stacked() @ weight.mT
    if layers[0].bias is None:
        return h
    return h + torch.stack([layer.bias for layer in layers])[:, None]  # type: ignore[misc]


def _batch_norm(layers: Sequence[nn.Module], h: Tensor) -> Tensor:
    """Batch normalisation of (B, M·C, …); the running statistics go back to their owners."""
    first: nn.BatchNorm2d = layers[0]  # type: ignore[assignment]
    weight, bias, mean, var = (
        torch.cat([getattr(layer, name) for layer in layers])
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    h = F.batch_norm(h, mean, var, weight, bias, first.training, first.momentum or 0.0, first.eps)
    if first.training:
        size = first.num_features
        for index, layer in enumerate(layers):
            part = slice(index * size, (index + 1) * size)
            layer.running_mean.copy_(mean[part])  # type: ignore[operator]
            layer.running_var.copy_(var[part])  # type: ignore[operator]
            layer.num_batches_tracked += 1  # type: ignore[operator, assignment]
    return h

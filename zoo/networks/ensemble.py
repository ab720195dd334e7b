"""Vectorized forward passes of an ensemble, and passes with random dropout masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class _MethodCall(nn.Module):
    """Module whose ``forward`` is another module's method, as ``functional_call`` requires."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.module, self.method)(x)


def vmap_members(
    members: Sequence[nn.Module] | nn.ModuleList, x: Tensor, method: str = "forward"
) -> Tensor:
    """Compute the outputs of all members for the same input in one vectorized pass.

    Gradients reach the parameters of each member, and batch normalization updates its buffers.

    Args:
        members: M modules of one architecture, all in training or all in evaluation mode.
        x: input of every member, (B, ...).
        method: name of the members' method that computes the outputs, default ``forward``.

    Returns:
        Outputs, (M, B, ...).
    """
    calls = [_MethodCall(member, method) for member in members]
    if len(calls) == 1:
        return calls[0](x)[None]
    parameters = _stack([dict(call.named_parameters()) for call in calls])
    buffers = _stack([dict(call.named_buffers()) for call in calls])

    def run_member(parameters: Any, buffers: Any) -> Tensor:
        return functional_call(calls[0], (parameters, buffers), (x,))

    outputs = vmap(run_member, randomness="different")(parameters, buffers)
    if members[0].training:
        for index, call in enumerate(calls):
            for name, buffer in call.named_buffers():
                buffer.copy_(buffers[name][index])
    return outputs


def _stack(tensors: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([t[name] for t in tensors]) for name in tensors[0]}


def forward_with_dropout(
    network: nn.Module,
    x: Tensor,
    passes: int,
    layer_types: tuple[type[nn.Module], ...],
    seed: int,
    method: str = "forward",
) -> Tensor:
    """Compute the outputs of several passes with random dropout masks.

    All other layers stay in evaluation mode. The global random state does not change.

    Args:
        network: network in evaluation mode.
        x: input of every pass, (B, ...).
        passes: number of passes.
        layer_types: classes of dropout layers.
        seed: random seed of the dropout masks.
        method: name of the network's method that computes the outputs, default ``forward``.

    Returns:
        Outputs, (passes, B, ...).
    """
    devices = [x.device] if x.is_cuda else []
    with _training_mode(network, layer_types), torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        return torch.stack([getattr(network, method)(x) for _ in range(passes)])


@contextmanager
def _training_mode(network: nn.Module, layer_types: tuple[type[nn.Module], ...]) -> Iterator[None]:
    """Put layers of some types in training mode for the duration of the context."""
    layers = [m for m in network.modules() if isinstance(m, layer_types)]
    modes = [m.training for m in layers]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode

"""Several networks of one architecture in one computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class _Method(nn.Module):
    """A method of a module as a module of its own, for ``functional_call``."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.module, self.name)(x)


def vmap_members(
    members: Sequence[nn.Module] | nn.ModuleList, x: Tensor, method: str = "forward"
) -> Tensor:
    """Outputs of all members for the same input, (B, ...) → (M, B, ...), in one vectorised pass.

    Gradients reach each member's own parameters, statistics of normalisation its own buffers.

    Args:
        members: of one architecture, all in training or all in evaluation mode.
        x: the input.
        method: of the members, which gives their outputs.
    """
    calls = [_Method(member, method) for member in members]
    if len(calls) == 1:
        return calls[0](x)[None]
    parameters = _stack([dict(c.named_parameters()) for c in calls])
    buffers = _stack([dict(c.named_buffers()) for c in calls])

    def one(weights: Any, statistics: Any) -> Tensor:
        return functional_call(calls[0], (weights, statistics), (x,))

    outputs = vmap(one, randomness="different")(parameters, buffers)
    if members[0].training:
        for index, call in enumerate(calls):
            for name, buffer in call.named_buffers():
                buffer.copy_(buffers[name][index])
    return outputs


def _stack(tensors: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([t[name] for t in tensors]) for name in tensors[0]}


def stochastic_passes(
    network: nn.Module,
    x: Tensor,
    passes: int,
    kinds: tuple[type[nn.Module], ...],
    seed: int,
    method: str = "forward",
) -> Tensor:
    """Outputs of several passes with random masks, (B, ...) → (passes, B, ...).

    Everything but dropout stays in evaluation mode; the global random state is left as it was.

    Args:
        network: in evaluation mode.
        x: the input.
        passes: how many.
        kinds: classes of layers that drop.
        seed: of the masks.
        method: of the network, which gives its outputs.
    """
    devices = [x.device] if x.is_cuda else []
    with _training(network, kinds), torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        return torch.stack([getattr(network, method)(x) for _ in range(passes)])


@contextmanager
def _training(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[None]:
    """Layers of some kinds in training mode; afterwards every one as it was."""
    layers = [m for m in network.modules() if isinstance(m, kinds)]
    modes = [m.training for m in layers]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode

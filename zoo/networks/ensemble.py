"""Vectorized forward passes of an ensemble, and passes with random dropout masks."""

from __future__ import annotations

from collections.abc import Sequence
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

    The masks of a pass are the same for all samples: each pass is one network with some of its
    units left out, and the output for a sample depends neither on the rest of the batch nor on the
    device. All layers stay in evaluation mode, and the global random state does not change.

    Args:
        network: network in evaluation mode.
        x: input of every pass, (B, ...).
        passes: number of passes.
        layer_types: classes of dropout layers.
        seed: random seed of the dropout masks.
        method: name of the network's method that computes the outputs, default ``forward``.

    Returns:
        Outputs, (passes, B, ...).

    Source: Kirsch et al., BatchBALD, 2019, section 5 (consistent MC dropout).
    """
    layers = [m for m in network.modules() if isinstance(m, layer_types)]
    hooks = [layer.register_forward_hook(_drop_units) for layer in layers]
    try:
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            return torch.stack([getattr(network, method)(x) for _ in range(passes)])
    finally:
        for hook in hooks:
            hook.remove()


def _drop_units(layer: nn.Module, inputs: tuple[Tensor], x: Tensor) -> Tensor:
    """Apply a dropout layer to its input, which it returns in evaluation mode, (B, ...).

    For a given mask, every kind of dropout is an affine map of each unit. Its offset and slope come
    from passing zeros and ones through the layer in training mode, on the CPU.
    """
    zeros, state = torch.zeros(1, *x.shape[1:]), torch.get_rng_state()
    layer.training = True
    offset = layer.forward(zeros)
    torch.set_rng_state(state)
    slope = layer.forward(torch.ones_like(zeros)) - offset
    layer.training = False
    return x * slope.to(x) + offset.to(x)

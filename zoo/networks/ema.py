"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from zoo.errors import check_probability


class EMA(nn.Module):
    """Copy of a network whose weights are an exponential moving average: w̄ ← β w̄ + (1 − β) w.

    β rises with the number of steps t, min(decay, (1 + t)/(10 + t)), so the initial weights are
    soon forgotten. The averaged weights are buffers: checkpoints contain them, but optimizers,
    penalties and parameter counts do not. Buffers of the network are copied, not averaged. The copy
    is always in evaluation mode.

    Args:
        network: network to average; it is copied.
        decay: largest β, default 0.999; with 0 the average is always the current weights.

    Raises:
        InputError: a decay outside [0, 1).

    Source: Yazıcı et al., The unusual effectiveness of averaging in GAN training, 2019; β rises as
    in TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        check_probability(decay=decay)
        self.decay = decay
        self.network = copy.deepcopy(network).eval()
        for module in self.network.modules():
            for name, p in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, p.detach().clone())

    def train(self, mode: bool = True) -> EMA:
        return super().train(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average with the weights of ``network``.

        Args:
            network: network with the same parameters and buffers as the copied one.
            step: number of earlier updates, t.
        """
        averages = dict(self.network.named_buffers())
        weights = dict(network.named_parameters())
        beta = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([averages[name] for name in weights], list(weights.values()), 1 - beta)
        for name, value in network.named_buffers():
            averages[name].copy_(value)

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def extra_repr(self) -> str:
        return f"decay={self.decay}"

"""A network that follows another one."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class EMA(nn.Module):
    """The running mean of a network's weights: w̄ ← β w̄ + (1 − β) w after each step.

    β rises with the steps t, min(decay, (1 + t)/(10 + t)), so that the first weights are soon
    forgotten. Its weights are buffers: no optimiser, penalty or count of parameters meets them,
    checkpoints hold them. Buffers of the network are copied. It is always in evaluation mode.

    Args:
        network: to follow; copied.
        decay: largest β; 0 follows at once.

    Raises:
        ValueError: a decay outside [0, 1).

    Source: Yazıcı et al., The unusual effectiveness of averaging in GAN training, 2019; the rise of
    β is that of TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of an average must be in [0, 1), got {decay}")
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
        """Takes in the weights after step number ``step``, counted from 0."""
        mine = dict(self.network.named_buffers())
        theirs = dict(network.named_parameters())
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([mine[name] for name in theirs], list(theirs.values()), weight)
        for name, value in network.named_buffers():
            mine[name].copy_(value)

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def extra_repr(self) -> str:
        return f"decay={self.decay}"

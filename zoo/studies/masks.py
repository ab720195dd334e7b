"""A multi-layer perceptron with given dropout masks, and all masks that there are."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from zoo.networks.mlp import MLP


def masked(net: MLP, x: Tensor, masks: Tensor) -> Tensor:
    """Outputs of a ReLU network whose hidden units are multiplied by masks, layer after layer.

    Shapes: x (B, F), masks (M, units of all hidden layers) → (M, B, K).
    """
    h, start = x.expand(len(masks), *x.shape), 0
    for layer in net:
        h = layer(h) if not isinstance(layer, nn.Flatten) else h
        if isinstance(layer, nn.ReLU):
            width = h.shape[-1]
            h = h * masks[:, None, start : start + width]
            start += width
    return h


def all_masks(units: int, keep: float) -> tuple[Tensor, Tensor]:
    """All 2ⁿ masks of n units, (2ⁿ, n), and their probabilities where each stays with ``keep``."""
    masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)
    on = masks.sum(1)
    return masks, keep**on * (1 - keep) ** (units - on)

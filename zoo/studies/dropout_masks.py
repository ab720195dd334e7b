"""Averages of a small MLP over dropout masks: all of them, sampled ones, and scaled units."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from zoo.networks.mlp import MLP
from zoo.studies.base import make_generator

MASK_COUNTS = (1, 4, 16, 64, 256, 1024)  # K of the sampled masks


def masked_forward(net: MLP, x: Tensor, masks: Tensor) -> Tensor:
    """Return the outputs of a ReLU network whose hidden units are multiplied by masks.

    Args:
        net: the network.
        x: inputs, (B, F).
        masks: factors of the units of all hidden layers, layer after layer, (M, units).

    Shapes: → (M, B, K), for K outputs.
    """
    h, start = x.expand(len(masks), *x.shape), 0
    for layer in net:
        if isinstance(layer, nn.Flatten):
            continue  # it would flatten the dimension of the masks
        h = layer(h)
        if isinstance(layer, nn.ReLU):
            width = h.shape[-1]
            h = h * masks[:, None, start : start + width]
            start += width
    return h


def all_masks(units: int, keep_probability: float) -> tuple[Tensor, Tensor]:
    """Return all 2ⁿ masks of n units, (2ⁿ, n), and the probability of each, (2ⁿ,).

    Args:
        units: number of units, n.
        keep_probability: probability with which each unit is kept.
    """
    masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)
    kept = masks.sum(1)
    return masks, keep_probability**kept * (1 - keep_probability) ** (units - kept)


def random_network(hidden_dims: tuple[int, ...], seed: int) -> tuple[MLP, Tensor]:
    """Return a small network with normal weights, and 20 random inputs, in float64."""
    torch.manual_seed(seed)
    net = MLP([5, *hidden_dims, 3]).double()
    for p in net.parameters():
        torch.nn.init.normal_(p)
    return net, torch.randn(20, 5, dtype=torch.float64)


@torch.no_grad()
def scaling_differences(
    units: int, keep_probability: float, seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the largest differences between the scaled network and means over all masks, and the
    predictions of both."""
    differences: dict[str, Tensor] = {}
    predictions = {}
    for name, hidden in (("one layer", (units,)), ("two layers", (units // 2, units - units // 2))):
        net, x = random_network(hidden, seed)
        masks, weights = all_masks(units, keep_probability)
        weights = weights[:, None, None]
        logits = masked_forward(net, x, masks)  # (2ⁿ, B, K)
        scaled = masked_forward(net, x, torch.full((1, units), keep_probability, dtype=x.dtype))[0]
        log_p, scaled_p = logits.log_softmax(-1), scaled.softmax(-1)
        geometric = (weights * log_p).sum(0).softmax(-1)
        arithmetic = (weights * log_p.exp()).sum(0)
        differences |= {
            f"{name}: mean logits vs. scaled network": (weights * logits).sum(0) - scaled,
            f"{name}: geometric mean of predictions vs. scaled network": geometric - scaled_p,
            f"{name}: arithmetic mean of predictions vs. scaled network": arithmetic - scaled_p,
        }
        predictions[name] = geometric.flatten(), scaled_p.flatten()
    return {name: float(d.abs().max()) for name, d in differences.items()}, predictions


@torch.no_grad()
def sampling_errors(
    units: int, keep_probability: float, seed: int, repeats: int = 50
) -> tuple[Tensor, Tensor]:
    """Return the root mean square error of the mean prediction over K sampled masks, and the
    standard deviation between masks over √K."""
    net, x = random_network((units,), seed)
    masks, weights = all_masks(units, keep_probability)
    p = masked_forward(net, x, masks).softmax(-1)
    mean = (weights[:, None, None] * p).sum(0)
    variance = (weights[:, None, None] * (p - mean).square()).sum(0).mean()
    errors = []
    for count in MASK_COUNTS:
        chosen = torch.multinomial(weights, repeats * count, True, generator=make_generator(seed))
        means = p[chosen].unflatten(0, (repeats, count)).mean(1)
        errors.append((means - mean).square().mean().sqrt())
    return torch.stack(errors), (variance / torch.tensor(MASK_COUNTS, dtype=p.dtype)).sqrt()

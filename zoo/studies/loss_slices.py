"""The loss of a network as a function of its weights, and directions to walk in.

Source: Li et al., Visualizing the loss landscape of neural nets, 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

#: parameters by name
Weights = dict[str, Tensor]


class Losses:
    """The mean cross-entropy of a network, as a function of its weights."""

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor) -> None:
        self.network, self.x, self.y = network, x, y

    def outputs(self, weights: Weights) -> Tensor:
        return torch.func.functional_call(self.network, weights, (self.x,))

    def __call__(self, weights: Weights) -> Tensor:
        with torch.no_grad():
            return cross_entropy(self.outputs(weights), self.y)

    def grid(
        self, center: Weights, directions: list[Weights], first: Tensor, second: Tensor
    ) -> Tensor:
        """Losses at centre + a d₁ + b d₂, rows by b and columns by a."""
        rows = []
        for b in second:
            moved = {k: v + b * directions[1][k] for k, v in center.items()}
            rows.append(torch.stack([
                self({k: v + a * directions[0][k] for k, v in moved.items()}) for a in first
            ]))  # fmt: skip
        return torch.stack(rows)


def rescaled(weights: Weights, scale: float) -> Weights:
    """The same function: the first layer times c, the weights of the second divided by c."""
    matrices = [name for name, v in weights.items() if v.ndim == 2]
    bias = matrices[0].replace("weight", "bias")
    factors = {matrices[0]: scale, bias: scale, matrices[1]: 1 / scale}
    return {name: v * factors.get(name, 1.0) for name, v in weights.items()}


def filter_normalized(direction: Weights, weights: Weights) -> Weights:
    """d_f ‖w_f‖/‖d_f‖ for each unit's incoming weights; nothing along biases."""
    return {
        name: d * (weights[name].norm(dim=1) / d.norm(dim=1))[:, None]
        if d.ndim == 2
        else torch.zeros_like(d)
        for name, d in direction.items()
    }


def matrix_norm(weights: Weights) -> float:
    """Length of all matrices together."""
    return (
        float(torch.stack([v.square().sum() for v in weights.values() if v.ndim == 2]).sum()) ** 0.5
    )

"""Slices through the loss surface of a network: losses on a grid of weights.

Source: Li et al., Visualizing the loss landscape of neural nets, 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

#: parameters by name
Weights = dict[str, Tensor]


class LossSurface:
    """Mean cross-entropy of a classifier as a function of its weights.

    Args:
        network: the classifier; its own weights are not used.
        x: inputs, (N, …).
        y: class indices, (N,).
    """

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor) -> None:
        self.network, self.x, self.y = network, x, y

    def logits(self, weights: Weights) -> Tensor:
        """Return the logits of the network with the given weights, (N, K)."""
        return torch.func.functional_call(self.network, weights, (self.x,))

    def __call__(self, weights: Weights) -> Tensor:
        with torch.no_grad():
            return cross_entropy(self.logits(weights), self.y)

    def on_grid(
        self, center: Weights, directions: list[Weights], first: Tensor, second: Tensor
    ) -> Tensor:
        """Return the losses at center + a d₁ + b d₂ on a grid, one row per b, one column per a.

        Args:
            center: weights at a = b = 0.
            directions: d₁ and d₂.
            first: values of a.
            second: values of b.
        """
        rows = []
        for b in second:
            moved = {name: w + b * directions[1][name] for name, w in center.items()}
            rows.append(torch.stack([
                self({name: w + a * directions[0][name] for name, w in moved.items()})
                for a in first
            ]))  # fmt: skip
        return torch.stack(rows)


def rescale_layers(weights: Weights, scale: float) -> Weights:
    """Multiply a ReLU network's first layer by c and divide the second layer's weights by c.

    The network computes the same function as before.

    Args:
        weights: parameters of fully connected layers, in order, named ``….weight`` and ``….bias``.
        scale: the factor c, positive.
    """
    matrices = [name for name, w in weights.items() if w.ndim == 2]
    bias = matrices[0].replace("weight", "bias")
    factors = {matrices[0]: scale, bias: scale, matrices[1]: 1 / scale}
    return {name: w * factors.get(name, 1.0) for name, w in weights.items()}


def filter_normalized(direction: Weights, weights: Weights) -> Weights:
    """Return a direction scaled to the norms of the weights: d_f ‖w_f‖/‖d_f‖ for the incoming
    weights of every unit f, zero for biases."""
    return {
        name: d * (weights[name].norm(dim=1) / d.norm(dim=1))[:, None]
        if d.ndim == 2
        else torch.zeros_like(d)
        for name, d in direction.items()
    }


def matrix_norm(weights: Weights) -> float:
    """Return the L2 norm of all weight matrices together; biases do not count."""
    squares = [w.square().sum() for w in weights.values() if w.ndim == 2]
    return float(torch.stack(squares).sum()) ** 0.5

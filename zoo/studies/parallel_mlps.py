"""Networks with one hidden layer, of several widths and seeds, trained in parallel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ParallelMLPs(nn.Module):
    """MLPs with one hidden layer, W₂ relu(W₁ x + b₁) + b₂: ``num_seeds`` networks of each width.

    One weight matrix contains the hidden units of all networks, so that a single product computes
    them. Every network has outputs of its own, and the gradient of the sum of their losses trains
    each network independently.

    Args:
        in_features: inputs of each network.
        out_features: outputs of each network.
        widths: numbers of hidden units.
        num_seeds: networks of each width, with different initial weights.
        rng: random number generator of the initial weights: W₁ ~ N(0, 2/in_features),
            W₂ ~ N(0, 1/width), biases zero. Default torch's global one.

    Shapes: (B, in_features) → (len(widths), num_seeds, B, out_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        widths: Sequence[int],
        num_seeds: int,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.widths, self.num_seeds = tuple(widths), num_seeds
        units = num_seeds * sum(widths)
        first = torch.randn(units, in_features, generator=rng) * (2 / in_features) ** 0.5
        self.hidden_weight = nn.Parameter(first)
        self.hidden_bias = nn.Parameter(torch.zeros(units))
        self.output_weights = nn.ParameterList(
            torch.randn(num_seeds, width, out_features, generator=rng) / width**0.5
            for width in widths
        )
        self.output_bias = nn.Parameter(torch.zeros(len(widths), num_seeds, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(torch.addmm(self.hidden_bias, x, self.hidden_weight.mT))  # (B, units)
        by_width = hidden.split([self.num_seeds * width for width in self.widths], dim=1)
        outputs = [
            part.unflatten(1, (self.num_seeds, -1)).transpose(0, 1) @ weight  # (num_seeds, B, out)
            for part, weight in zip(by_width, self.output_weights, strict=True)
        ]
        return torch.stack(outputs) + self.output_bias

    @torch.no_grad()
    def error_rates(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the fraction of wrong predictions of each network, (len(widths), num_seeds).

        Args:
            x: inputs, (N, in_features).
            y: class indices, (N,).
        """
        return (self(x).argmax(-1) != y).float().mean(-1)

"""Networks of one hidden layer and of several widths, trained together as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Widths(nn.Module):
    """softmax scores W₂ relu(W₁ x + b₁) + b₂ of ``seeds`` networks of each width at once.

    All hidden units lie in one matrix, so that one product serves every network; each has outputs
    of its own. The sum of their losses trains each by itself.

    Args:
        in_features, out_features: of each network.
        widths: hidden units, one number for each size.
        seeds: networks of each size.
        generator: of the first weights: W₁ ~ N(0, 2/in), W₂ ~ N(0, 1/width), b = 0.

    Shapes: (B, in_features) → (len(widths), seeds, B, out_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        widths: Sequence[int],
        seeds: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.widths, self.seeds = tuple(widths), seeds
        units = seeds * sum(widths)
        first = torch.randn(units, in_features, generator=generator) * (2 / in_features) ** 0.5
        self.weight = nn.Parameter(first)
        self.bias = nn.Parameter(torch.zeros(units))
        self.outputs = nn.ParameterList(
            torch.randn(seeds, width, out_features, generator=generator) / width**0.5
            for width in widths
        )
        self.offsets = nn.Parameter(torch.zeros(len(widths), seeds, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(torch.addmm(self.bias, x, self.weight.mT))  # (B, all units)
        parts = hidden.split([self.seeds * width for width in self.widths], dim=1)
        scores = [
            part.unflatten(1, (self.seeds, -1)).transpose(0, 1) @ output  # (seeds, B, out)
            for part, output in zip(parts, self.outputs, strict=True)
        ]
        return torch.stack(scores) + self.offsets

"""Figures of language models, over all tokens and not over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class TokenMean(Metric):
    """Σ nll and the number of tokens it was taken over; base of the metrics below.

    Args of ``update``:
        nll: −log p of each target in nats, 0 where it does not count, (B, T).
        targets: tokens, negative where they do not count, (B, T).
    """

    full_state_update = False
    nats: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("nats", "count"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), "sum")

    def update(self, nll: Tensor, targets: Tensor) -> None:
        self.nats += nll.sum()
        self.count += self.units(targets[targets >= 0]).sum()

    def units(self, tokens: Tensor) -> Tensor:
        """What each of these tokens counts for."""
        return torch.ones_like(tokens)

    def compute(self) -> Tensor:
        return self.nats / self.count


class Perplexity(TokenMean):
    """exp(mean −log p) over all tokens."""

    def compute(self) -> Tensor:
        return super().compute().exp()


class BitsPerCharacter(TokenMean):
    """Σ −log₂ p over all tokens, divided by the characters that they stand for.

    Args:
        characters: of each token.
    """

    def __init__(self, characters: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("characters", torch.tensor(characters), persistent=False)

    def units(self, tokens: Tensor) -> Tensor:
        return self.get_buffer("characters")[tokens]

    def compute(self) -> Tensor:
        return super().compute() / math.log(2)

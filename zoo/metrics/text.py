"""Metrics of language models: means over all tokens, not over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class TokenMean(Metric):
    """Mean negative log-likelihood per token in nats; base class of the metrics below.

    Args of ``update``:
        nll: −log p of each target in nats, 0 for ignored targets, (B, T).
        targets: token ids, negative for ignored targets, (B, T).
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

    def units(self, token_ids: Tensor) -> Tensor:
        """Return the number of units that each token counts for: 1, or its characters."""
        return torch.ones_like(token_ids)

    def compute(self) -> Tensor:
        return self.nats / self.count


class Perplexity(TokenMean):
    """exp of the mean −log p over all tokens."""

    def compute(self) -> Tensor:
        return super().compute().exp()


class BitsPerCharacter(TokenMean):
    """Σ −log₂ p over all tokens, divided by the number of their characters.

    Args:
        characters_per_token: number of characters of each token of the vocabulary, (V,).
    """

    def __init__(self, characters_per_token: Sequence[int]) -> None:
        super().__init__()
        counts = torch.tensor(characters_per_token)
        self.register_buffer("characters_per_token", counts, persistent=False)

    def units(self, token_ids: Tensor) -> Tensor:
        return self.get_buffer("characters_per_token")[token_ids]

    def compute(self) -> Tensor:
        return super().compute() / math.log(2)

"""Pooling of token sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import check_choice

POOLINGS = ("mean", "max", "attention", "cls")


class SequencePooling(nn.Module):
    """Pooling of the tokens of each row into one vector; padding is ignored.

    Args:
        pooling: ``mean``; ``max``; ``attention``, a mean weighted by softmax(w·h) over the tokens
            with learned w; or ``cls``, the first token of the row, which must not be padding.
        dim: width of the tokens.

    Shapes: h (B, T, dim), token_mask (B, T) → (B, dim), zero for a row without tokens.

    Raises:
        InputError: unknown pooling.
    """

    def __init__(self, pooling: str, dim: int) -> None:
        super().__init__()
        check_choice("pooling", pooling, POOLINGS)
        self.pooling = pooling
        self.score = nn.Linear(dim, 1, bias=False) if pooling == "attention" else None

    def forward(self, h: Tensor, token_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return h[:, 0]
        is_empty = ~token_mask.any(1, keepdim=True)
        if self.pooling == "max":
            lowest = torch.finfo(h.dtype).min
            pooled = h.masked_fill(~token_mask[..., None], lowest).amax(1)
            return pooled.masked_fill(is_empty, 0.0)
        scores = h.new_zeros(token_mask.shape) if self.score is None else self.score(h)[..., 0]
        # a row without tokens keeps all scores, as a softmax over −∞ only would be nan
        weights = scores.masked_fill(~(token_mask | is_empty), -torch.inf).softmax(1)
        # padding may contain nan, which a weight of 0 would not remove
        pooled = (weights[..., None] * h.masked_fill(~token_mask[..., None], 0.0)).sum(1)
        return pooled.masked_fill(is_empty, 0.0)

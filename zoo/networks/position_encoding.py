"""What tells a transformer the order of its tokens: six schemes behind one interface."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.functional.attention import (
    alibi_slopes,
    relative_position_buckets,
    rotary_embedding,
    sinusoidal_encoding,
)


class NoPosition(nn.Module):
    """Nothing: an encoder treats its tokens as a set. The interface of all schemes.

    Args:
        dim: width of the tokens.
        heads: of the attention.
        length: longest sequence, where a scheme has such a limit.
        causal: whether keys never come after their query.
    """

    #: longest sequence that the scheme knows positions for; None where there is no end
    limit: int | None = None

    def __init__(self, dim: int, heads: int, length: int, causal: bool) -> None:
        super().__init__()

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Tokens (B, T, dim) with what their positions (T,) add."""
        return x

    def rotation(self, positions: Tensor) -> Tensor | None:
        """By how much queries and keys at these positions are turned; None for not at all."""
        return None

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """Added to the scores of queries at positions (T,) and keys at (S,): (heads, T, S)."""
        return None


class LearnedPositions(NoPosition):
    """x + e_position, one learned vector for each position up to ``length``."""

    def __init__(self, dim: int, heads: int, length: int, causal: bool) -> None:
        super().__init__(dim, heads, length, causal)
        self.limit = length
        self.embedding = nn.Embedding(length, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.embedding(positions)


class SinusoidalPositions(NoPosition):
    """x + α · :func:`~zoo.functional.attention.sinusoidal_encoding`; α is learned.

    It starts where the waves are as large as embeddings with standard deviation 0.02: with α = 1
    they would drown them (Li et al., Neural speech synthesis with transformer network, 2019,
    section 3.2).
    """

    def __init__(self, dim: int, heads: int, length: int, causal: bool) -> None:
        super().__init__(dim, heads, length, causal)
        self.scale = nn.Parameter(torch.tensor(0.02 * 2**0.5))

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.scale * sinusoidal_encoding(positions.to(x.dtype), x.shape[-1]).to(x)


class RelativeBias(NoPosition):
    """One learned number for each head and bucket of distances, added to the scores.

    All layers share it. Source: Raffel et al., T5, 2020, section 2.1.
    """

    buckets = 32

    def __init__(self, dim: int, heads: int, length: int, causal: bool) -> None:
        super().__init__(dim, heads, length, causal)
        self.causal = causal
        self.embedding = nn.Embedding(self.buckets, heads)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        distance = keys[None, :] - queries[:, None]
        buckets = relative_position_buckets(distance, self.buckets, causal=self.causal)
        return self.embedding(buckets).permute(2, 0, 1)


class ALiBi(NoPosition):
    """−slope · |query − key| added to the scores, the slope a constant of each head."""

    slopes: Tensor

    def __init__(self, dim: int, heads: int, length: int, causal: bool) -> None:
        super().__init__(dim, heads, length, causal)
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        distance = (queries[:, None] - keys[None, :]).abs()
        return -self.slopes[:, None, None] * distance


class Rotary(NoPosition):
    """Queries and keys turned by angles proportional to their positions.

    See :func:`zoo.functional.attention.apply_rotary_embedding`.
    """

    def __init__(self, dim: int, heads: int, length: int, causal: bool) -> None:
        super().__init__(dim, heads, length, causal)
        self.head_dim = dim // heads
        if self.head_dim % 2:
            raise ValueError(
                f"rotary positions turn pairs: dim / heads must be even, got {dim} / {heads}"
            )

    def rotation(self, positions: Tensor) -> Tensor:
        return rotary_embedding(positions, self.head_dim)


POSITIONS: dict[str, type[NoPosition]] = {
    "none": NoPosition,
    "learned": LearnedPositions,
    "sinusoidal": SinusoidalPositions,
    "t5": RelativeBias,
    "alibi": ALiBi,
    "rotary": Rotary,
}


def make_position(name: str, dim: int, heads: int, length: int, causal: bool) -> NoPosition:
    """The scheme called ``none``, ``learned``, ``sinusoidal``, ``t5``, ``alibi`` or ``rotary``.

    Raises:
        ValueError: unknown name; rotary heads of an odd width.
    """
    if name not in POSITIONS:
        raise ValueError(f"unknown position {name!r}; choose from {', '.join(POSITIONS)}")
    return POSITIONS[name](dim, heads, length, causal)


def position_vectors(position: NoPosition, length: int, dim: int) -> Tensor | None:
    """What the scheme adds to tokens at the first ``length`` positions, (length, dim), if it adds
    anything."""
    device = next((p.device for p in position.parameters()), torch.device("cpu"))
    count = length if position.limit is None else min(length, position.limit)
    nothing = torch.zeros(1, count, dim, device=device)
    vectors = position.embed(nothing, torch.arange(count, device=device))[0]
    return vectors if bool(vectors.any()) else None

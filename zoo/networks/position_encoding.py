"""Position encodings of a transformer: six schemes with one interface."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_choice
from zoo.functional.attention import (
    alibi_slopes,
    relative_position_buckets,
    rotary_embedding,
    sinusoidal_encoding,
)


class PositionEncoding(nn.Module):
    """Interface of all schemes, and the scheme ``none``, with which an encoder ignores order.

    Args:
        dim: width of the tokens.
        heads: number of attention heads.
        max_length: longest sequence, for schemes that have a limit.
        causal: whether a query attends only to keys at its own and earlier positions.

    Attributes:
        max_length: number of positions that the scheme can encode; None means any number.
    """

    max_length: int | None = None

    def __init__(self, dim: int, heads: int, max_length: int, causal: bool) -> None:
        super().__init__()

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return tokens (B, T, dim) with the embeddings of their positions (T,) added."""
        return x

    def rotation(self, positions: Tensor) -> Tensor | None:
        """Return the rotation of queries and keys at these positions; None for no rotation."""
        return None

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """Return the bias added to attention scores; None for no bias.

        Args:
            queries: positions of the queries, (T,).
            keys: positions of the keys, (S,).

        Returns:
            (heads, T, S).
        """
        return None


class LearnedPositions(PositionEncoding):
    """x + e_position, with a learned vector for each position up to ``max_length``."""

    def __init__(self, dim: int, heads: int, max_length: int, causal: bool) -> None:
        super().__init__(dim, heads, max_length, causal)
        self.max_length = max_length
        self.embedding = nn.Embedding(max_length, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.embedding(positions)


class SinusoidalPositions(PositionEncoding):
    """Fixed sinusoidal encodings with a learned scale: x + α · PE(position).

    PE is :func:`zoo.functional.attention.sinusoidal_encoding`. The initial α scales it to the size
    of token embeddings with standard deviation 0.02, which α = 1 would drown out (Li et al., Neural
    speech synthesis with transformer network, 2019, section 3.2).
    """

    def __init__(self, dim: int, heads: int, max_length: int, causal: bool) -> None:
        super().__init__(dim, heads, max_length, causal)
        self.scale = nn.Parameter(torch.tensor(0.02 * 2**0.5))

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.scale * sinusoidal_encoding(positions.to(x.dtype), x.shape[-1]).to(x)


class RelativeBias(PositionEncoding):
    """T5 relative position bias: a learned bias for each head and bucket of distances.

    All layers share it. Source: Raffel et al., T5, 2020, section 2.1.
    """

    buckets = 32

    def __init__(self, dim: int, heads: int, max_length: int, causal: bool) -> None:
        super().__init__(dim, heads, max_length, causal)
        self.causal = causal
        self.embedding = nn.Embedding(self.buckets, heads)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        distance = keys[None, :] - queries[:, None]
        buckets = relative_position_buckets(distance, self.buckets, causal=self.causal)
        return self.embedding(buckets).permute(2, 0, 1)


class ALiBi(PositionEncoding):
    """Attention with linear biases: −slope · |query − key|, with a constant slope for each head."""

    slopes: Tensor

    def __init__(self, dim: int, heads: int, max_length: int, causal: bool) -> None:
        super().__init__(dim, heads, max_length, causal)
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        distance = (queries[:, None] - keys[None, :]).abs()
        return -self.slopes[:, None, None] * distance


class RotaryPositions(PositionEncoding):
    """RoPE: queries and keys are rotated by angles proportional to their positions.

    See :func:`zoo.functional.attention.apply_rotary_embedding`.

    Raises:
        InputError: heads of odd width.
    """

    def __init__(self, dim: int, heads: int, max_length: int, causal: bool) -> None:
        super().__init__(dim, heads, max_length, causal)
        self.head_dim = dim // heads
        if self.head_dim % 2:
            raise InputError(
                f"rotary positions rotate pairs of features: dim / heads must be even, got {dim} / "
                f"{heads}"
            )

    def rotation(self, positions: Tensor) -> Tensor:
        return rotary_embedding(positions, self.head_dim)


POSITION_ENCODINGS: dict[str, type[PositionEncoding]] = {
    "none": PositionEncoding,
    "learned": LearnedPositions,
    "sinusoidal": SinusoidalPositions,
    "t5": RelativeBias,
    "alibi": ALiBi,
    "rotary": RotaryPositions,
}


def make_position_encoding(
    position: str, dim: int, heads: int, max_length: int, causal: bool
) -> PositionEncoding:
    """Create a position encoding.

    Args:
        position: ``none``, ``learned``, ``sinusoidal``, ``t5``, ``alibi`` or ``rotary``.
        dim: see :class:`PositionEncoding`.
        heads: see :class:`PositionEncoding`.
        max_length: see :class:`PositionEncoding`.
        causal: see :class:`PositionEncoding`.

    Raises:
        InputError: unknown name; rotary positions with heads of odd width.
    """
    check_choice("position", position, POSITION_ENCODINGS)
    return POSITION_ENCODINGS[position](dim, heads, max_length, causal)


def position_embeddings(position: PositionEncoding, length: int, dim: int) -> Tensor | None:
    """Return the vectors that a position encoding adds to tokens at the first positions.

    Args:
        position: the position encoding.
        length: number of positions; fewer are returned if the encoding's limit is lower.
        dim: width of the tokens.

    Returns:
        (length, dim), or None if the encoding does not add anything to tokens.
    """
    device = next((p.device for p in position.parameters()), torch.device("cpu"))
    count = length if position.max_length is None else min(length, position.max_length)
    zeros = torch.zeros(1, count, dim, device=device)
    vectors = position.embed(zeros, torch.arange(count, device=device))[0]
    return vectors if bool(vectors.any()) else None

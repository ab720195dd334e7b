"""Attention as formulas: softmax(Q Kᵀ/√d + B) V, its masks, and what positions add to it.

A boolean mask says True where a query may attend to a key (``nn.MultiheadAttention`` means the
opposite). A query that may attend to nothing gets zeros.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# -- attention -----------------------------------------------------------------------------------


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(q kᵀ/√d + bias) v, by the fused kernels of ``F.scaled_dot_product_attention``.

    Args:
        q: queries, (..., T, d).
        k, v: keys and values, (..., S, d).
        mask: boolean, True where a query may attend, broadcastable to (..., T, S); default all.
        bias: added to the scores, broadcastable to (..., T, S); default none.
        causal: whether query i sees keys up to i + S − T alone: the last query sees all.
        dropout: probability by which a weight is dropped, default 0. Pass 0 in evaluation.

    Returns:
        (..., T, d).
    """
    if mask is None and bias is None and (not causal or q.shape[-2] == k.shape[-2]):
        return F.scaled_dot_product_attention(q, k, v, None, dropout, is_causal=causal)
    mask, blind = _open_blind_rows(_with_causal(mask, causal, q, k))
    added: Tensor | None = mask
    if bias is not None:
        added = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    out = F.scaled_dot_product_attention(q, k, v, added, dropout)
    return out if blind is None else out.masked_fill(blind, 0.0)


def attention_weights(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """softmax(q kᵀ/√d + bias), (..., T, S): what :func:`attention` multiplies the values with.

    Arguments as there.
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    mask, blind = _open_blind_rows(_with_causal(mask, causal, q, k))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1)
    return weights if blind is None else weights.masked_fill(blind, 0.0)


def self_attention(x: Tensor, causal: bool = False) -> Tensor:
    """softmax(x xᵀ/√d) x: self-attention without any parameter, (..., T, d) → the same."""
    return attention(x, x, x, causal=causal)


def _with_causal(mask: Tensor | None, causal: bool, q: Tensor, k: Tensor) -> Tensor | None:
    if not causal:
        return mask
    past = causal_mask(q.shape[-2], k.shape[-2], device=q.device)
    return past if mask is None else mask & past


def _open_blind_rows(mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """A mask whose rows all attend to something, and which rows did not (..., T, 1).

    A softmax over nothing is 0/0, which some kernels make nan of.
    """
    if mask is None:
        return None, None
    blind = ~mask.any(-1, keepdim=True)
    return mask | blind, blind


# -- masks ---------------------------------------------------------------------------------------


def causal_mask(
    queries: int,
    keys: int,
    window: int | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """True where key j is not after query i, (queries, keys): j ≤ i + keys − queries.

    The last query sees the last key, so that queries may be fewer than keys (those of a cache).

    Args:
        queries, keys: how many.
        window: keys that a query sees at most, its own the last; default all.
        device: of the mask.
    """
    own = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)
    mask = key <= own
    return mask if window is None else mask & (key > own - window)


# -- positions -----------------------------------------------------------------------------------


def sinusoids(positions: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """Sine and cosine of position · base^(−2i/dim), for i = 0 … dim/2 − 1, (T,) → (T, dim).

    Sines take the even places and cosines the odd ones.

    Source: Vaswani et al., Attention is all you need, 2017, section 3.5.
    """
    angles = _angles(positions, dim, base)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[:, :dim]


def rotation(positions: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """Cosines and sines by which :func:`rotate` turns pairs of numbers, (T,) → (2, T, dim/2).

    Source: Su et al., RoFormer, 2021, section 3.2.
    """
    angles = _angles(positions, dim, base)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turns the pair (xᵢ, xᵢ₊d/2) by the angle of its position and frequency i.

    Scores of rotated queries and keys depend on the difference of their positions alone.

    Args:
        x: queries or keys, (..., T, d) with d even.
        turn: of :func:`rotation`, (2, T, d/2).
    """
    cos, sin = turn.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _angles(positions: Tensor, dim: int, base: float) -> Tensor:
    count = (dim + 1) // 2
    frequencies = base ** (-2 * torch.arange(count, device=positions.device).double() / dim)
    angles = positions.double()[:, None] * frequencies
    return angles if positions.dtype == torch.float64 else angles.float()


def alibi_slopes(heads: int) -> Tensor:
    """2^(−8h/n) for heads h = 1 … n; for an n that is no power of two, those of the power below
    and then every other one of the power above.

    Source: Press et al., Train short, test long, 2022, section 3.
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * h / below) for h in range(1, below + 1)]
    slopes += [2 ** (-4 * h / below) for h in range(1, 2 * below + 1, 2)][: heads - below]
    return torch.tensor(slopes)


def distance_buckets(
    distance: Tensor, buckets: int = 32, furthest: int = 128, causal: bool = False
) -> Tensor:
    """The bucket of each distance (key − query): one each for near ones, ever wider ones beyond.

    Half of the buckets hold one distance each, the other half grow geometrically up to
    ``furthest``; larger distances share the last. Without ``causal``, each direction has half of
    all buckets.

    Source: Raffel et al., Exploring the limits of transfer learning (T5), 2020, section 2.1.
    """
    side = torch.zeros_like(distance)
    if not causal:
        buckets //= 2
        side = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    near = buckets // 2
    growth = (distance.clamp(min=1).double() / near).log() / math.log(furthest / near)
    far = (near + (growth * (buckets - near)).long()).clamp(max=buckets - 1)
    return side + torch.where(distance < near, distance, far)

"""Scaled dot-product attention softmax(Q Kᵀ/√d + B) V, its masks and its positional encodings.

A boolean attention mask is True where a query may attend to a key, as in
``F.scaled_dot_product_attention`` (``nn.MultiheadAttention`` uses the opposite convention). The
output for a query that may not attend to any key is zero.
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
    """Compute softmax(q kᵀ/√d + bias) v with ``F.scaled_dot_product_attention``'s fused kernels.

    Args:
        q: queries, (..., T, d).
        k: keys, (..., S, d).
        v: values, (..., S, d).
        mask: boolean attention mask, True where a query may attend, broadcastable to (..., T, S);
            default None, every query attends to every key.
        bias: additive bias of the attention scores, broadcastable to (..., T, S); default None.
        causal: restrict query i to keys up to i + S − T, so that the last query attends to all
            keys; default False.
        dropout: dropout probability of the attention weights, default 0. It is always applied:
            pass 0 in evaluation.

    Returns:
        (..., T, d).
    """
    if mask is None and bias is None and (not causal or q.shape[-2] == k.shape[-2]):
        return F.scaled_dot_product_attention(q, k, v, None, dropout, is_causal=causal)
    mask, empty = _unmask_empty_rows(_with_causal(mask, causal, q, k))
    attn_mask: Tensor | None = mask
    if bias is not None:
        attn_mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask, dropout)
    return out if empty is None else out.masked_fill(empty, 0.0)


def attention_weights(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Compute the weights softmax(q kᵀ/√d + bias) by which :func:`attention` averages the values.

    Args:
        q, k, mask, bias, causal: see :func:`attention`.

    Returns:
        (..., T, S).
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    mask, empty = _unmask_empty_rows(_with_causal(mask, causal, q, k))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1)
    return weights if empty is None else weights.masked_fill(empty, 0.0)


def self_attention(x: Tensor, causal: bool = False) -> Tensor:
    """Compute self-attention without parameters, softmax(x xᵀ/√d) x, (..., T, d) → the same."""
    return attention(x, x, x, causal=causal)


def _with_causal(mask: Tensor | None, causal: bool, q: Tensor, k: Tensor) -> Tensor | None:
    if not causal:
        return mask
    past = causal_mask(q.shape[-2], k.shape[-2], device=q.device)
    return past if mask is None else mask & past


def _unmask_empty_rows(mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Return the mask with its all-False rows set to True, and the mask (..., T, 1) of those rows.

    A softmax over an empty set is 0/0, which some kernels turn into nan.
    """
    if mask is None:
        return None, None
    empty = ~mask.any(-1, keepdim=True)
    return mask | empty, empty


# -- masks ---------------------------------------------------------------------------------------


def causal_mask(
    num_queries: int,
    num_keys: int,
    window: int | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the causal attention mask: True where j ≤ i + num_keys − num_queries.

    The last query is aligned with the last key, because with a key-value cache there are fewer
    queries than keys.

    Args:
        num_queries: number of queries, T.
        num_keys: number of keys, S.
        window: largest number of keys that a query attends to, of which its own key is the last;
            default None, no limit.
        device: device of the mask.

    Returns:
        boolean, (T, S).
    """
    own = torch.arange(num_keys - num_queries, num_keys, device=device)[:, None]
    key = torch.arange(num_keys, device=device)
    mask = key <= own
    return mask if window is None else mask & (key > own - window)


# -- positional encodings ------------------------------------------------------------------------


def sinusoidal_encoding(positions: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """Compute sines and cosines of position · base^(−2i/dim) for i = 0 … dim/2 − 1.

    Sines are at the even indices, cosines at the odd ones.

    Args:
        positions: positions, (T,).
        dim: dimension of the encoding.
        base: wavelengths grow geometrically from 2π toward 2π · base, default 10,000.

    Returns:
        (T, dim).

    Source: Vaswani et al., Attention is all you need, 2017, section 3.5.
    """
    angles = _angles(positions, dim, base)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[:, :dim]


def rotary_embedding(positions: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """Compute the cosines and sines of the rotary position embedding (RoPE).

    Args:
        positions: positions, (T,).
        dim: dimension d of the queries and keys, even.
        base: wavelengths grow geometrically from 2π toward 2π · base, default 10,000.

    Returns:
        (2, T, d/2), cosines first; see :func:`apply_rotary_embedding`.

    Source: Su et al., RoFormer, 2021, section 3.2.
    """
    angles = _angles(positions, dim, base)
    return torch.stack([angles.cos(), angles.sin()])


def apply_rotary_embedding(x: Tensor, embedding: Tensor) -> Tensor:
    """Rotate each pair (x_i, x_{i+d/2}) by the angle for its position and frequency i.

    The scores of rotated queries and keys depend only on the differences of their positions.

    Args:
        x: queries or keys, (..., T, d) with d even.
        embedding: cosines and sines from :func:`rotary_embedding`, (2, T, d/2).

    Returns:
        (..., T, d).
    """
    cos, sin = embedding.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _angles(positions: Tensor, dim: int, base: float) -> Tensor:
    """Return position · base^(−2i/dim), (T, ⌈dim/2⌉), computed in float64."""
    count = (dim + 1) // 2
    frequencies = base ** (-2 * torch.arange(count, device=positions.device).double() / dim)
    angles = positions.double()[:, None] * frequencies
    return angles if positions.dtype == torch.float64 else angles.float()


def alibi_slopes(heads: int) -> Tensor:
    """Return the slopes 2^(−8h/n) of ALiBi for the heads h = 1 … n, (n,).

    If n is not a power of two, the slopes are those of the largest power of two below n, followed
    by every other slope of the next power of two.

    Args:
        heads: number of heads, n.

    Source: Press et al., Train short, test long, 2022, section 3.
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * h / below) for h in range(1, below + 1)]
    slopes += [2 ** (-4 * h / below) for h in range(1, 2 * below + 1, 2)][: heads - below]
    return torch.tensor(slopes)


def relative_position_buckets(
    relative_position: Tensor, num_buckets: int = 32, max_distance: int = 128, causal: bool = False
) -> Tensor:
    """Return the bucket index of each relative position (key − query), in the input's shape.

    Half of the buckets contain one distance each; the widths of the others grow geometrically up
    to ``max_distance``. Without ``causal``, each direction has half of all buckets.

    Args:
        relative_position: key position − query position, integers.
        num_buckets: number of buckets, default 32.
        max_distance: larger distances all fall into the last bucket, default 128.
        causal: whether keys never come after their query, default False.

    Source: Raffel et al., Exploring the limits of transfer learning (T5), 2020, section 2.1.
    """
    offset = torch.zeros_like(relative_position)
    if causal:
        distance = (-relative_position).clamp(min=0)
    else:
        num_buckets //= 2
        offset = (relative_position > 0).long() * num_buckets
        distance = relative_position.abs()
    exact = num_buckets // 2  # distances below this have a bucket of their own
    growth = (distance.clamp(min=1).double() / exact).log() / math.log(max_distance / exact)
    far = (exact + (growth * (num_buckets - exact)).long()).clamp(max=num_buckets - 1)
    return offset + torch.where(distance < exact, distance, far)

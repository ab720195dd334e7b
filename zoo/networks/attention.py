"""Multi-head attention, in a fused form for speed and an explicit one for looking at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.functional.attention import (
    apply_rotary_embedding,
    attention,
    attention_weights,
    self_attention,
)


class SimpleSelfAttention(nn.Module):
    """softmax(x xᵀ/√d) x: every token becomes a mean of the tokens that are like it.

    No keys, no queries, no parameters: attention in its simplest form.

    Args:
        causal: whether tokens see earlier ones and themselves alone, default no.

    Shapes: (B, T, d) → the same.
    """

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        return self_attention(x, self.causal)


@dataclass
class AttentionContext:
    """What the tokens of one pass may see, and where they stand; the same for all layers.

    Args:
        mask: True where a query may attend, broadcastable to (B, heads, T, S); default all.
        bias: added to the scores, (heads, T, S).
        causal: whether tokens see none after them. Where ``mask`` is given it says so already.
        turn: of :func:`zoo.functional.attention.rotary_embedding`, for the tokens' positions.
        valid: which tokens are no padding, (B, T); all of them come before the padding.
        memory: what a decoder reads beside its own tokens, (B, S, dim).
        memory_mask: which of it, broadcastable to (B, heads, T, S).
    """

    mask: Tensor | None = None
    bias: Tensor | None = None
    causal: bool = False
    turn: Tensor | None = None
    valid: Tensor | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None


class KVCache:
    """Keys and values of the tokens so far, the last ``window`` of them if that is given."""

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[-2]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values that these new tokens may attend to, (B, heads, S, d)."""
        if self.keys is not None and self.values is not None:
            k, v = torch.cat([self.keys, k], -2), torch.cat([self.values, v], -2)
        # the next token sees itself and window − 1 before it
        kept = 0 if self.window is None else max(0, k.shape[-2] - self.window + 1)
        self.keys, self.values = k[..., kept:, :], v[..., kept:, :]
        return k, v

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows of the batch."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


class MultiHeadAttention(nn.Module):
    """Concat_h softmax(Q_h K_hᵀ/√d + B) V_h, then a linear map; Q, K and V linear in the input.

    Args:
        dim: width of tokens; d = dim / heads.
        heads: of the queries.
        kv_heads: of keys and values, each shared by heads / kv_heads queries; default ``heads``
            (Ainslie et al., GQA, 2023).
        qk_norm: whether each query and key is scaled to root mean square 1 before the scores,
            default no (Henry et al., Query-key normalization, 2020).
        bias: of the linear maps, default yes.
        dropout: probability by which attention weights are dropped in training, default 0.

    Shapes: (B, T, dim) → the same.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads.

    Source: Vaswani et al., Attention is all you need, 2017, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kv_heads = kv_heads or heads
        if dim % heads:
            raise ValueError(f"heads must divide dim, got heads={heads} and dim={dim}")
        if heads % kv_heads:
            raise ValueError(
                f"kv_heads must divide heads, got kv_heads={kv_heads} and heads={heads}"
            )
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.qk_norm, self.dropout = qk_norm, dropout
        self.query = nn.Linear(dim, dim, bias)
        self.key = nn.Linear(dim, kv_heads * self.head_dim, bias)
        self.value = nn.Linear(dim, kv_heads * self.head_dim, bias)
        self.output = nn.Linear(dim, dim, bias)
        self.record: list[Tensor] | None = None  # see recorded_weights

    def forward(self, x: Tensor, context: AttentionContext, cache: KVCache | None = None) -> Tensor:
        """Tokens attend to each other; with a cache, to those before them too."""
        q, k, v = self._queries(x), *self._keys_and_values(x)
        if context.turn is not None:
            q = apply_rotary_embedding(q, context.turn)
            k = apply_rotary_embedding(k, context.turn)
        if cache is not None:
            k, v = cache.extend(k, v)
        return self._attend(
            q, k, v, context.mask, context.bias, context.causal and context.mask is None
        )

    def cross(self, x: Tensor, context: AttentionContext, cache: KVCache | None = None) -> Tensor:
        """Tokens attend to the memory, whose keys and values a cache keeps."""
        if cache is not None and cache.keys is not None and cache.values is not None:
            k, v = cache.keys, cache.values
        elif context.memory is None:
            raise ValueError("this layer reads a memory, and there is none")
        else:
            k, v = self._keys_and_values(context.memory)
            if cache is not None:
                cache.extend(k, v)
        return self._attend(self._queries(x), k, v, context.memory_mask, None, False)

    def _queries(self, x: Tensor) -> Tensor:
        return self._normalized(self._split(self.query(x), self.heads))

    def _keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        k = self._normalized(self._split(self.key(x), self.kv_heads))
        return k, self._split(self.value(x), self.kv_heads)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, self.head_dim)).transpose(1, 2)  # (B, heads, T, d)

    def _normalized(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (self.head_dim,)) if self.qk_norm else x

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        causal: bool,
    ) -> Tensor:
        if self.kv_heads < self.heads:
            shared = self.heads // self.kv_heads
            k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        dropout = self.dropout if self.training else 0.0
        if self.record is None:
            out = attention(q, k, v, mask, bias, causal, dropout)
        else:
            weights = attention_weights(q, k, mask, bias, causal)
            self.record.append(weights.detach())
            out = F.dropout(weights, dropout) @ v
        return self.output(out.transpose(1, 2).flatten(2))


@contextmanager
def recorded_weights(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Every attention of a network on its explicit path, and the weights that it took.

    Yields:
        By the name of each :class:`MultiHeadAttention` in ``network``, the weights of each pass,
        (B, heads, T, S).

    Example:
        >>> with recorded_weights(model.network) as weights:
        ...     model(tokens)
    """
    layers = {n: m for n, m in network.named_modules() if isinstance(m, MultiHeadAttention)}
    records: dict[str, list[Tensor]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.record = records[name]
    try:
        yield records
    finally:
        for layer in layers.values():
            layer.record = None

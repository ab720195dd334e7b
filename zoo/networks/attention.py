"""Multi-head attention: a fused implementation for speed, an explicit one for inspection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least
from zoo.functional.attention import (
    apply_rotary_embedding,
    attention,
    attention_weights,
    self_attention,
)


class SimpleSelfAttention(nn.Module):
    """Self-attention without parameters, softmax(x xᵀ/√d) x.

    Each output is a weighted mean of the tokens, with the largest weights on similar tokens.

    Args:
        causal: whether a token sees only itself and earlier tokens, default no.

    Shapes: (B, T, d) → the same.
    """

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        return self_attention(x, self.causal)


@dataclass
class AttentionContext:
    """Masks, positions and encoder output of one forward pass; the same for all layers.

    Args:
        mask: attention mask, True where a query may attend to a key, broadcastable to
            (B, heads, T, S); default all.
        bias: bias added to the attention scores, (heads, T, S).
        causal: whether a token sees only itself and earlier tokens. If ``mask`` is given, it
            includes this restriction.
        rotation: cosines and sines of the tokens' positions, see
            :func:`zoo.functional.attention.rotary_embedding`.
        token_mask: True at tokens and False at padding, (B, T); padding comes last in every row.
        memory: encoder output that cross-attention reads, (B, S, dim).
        memory_mask: attention mask of the memory, broadcastable to (B, heads, T, S).
    """

    mask: Tensor | None = None
    bias: Tensor | None = None
    causal: bool = False
    rotation: Tensor | None = None
    token_mask: Tensor | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None


class KVCache:
    """Keys and values of earlier tokens.

    Args:
        window: number of tokens that attention sees, the current one included; default all.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[-2]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add new tokens, and return all keys and values that they may attend to.

        Args:
            k: keys of the new tokens, (B, heads, T, d).
            v: values of the new tokens, (B, heads, T, d).

        Returns:
            Keys and values, (B, heads, S, d) each.
        """
        if self.keys is not None and self.values is not None:
            k, v = torch.cat([self.keys, k], -2), torch.cat([self.values, v], -2)
        # the next token sees itself and window − 1 tokens before it
        start = 0 if self.window is None else max(0, k.shape[-2] - self.window + 1)
        self.keys, self.values = k[..., start:, :], v[..., start:, :]
        return k, v

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


class MultiHeadAttention(nn.Module):
    """Multi-head attention: Concat_h softmax(Q_h K_hᵀ/√d + B) V_h, then a linear map.

    Q, K and V are linear maps of the tokens.

    Args:
        dim: width of the tokens; d = dim / heads.
        heads: number of attention heads.
        kv_heads: number of heads of the keys and values, each shared by heads / kv_heads heads of
            the queries; default ``heads`` (Ainslie et al., GQA, 2023).
        qk_norm: whether each query and key is scaled to root mean square 1 before the scores,
            default no (Henry et al., Query-key normalization, 2020).
        bias: whether the linear maps have a bias, default yes.
        dropout: dropout probability of the attention weights, default 0.

    Shapes: (B, T, dim) → the same.

    Raises:
        InputError: values below 1; heads that do not divide dim, or kv_heads that do not divide
            heads.

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
        check_at_least(1, heads=heads, kv_heads=kv_heads)
        kv_heads = kv_heads or heads
        if dim % heads:
            raise InputError(f"heads must divide dim, got heads={heads} and dim={dim}")
        if heads % kv_heads:
            raise InputError(
                f"kv_heads must divide heads, got kv_heads={kv_heads} and heads={heads}"
            )
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.qk_norm, self.dropout = qk_norm, dropout
        self.query = nn.Linear(dim, dim, bias)
        self.key = nn.Linear(dim, kv_heads * self.head_dim, bias)
        self.value = nn.Linear(dim, kv_heads * self.head_dim, bias)
        self.output = nn.Linear(dim, dim, bias)
        self.recorded: list[Tensor] | None = None  # set by record_attention_weights

    def forward(self, x: Tensor, context: AttentionContext, cache: KVCache | None = None) -> Tensor:
        """Let tokens attend to each other and, with a cache, to the tokens of earlier passes."""
        q, k, v = self._queries(x), *self._keys_and_values(x)
        if context.rotation is not None:
            q = apply_rotary_embedding(q, context.rotation)
            k = apply_rotary_embedding(k, context.rotation)
        if cache is not None:
            k, v = cache.extend(k, v)
        causal = context.causal and context.mask is None
        return self._attend(q, k, v, context.mask, context.bias, causal)

    def attend_to_memory(
        self, x: Tensor, context: AttentionContext, cache: KVCache | None = None
    ) -> Tensor:
        """Let tokens attend to the encoder's output; a cache keeps its keys and values.

        Raises:
            ValueError: a context without memory.
        """
        if cache is not None and cache.keys is not None and cache.values is not None:
            k, v = cache.keys, cache.values
        elif context.memory is None:
            raise ValueError("cross-attention needs an encoder output, got context.memory=None")
        else:
            k, v = self._keys_and_values(context.memory)
            if cache is not None:
                cache.extend(k, v)
        return self._attend(self._queries(x), k, v, context.memory_mask, None, False)

    def _queries(self, x: Tensor) -> Tensor:
        return self._normalize(self._split_heads(self.query(x), self.heads))

    def _keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        k = self._normalize(self._split_heads(self.key(x), self.kv_heads))
        return k, self._split_heads(self.value(x), self.kv_heads)

    def _split_heads(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, self.head_dim)).transpose(1, 2)  # (B, heads, T, d)

    def _normalize(self, x: Tensor) -> Tensor:
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
            repeats = self.heads // self.kv_heads
            k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        dropout = self.dropout if self.training else 0.0
        if self.recorded is None:
            out = attention(q, k, v, mask, bias, causal, dropout)
        else:
            weights = attention_weights(q, k, mask, bias, causal)
            self.recorded.append(weights.detach())
            out = F.dropout(weights, dropout) @ v
        return self.output(out.transpose(1, 2).flatten(2))


@contextmanager
def record_attention_weights(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Record the attention weights of all forward passes of a network within the context.

    Attention is computed explicitly there, since fused attention does not return its weights.

    Args:
        network: module that contains :class:`MultiHeadAttention` layers.

    Yields:
        Dictionary from the name of each attention layer to its weights in each forward pass,
        (B, heads, T, S).

    Example:
        >>> with record_attention_weights(model.network) as weights:
        ...     model(tokens)
    """
    layers = {n: m for n, m in network.named_modules() if isinstance(m, MultiHeadAttention)}
    recorded: dict[str, list[Tensor]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.recorded = recorded[name]
    try:
        yield recorded
    finally:
        for layer in layers.values():
            layer.recorded = None

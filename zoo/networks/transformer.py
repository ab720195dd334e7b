"""Transformer layers: attention and a feed-forward network, each with a residual connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import check_choice
from zoo.networks.attention import AttentionContext, KVCache, MultiHeadAttention

NORMALIZATIONS = ("layer", "rms", "batch")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "relu2": lambda x: F.relu(x).square(),
    "swiglu": F.silu,
}


def make_token_norm(normalization: str, dim: int) -> nn.Module:
    """Create a layer that normalizes tokens, (B, T, dim) → the same.

    Args:
        normalization: ``layer`` or ``rms``, which normalize each token independently, or ``batch``.
        dim: width of the tokens.

    Raises:
        InputError: unknown normalization.
    """
    check_choice("normalization", normalization, NORMALIZATIONS)
    if normalization == "batch":
        return TokenBatchNorm(dim)
    return nn.LayerNorm(dim) if normalization == "layer" else nn.RMSNorm(dim, eps=1e-6)


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalization of each feature over all tokens of a batch.

    In training, it mixes information between tokens.

    Shapes: (B, T, dim) → the same.

    Source: Zerveas et al., A transformer-based framework for multivariate time series, 2021,
    section 3.1: it is less sensitive to outliers in time series, which distort the mean and norm of
    a single token.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


def get_activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function φ by name; the caller multiplies that of ``swiglu`` by a gate.

    Raises:
        InputError: unknown activation.
    """
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


class FeedForward(nn.Module):
    """Feed-forward network of each token, W₂ φ(W₁ x); with ``swiglu``, W₂ (silu(W₁ x) ⊙ W₃ x).

    Args:
        dim: width of the tokens.
        mlp_dim: inner width.
        activation: φ, one of ``relu``, ``gelu`` (default), ``relu2`` (max(0, x)²) and ``swiglu``.
        bias: whether linear maps have a bias, default yes.
        dropout: dropout probability after φ, default 0.

    Shapes: (B, T, dim) → the same.

    Raises:
        InputError: unknown activation.

    Sources: So et al., Primer, 2021 (relu2); Shazeer, GLU variants improve transformer, 2020.
    """

    def __init__(
        self,
        dim: int,
        mlp_dim: int,
        activation: str = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = get_activation(activation)
        self.inner = nn.Linear(dim, mlp_dim, bias)
        self.gate = nn.Linear(dim, mlp_dim, bias) if activation == "swiglu" else None
        self.output = nn.Linear(mlp_dim, dim, bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.inner(x))
        if self.gate is not None:
            inner = inner * self.gate(x)
        return self.output(self.dropout(inner))


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Settings of a transformer layer.

    Args:
        dim: width of the tokens, d.
        heads: number of attention heads; must divide ``dim``.
        mlp_dim: inner width of the feed-forward network, default 4 · dim.
        kv_heads: number of heads of the keys and values, default ``heads``; see
            :class:`~zoo.networks.attention.MultiHeadAttention`.
        qk_norm: whether queries and keys are normalized, default no; see
            :class:`~zoo.networks.attention.MultiHeadAttention`.
        normalization: ``layer`` (default), ``rms`` or ``batch``; see :func:`make_token_norm`.
        pre_norm: whether normalization comes before each sublayer (default) or after the residual
            sum, x ← norm(x + sublayer(x)), as in the original transformer.
        activation: ``relu``, ``gelu`` (default), ``relu2`` or ``swiglu``; see :class:`FeedForward`.
        bias: whether linear maps have a bias, default yes.
        dropout: dropout probability inside the feed-forward network and after each sublayer,
            default 0.
        attention_dropout: dropout probability of the attention weights, default ``dropout``. On a
            CPU, values other than 0 disable fused attention, which is several times faster.
    """

    dim: int
    heads: int
    mlp_dim: int | None = None
    kv_heads: int | None = None
    qk_norm: bool = False
    normalization: str = "layer"
    pre_norm: bool = True
    activation: str = "gelu"
    bias: bool = True
    dropout: float = 0.0
    attention_dropout: float | None = None

    def make_attention(self) -> MultiHeadAttention:
        """Create a multi-head attention layer."""
        dropout = self.dropout if self.attention_dropout is None else self.attention_dropout
        return MultiHeadAttention(
            self.dim, self.heads, self.kv_heads, self.qk_norm, self.bias, dropout
        )

    def make_feed_forward(self, mlp_dim: int | None = None) -> FeedForward:
        """Create a feed-forward network.

        Args:
            mlp_dim: inner width, default that of these settings.
        """
        width = mlp_dim or self.mlp_dim or 4 * self.dim
        return FeedForward(self.dim, width, self.activation, self.bias, self.dropout)

    def make_norm(self) -> nn.Module:
        """Create a layer that normalizes tokens."""
        return make_token_norm(self.normalization, self.dim)


class TransformerState:
    """Keys and values that a layer keeps of earlier tokens and of the encoder's output.

    Args:
        window: number of tokens that self-attention sees, the current one included; None for all.
    """

    def __init__(self, window: int | None) -> None:
        self.self_attention, self.cross_attention = KVCache(window), KVCache()

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        self.self_attention.select(rows)
        self.cross_attention.select(rows)


class TransformerLayer(nn.Module):
    """Transformer layer: x ← x + attention(norm(x)), then x ← x + feed_forward(norm(x)).

    A decoder layer has cross-attention to the encoder's output between the two.

    Args:
        config: settings of the layer.
        cross_attention: whether the layer has cross-attention, default no.

    Shapes: (B, T, dim) → the same.

    Sources: Vaswani et al., Attention is all you need, 2017, section 3.1; Xiong et al., On layer
    normalization in the transformer architecture, 2020 (pre_norm).
    """

    def __init__(self, config: TransformerConfig, cross_attention: bool = False) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.attention = config.make_attention()
        self.attention_norm = config.make_norm()
        self.cross_attention: MultiHeadAttention | None = None
        if cross_attention:
            self.cross_attention = config.make_attention()
            self.cross_norm = config.make_norm()
        self.feed_forward = config.make_feed_forward()
        self.feed_forward_norm = config.make_norm()
        self.dropout = nn.Dropout(config.dropout)

    def residual_projections(self) -> list[nn.Linear]:
        """Return the linear maps whose outputs are added to the residual stream."""
        cross = [] if self.cross_attention is None else [self.cross_attention.output]
        return [self.attention.output, *cross, self.feed_forward.output]

    def new_state(self, window: int | None) -> TransformerState:
        """Create the state before the first token; see :class:`TransformerState`."""
        return TransformerState(window)

    def forward(
        self, x: Tensor, context: AttentionContext, state: TransformerState | None = None
    ) -> Tensor:
        cache = None if state is None else state.self_attention
        x = self._add_residual(x, lambda h: self.attention(h, context, cache), self.attention_norm)
        if (cross := self.cross_attention) is not None:
            memory_cache = None if state is None else state.cross_attention
            x = self._add_residual(
                x, lambda h: cross.attend_to_memory(h, context, memory_cache), self.cross_norm
            )
        return self._add_residual(x, self.feed_forward, self.feed_forward_norm)

    def _add_residual(
        self, x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: nn.Module
    ) -> Tensor:
        if self.pre_norm:
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))


@torch.no_grad()
def initialize_weights(
    network: nn.Module, residual_projections: list[nn.Linear], std: float, zero_init: bool
) -> None:
    """Initialize linear maps and embeddings: normal weights, zero biases.

    The n projections into the residual stream get the standard deviation std/√n, which keeps the
    variance of their sum over the depth independent of n (Radford et al., GPT-2, 2019, section
    2.3).

    Args:
        network: network to initialize.
        residual_projections: linear maps of the network whose outputs are added to the residual
            stream.
        std: standard deviation of the weights.
        zero_init: whether projections into the residual stream start at 0, which makes every layer
            the identity at first.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
    for projection in residual_projections:
        scaled = 0.0 if zero_init else std / len(residual_projections) ** 0.5
        nn.init.normal_(projection.weight, std=scaled)

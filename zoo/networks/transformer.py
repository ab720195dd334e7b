"""The layers of a transformer: attention and a feed-forward net, each around a residual path."""

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


def token_norm(name: str, dim: int) -> nn.Module:
    """The layer that normalises tokens: ``layer`` or ``rms``, each token by itself, or ``batch``.

    Raises:
        ValueError: unknown name.
    """
    check_choice("normalization", name, NORMALIZATIONS)
    if name == "batch":
        return TokenBatchNorm(dim)
    return nn.LayerNorm(dim) if name == "layer" else nn.RMSNorm(dim, eps=1e-6)


class TokenBatchNorm(nn.BatchNorm1d):
    """Each feature over all tokens of a batch: in training, tokens know of one another by it.

    Shapes: (B, T, dim) → the same.

    Source: Zerveas et al., A transformer-based framework for multivariate time series, 2021,
    section 3.1: outliers among a series' values leave their mark on a token's own mean and size.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """φ by name; that of ``swiglu`` is to be multiplied by a gate.

    Raises:
        ValueError: unknown name.
    """
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


class FeedForward(nn.Module):
    """W₂ φ(W₁ x) for each token by itself; with ``swiglu``, W₂ (silu(W₁ x) ⊙ W₃ x).

    Args:
        dim: width of tokens.
        mlp_dim: inner width.
        activation: φ, one of ``relu``, ``gelu`` (default), ``relu2`` (max(0, x)²) and ``swiglu``.
        bias: of the linear maps, default yes.
        dropout: probability after φ, default 0.

    Shapes: (B, T, dim) → the same.

    Raises:
        ValueError: unknown activation.

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
        self.activation = activation_function(activation)
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
        heads: attention heads; must divide ``dim``.
        mlp_dim: inner width of the feed-forward network, default 4 · dim.
        kv_heads: heads of keys and values, default ``heads``; see
            :class:`~zoo.networks.attention.MultiHeadAttention`.
        qk_norm: whether queries and keys are normalized, default no; see
            :class:`~zoo.networks.attention.MultiHeadAttention`.
        normalization: ``layer`` (default), ``rms`` or ``batch``; see :func:`token_norm`.
        pre_norm: whether normalization comes before each sublayer (default) or after the residual
            sum, x ← norm(x + sublayer(x)), as in the original transformer.
        activation: ``relu``, ``gelu`` (default), ``relu2`` or ``swiglu``; see :class:`FeedForward`.
        bias: whether linear maps have a bias, default yes.
        dropout: dropout probability inside the feed-forward network and after each sublayer,
            default 0.
        attention_dropout: dropout probability of the attention weights, default ``dropout``. On a
            CPU any other value than 0 disables the fused attention, which is several times faster.
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
        """Create multi-head attention with these settings."""
        dropout = self.dropout if self.attention_dropout is None else self.attention_dropout
        return MultiHeadAttention(
            self.dim, self.heads, self.kv_heads, self.qk_norm, self.bias, dropout
        )

    def make_feed_forward(self, mlp_dim: int | None = None) -> FeedForward:
        """Create the feed-forward network, of another inner width where one is given."""
        width = mlp_dim or self.mlp_dim or 4 * self.dim
        return FeedForward(self.dim, width, self.activation, self.bias, self.dropout)

    def make_norm(self) -> nn.Module:
        """Create a normalization layer for tokens."""
        return token_norm(self.normalization, self.dim)


class TransformerState:
    """What a layer keeps of the tokens so far."""

    def __init__(self, window: int | None) -> None:
        self.own, self.memory = KVCache(window), KVCache()

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows of the batch."""
        self.own.select(rows)
        self.memory.select(rows)


class TransformerLayer(nn.Module):
    """x ← x + attention(norm(x)), x ← x + feed_forward(norm(x)).

    A decoder layer attends to the encoder's output between the two.

    Args:
        config: settings of the layer.
        cross: whether the layer has cross-attention to an encoder's output, default no.

    Shapes: (B, T, dim) → the same.

    Sources: Vaswani et al., Attention is all you need, 2017, section 3.1; Xiong et al., On layer
    normalization in the transformer architecture, 2020 (pre_norm).
    """

    attends = True

    def __init__(self, config: TransformerConfig, cross: bool = False) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.attention = config.make_attention()
        self.attention_norm = config.make_norm()
        self.cross_attention: MultiHeadAttention | None = None
        if cross:
            self.cross_attention = config.make_attention()
            self.cross_norm = config.make_norm()
        self.feed_forward = config.make_feed_forward()
        self.feed_forward_norm = config.make_norm()
        self.dropout = nn.Dropout(config.dropout)

    def outputs(self) -> list[nn.Linear]:
        """The maps that write into the residual path."""
        cross = [] if self.cross_attention is None else [self.cross_attention.output]
        return [self.attention.output, *cross, self.feed_forward.output]

    def new_state(self, window: int | None) -> TransformerState:
        """What is known before the first token."""
        return TransformerState(window)

    def forward(
        self, x: Tensor, context: AttentionContext, state: TransformerState | None = None
    ) -> Tensor:
        own = None if state is None else state.own
        x = self._residual(x, lambda h: self.attention(h, context, own), self.attention_norm)
        if (cross := self.cross_attention) is not None:
            memory = None if state is None else state.memory
            x = self._residual(x, lambda h: cross.cross(h, context, memory), self.cross_norm)
        return self._residual(x, self.feed_forward, self.feed_forward_norm)

    def _residual(self, x: Tensor, part: Callable[[Tensor], Tensor], norm: nn.Module) -> Tensor:
        if self.pre_norm:
            return x + self.dropout(part(norm(x)))
        return norm(x + self.dropout(part(x)))


@torch.no_grad()
def initialize(network: nn.Module, outputs: list[nn.Linear], std: float, zero: bool) -> None:
    """Normal weights with standard deviation ``std``, biases 0; smaller ones for ``outputs``.

    Those write into the residual path and get std/√n for n of them, so that their sum over the
    depth has the size of one (Radford et al., GPT-2, 2019, section 2.3); with ``zero``, 0, so that
    every layer is the identity at first.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
    for layer in outputs:
        nn.init.normal_(layer.weight, std=0.0 if zero else std / len(outputs) ** 0.5)

"""A stack of layers over tokens, of any kind, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn

from zoo.functional.attention import causal_mask
from zoo.networks.attention import AttentionContext
from zoo.networks.position_encoding import make_position
from zoo.networks.token_mixers import RECURRENT, ConvolutionLayer, RecurrentLayer, TokenMLP
from zoo.networks.transformer import TransformerLayer, initialize, token_norm

LAYERS = ("transformer", "mlp", *RECURRENT, "conv")


class SequenceState:
    """What a causal stack keeps of the tokens so far: how many there were, and each layer's own."""

    def __init__(self, layers: list[Any]) -> None:
        self.length = 0
        self.layers = layers

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows of the batch, in this order: what a beam search needs."""
        for layer in self.layers:
            layer.select(rows)


class SequenceNetwork(nn.Module):
    """Tokens in, tokens out: L layers of one kind, which may or may not look ahead.

    Padding may lie anywhere in a row: what comes out at other tokens does not depend on how much
    there is, where it is, or what it holds. At padding comes out 0.

    Args:
        layer: ``transformer``, ``rnn``, ``gru``, ``lstm``, ``conv`` (dilated, its dilation doubled
            with each layer) or ``mlp`` (each token by itself). All kinds have as many weights as
            the transformer with these arguments: their inner width is chosen so.
        dim: width of tokens.
        layers: L.
        heads, kv_heads, qk_norm, hidden, norm, pre_norm, activation, bias, dropout,
            attention_dropout: see :class:`~zoo.networks.transformer.TransformerLayer`.
        position: ``none``, ``learned``, ``sinusoidal``, ``t5``, ``alibi`` or ``rotary``, for
            layers that attend; the others know the order by themselves.
        length: longest sequence that learned positions are made for.
        causal: whether tokens see earlier ones and themselves alone.
        window: tokens that a causal layer's attention sees at most, its own the last; default all.
        cross: whether layers read a memory too; a transformer's alone can.
        std: standard deviation of weights before training, default 0.02; see
            :func:`~zoo.networks.transformer.initialize`.
        zero_init: whether what writes into the residual path starts at 0, default no.

    Shapes: (B, T, dim) → the same.

    Raises:
        ValueError: unknown names; a memory without attention; numbers that do not fit together;
            the norm ``batch``, by which tokens know of one another, in a causal network, and with
            padding in training.
    """

    def __init__(
        self,
        layer: str,
        dim: int,
        layers: int,
        heads: int,
        length: int,
        causal: bool,
        position: str = "rotary",
        hidden: int | None = None,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        norm: str = "layer",
        pre_norm: bool = True,
        activation: str = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float | None = None,
        window: int | None = None,
        cross: bool = False,
        std: float = 0.02,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        if layer not in LAYERS:
            raise ValueError(f"unknown layer {layer!r}; choose from {', '.join(LAYERS)}")
        if cross and layer != "transformer":
            raise ValueError(f"a memory is read by attention, which layer={layer!r} has none of")
        if causal and norm == "batch":
            raise ValueError(
                "the norm 'batch' lets a token know of later ones: choose layer or rms"
            )
        self.causal, self.window, self.counts_all = causal, window, norm == "batch"
        attention = (dim, heads, hidden, kv_heads, qk_norm, norm, pre_norm, activation, bias)

        def transformer() -> TransformerLayer:
            return TransformerLayer(*attention, dropout, attention_dropout, cross)

        def make(depth: int, width: int) -> TokenMLP | ConvolutionLayer | RecurrentLayer:
            if layer == "mlp":
                return TokenMLP(dim, width, norm, activation, bias, dropout)
            if layer == "conv":
                return ConvolutionLayer(
                    causal, 2**depth, dim, width, norm, activation, bias, dropout
                )
            even = width if causal else width + width % 2
            return RecurrentLayer(layer, causal, dim, even, norm, bias, dropout)

        self.attends = attends = layer == "transformer"
        self.position = make_position(position if attends else "none", dim, heads, length, causal)
        self.dropout = nn.Dropout(dropout)
        stack: list[Any]
        if attends:
            stack = [transformer() for _ in range(layers)]
        else:
            width = matching_width(partial(make, 0), count_parameters(transformer))
            stack = [make(depth, width) for depth in range(layers)]
        self.layers = nn.ModuleList(stack)
        self.norm = token_norm(norm, dim) if pre_norm or not attends else nn.Identity()
        outputs = [output for each in stack for output in each.outputs()]
        initialize(self, outputs, std, zero_init)

    # -- passes ---------------------------------------------------------------------------------

    def new_state(self) -> SequenceState:
        """What is known before the first token; :meth:`forward` brings it up to date."""
        if not self.causal:
            raise ValueError("a network that looks ahead cannot go token by token")
        layers: list[Any] = list(self.layers)
        return SequenceState([layer.new_state(self.window) for layer in layers])

    def forward(
        self,
        x: Tensor,
        valid: Tensor | None = None,
        prior: Tensor | None = None,
        state: SequenceState | None = None,
        memory: Tensor | None = None,
        memory_valid: Tensor | None = None,
    ) -> Tensor:
        """One pass.

        Args:
            x: embedded tokens, (B, T, dim).
            valid: which are no padding, (B, T); default all.
            prior: which tokens may attend to which at most, boolean, (T, T) or (B, T, T): a
                structure that is known beforehand; default any.
            state: of the tokens before these, from :meth:`new_state`; without padding and prior.
            memory: what layers with ``cross`` read, (B, S, dim).
            memory_valid: which of it is no padding, (B, S).

        Raises:
            ValueError: padding or a prior with a state; more tokens than positions are known for.
        """
        if state is not None and (valid is not None or prior is not None):
            raise ValueError("a state goes with whole rows of tokens: no padding, no prior")
        if valid is None:
            return self._run(x, None, prior, state, memory, memory_valid)
        if self.counts_all and self.training and not bool(valid.all()):
            raise ValueError("the norm 'batch' would count padding as tokens: choose layer or rms")
        # padding moves to the end of each row, where it cannot shift positions or enter states
        order = valid.int().argsort(dim=1, descending=True, stable=True)
        index = order[..., None].expand_as(x)
        if prior is not None:
            prior = prior.expand(len(x), -1, -1)
            prior = prior.gather(1, order[..., None].expand_as(prior))
            prior = prior.gather(2, order[:, None, :].expand_as(prior))
        front = valid.gather(1, order)
        # what padding holds may be anything, inf too
        x = x.gather(1, index).masked_fill(~front[..., None], 0.0)
        y = self._run(x, front, prior, None, memory, memory_valid)
        y = y.masked_fill(~front[..., None], 0.0)
        return torch.zeros_like(y).scatter(1, index, y)

    def _run(
        self,
        x: Tensor,
        valid: Tensor | None,
        prior: Tensor | None,
        state: SequenceState | None,
        memory: Tensor | None,
        memory_valid: Tensor | None,
    ) -> Tensor:
        start = 0 if state is None else state.length
        sight = self._sight(x, valid, prior, start)
        sight.memory = memory
        if memory_valid is not None:
            sight.memory_mask = memory_valid[:, None, None, :]
        positions = torch.arange(start, start + x.shape[1], device=x.device)
        x = self.dropout(self.position.embed(x, positions))
        for i, layer in enumerate(self.layers):
            x = layer(x, sight, None if state is None else state.layers[i])
        if state is not None:
            state.length += positions.shape[0]
        return self.norm(x)

    def _sight(
        self, x: Tensor, valid: Tensor | None, prior: Tensor | None, start: int
    ) -> AttentionContext:
        """What these tokens see, the first of which stands at ``start``."""
        count = x.shape[1]
        limit = self.position.limit
        if limit is not None and start + count > limit:
            raise ValueError(f"{start + count} tokens, but positions are learned for {limit}")
        if not self.attends:
            return AttentionContext(valid=valid)
        # a cache has dropped what lies behind the window of its next token
        kept = start if self.window is None else min(start, self.window - 1)
        positions = torch.arange(start - kept, start + count, device=x.device)
        queries = positions[kept:]
        causal = self.causal and count > 1
        masks = []
        if causal and (kept or prior is not None or (self.window or count) < count):
            masks.append(causal_mask(count, kept + count, self.window, x.device))
        if prior is not None:
            masks.append(prior if prior.ndim == 2 else prior[:, None])
        if valid is not None and not self.causal:  # no causal token sees the padding behind it
            masks.append(valid[:, None, None, :])
        return AttentionContext(
            mask=reduce(torch.logical_and, masks) if masks else None,
            bias=self.position.bias(queries, positions),
            causal=causal,
            turn=self.position.rotation(queries),
            valid=valid,
        )


# -- equal parameters ----------------------------------------------------------------------------


def count_parameters(make: Callable[[], nn.Module]) -> int:
    """Parameters of the module that ``make`` would make; none of them takes memory."""
    with torch.device("meta"):
        return sum(p.numel() for p in make().parameters())


def matching_width(make: Callable[[int], nn.Module], target: int) -> int:
    """The width for which ``make(width)`` has as nearly as possible ``target`` parameters."""

    def count(width: int) -> int:
        return count_parameters(partial(make, width))

    low, high = 1, 2
    while count(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - target))

"""Stacks of sequence layers: transformer, recurrent, convolutional or token-wise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import (
    InputError,
    check_at_least,
    check_choice,
    check_non_negative,
    check_probability,
)
from zoo.functional.attention import causal_mask
from zoo.networks.attention import AttentionContext
from zoo.networks.position_encoding import make_position_encoding
from zoo.networks.token_mixers import RECURRENT_TYPES, ConvolutionLayer, RecurrentLayer, TokenMLP
from zoo.networks.transformer import TransformerConfig, TransformerLayer, initialize_weights

LAYER_TYPES = ("transformer", "mlp", *RECURRENT_TYPES, "conv")


class SequenceState:
    """State of a causal network after the tokens so far.

    Args:
        layers: state of each layer.

    Attributes:
        length: number of tokens so far.
    """

    def __init__(self, layers: list[Any]) -> None:
        self.length = 0
        self.layers = layers

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order, as a beam search does."""
        for layer in self.layers:
            layer.select(rows)


@dataclass(frozen=True, kw_only=True)
class SequenceConfig(TransformerConfig):
    """Settings of a stack of sequence layers.

    Args:
        layer_type: ``transformer`` (default), ``rnn``, ``gru``, ``lstm``, ``conv`` (dilated
            convolutions; the dilation doubles from layer to layer) or ``mlp`` (each token
            independently). All types have about as many weights as the transformer with these
            settings: their inner width is chosen accordingly.
        layers: number of layers, L, default 4; 0 leaves only the final normalization.
        position: ``none``, ``learned``, ``sinusoidal``, ``t5``, ``alibi`` or ``rotary`` (default),
            for the transformer; the other types do not use position encodings.
        init_std: standard deviation of the initial weights, default 0.02; see
            :func:`~zoo.networks.transformer.initialize_weights`.
        zero_init: whether projections into the residual stream start at 0, default no.

    Raises:
        InputError: unknown layer type; values out of range.
    """

    layer_type: str = "transformer"
    layers: int = 4
    position: str = "rotary"
    init_std: float = 0.02
    zero_init: bool = False

    def __post_init__(self) -> None:
        check_choice("layer_type", self.layer_type, LAYER_TYPES)
        check_at_least(1, dim=self.dim, heads=self.heads, mlp_dim=self.mlp_dim)
        check_at_least(0, layers=self.layers)
        check_non_negative(init_std=self.init_std)
        check_probability(dropout=self.dropout, attention_dropout=self.attention_dropout)


class SequenceNetwork(nn.Module):
    """A stack of L layers over tokens, causal or bidirectional.

    Padding may be anywhere in a row: outputs at tokens do not depend on how much padding there is,
    where it is, or what it contains. Outputs at padding positions are zero.

    Args:
        config: settings of the layers.
        max_length: number of positions that learned position embeddings are created for.
        causal: whether a token sees only itself and earlier tokens.
        window: number of tokens that causal attention sees, the current one and those before it;
            default all.
        cross_attention: whether layers have cross-attention to an encoder's output, which only the
            transformer supports; default no.

    Shapes: (B, T, dim) → the same.

    Raises:
        InputError: unknown names; values out of range; cross-attention without a transformer;
            numbers of heads that do not fit ``dim`` or each other; the normalization ``batch``,
            which mixes information between tokens, in a causal network.
    """

    def __init__(
        self,
        config: SequenceConfig,
        max_length: int,
        causal: bool,
        window: int | None = None,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        check_at_least(1, max_length=max_length, window=window)
        if cross_attention and config.layer_type != "transformer":
            raise InputError(
                f"layer_type={config.layer_type!r} does not support cross-attention: choose "
                "'transformer'"
            )
        if causal and config.normalization == "batch":
            raise InputError(
                "normalization='batch' mixes information between tokens, and a causal network must "
                "not see later tokens: choose 'layer' or 'rms'"
            )
        self.config, self.causal, self.window = config, causal, window
        self.has_attention = config.layer_type == "transformer"
        self.position = make_position_encoding(
            config.position if self.has_attention else "none",
            config.dim, config.heads, max_length, causal,
        )  # fmt: skip
        self.dropout = nn.Dropout(config.dropout)
        layers = self._make_layers(cross_attention)
        self.layers = nn.ModuleList(layers)
        has_final_norm = config.pre_norm or not self.has_attention
        self.norm = config.make_norm() if has_final_norm else nn.Identity()
        projections = [p for layer in layers for p in layer.residual_projections()]
        initialize_weights(self, projections, config.init_std, config.zero_init)

    def _make_layers(self, cross_attention: bool) -> list[Any]:
        config = self.config
        if self.has_attention:
            return [TransformerLayer(config, cross_attention) for _ in range(config.layers)]
        target = count_parameters(partial(TransformerLayer, config))
        width = find_width(partial(self._make_mixer, 0), target)
        return [self._make_mixer(depth, width) for depth in range(config.layers)]

    def _make_mixer(self, depth: int, width: int) -> TokenMLP | ConvolutionLayer | RecurrentLayer:
        """Create a layer without attention.

        Args:
            depth: index of the layer, from 0.
            width: inner width of the layer.
        """
        config = self.config
        if config.layer_type == "mlp":
            return TokenMLP(config, width)
        if config.layer_type == "conv":
            return ConvolutionLayer(config, self.causal, 2**depth, width)
        units = width if self.causal else width + width % 2  # half of them in each direction
        return RecurrentLayer(config.layer_type, config, self.causal, units)

    # -- forward passes -------------------------------------------------------------------------

    def new_state(self) -> SequenceState:
        """Create the state before the first token, which :meth:`forward` updates.

        Raises:
            ValueError: the network is not causal.
        """
        if not self.causal:
            raise ValueError("only a causal network can process tokens one at a time")
        layers: list[Any] = list(self.layers)
        return SequenceState([layer.new_state(self.window) for layer in layers])

    def forward(
        self,
        x: Tensor,
        token_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        state: SequenceState | None = None,
        memory: Tensor | None = None,
        memory_token_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the outputs at all tokens.

        Args:
            x: embedded tokens, (B, T, dim).
            token_mask: True at tokens and False at padding, (B, T); default all tokens.
            attention_mask: True where a token may attend to another, (T, T) or (B, T, T), in
                addition to causality and padding; default everywhere.
            state: state after the tokens before these, from :meth:`new_state`; excludes the two
                masks.
            memory: encoder output that cross-attention reads, (B, S, dim).
            memory_token_mask: True at tokens of the memory and False at padding, (B, S); default
                all tokens.

        Returns:
            (B, T, dim), zero at padding.

        Raises:
            ValueError: a mask together with a state; more tokens than learned positions; padding
                with the normalization ``batch`` in training.
        """
        if state is not None and (token_mask is not None or attention_mask is not None):
            raise ValueError("a state cannot be combined with token_mask or attention_mask")
        if token_mask is None:
            return self._run(x, None, attention_mask, state, memory, memory_token_mask)
        if self.config.normalization == "batch" and self.training and not bool(token_mask.all()):
            raise ValueError(
                "normalization='batch' would include padding in its statistics: choose 'layer' or "
                "'rms'"
            )
        # padding moves to the end of each row, where it cannot shift positions or enter states
        order = token_mask.int().argsort(dim=1, descending=True, stable=True)
        index = order[..., None].expand_as(x)
        if attention_mask is not None:
            attention_mask = attention_mask.expand(len(x), -1, -1)
            rows = order[..., None].expand_as(attention_mask)
            attention_mask = attention_mask.gather(1, rows)
            attention_mask = attention_mask.gather(2, rows.mT)
        token_mask = token_mask.gather(1, order)
        # padding may contain anything, even inf
        x = x.gather(1, index).masked_fill(~token_mask[..., None], 0.0)
        y = self._run(x, token_mask, attention_mask, None, memory, memory_token_mask)
        y = y.masked_fill(~token_mask[..., None], 0.0)
        return torch.zeros_like(y).scatter(1, index, y)

    def _run(
        self,
        x: Tensor,
        token_mask: Tensor | None,
        attention_mask: Tensor | None,
        state: SequenceState | None,
        memory: Tensor | None,
        memory_token_mask: Tensor | None,
    ) -> Tensor:
        """Compute the outputs of rows whose padding is at the end."""
        start = 0 if state is None else state.length
        context = self._make_context(x, token_mask, attention_mask, start)
        context.memory = memory
        if memory_token_mask is not None:
            context.memory_mask = memory_token_mask[:, None, None, :]
        positions = torch.arange(start, start + x.shape[1], device=x.device)
        x = self.dropout(self.position.embed(x, positions))
        for i, layer in enumerate(self.layers):
            x = layer(x, context, None if state is None else state.layers[i])
        if state is not None:
            state.length += positions.shape[0]
        return self.norm(x)

    def _make_context(
        self, x: Tensor, token_mask: Tensor | None, attention_mask: Tensor | None, start: int
    ) -> AttentionContext:
        """Create masks and position encodings for tokens at positions from ``start`` on."""
        count = x.shape[1]
        limit = self.position.max_length
        if limit is not None and start + count > limit:
            raise ValueError(f"got {start + count} tokens, learned positions end at {limit}")
        if not self.has_attention:
            return AttentionContext(token_mask=token_mask)
        # caches keep only the tokens in the window of the next one
        cached = start if self.window is None else min(start, self.window - 1)
        positions = torch.arange(start - cached, start + count, device=x.device)
        queries = positions[cached:]
        causal = self.causal and count > 1
        masks = []
        if causal and (cached or attention_mask is not None or (self.window or count) < count):
            masks.append(causal_mask(count, cached + count, self.window, x.device))
        if attention_mask is not None:
            masks.append(attention_mask if attention_mask.ndim == 2 else attention_mask[:, None])
        if token_mask is not None and not self.causal:  # a causal token never sees later padding
            masks.append(token_mask[:, None, None, :])
        return AttentionContext(
            mask=reduce(torch.logical_and, masks) if masks else None,
            bias=self.position.bias(queries, positions),
            causal=causal,
            rotation=self.position.rotation(queries),
            token_mask=token_mask,
        )


# -- equal numbers of parameters -----------------------------------------------------------------


def count_parameters(make: Callable[[], nn.Module]) -> int:
    """Return the number of parameters of the module that ``make`` creates; allocates no memory."""
    with torch.device("meta"):
        return sum(p.numel() for p in make().parameters())


def find_width(make: Callable[[int], nn.Module], target: int) -> int:
    """Return the width for which ``make(width)`` has a number of parameters closest to ``target``.

    Args:
        make: function that creates a module of a given width; its number of parameters increases
            with the width.
        target: wanted number of parameters.
    """

    def count(width: int) -> int:
        return count_parameters(partial(make, width))

    low, high = 1, 2
    while count(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - target))

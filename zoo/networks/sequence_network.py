"""A stack of layers over tokens, of any kind, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least, check_choice, check_probability
from zoo.functional.attention import causal_mask
from zoo.networks.attention import AttentionContext
from zoo.networks.position_encoding import make_position
from zoo.networks.token_mixers import RECURRENT, ConvolutionLayer, RecurrentLayer, TokenMLP
from zoo.networks.transformer import TransformerConfig, TransformerLayer, initialize

LAYER_TYPES = ("transformer", "mlp", *RECURRENT, "conv")


class SequenceState:
    """What a causal stack keeps of the tokens so far: how many there were, and each layer's own."""

    def __init__(self, layers: list[Any]) -> None:
        self.length = 0
        self.layers = layers

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows of the batch, in this order: what a beam search needs."""
        for layer in self.layers:
            layer.select(rows)


@dataclass(frozen=True, kw_only=True)
class SequenceConfig(TransformerConfig):
    """Settings of a stack of sequence layers.

    Args:
        layer_type: ``transformer`` (default), ``rnn``, ``gru``, ``lstm``, ``conv`` (dilated
            convolution; the dilation doubles from layer to layer) or ``mlp`` (each token by
            itself). All types have as many weights as the transformer with these settings: their
            inner width is chosen accordingly.
        layers: number of layers, L.
        position: ``none``, ``learned``, ``sinusoidal``, ``t5``, ``alibi`` or ``rotary`` (default),
            for the transformer; the other types encode order by themselves.
        init_std: standard deviation of the initial weights, default 0.02; see
            :func:`~zoo.networks.transformer.initialize`.
        zero_init: whether projections into the residual stream start at 0, default no.
    """

    layer_type: str = "transformer"
    layers: int = 4
    position: str = "rotary"
    init_std: float = 0.02
    zero_init: bool = False

    def __post_init__(self) -> None:
        check_choice("layer_type", self.layer_type, LAYER_TYPES)
        check_at_least(1, dim=self.dim, heads=self.heads, mlp_dim=self.mlp_dim)
        check_at_least(0, layers=self.layers)  # without layers, a classifier is a bag of words
        check_probability(dropout=self.dropout, attention_dropout=self.attention_dropout)


class SequenceNetwork(nn.Module):
    """A stack of L layers over tokens, causal or bidirectional.

    Padding may be anywhere in a row: the outputs at other tokens do not depend on how much padding
    there is, where it is, or what it contains. Outputs at padding positions are zero.

    Args:
        config: settings of the layers.
        length: longest sequence that learned positions are made for.
        causal: whether a token sees only itself and earlier tokens.
        window: number of most recent tokens that causal attention sees, itself included; default
            all.
        cross: whether layers have cross-attention to an encoder's output; only the transformer
            supports it.

    Shapes: (B, T, dim) → the same.

    Raises:
        InputError: unknown names; cross-attention without a transformer; settings that do not fit
            together; the normalization ``batch``, which mixes information between tokens, in a
            causal network.
        ValueError: the normalization ``batch`` with padding in training.
    """

    def __init__(
        self,
        config: SequenceConfig,
        length: int,
        causal: bool,
        window: int | None = None,
        cross: bool = False,
    ) -> None:
        super().__init__()
        if cross and config.layer_type != "transformer":
            raise InputError(
                f"layer_type={config.layer_type!r} has no cross-attention: choose 'transformer'"
            )
        if causal and config.normalization == "batch":
            raise InputError(
                "normalization='batch' lets a token see later ones, which a causal network must "
                "not: choose 'layer' or 'rms'"
            )
        self.config, self.causal, self.window = config, causal, window
        self.attends = config.layer_type == "transformer"
        position = config.position if self.attends else "none"
        self.position = make_position(position, config.dim, config.heads, length, causal)
        self.dropout = nn.Dropout(config.dropout)
        layers = self._make_layers(cross)
        self.layers = nn.ModuleList(layers)
        has_norm = config.pre_norm or not self.attends
        self.norm = config.make_norm() if has_norm else nn.Identity()
        outputs = [output for layer in layers for output in layer.outputs()]
        initialize(self, outputs, config.init_std, config.zero_init)

    def _make_layers(self, cross: bool) -> list[Any]:
        config = self.config
        if self.attends:
            return [TransformerLayer(config, cross) for _ in range(config.layers)]
        target = count_parameters(partial(TransformerLayer, config))
        width = matching_width(partial(self._make_mixer, 0), target)
        return [self._make_mixer(depth, width) for depth in range(config.layers)]

    def _make_mixer(self, depth: int, width: int) -> TokenMLP | ConvolutionLayer | RecurrentLayer:
        """Create a layer without attention, of inner width ``width``, at a depth counted from 0."""
        config = self.config
        if config.layer_type == "mlp":
            return TokenMLP(config, width)
        if config.layer_type == "conv":
            return ConvolutionLayer(config, self.causal, 2**depth, width)
        even = width if self.causal else width + width % 2
        return RecurrentLayer(config.layer_type, config, self.causal, even)

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
        if self.config.normalization == "batch" and self.training and not bool(valid.all()):
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
        context = self._context(x, valid, prior, start)
        context.memory = memory
        if memory_valid is not None:
            context.memory_mask = memory_valid[:, None, None, :]
        positions = torch.arange(start, start + x.shape[1], device=x.device)
        x = self.dropout(self.position.embed(x, positions))
        for i, layer in enumerate(self.layers):
            x = layer(x, context, None if state is None else state.layers[i])
        if state is not None:
            state.length += positions.shape[0]
        return self.norm(x)

    def _context(
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

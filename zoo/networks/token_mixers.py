"""Sequence layers without attention: recurrent, convolutional, and a token-wise MLP.

All compute x ← x + W₂ mix(W₁ norm(x)) and take the same settings as a
:class:`~zoo.networks.transformer.TransformerLayer`, so that one argument of a network selects the
type.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_choice
from zoo.networks.attention import AttentionContext
from zoo.networks.transformer import TransformerConfig, get_activation

RECURRENT_TYPES: dict[str, type[nn.RNN | nn.GRU | nn.LSTM]] = {
    "rnn": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


class EmptyState:
    """State of a layer that does not use earlier tokens."""

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""


class TokenMLP(nn.Module):
    """Token-wise MLP, x + W₂ φ(W₁ norm(x)); it does not mix tokens.

    Args:
        config: settings of the layer; attention settings are ignored.
        mlp_dim: inner width.

    Shapes: (B, T, dim) → the same.
    """

    def __init__(self, config: TransformerConfig, mlp_dim: int) -> None:
        super().__init__()
        self.norm = config.make_norm()
        self.feed_forward = config.make_feed_forward(mlp_dim)
        self.dropout = nn.Dropout(config.dropout)

    def residual_projections(self) -> list[nn.Linear]:
        """Return the linear maps whose outputs are added to the residual stream."""
        return [self.feed_forward.output]

    def new_state(self, window: int | None) -> EmptyState:
        """Create the state before the first token; ``window`` concerns only attention."""
        return EmptyState()

    def forward(
        self, x: Tensor, context: AttentionContext, state: EmptyState | None = None
    ) -> Tensor:
        return x + self.dropout(self.feed_forward(self.norm(x)))


class RecurrentState:
    """Hidden state after the tokens so far: h, or (h, c) for an LSTM."""

    def __init__(self) -> None:
        self.hidden: Tensor | tuple[Tensor, Tensor] | None = None

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        if isinstance(self.hidden, tuple):
            self.hidden = self.hidden[0][:, rows], self.hidden[1][:, rows]
        elif self.hidden is not None:
            self.hidden = self.hidden[:, rows]


class RecurrentLayer(nn.Module):
    """Recurrent layer x + W rnn(norm(x)), unidirectional or bidirectional.

    Args:
        layer_type: ``rnn`` (tanh), ``gru`` or ``lstm``.
        config: settings of the layer; attention settings and the activation are ignored.
        causal: whether the layer is unidirectional.
        units: total number of hidden units, even for a bidirectional layer.

    Shapes: (B, T, dim) → the same.

    Raises:
        InputError: unknown layer type; an odd number of units for two directions.

    Sources: Elman, Finding structure in time, 1990; Hochreiter and Schmidhuber, Long short-term
    memory, 1997; Cho et al., Learning phrase representations, 2014 (GRU).
    """

    def __init__(
        self, layer_type: str, config: TransformerConfig, causal: bool, units: int
    ) -> None:
        super().__init__()
        check_choice("layer_type", layer_type, RECURRENT_TYPES)
        directions = 1 if causal else 2
        if units % directions:
            raise InputError(f"a bidirectional layer needs an even number of units, got {units}")
        dim, bias = config.dim, config.bias
        self.norm = config.make_norm()
        self.directions = nn.ModuleList(
            RECURRENT_TYPES[layer_type](dim, units // directions, bias=bias, batch_first=True)
            for _ in range(directions)
        )
        self.output = nn.Linear(units, dim, bias)
        self.dropout = nn.Dropout(config.dropout)

    def residual_projections(self) -> list[nn.Linear]:
        """Return the linear maps whose outputs are added to the residual stream."""
        return [self.output]

    def new_state(self, window: int | None) -> RecurrentState:
        """Create the state before the first token; ``window`` concerns only attention."""
        return RecurrentState()

    def forward(
        self, x: Tensor, context: AttentionContext, state: RecurrentState | None = None
    ) -> Tensor:
        normed = self.norm(x)
        h, last = self.directions[0](normed, None if state is None else state.hidden)
        if state is not None:
            state.hidden = last
        if len(self.directions) == 2:
            order = _reversed_order(normed, context.token_mask)
            backward, _ = self.directions[1](normed.gather(1, order.expand_as(normed)))
            h = torch.cat([h, backward.gather(1, order.expand_as(backward))], -1)
        return x + self.dropout(self.output(h))


def _reversed_order(x: Tensor, token_mask: Tensor | None) -> Tensor:
    """Return indices (B, T, 1) that reverse the tokens of each row and leave padding in place."""
    index = torch.arange(x.shape[1], device=x.device)
    if token_mask is None:
        return index.flip(0)[None, :, None].expand(len(x), -1, 1)
    length = token_mask.sum(1, keepdim=True)
    return torch.where(index < length, length - 1 - index, index)[..., None]


class HistoryState:
    """Latest inputs of a causal convolution, which its next outputs depend on."""

    def __init__(self) -> None:
        self.inputs: Tensor | None = None  # (B, dim, tokens)

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        if self.inputs is not None:
            self.inputs = self.inputs[rows]


class ConvolutionLayer(nn.Module):
    """Convolutional layer x + W φ(conv(norm(x))); the convolution is dilated, causal or centered.

    Args:
        config: settings of the layer; attention settings are ignored. The activation ``swiglu``
            multiplies by a second convolution, as in WaveNet.
        causal: whether a token sees only itself and earlier tokens.
        dilation: distance between two taps of the kernel, in tokens. If it doubles from layer to
            layer, the receptive field is 1 + (kernel_size − 1)(2^layers − 1) tokens.
        channels: number of channels of the convolution.

    Shapes: (B, T, dim) → the same.

    Sources: van den Oord et al., WaveNet, 2016, section 2.1; Bai et al., An empirical evaluation
    of generic convolutional and recurrent networks, 2018.
    """

    kernel_size = 3

    def __init__(
        self, config: TransformerConfig, causal: bool, dilation: int, channels: int
    ) -> None:
        super().__init__()
        dim, bias = config.dim, config.bias
        self.causal = causal
        self.padding = (self.kernel_size - 1) * dilation
        self.norm = config.make_norm()

        def make_conv() -> nn.Conv1d:
            return nn.Conv1d(dim, channels, self.kernel_size, dilation=dilation, bias=bias)

        self.inner = make_conv()
        self.gate = make_conv() if config.activation == "swiglu" else None
        self.activation = get_activation(config.activation)
        self.output = nn.Linear(channels, dim, bias)
        self.dropout = nn.Dropout(config.dropout)

    def residual_projections(self) -> list[nn.Linear]:
        """Return the linear maps whose outputs are added to the residual stream."""
        return [self.output]

    def new_state(self, window: int | None) -> HistoryState:
        """Create the state before the first token; ``window`` concerns only attention."""
        return HistoryState()

    def forward(
        self, x: Tensor, context: AttentionContext, state: HistoryState | None = None
    ) -> Tensor:
        inputs = self.norm(x)
        if context.token_mask is not None:
            inputs = inputs.masked_fill(~context.token_mask[..., None], 0.0)
        inputs = self._pad(inputs.mT, state)
        inner = self.activation(self.inner(inputs))
        if self.gate is not None:
            inner = inner * self.gate(inputs)
        return x + self.dropout(self.output(inner.mT))

    def _pad(self, inputs: Tensor, state: HistoryState | None) -> Tensor:
        """Prepend the inputs of earlier tokens, or zeros, to the inputs (B, dim, T).

        For a layer that is not causal, add zeros on both sides.
        """
        if not self.causal:
            return F.pad(inputs, (self.padding // 2, self.padding // 2))
        if state is None or state.inputs is None:
            inputs = F.pad(inputs, (self.padding, 0))
        else:
            inputs = torch.cat([state.inputs, inputs], -1)
        if state is not None:
            state.inputs = inputs[..., -self.padding :]
        return inputs

"""Layers that mix tokens without attention: recurrent, convolutional; and one that does not mix.

All are x ← x + W₂ mix(W₁ norm(x)) with a residual connection, and take the settings of a
:class:`~zoo.networks.transformer.TransformerLayer`, so that one argument swaps them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.networks.attention import AttentionContext
from zoo.networks.transformer import TransformerConfig, activation_function

RECURRENT: dict[str, type[nn.RNN | nn.GRU | nn.LSTM]] = {
    "rnn": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


class EmptyState:
    """A layer that keeps nothing of the tokens so far."""

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows of the batch."""


class TokenMLP(nn.Module):
    """x + W₂ φ(W₁ norm(x)): the same net for every token, which never learns of the others.

    Args:
        config: settings of the layer; attention settings are ignored.
        mlp_dim: inner width.

    Shapes: (B, T, dim) → the same.
    """

    attends = False

    def __init__(self, config: TransformerConfig, mlp_dim: int) -> None:
        super().__init__()
        self.norm = config.make_norm()
        self.feed_forward = config.make_feed_forward(mlp_dim)
        self.dropout = nn.Dropout(config.dropout)

    def outputs(self) -> list[nn.Linear]:
        """The maps that write into the residual path."""
        return [self.feed_forward.output]

    def new_state(self, window: int | None) -> EmptyState:
        """What is known before the first token."""
        return EmptyState()

    def forward(
        self, x: Tensor, context: AttentionContext, state: EmptyState | None = None
    ) -> Tensor:
        return x + self.dropout(self.feed_forward(self.norm(x)))


class RecurrentState:
    """The hidden state after the tokens so far: h, or (h, c) of an LSTM."""

    def __init__(self) -> None:
        self.hidden: Tensor | tuple[Tensor, Tensor] | None = None

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows of the batch."""
        if isinstance(self.hidden, tuple):
            self.hidden = self.hidden[0][:, rows], self.hidden[1][:, rows]
        elif self.hidden is not None:
            self.hidden = self.hidden[:, rows]


class RecurrentLayer(nn.Module):
    """x + W rnn(norm(x)); where tokens may see later ones, one net runs forth and another back.

    Args:
        kind: ``rnn`` (tanh), ``gru`` or ``lstm``.
        config: settings of the layer; attention settings and the activation are ignored.
        causal: whether the layer is unidirectional.
        units: hidden units of all directions together.

    Shapes: (B, T, dim) → the same.

    Raises:
        InputError: an odd number of units for two directions.

    Sources: Elman, Finding structure in time, 1990; Hochreiter and Schmidhuber, Long short-term
    memory, 1997; Cho et al., Learning phrase representations, 2014 (GRU).
    """

    attends = False

    def __init__(self, kind: str, config: TransformerConfig, causal: bool, units: int) -> None:
        super().__init__()
        directions = 1 if causal else 2
        if units % directions:
            raise InputError(f"two directions need an even number of units, got {units}")
        dim, bias = config.dim, config.bias
        self.norm = config.make_norm()
        self.directions = nn.ModuleList(
            RECURRENT[kind](dim, units // directions, bias=bias, batch_first=True)
            for _ in range(directions)
        )
        self.output = nn.Linear(units, dim, bias)
        self.dropout = nn.Dropout(config.dropout)

    def outputs(self) -> list[nn.Linear]:
        """The maps that write into the residual path."""
        return [self.output]

    def new_state(self, window: int | None) -> RecurrentState:
        """What is known before the first token."""
        return RecurrentState()

    def forward(
        self, x: Tensor, context: AttentionContext, state: RecurrentState | None = None
    ) -> Tensor:
        normed = self.norm(x)
        h, last = self.directions[0](normed, None if state is None else state.hidden)
        if state is not None:
            state.hidden = last
        if len(self.directions) == 2:
            turn = _reversal(normed, context.valid)
            back, _ = self.directions[1](normed.gather(1, turn.expand_as(normed)))
            h = torch.cat([h, back.gather(1, turn.expand_as(back))], -1)
        return x + self.dropout(self.output(h))


def _reversal(x: Tensor, valid: Tensor | None) -> Tensor:
    """Indices (B, T, 1) that turn each row's tokens around and leave its padding where it is."""
    place = torch.arange(x.shape[1], device=x.device)
    if valid is None:
        return place.flip(0)[None, :, None].expand(len(x), -1, 1)
    length = valid.sum(1, keepdim=True)
    return torch.where(place < length, length - 1 - place, place)[..., None]


class HistoryState:
    """The inputs that a causal convolution still needs."""

    def __init__(self) -> None:
        self.inputs: Tensor | None = None  # (B, dim, steps)

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows of the batch."""
        if self.inputs is not None:
            self.inputs = self.inputs[rows]


class ConvolutionLayer(nn.Module):
    """x + W φ(conv(norm(x))), the convolution dilated; causal where tokens may not see later ones.

    Args:
        config: settings of the layer; attention settings are ignored. The activation ``swiglu``
            multiplies by a second convolution, as in WaveNet.
        causal: whether a token sees only itself and earlier tokens.
        dilation: distance between two taps, in tokens; doubling it from layer to layer gives a
            receptive field of 1 + (kernel_size − 1)(2^layers − 1) tokens.
        channels: channels of the convolution.

    Shapes: (B, T, dim) → the same.

    Sources: van den Oord et al., WaveNet, 2016, section 2.1; Bai et al., An empirical evaluation
    of generic convolutional and recurrent networks, 2018.
    """

    attends = False
    kernel_size = 3

    def __init__(
        self, config: TransformerConfig, causal: bool, dilation: int, channels: int
    ) -> None:
        super().__init__()
        dim, bias = config.dim, config.bias
        self.causal = causal
        self.reach = (self.kernel_size - 1) * dilation
        self.norm = config.make_norm()

        def convolution() -> nn.Conv1d:
            return nn.Conv1d(dim, channels, self.kernel_size, dilation=dilation, bias=bias)

        self.inner = convolution()
        self.gate = convolution() if config.activation == "swiglu" else None
        self.activation = activation_function(config.activation)
        self.output = nn.Linear(channels, dim, bias)
        self.dropout = nn.Dropout(config.dropout)

    def outputs(self) -> list[nn.Linear]:
        """The maps that write into the residual path."""
        return [self.output]

    def new_state(self, window: int | None) -> HistoryState:
        """What is known before the first token."""
        return HistoryState()

    def forward(
        self, x: Tensor, context: AttentionContext, state: HistoryState | None = None
    ) -> Tensor:
        inputs = self.norm(x)
        if context.valid is not None:
            inputs = inputs.masked_fill(~context.valid[..., None], 0.0)
        inputs = self._with_surroundings(inputs.mT, state)
        inner = self.activation(self.inner(inputs))
        if self.gate is not None:
            inner = inner * self.gate(inputs)
        return x + self.dropout(self.output(inner.mT))

    def _with_surroundings(self, inputs: Tensor, state: HistoryState | None) -> Tensor:
        """Inputs (B, dim, T) with what lies before them, and after them where that is seen."""
        if not self.causal:
            return F.pad(inputs, (self.reach // 2, self.reach // 2))
        if state is None or state.inputs is None:
            inputs = F.pad(inputs, (self.reach, 0))
        else:
            inputs = torch.cat([state.inputs, inputs], -1)
        if state is not None:
            state.inputs = inputs[..., -self.reach :]
        return inputs

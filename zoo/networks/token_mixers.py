"""Layers that mix tokens without attention: recurrent, convolutional; and one that does not mix.

All are x ← x + W₂ mix(W₁ norm(x)) around a residual path, and take the arguments that a
:class:`~zoo.networks.transformer.TransformerLayer` takes, so that one name swaps them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.networks.attention import AttentionContext
from zoo.networks.transformer import FeedForward, activation_function, token_norm

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
        dim, hidden, norm, activation, bias, dropout: as in
            :class:`~zoo.networks.transformer.TransformerLayer`.

    Shapes: (B, T, dim) → the same.
    """

    attends = False

    def __init__(
        self, dim: int, hidden: int, norm: str, activation: str, bias: bool, dropout: float
    ) -> None:
        super().__init__()
        self.norm = token_norm(norm, dim)
        self.feed_forward = FeedForward(dim, hidden, activation, bias, dropout)
        self.dropout = nn.Dropout(dropout)

    def outputs(self) -> list[nn.Linear]:
        """The maps that write into the residual path."""
        return [self.feed_forward.output]

    def new_state(self, window: int | None) -> EmptyState:
        """What is known before the first token."""
        return EmptyState()

    def forward(
        self, x: Tensor, sight: AttentionContext, state: EmptyState | None = None
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
        causal: whether there is a forward direction alone.
        hidden: units of all directions together.
        dim, norm, bias, dropout: as in :class:`~zoo.networks.transformer.TransformerLayer`.

    Shapes: (B, T, dim) → the same.

    Raises:
        ValueError: an odd number of units for two directions.

    Sources: Elman, Finding structure in time, 1990; Hochreiter and Schmidhuber, Long short-term
    memory, 1997; Cho et al., Learning phrase representations, 2014 (GRU).
    """

    attends = False

    def __init__(
        self, kind: str, causal: bool, dim: int, hidden: int, norm: str, bias: bool, dropout: float
    ) -> None:
        super().__init__()
        directions = 1 if causal else 2
        if hidden % directions:
            raise ValueError(f"two directions need an even number of units, got {hidden}")
        self.norm = token_norm(norm, dim)
        units = hidden // directions
        self.directions = nn.ModuleList(
            RECURRENT[kind](dim, units, bias=bias, batch_first=True) for _ in range(directions)
        )
        self.output = nn.Linear(hidden, dim, bias)
        self.dropout = nn.Dropout(dropout)

    def outputs(self) -> list[nn.Linear]:
        """The maps that write into the residual path."""
        return [self.output]

    def new_state(self, window: int | None) -> RecurrentState:
        """What is known before the first token."""
        return RecurrentState()

    def forward(
        self, x: Tensor, sight: AttentionContext, state: RecurrentState | None = None
    ) -> Tensor:
        normed = self.norm(x)
        h, last = self.directions[0](normed, None if state is None else state.hidden)
        if state is not None:
            state.hidden = last
        if len(self.directions) == 2:
            turn = _reversal(normed, sight.valid)
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
        causal: whether a token sees earlier ones and itself alone.
        dilation: tokens between two taps; doubling it with each layer makes the whole see
            1 + (kernel_size − 1)(2^layers − 1) tokens.
        hidden: channels of the convolution.
        dim, norm, activation, bias, dropout: as in
            :class:`~zoo.networks.transformer.TransformerLayer`; ``swiglu`` multiplies by a second
            convolution, as WaveNet does.

    Shapes: (B, T, dim) → the same.

    Sources: van den Oord et al., WaveNet, 2016, section 2.1; Bai et al., An empirical evaluation
    of generic convolutional and recurrent networks, 2018.
    """

    attends = False
    kernel_size = 3

    def __init__(
        self,
        causal: bool,
        dilation: int,
        dim: int,
        hidden: int,
        norm: str,
        activation: str,
        bias: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.reach = (self.kernel_size - 1) * dilation
        self.norm = token_norm(norm, dim)

        def convolution() -> nn.Conv1d:
            return nn.Conv1d(dim, hidden, self.kernel_size, dilation=dilation, bias=bias)

        self.inner = convolution()
        self.gate = convolution() if activation == "swiglu" else None
        self.activation = activation_function(activation)
        self.output = nn.Linear(hidden, dim, bias)
        self.dropout = nn.Dropout(dropout)

    def outputs(self) -> list[nn.Linear]:
        """The maps that write into the residual path."""
        return [self.output]

    def new_state(self, window: int | None) -> HistoryState:
        """What is known before the first token."""
        return HistoryState()

    def forward(
        self, x: Tensor, sight: AttentionContext, state: HistoryState | None = None
    ) -> Tensor:
        inputs = self.norm(x)
        if sight.valid is not None:
            inputs = inputs.masked_fill(~sight.valid[..., None], 0.0)
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

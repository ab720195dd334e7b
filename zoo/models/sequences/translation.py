"""Translator: a sequence of one language as a sequence of another."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from zoo.errors import check_at_least, check_fraction
from zoo.functional.tokenization import BEGIN_ID, END_ID, PAD_ID, Tokenizer, load_tokenizer
from zoo.metrics.text import Perplexity
from zoo.models.sequences.base import Labels, SequenceModel, make_embedding, token_labels
from zoo.models.sequences.generation import beam_search

PADDING, START, STOP = PAD_ID, BEGIN_ID, END_ID


class Translator(SequenceModel):
    """p(y | x) = Π_t p(y_t | y_<t, x): an encoder reads x, a decoder attends to it and to y_<t.

    Loss: −Σ_k q_k log p_k of each next token, q the one-hot label smoothed by ``label_smoothing``;
    in nats, mean over tokens.

    Args:
        vocab_size, target_vocab_size: symbols of source and target; 0 is padding, 2 and 3 are begin
            and end.
        length, target_length: tokens of the longest source and target.
        tokenizer, target_tokenizer: their descriptions, for :meth:`translate`; default none.
        label_smoothing: mass spread over all symbols in the loss of training, default 0.1.
        **sequence: see :class:`~zoo.models.sequences.base.SequenceModel`; encoder and decoder have
            ``layers`` layers each.

    Shapes: x (B, S), y (B, T) int64 → logits (B, T, V).

    Batch: (x, y) with marks as :class:`datamodules.ParallelText` sets them.

    Source: Vaswani et al., Attention is all you need, 2017.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "smoothed cross-entropy, nats per token",
        "nll": "−log p of the next token, nats per token",
        "perplexity": "exp of the mean −log p over all tokens",
        "accuracy": "fraction of tokens that were the likeliest",
    }

    def __init__(
        self,
        vocab_size: int,
        target_vocab_size: int,
        length: int,
        target_length: int,
        tokenizer: str | None = None,
        target_tokenizer: str | None = None,
        label_smoothing: float = 0.1,
        **sequence: Any,
    ) -> None:
        super().__init__(**sequence)
        check_at_least(1, length=length, target_length=target_length)
        check_fraction(label_smoothing=label_smoothing)
        self.length, self.target_length = length, target_length

    def build(self) -> None:
        hp = self.hparams
        self.embedding = make_embedding(hp["vocab_size"], hp["dim"], hp["init_std"])
        self.target_embedding = make_embedding(hp["target_vocab_size"], hp["dim"], hp["init_std"])
        self.encoder = self.make_network(False, self.length)
        self.decoder = self.make_network(True, self.target_length, cross_attention=True)

    @cached_property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """Of source and target.

        Raises:
            ValueError: the model was made without them.
        """
        source, target = self.hparams["tokenizer"], self.hparams["target_tokenizer"]
        if source is None or target is None:
            raise ValueError("this model was made without tokenizers: it knows numbers alone")
        return load_tokenizer(source), load_tokenizer(target)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder reads, (B, S) → (B, S, dim), and which of it is no padding (B, S)."""
        valid = x != PADDING
        return self.encoder(self.embedding(x), valid), valid

    def logits(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores of the token after each of y, (B, S), (B, T) → (B, T, V)."""
        memory, valid = self.encode(x)
        # padding lies behind the target's tokens, none of which looks ahead
        h = self.decoder(self.target_embedding(y), memory=memory, memory_token_mask=valid)
        return F.linear(h, self.target_embedding.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.logits(x, y)

    def forward_inputs(self, batch: Any) -> tuple[Any, ...]:
        return tuple(batch)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return (*batch[1].shape, self.hparams["target_vocab_size"])

    def attention_labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        if self.hparams["tokenizer"] is None:
            return None, None
        source, target = self.tokenizers
        reading, writing = token_labels(x, source), token_labels(y, target)
        if layer.startswith("encoder"):
            return reading, reading
        return writing, reading if "cross" in layer else writing

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        targets = y[:, 1:]
        counts = targets != PADDING
        logits = self.logits(x, y[:, :-1])
        flat, labels = logits.flatten(0, 1), targets.flatten()
        tokens = counts.sum()
        nll = F.cross_entropy(flat, labels, ignore_index=PADDING, reduction="none")
        total = nll.sum() / tokens
        smoothing = self.hparams["label_smoothing"]
        loss = total
        if smoothing:
            loss = F.cross_entropy(flat, labels, ignore_index=PADDING, label_smoothing=smoothing)
        parts: dict[str, Any] = {"loss": loss, "nll": total, "weight": tokens}
        if not self.training:
            right = (logits.argmax(-1) == targets) & counts
            parts["accuracy"] = right.sum() / tokens
            ignored = targets.masked_fill(~counts, -100)
            parts["outputs"] = nll.detach().view_as(targets), ignored
        return parts

    def make_metrics(self) -> dict[str, Metric]:
        return {"perplexity": Perplexity()}

    # -- translation ----------------------------------------------------------------------------

    @torch.no_grad()
    def decode(self, x: Tensor, beams: int = 1, length_penalty: float = 1.0) -> Tensor:
        """The likeliest targets that a beam search finds, (B, S) → (B, L), ends included.

        Args:
            x: sources, padded with 0.
            beams: width of the search; 1 (default) takes the likeliest token each time.
            length_penalty: see :func:`zoo.models.sequences.generation.beam_search`.
        """
        memory, valid = self.encode(x)
        memory, valid = (t.repeat_interleave(beams, 0) for t in (memory, valid))
        state = self.decoder.new_state()

        def step(tokens: Tensor, rows: Tensor | None) -> Tensor:
            if rows is not None:  # beams of one sentence share its memory
                state.select(rows)
            h = self.decoder(
                self.target_embedding(tokens[:, None]),
                state=state, memory=memory, memory_token_mask=valid,
            )  # fmt: skip
            return F.linear(h[:, -1], self.target_embedding.weight)

        start = torch.full((len(x),), START, device=x.device)
        return beam_search(step, start, STOP, beams, self.target_length - 1, length_penalty)

    def translate(self, texts: list[str], beams: int = 1, length_penalty: float = 1.0) -> list[str]:
        """Translations of texts; see :meth:`decode`.

        Raises:
            ValueError: a text without words, or with more than ``length`` tokens.
        """
        source, target = self.tokenizers
        rows = [[*source.encode(text), STOP] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if not 2 <= len(row) <= self.length:
                raise ValueError(
                    f"{text[:40]!r} has {len(row) - 1} tokens; 1 to {self.length - 1} are possible"
                )
        x = torch.full((len(rows), max(map(len, rows))), PADDING, device=self.device)
        for i, row in enumerate(rows):
            x[i, : len(row)] = torch.tensor(row, device=self.device)
        found = self.decode(x, beams, length_penalty).tolist()
        return [target.decode(row[: row.index(STOP)] if STOP in row else row) for row in found]

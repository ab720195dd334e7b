"""Translator: an encoder-decoder model that translates texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from zoo.errors import InputError, check_at_least, check_probability
from zoo.functional.precision import widen
from zoo.functional.tokenization import BEGIN_ID, END_ID, PAD_ID, Tokenizer, load_tokenizer
from zoo.metrics.text import Perplexity
from zoo.models.sequences.base import (
    IGNORE_INDEX,
    Labels,
    SequenceModel,
    cut_tokens,
    make_embedding,
    pad_rows,
    token_labels,
    warn_of_unknown,
)
from zoo.models.sequences.generation import beam_search

BATCH_SIZE = 64  # texts translated at a time


class Translator(SequenceModel):
    """Encoder-decoder model, p(y | x) = Π_t p(y_t | y_<t, x): the decoder attends to the encoded x.

    Loss: −Σ_k q_k log p_k of each next token, where q is the one-hot target smoothed by
    ``label_smoothing``; in nats, mean over tokens.

    Args:
        vocab_size: number of distinct source tokens; token id 0 is padding.
        target_vocab_size: number of distinct target tokens, V; token ids 0, 2 and 3 are padding,
            begin and end.
        length: number of tokens of the longest source, its end token included.
        target_length: number of tokens of the longest target, begin and end tokens included.
        tokenizer: tokenizer of the sources as a JSON string, default none: the model then processes
            only token ids. See :mod:`zoo.functional.tokenization`.
        target_tokenizer: tokenizer of the targets as a JSON string, default none; see
            ``tokenizer``.
        label_smoothing: probability mass distributed evenly over all tokens in the loss, default
            0.1.
        **sequence: see :class:`~zoo.models.sequences.base.SequenceModel`. Encoder and decoder have
            ``layers`` layers each. ``layer_type`` must be ``transformer``: only it has
            cross-attention.

    Shapes: x (B, S), y (B, T) int64 → logits (B, T, V).

    Batch: (x, y), token ids padded at the end: sources with an end token, (B, S), and targets with
    begin and end tokens, (B, T), as in :class:`datamodules.ParallelText`.

    Raises:
        InputError: unknown names, or numbers out of range.

    Source: Vaswani et al., Attention is all you need, 2017.
    """

    takes_tokens = True

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "smoothed cross-entropy, nats per token",
        "nll": "−log p of the next token, nats per token",
        "perplexity": "exp of the mean −log p over all tokens",
        "accuracy": "fraction of tokens predicted correctly",
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
        check_at_least(1, vocab_size=vocab_size, target_vocab_size=target_vocab_size)
        check_at_least(1, length=length, target_length=target_length)
        check_probability(label_smoothing=label_smoothing)
        self.length, self.target_length = length, target_length

    def build(self) -> None:
        hp = self.hparams
        self.embedding = make_embedding(hp["vocab_size"], hp["dim"], hp["init_std"])
        self.target_embedding = make_embedding(hp["target_vocab_size"], hp["dim"], hp["init_std"])
        self.encoder = self.make_network(self.length, causal=False)
        self.decoder = self.make_network(self.target_length, causal=True, cross_attention=True)

    @cached_property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """The tokenizers of sources and targets.

        Raises:
            InputError: the model was created without tokenizers.
        """
        source, target = self.hparams["tokenizer"], self.hparams["target_tokenizer"]
        if source is None or target is None:
            raise InputError(
                f"this {type(self).__name__} was created without tokenizers and cannot process "
                "text: set its tokenizer and target_tokenizer arguments"
            )
        return load_tokenizer(source), load_tokenizer(target)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sources.

        Args:
            x: token ids of the sources, padded with 0, (B, S).

        Returns:
            The encoder's output, (B, S, dim), and its mask, (B, S), True at tokens.
        """
        token_mask = x != PAD_ID
        return self.encoder(self.embedding(x), token_mask), token_mask

    def logits(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the logits of the token after each token of y, (B, S), (B, T) → (B, T, V)."""
        memory, token_mask = self.encode(x)
        # y needs no mask: its padding is at the end, and causal attention does not look ahead
        h = self.decoder(self.target_embedding(y), memory=memory, memory_token_mask=token_mask)
        return self._output_logits(h)

    def _output_logits(self, h: Tensor) -> Tensor:
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
        source_tokenizer, target_tokenizer = self.tokenizers
        source, target = token_labels(x, source_tokenizer), token_labels(y, target_tokenizer)
        if layer.startswith("encoder"):
            return source, source
        return target, source if "cross" in layer else target

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        inputs, targets = y[:, :-1], y[:, 1:]  # (B, T − 1)
        logits = widen(self.logits(x, inputs))
        flat_logits, flat_targets = logits.flatten(0, 1), targets.flatten()
        is_token = targets != PAD_ID
        num_tokens = is_token.sum()
        token_nll = F.cross_entropy(
            flat_logits, flat_targets, ignore_index=PAD_ID, reduction="none"
        )
        nll = token_nll.sum() / num_tokens
        smoothing = self.hparams["label_smoothing"]
        loss = nll
        if smoothing:
            loss = F.cross_entropy(
                flat_logits, flat_targets, ignore_index=PAD_ID, label_smoothing=smoothing
            )
        parts: dict[str, Any] = {"loss": loss, "nll": nll, "weight": num_tokens}
        if not self.training:
            is_correct = (logits.argmax(-1) == targets) & is_token
            parts["accuracy"] = is_correct.sum() / num_tokens
            # negative targets are left out of the metrics
            parts["outputs"] = (
                token_nll.detach().view_as(targets),
                targets.masked_fill(~is_token, IGNORE_INDEX),
            )
        return parts

    def make_metrics(self) -> dict[str, Metric]:
        return {"perplexity": Perplexity()}

    # -- translation ----------------------------------------------------------------------------

    @torch.no_grad()
    def generate(self, x: Tensor, num_beams: int = 1, length_penalty: float = 1.0) -> Tensor:
        """Search for the most likely targets, (B, S) → (B, L).

        Args:
            x: token ids of the sources, padded at the end, (B, S).
            num_beams: number of beams of the search; 1 (default) is greedy decoding.
            length_penalty: exponent of the length in the score, default 1; see
                :func:`~zoo.models.sequences.generation.beam_search`.

        Returns:
            Token ids without the begin token; rows are padded with the end token.

        Raises:
            InputError: fewer than one beam.
        """
        memory, token_mask = self.encode(x)
        memory, token_mask = (t.repeat_interleave(num_beams, 0) for t in (memory, token_mask))
        state = self.decoder.new_state()

        def next_logits(tokens: Tensor, parents: Tensor | None) -> Tensor:
            if parents is not None:  # the memory stays, as all beams of a sentence share it
                state.select(parents)
            h = self.decoder(
                self.target_embedding(tokens[:, None]),
                state=state, memory=memory, memory_token_mask=token_mask,
            )  # fmt: skip
            return self._output_logits(h[:, -1])

        begin = torch.full((len(x),), BEGIN_ID, device=x.device)
        max_length = self.target_length - 1  # the begin token takes up a position
        return beam_search(next_logits, begin, END_ID, num_beams, max_length, length_penalty)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Return the tokens of greedy translations, (B, T − 1), padded with the end token."""
        tokens = self.generate(batch[0])
        missing = self.target_length - 1 - tokens.shape[1]  # the same width for all batches
        return {"tokens": F.pad(tokens, (0, missing), value=END_ID)}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return the translations as texts."""
        return {"translation": self._decode(outputs["tokens"].tolist())}

    def translate(
        self,
        texts: list[str],
        num_beams: int = 1,
        length_penalty: float = 1.0,
        cut: bool = False,
    ) -> list[str]:
        """Translate texts, in batches of similar length.

        A warning tells how many translations end at ``target_length`` although they are not
        complete.

        Args:
            texts: texts in the source language.
            num_beams: see :meth:`generate`.
            length_penalty: see :meth:`generate`.
            cut: whether to cut texts with ``length`` tokens or more, with a warning, instead of
                refusing them; default False.

        Raises:
            InputError: a text without tokens, or with ``length`` tokens or more; fewer than one
                beam; a model without tokenizers.
        """
        source_tokenizer, _ = self.tokenizers
        rows = [source_tokenizer.encode(text) for text in texts]
        warn_of_unknown(rows, source_tokenizer, "texts")
        limit = self.length - 1  # the end token takes up a position
        if cut:
            rows = cut_tokens(rows, limit, "texts")
        for text, row in zip(texts, rows, strict=True):
            if not 1 <= len(row) <= limit:
                raise InputError(
                    f"{text[:40]!r} has {len(row)} tokens, but a text must have 1 to {limit}"
                )
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        generated: list[list[int]] = [[] for _ in rows]
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            x = pad_rows([[*rows[i], END_ID] for i in indices], self.device)
            found = self.generate(x, num_beams, length_penalty).tolist()
            for i, row in zip(indices, found, strict=True):
                generated[i] = row
        return self._decode(generated)

    def _decode(self, rows: list[list[int]]) -> list[str]:
        """Return the texts of generated tokens up to the end token."""
        complete = [END_ID in row for row in rows]
        if not all(complete):
            warnings.warn(
                f"{complete.count(False):,} of {len(rows):,} translations are cut at "
                f"{self.target_length - 1:,} tokens, one more than the longest target of training",
                stacklevel=3,
            )
        _, tokenizer = self.tokenizers
        return [
            tokenizer.decode(row[: row.index(END_ID)] if is_complete else row)
            for row, is_complete in zip(rows, complete, strict=True)
        ]

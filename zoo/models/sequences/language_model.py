"""LanguageModel: an autoregressive model of text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from zoo.errors import InputError, check_at_least
from zoo.functional.precision import widen
from zoo.metrics.text import BitsPerCharacter, Perplexity
from zoo.models.sequences.base import IGNORE_INDEX, TextModel, make_embedding
from zoo.models.sequences.generation import generate_tokens
from zoo.networks.sequence_network import SequenceState


class LanguageModel(TextModel):
    """Autoregressive language model, p(x) = Π_t p(x_t | x_<t), with a causal network.

    Loss: −log p of each next token, in nats, mean over tokens.

    Args:
        vocab_size: number of distinct tokens, V.
        length: number of tokens of a training window.
        tie_embeddings: whether the output layer uses the weights of the embedding, default True
            (Press and Wolf, Using the output embedding, 2017).
        window: number of tokens that a token attends to, itself included; default ``length``.
        **text: see :class:`~zoo.models.sequences.base.TextModel`. With a tokenizer, the model
            continues text (:meth:`stream_text`) and measures bits per character.

    Shapes: tokens (B, T) int64 → logits (B, T, V).

    Batch: (x, y), the tokens and the token that follows each of them, (B, T) int64; y is −100 where
    no token is to be predicted.

    Source: Radford et al., Improving language understanding by generative pre-training, 2018.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "−log p of the next token, nats per token",
        "perplexity": "exp of the mean −log p over all tokens",
        "bits_per_char": "−log₂ p, per character of the text",
        "accuracy": "fraction of tokens predicted correctly",
    }

    def __init__(
        self,
        vocab_size: int,
        length: int,
        tie_embeddings: bool = True,
        window: int | None = None,
        **text: Any,
    ) -> None:
        super().__init__(**text)
        check_at_least(1, vocab_size=vocab_size, length=length, window=window)
        self.vocab_size, self.length = vocab_size, length
        self.window = window or length

    def build(self) -> None:
        hp = self.hparams
        self.embedding = make_embedding(self.vocab_size, hp["dim"], hp["init_std"])
        self.network = self.make_network(self.length, causal=True, window=self.window)
        self.head: nn.Linear | None = None
        if not hp["tie_embeddings"]:
            self.head = nn.Linear(hp["dim"], self.vocab_size, bias=False)
            nn.init.normal_(self.head.weight, std=hp["init_std"])

    def logits(self, x: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """Compute the logits of the token after each token of x, (B, T) → (B, T, V).

        Args:
            x: token ids, (B, T).
            token_mask: True at tokens and False at padding, (B, T); default all tokens.
        """
        return self._output_logits(self.network(self.embedding(x), token_mask))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return (*batch[0].shape, self.vocab_size)

    def _output_logits(self, h: Tensor) -> Tensor:
        return F.linear(h, self.embedding.weight) if self.head is None else self.head(h)

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        logits = widen(self.logits(x))  # (B, T, V)
        is_target = y != IGNORE_INDEX
        nll = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view_as(y)
        num_tokens = is_target.sum()
        parts: dict[str, Any] = {"loss": nll.sum() / num_tokens, "weight": num_tokens}
        if not self.training:
            is_correct = (logits.argmax(-1) == y) & is_target
            parts["accuracy"] = is_correct.sum() / num_tokens
            parts["outputs"] = nll.detach(), y
        return parts

    def make_metrics(self) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {"perplexity": Perplexity()}
        if self.hparams["tokenizer"] is not None:
            metrics["bits_per_char"] = BitsPerCharacter(self.tokenizer.characters_per_token())
        return metrics

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Return the number of predicted tokens of each window, (B,), their mean −log p in nats,
        and bits per character if there is a tokenizer."""
        x, y = batch
        logits = widen(self.logits(x))
        nll = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view_as(y)
        is_target = y != IGNORE_INDEX
        num_tokens, total = is_target.sum(1), nll.sum(1)
        outputs = {"tokens": num_tokens, "nll": total / num_tokens}
        if self.hparams["tokenizer"] is not None:
            counts = torch.tensor(self.tokenizer.characters_per_token(), device=y.device)
            characters = (counts[y.clamp(min=0)] * is_target).sum(1)
            outputs["bits_per_char"] = total / characters / math.log(2)
        return outputs

    # -- generation -----------------------------------------------------------------------------

    def generate(self, prompt: Tensor, max_new_tokens: int, **sampling: Any) -> Tensor:
        """Continue a prompt of token ids, (B, T) → (B, T + max_new_tokens), prompt included.

        Args:
            prompt: token ids, (B, T) with T from 1 to ``length``.
            max_new_tokens: number of tokens to generate.
            **sampling: ``temperature``, ``top_k``, ``top_p`` and ``generator`` of
                :meth:`stream_tokens`.
        """
        generated = list(self.stream_tokens(prompt, max_new_tokens, **sampling))
        return torch.cat([prompt, *(token[:, None] for token in generated)], 1)

    def stream_tokens(
        self,
        prompt: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Tensor]:
        """Continue a prompt of token ids, one token at a time.

        Keys and values, or the states of other layers, are cached, so each step processes one
        token; attention is limited to the last ``window`` tokens. Learned positions end at
        ``length``: there, the network starts again from the last ⌈``length`` / 2⌉ tokens.

        Args:
            prompt: token ids, (B, T) with T from 1 to ``length``.
            max_new_tokens: number of tokens to generate.
            temperature: sampling temperature, default 1; at 0 the most likely token is chosen.
            top_k: number of most likely tokens to sample from, default all.
            top_p: total probability of the most likely tokens to sample from, default 1.
            generator: random generator on the model's device, default the global one.

        Yields:
            The next token of each row, (B,) int64.

        Raises:
            InputError: an empty prompt, or one longer than ``length``; see also
                :func:`~zoo.models.sequences.generation.sample_next_token`.
        """
        if not 1 <= prompt.shape[1] <= self.length:
            raise InputError(f"a prompt must have 1 to {self.length} tokens, got {prompt.shape[1]}")
        next_logits = _IncrementalDecoder(self)
        yield from generate_tokens(
            next_logits, prompt, max_new_tokens, temperature, top_k, top_p, generator
        )

    def stream_text(self, prompt: str, max_new_tokens: int, **sampling: Any) -> Iterator[str]:
        """Continue a text, one piece at a time.

        A piece is the text of one or more tokens, as one character may take several tokens.

        Args:
            prompt: text of 1 to ``length`` tokens; a line break replaces an empty text.
            max_new_tokens: number of tokens to generate.
            **sampling: ``temperature``, ``top_k``, ``top_p`` and ``generator`` of
                :meth:`stream_tokens`.

        Yields:
            The next piece of the text.

        Raises:
            InputError: a model without a tokenizer; see also :meth:`stream_tokens`.
            UnknownTokenError: characters that are not in the tokenizer's vocabulary.
        """
        token_ids = self.tokenizer.encode(prompt or "\n")
        tokens = torch.tensor([token_ids], device=self.device)
        generated: list[int] = []
        num_yielded = 0  # characters
        for token in self.stream_tokens(tokens, max_new_tokens, **sampling):
            generated.append(int(token))
            text = self.tokenizer.decode(generated)
            if text.endswith("\N{REPLACEMENT CHARACTER}"):
                continue  # the last character is incomplete
            yield text[num_yielded:]
            num_yielded = len(text)
        if rest := self.tokenizer.decode(generated)[num_yielded:]:
            yield rest  # a character that remained incomplete, or is the replacement character


class _IncrementalDecoder:
    """Logits of the next token, computed from the cached state of earlier tokens."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.state: SequenceState = model.network.new_state()
        self.recent: Tensor | None = None  # last tokens, if the number of positions is limited

    @torch.no_grad()
    def __call__(self, tokens: Tensor) -> Tensor:
        max_length = self.model.network.position.max_length
        if max_length is not None:
            recent = tokens if self.recent is None else torch.cat([self.recent, tokens], 1)
            self.recent = recent[:, -max_length:]
            if self.state.length + tokens.shape[1] > max_length:
                self.state = self.model.network.new_state()
                tokens = self.recent[:, -math.ceil(max_length / 2) :]
        h = self.model.network(self.model.embedding(tokens), state=self.state)
        return self.model._output_logits(h[:, -1])

"""LanguageModel: the next token, from those before it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from zoo.errors import check_at_least
from zoo.metrics.text import BitsPerCharacter, Perplexity
from zoo.models.sequences.base import TextModel, make_embedding
from zoo.models.sequences.generation import generate_tokens
from zoo.networks.sequence_network import SequenceState

IGNORE = -100  # a target that does not count, as F.cross_entropy has it


class LanguageModel(TextModel):
    """p(x) = Π_t p(x_t | x_<t), by a causal network over embedded tokens.

    Loss: −log p of each next token, in nats, mean over tokens.

    Args:
        vocab_size: V, symbols that a token may be.
        length: tokens of a training window, which is also how far attention looks back.
        tie_embeddings: whether the last map is the embedding, transposed; default yes (Press and
            Wolf, Using the output embedding, 2017).
        window: tokens that attention sees at most, its own the last; default ``length``.
        **text: see :class:`~zoo.models.sequences.base.TextModel`; by the tokenizer :meth:`write` reads and
            writes, and bits per character are counted.

    Shapes: tokens (B, T) int64 → logits (B, T, V).

    Batch: (x, y), both (B, T); y is −100 where no token is to be predicted.

    Source: Radford et al., Improving language understanding by generative pre-training, 2018.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "−log p of the next token, nats per token",
        "perplexity": "exp of the mean −log p over all tokens",
        "bits_per_char": "−log₂ p, per character of the text",
        "accuracy": "fraction of tokens that were the likeliest",
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
        self.network = self.make_network(True, self.length, window=self.window)
        self.head: nn.Linear | None = None
        if not hp["tie_embeddings"]:
            self.head = nn.Linear(hp["dim"], self.vocab_size, bias=False)
            nn.init.normal_(self.head.weight, std=hp["init_std"])

    def logits(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Scores of each next token, (B, T) → (B, T, V)."""
        return self._scores(self.network(self.embedding(x), valid))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return (*batch[0].shape, self.vocab_size)

    def _scores(self, h: Tensor) -> Tensor:
        return F.linear(h, self.embedding.weight) if self.head is None else self.head(h)

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        logits = self.logits(x)
        counts = y != IGNORE
        flat = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
        nll = flat.view_as(y)
        tokens = counts.sum()
        parts: dict[str, Any] = {"loss": nll.sum() / tokens, "weight": tokens}
        if not self.training:
            right = (logits.argmax(-1) == y) & counts
            parts["accuracy"] = right.sum() / tokens
            parts["outputs"] = nll.detach(), y
        return parts

    def make_metrics(self) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {"perplexity": Perplexity()}
        if self.hparams["tokenizer"] is not None:
            metrics["bits_per_char"] = BitsPerCharacter(self.tokenizer.characters_per_token())
        return metrics

    # -- generation -----------------------------------------------------------------------------

    def stream(
        self,
        prompt: Tensor,
        count: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Tensor]:
        """Tokens after a prompt, one at a time.

        Keys and values (or whatever state the layers have) are kept from token to token; attention
        sees the last ``window`` tokens. Learned positions end with ``length``: there the last half
        of it is read anew.

        Args:
            prompt: (B, T) with T from 1 to ``length``.
            count: how many tokens.
            temperature, top_k, top_p, generator: see :func:`zoo.models.sequences.generation.sample_next_token`.

        Yields:
            (B,) int64.

        Raises:
            ValueError: an empty prompt, or one longer than ``length``.
        """
        if not 1 <= prompt.shape[1] <= self.length:
            raise ValueError(f"a prompt must have 1 to {self.length} tokens, got {prompt.shape[1]}")
        reader = _Reader(self)
        yield from generate_tokens(reader, prompt, count, temperature, top_k, top_p, generator)

    def generate(self, prompt: Tensor, count: int, **choice: Any) -> Tensor:
        """A prompt (B, T) with ``count`` tokens more, (B, T + count); see :meth:`stream`."""
        more = list(self.stream(prompt, count, **choice))
        return torch.cat([prompt, *(token[:, None] for token in more)], 1)

    def write(self, prompt: str, count: int, **choice: Any) -> Iterator[str]:
        """Text after a prompt, piece by piece; see :meth:`stream`.

        A prompt of more than ``length`` tokens is an error; an empty one starts from a line break.

        Raises:
            UnknownTokenError: characters that the tokenizer does not know.
        """
        numbers = self.tokenizer.encode(prompt or "\n")
        tokens = torch.tensor([numbers], device=self.device)
        written: list[int] = []
        done = 0  # characters
        for token in self.stream(tokens, count, **choice):
            written.append(int(token))
            text = self.tokenizer.decode(written)
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # a character may need more tokens
                yield text[done:]
                done = len(text)


class _Reader:
    """Scores of the next token after ever more tokens; what has been read is kept as a state."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.state: SequenceState = model.network.new_state()
        self.recent: Tensor | None = None  # tokens, kept where they may have to be read anew

    @torch.no_grad()
    def __call__(self, tokens: Tensor) -> Tensor:
        limit = self.model.network.position.max_length
        if limit is not None:
            before = tokens[:, :0] if self.recent is None else self.recent
            self.recent = torch.cat([before, tokens], 1)[:, -limit:]
            if self.state.length + tokens.shape[1] > limit:
                self.state = self.model.network.new_state()
                tokens = self.recent[:, -math.ceil(limit / 2) :]
        h = self.model.network(self.model.embedding(tokens), state=self.state)
        return self.model._scores(h[:, -1])

"""Classifiers of sequences: tokens in, one class out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.errors import check_at_least, check_choice, check_probability
from zoo.models.sequences.base import Labels, TextModel, make_embedding

POOLINGS = ("mean", "max", "attention", "cls")
PAD = 0  # number of the padding


class SequencePooling(nn.Module):
    """All tokens of a row as one vector; padding takes no part.

    Args:
        kind: ``mean``, ``max``, ``attention`` (a mean weighted by softmax(w·h), w learned) or
            ``cls`` (the first token, which stands for the whole).
        dim: width of tokens.

    Shapes: (B, T, dim), valid (B, T) → (B, dim); zeros for a row of padding alone.

    Raises:
        ValueError: unknown kind.
    """

    def __init__(self, kind: str, dim: int) -> None:
        super().__init__()
        check_choice("pooling", kind, POOLINGS)
        self.kind = kind
        self.score = nn.Linear(dim, 1, bias=False) if kind == "attention" else None

    def forward(self, h: Tensor, valid: Tensor) -> Tensor:
        if self.kind == "cls":
            return h[:, 0]
        empty = ~valid.any(1, keepdim=True)
        if self.kind == "max":
            lowest = torch.finfo(h.dtype).min
            return h.masked_fill(~valid[..., None], lowest).amax(1).masked_fill(empty, 0.0)
        scores = h.new_zeros(valid.shape) if self.score is None else self.score(h)[..., 0]
        weights = scores.masked_fill(~(valid | empty), -torch.inf).softmax(1)
        pooled = (weights[..., None] * h.masked_fill(~valid[..., None], 0.0)).sum(1)
        return pooled.masked_fill(empty, 0.0)


class SequenceClassifier(TextModel, Classifier):
    """An encoder over tokens, pooled into one vector, and a linear map to the classes.

    With ``layers=0`` and ``pooling="mean"`` it is a bag of words, which the order of the words
    cannot change.

    Args:
        vocab_size: symbols that a token may be; number 0 is padding.
        length: tokens of the longest text.
        num_classes: K.
        pooling: see :class:`SequencePooling`; default ``mean``.
        input_dropout: probability by which a token's whole vector is dropped in training, default 0
            (Iyyer et al., Deep unordered composition rivals syntactic methods, 2015).
        **text: see :class:`~zoo.models.sequences.base.TextModel` (its tokenizer is for :meth:`classify`)
            and :class:`~zoo.core.classification.Classifier`.

    Shapes: tokens (B, T) int64 → (B, K).
    """

    def __init__(
        self,
        vocab_size: int,
        length: int,
        num_classes: int,
        pooling: str = "mean",
        input_dropout: float = 0.0,
        **text: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **text)
        check_at_least(1, vocab_size=vocab_size, length=length)
        check_choice("pooling", pooling, POOLINGS)
        check_probability(input_dropout=input_dropout)
        self.length = length

    def build(self) -> None:
        hp, dim = self.hparams, self.hparams["dim"]
        has_cls = hp["pooling"] == "cls"  # the [cls] token takes a position too
        self.embedding = make_embedding(hp["vocab_size"], dim, hp["init_std"])
        self.network = self.make_network(False, self.length + has_cls)
        self.pool = SequencePooling(hp["pooling"], dim)
        self.cls = nn.Parameter(torch.zeros(dim)) if has_cls else None
        self.dropout = nn.Dropout(hp["dropout"])
        self.head = nn.Linear(dim, self.num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.logits_of(self.embedding(x), x != PAD)

    def logits_of(self, embedded: Tensor, valid: Tensor) -> Tensor:
        """Scores from embedded tokens (B, T, dim) and which of them are no padding (B, T)."""
        rate = self.hparams["input_dropout"]
        if self.training and rate:
            kept = torch.rand(valid.shape, device=valid.device) >= rate
            embedded = embedded * kept[..., None] / (1 - rate)
        if self.cls is not None:
            first = self.cls.expand(len(embedded), 1, -1)
            embedded = torch.cat([first, embedded], 1)
            valid = torch.cat([valid.new_ones(len(valid), 1), valid], 1)
        pooled = self.pool(self.network(embedded, valid), valid)
        return self.head(self.dropout(pooled))

    def attention_labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        names, _ = super().attention_labels(layer, x, y)
        if names is not None and self.cls is not None:
            names = ["[cls]", *names]
        return names, names

    @torch.no_grad()
    def classify(self, texts: list[str]) -> Tensor:
        """Class probabilities of texts, (N, K)."""
        rows = [self.tokenizer.encode(text)[: self.length] for text in texts]
        x = torch.full((len(rows), max([1, *map(len, rows)])), PAD, device=self.device)
        for i, row in enumerate(rows):
            x[i, : len(row)] = torch.tensor(row, device=self.device)
        return self.probabilities(self.scores(x))

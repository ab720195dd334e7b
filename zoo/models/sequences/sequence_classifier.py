"""SequenceClassifier: classification of texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.errors import check_at_least, check_choice, check_probability
from zoo.functional.tokenization import PAD_ID
from zoo.models.sequences.base import (
    Labels,
    TextModel,
    cut_tokens,
    make_embedding,
    pad_rows,
    warn_of_unknown,
)
from zoo.networks.sequence_pooling import POOLINGS, SequencePooling


class SequenceClassifier(TextModel, Classifier):
    """Classifier of token sequences: a bidirectional network, pooling, and a linear map.

    With ``layers=0``, ``pooling="mean"`` and the default ``position``, it is a bag of words, whose
    logits do not depend on the order of the tokens.

    Args:
        vocab_size: number of distinct tokens; token id 0 is padding.
        length: number of tokens of the longest text.
        num_classes: number of classes, K.
        pooling: ``mean`` (default), ``max``, ``attention`` or ``cls``, which prepends a learned
            classification token; see :class:`~zoo.networks.sequence_pooling.SequencePooling`.
        input_dropout: probability that the whole embedding of a token is set to zero in training,
            default 0 (Iyyer et al., Deep unordered composition rivals syntactic methods, 2015).
        **text: see :class:`~zoo.models.sequences.base.TextModel` and
            :class:`~zoo.core.classification.Classifier`. ``dropout`` also applies to the pooled
            features. :meth:`classify` needs a tokenizer.

    Shapes: token ids (B, T) int64 → logits (B, K).

    Raises:
        InputError: unknown pooling, or numbers out of range.
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
        has_cls = hp["pooling"] == "cls"  # the classification token takes up a position
        self.embedding = make_embedding(hp["vocab_size"], dim, hp["init_std"])
        self.network = self.make_network(self.length + has_cls, causal=False)
        self.pool = SequencePooling(hp["pooling"], dim)
        self.cls = nn.Parameter(torch.zeros(dim)) if has_cls else None
        self.dropout = nn.Dropout(hp["dropout"])
        self.head = nn.Linear(dim, self.num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.logits_from_embeddings(self.embedding(x), x != PAD_ID)

    def logits_from_embeddings(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Compute the logits of embedded tokens, (B, T, dim) → (B, K).

        Args:
            embedded: embeddings of the tokens, (B, T, dim).
            token_mask: True at tokens and False at padding, (B, T).
        """
        rate = self.hparams["input_dropout"]
        if self.training and rate:
            is_kept = torch.rand(token_mask.shape, device=token_mask.device) >= rate
            embedded = embedded * is_kept[..., None] / (1 - rate)
        if self.cls is not None:
            cls = self.cls.expand(len(embedded), 1, -1)
            embedded = torch.cat([cls, embedded], 1)
            token_mask = torch.cat([token_mask.new_ones(len(token_mask), 1), token_mask], 1)
        pooled = self.pool(self.network(embedded, token_mask), token_mask)  # (B, dim)
        return self.head(self.dropout(pooled))

    def attention_labels(self, layer: str, x: Tensor, y: Tensor) -> tuple[Labels, Labels]:
        labels, _ = super().attention_labels(layer, x, y)
        if labels is not None and self.cls is not None:
            labels = ["[cls]", *labels]
        return labels, labels

    @torch.no_grad()
    def classify(self, texts: list[str]) -> Tensor:
        """Compute the class probabilities of N texts, (N, K).

        Texts are cut after ``length`` tokens, with a warning.

        Raises:
            InputError: the model was created without a tokenizer.
        """
        rows = [self.tokenizer.encode(text) for text in texts]
        warn_of_unknown(rows, self.tokenizer, "texts")
        rows = cut_tokens(rows, self.length, "texts")
        return self.probabilities(self.scores(pad_rows(rows, self.device)))

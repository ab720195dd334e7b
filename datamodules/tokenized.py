"""Tokenizers of data modules of texts."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from zoo.functional.tokenization import Tokenizer, load_tokenizer

MIN_UNKNOWN = 0.1  # fraction of unknown tokens from which on it is said
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}


class Tokenized:
    """Mixin for a data module that has learned a ``tokenizer``."""

    learned: dict[str, Any]

    @cached_property
    def fitted_tokenizer(self) -> Tokenizer:
        """Tokenizer with the vocabulary of the training texts."""
        return load_tokenizer(self.tokenizer)

    @property
    def tokenizer(self) -> str:
        """Description of the tokenizer, from which a model recreates it."""
        return str(self.learned["tokenizer"])

    @property
    def vocab_size(self) -> int:
        """Number of symbols in the vocabulary."""
        return len(self.fitted_tokenizer)

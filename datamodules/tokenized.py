"""Properties that text data modules with one tokenizer share."""

from __future__ import annotations

from zoo.functional.tokenization import Tokenizer


class Tokenized:
    """Mixin for a data module that turns text into tokens with its ``fitted_tokenizer``."""

    fitted_tokenizer: Tokenizer

    @property
    def tokenizer(self) -> str:
        """Description of the tokenizer, from which a model recreates it."""
        return self.fitted_tokenizer.to_json()

    @property
    def vocab_size(self) -> int:
        """Number of symbols in the vocabulary."""
        return len(self.fitted_tokenizer)

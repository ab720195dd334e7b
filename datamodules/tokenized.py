"""What every data module of text says of its tokenizer."""

from __future__ import annotations

from zoo.functional.tokenization import Tokenizer


class Tokenized:
    """A data module whose ``codec`` turns text into tokens."""

    codec: Tokenizer

    @property
    def tokenizer(self) -> str:
        """Description of the tokenizer, from which models make it again."""
        return self.codec.to_json()

    @property
    def vocab_size(self) -> int:
        """Symbols that a token may be."""
        return len(self.codec)

"""Between text and numbers: tokenizers that describe themselves as one string of JSON.

That string is an argument of the models that need it, and so part of their checkpoints: a
checkpoint reads and writes text without the data that it was trained on.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<bos>", "<eos>"
SPECIALS = (PAD, UNKNOWN, BEGIN, END)  # numbers 0 to 3 where a tokenizer has them
KINDS = ("characters", "bytes", "words", "bpe")


class UnknownSymbolError(ValueError):
    """Text holds what a tokenizer has no number for."""


class Tokenizer(ABC):
    """Text as numbers below ``vocab_size``, and back.

    Args:
        symbols: the text of each number, specials first.
        specials: how many of them stand for no text: 0, or 4 (padding, unknown, begin, end).
        lowercase: whether text is lower-cased before it is encoded.
    """

    kind: ClassVar[str]

    def __init__(self, symbols: Sequence[str], specials: int = 0, lowercase: bool = False) -> None:
        self.symbols, self.specials, self.lowercase = list(symbols), specials, lowercase

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols)}

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The pieces of a text that have numbers, or should have."""

    def encode(self, text: str) -> list[int]:
        """Numbers of a text.

        Raises:
            UnknownSymbolError: a piece without a number, where there is none for unknown ones.
        """
        pieces = self.split(text.lower() if self.lowercase else text)
        if self.specials:
            unknown = SPECIALS.index(UNKNOWN)
            return [self._numbers.get(piece, unknown) for piece in pieces]
        missing = [piece for piece in dict.fromkeys(pieces) if piece not in self._numbers]
        if missing:
            raise UnknownSymbolError(
                f"{', '.join(map(repr, missing[:5]))}{' …' if len(missing) > 5 else ''} "
                f"{'is' if len(missing) == 1 else 'are'} not among the {len(self)} symbols that "
                "this tokenizer was made of"
            )
        return [self._numbers[piece] for piece in pieces]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of numbers; specials have none, but unknown words are shown as such."""
        return self.join([self.text_of(number) for number in numbers if self._has_text(number)])

    def _has_text(self, number: int) -> bool:
        return number >= self.specials or SPECIALS[number] == UNKNOWN

    def text_of(self, number: int) -> str:
        """What one number stands for."""
        return self.symbols[number]

    def join(self, pieces: list[str]) -> str:
        """Pieces as text."""
        return "".join(pieces)

    def characters(self) -> list[int]:
        """Characters that each number stands for; none for specials."""
        return [0 if i < self.specials else len(s) for i, s in enumerate(self.symbols)]

    def describe(self) -> str:
        """JSON from which :func:`load_tokenizer` makes this tokenizer again."""
        return json.dumps({"kind": self.kind, **self._settings()}, ensure_ascii=False)

    def _settings(self) -> dict[str, Any]:
        return {
            "symbols": self.symbols, "specials": self.specials, "lowercase": self.lowercase
        }  # fmt: skip


class Characters(Tokenizer):
    """Each character by itself."""

    kind = "characters"

    def split(self, text: str) -> list[str]:
        return list(text)

    def encode(self, text: str) -> list[int]:
        # all at once: a text of a million characters has at most some hundred different ones
        import numpy as np

        codes = np.frombuffer(
            (text.lower() if self.lowercase else text).encode("utf-32-le"), dtype=np.uint32
        )
        kinds, places = np.unique(codes, return_inverse=True)
        numbers = np.array(super().encode("".join(map(chr, kinds))), dtype=np.int64)
        return numbers[places].tolist()


class Words(Tokenizer):
    """Words, and marks of punctuation by themselves.

    Args:
        spaces: whether white space is kept, each character of it a piece of its own, so that
            decoding gives the very text; else pieces are joined by spaces. Default no.
    """

    kind = "words"

    def __init__(self, symbols: Sequence[str], spaces: bool = False, **tokenizer: Any) -> None:
        super().__init__(symbols, **tokenizer)
        self.spaces = spaces

    def split(self, text: str) -> list[str]:
        return re.findall(r"\w+|\W" if self.spaces else r"\w+|[^\w\s]", text)

    def join(self, pieces: list[str]) -> str:
        return "".join(pieces) if self.spaces else " ".join(pieces)

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"spaces": self.spaces}


class Bytes(Tokenizer):
    """The bytes of the text in UTF-8: nothing is unknown."""

    kind = "bytes"

    def __init__(self, specials: int = 0, lowercase: bool = False) -> None:
        super().__init__([*SPECIALS[:specials], *map(chr, range(256))], specials, lowercase)

    def split(self, text: str) -> list[str]:
        return [chr(byte) for byte in text.encode("utf-8")]

    def join(self, pieces: list[str]) -> str:
        return bytes(map(ord, pieces)).decode("utf-8", errors="replace")

    def decode(self, numbers: Iterable[int]) -> str:
        return self.join([self.symbols[n] for n in numbers if n >= self.specials])

    def characters(self) -> list[int]:
        # a character is its first byte; those that go on with it are 10xxxxxx
        return [0] * self.specials + [int(byte & 0xC0 != 0x80) for byte in range(256)]

    def _settings(self) -> dict[str, Any]:
        return {"specials": self.specials, "lowercase": self.lowercase}


class BPE(Tokenizer):
    """Pairs of bytes that are often neighbours become one, again and again.

    Args:
        model: JSON of the ``tokenizers`` library.

    Raises:
        ImportError: that library is not installed.

    Source: Sennrich et al., Neural machine translation of rare words with subword units, 2016.
    """

    kind = "bpe"

    def __init__(self, model: str, specials: int = 0, lowercase: bool = False) -> None:
        self.model = model
        self.library = _tokenizers().Tokenizer.from_str(model)
        count = self.library.get_vocab_size()
        symbols = [self.library.id_to_token(number) for number in range(count)]
        super().__init__(symbols, specials, lowercase)

    def split(self, text: str) -> list[str]:
        return self.library.encode(text, add_special_tokens=False).tokens

    def encode(self, text: str) -> list[int]:
        text = text.lower() if self.lowercase else text
        return self.library.encode(text, add_special_tokens=False).ids

    def decode(self, numbers: Iterable[int]) -> str:
        return self.library.decode([n for n in numbers if n >= self.specials])

    def text_of(self, number: int) -> str:
        return self.symbols[number] if number < self.specials else self.library.decode([number])

    def characters(self) -> list[int]:
        """First bytes of characters in each piece."""
        alphabet = {symbol: byte for byte, symbol in _byte_symbols().items()}
        return [
            0 if number < self.specials
            else sum(alphabet[symbol] & 0xC0 != 0x80 for symbol in piece)
            for number, piece in enumerate(self.symbols)
        ]  # fmt: skip

    def _settings(self) -> dict[str, Any]:
        return {"model": self.model, "specials": self.specials, "lowercase": self.lowercase}


CLASSES: dict[str, type[Tokenizer]] = {
    cls.kind: cls for cls in (Characters, Bytes, Words, BPE)
}  # fmt: skip


def load_tokenizer(description: str) -> Tokenizer:
    """The tokenizer that ``Tokenizer.describe`` wrote down."""
    settings = json.loads(description)
    return CLASSES[settings.pop("kind")](**settings)


def make_tokenizer(
    kind: str,
    texts: Sequence[str],
    vocab_size: int = 8192,
    specials: bool = False,
    lowercase: bool = False,
    spaces: bool = False,
    min_count: int = 1,
) -> Tokenizer:
    """A tokenizer for texts like these.

    Args:
        kind: ``characters``, ``bytes``, ``words`` or ``bpe``.
        texts: from which the symbols are taken.
        vocab_size: of ``words`` and ``bpe``, at most: the most frequent are taken; default 8192.
        specials: whether padding, unknown, begin and end have numbers. Words always have them, as
            no list of words is complete.
        lowercase: whether case is dropped.
        spaces: of ``words``, see :class:`Words`.
        min_count: of ``words`` and ``bpe``: how often a piece must occur, default 1.

    Raises:
        ValueError: unknown kind; a vocabulary smaller than its alphabet.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown tokenizer {kind!r}; choose from {', '.join(KINDS)}")
    reserved = SPECIALS if specials or kind == "words" else ()
    common: dict[str, Any] = {"specials": len(reserved), "lowercase": lowercase}
    texts = [text.lower() for text in texts] if lowercase else texts
    if kind == "bytes":
        return Bytes(**common)
    if kind == "characters":
        return Characters([*reserved, *sorted(set().union(*texts))], **common)
    if kind == "words":
        counts = Counter(piece for text in texts for piece in Words([], spaces).split(text))
        frequent = [word for word, count in counts.most_common() if count >= min_count]
        return Words([*reserved, *frequent[: vocab_size - len(reserved)]], spaces, **common)
    return BPE(_train_bpe(texts, vocab_size, reserved, min_count), **common)


def _train_bpe(
    texts: Sequence[str], vocab_size: int, reserved: Sequence[str], min_count: int
) -> str:
    library = _tokenizers()
    smallest = 256 + len(reserved)
    if vocab_size < smallest:
        raise ValueError(f"vocab_size of bpe must be at least {smallest}, got {vocab_size}")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_count,
        special_tokens=list(reserved),
        initial_alphabet=sorted(_byte_symbols().values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def _byte_symbols() -> dict[int, str]:
    """The printable character by which byte-level BPE writes each byte: its own, else one from
    256 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(others)}


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise ImportError(
            "byte-pair encoding needs the tokenizers library: pip install tokenizers"
        ) from None
    return tokenizers

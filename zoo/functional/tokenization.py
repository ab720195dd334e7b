"""Tokenizers: text to token ids and back, serialized as one JSON string.

Models take that string as an argument, and it becomes part of their checkpoints. A checkpoint can
therefore encode and decode text without its training data.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from zoo.errors import InputError, check_at_least, check_choice
from zoo.functional.words import GLUE, join_words, split_characterwise, split_words

SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>")
PAD_ID, UNKNOWN_ID, BEGIN_ID, END_ID = range(4)  # ids of the special tokens, if there are any
KINDS = ("characters", "bytes", "words", "bpe")

#: constructor argument → its key in the JSON string, which checkpoints contain
JSON_KEYS = {"tokens": "symbols", "num_special_tokens": "specials", "keep_whitespace": "spaces"}


class UnknownTokenError(InputError):
    """A text contains a token that is not in the tokenizer's vocabulary."""


class Tokenizer(ABC):
    """Base class of tokenizers; ``len(tokenizer)`` is the size of the vocabulary.

    Args:
        tokens: text of each token, in the order of the ids, special tokens first.
        num_special_tokens: number of special tokens: 0 (default), or 4 for padding, unknown, begin
            and end.
        lowercase: whether text is converted to lowercase before it is encoded, default False.
    """

    kind: ClassVar[str]

    def __init__(
        self, tokens: Sequence[str], num_special_tokens: int = 0, lowercase: bool = False
    ) -> None:
        self.tokens, self.num_special_tokens = list(tokens), num_special_tokens
        self.lowercase = lowercase

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _token_ids(self) -> dict[str, int]:
        return {token: token_id for token_id, token in enumerate(self.tokens)}

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """Split a text into tokens, which may be missing from the vocabulary."""

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text.

        Raises:
            UnknownTokenError: a token is not in the vocabulary, and the tokenizer has no special
                token for unknown ones.
        """
        tokens = self.tokenize(self._fold_case(text))
        if self.num_special_tokens:
            return [self._token_ids.get(token, UNKNOWN_ID) for token in tokens]
        missing = [token for token in dict.fromkeys(tokens) if token not in self._token_ids]
        if missing:
            names = ", ".join(map(repr, missing[:5])) + (" …" if len(missing) > 5 else "")
            verb, pronoun = ("is", "it") if len(missing) == 1 else ("are", "them")
            raise UnknownTokenError(
                f"{names} {verb} not in the tokenizer's vocabulary of {len(self)} tokens: "
                f"leave {pronoun} out"
            )
        return [self._token_ids[token] for token in tokens]

    def normalize(self, text: str) -> str:
        """Return the form of a text in which it is encoded and, if no token is unknown, decoded."""
        return self._fold_case(text)

    def _fold_case(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def decode(self, token_ids: Iterable[int]) -> str:
        """Return the text of token ids; special tokens are left out, except the unknown token."""
        visible = (i for i in token_ids if i >= self.num_special_tokens or i == UNKNOWN_ID)
        return self.detokenize([self.tokens[i] for i in visible])

    def token_text(self, token_id: int) -> str:
        """Return the text of one token, for display."""
        return self.tokens[token_id]

    def detokenize(self, tokens: list[str]) -> str:
        """Join tokens into a text, the inverse of :meth:`tokenize`."""
        return "".join(tokens)

    def characters_per_token(self) -> list[int]:
        """Return the number of characters of each token, 0 for special tokens."""
        return [
            0 if i < self.num_special_tokens else len(token) for i, token in enumerate(self.tokens)
        ]

    def to_json(self) -> str:
        """Return a JSON string from which :func:`load_tokenizer` restores the tokenizer."""
        settings = {JSON_KEYS.get(name, name): value for name, value in self._settings().items()}
        return json.dumps({"kind": self.kind, **settings}, ensure_ascii=False)

    def _settings(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {"tokens": self.tokens, **self._common_settings()}

    def _common_settings(self) -> dict[str, Any]:
        return {"num_special_tokens": self.num_special_tokens, "lowercase": self.lowercase}


class Characters(Tokenizer):
    """Character-level tokenizer."""

    kind = "characters"

    def tokenize(self, text: str) -> list[str]:
        return list(text)

    def encode(self, text: str) -> list[int]:
        # Only the distinct characters are looked up: a text of a million has a few hundred.
        import numpy as np

        code_points = np.frombuffer(self._fold_case(text).encode("utf-32-le"), dtype=np.uint32)
        distinct, inverse = np.unique(code_points, return_inverse=True)
        token_ids = np.array(super().encode("".join(map(chr, distinct))), dtype=np.int64)
        return token_ids[inverse].tolist()


class Words(Tokenizer):
    """Word-level tokenizer for any script; see :mod:`zoo.functional.words`.

    Args:
        tokens: see :class:`Tokenizer`.
        keep_whitespace: whether each whitespace character is a token, so that decoding restores the
            text exactly. Otherwise (default), single spaces and whitespace at the ends are not
            stored, and other whitespace only if it is in the vocabulary.
        rules: rules by which a text is split: 2 (default), or 1 for the vocabularies of earlier
            versions, in which each punctuation mark and each combining mark was a token and
            decoding joined all tokens with spaces.
        **tokenizer: see :class:`Tokenizer`.
    """

    kind = "words"

    def __init__(
        self,
        tokens: Sequence[str],
        keep_whitespace: bool = False,
        rules: int = 2,
        **tokenizer: Any,
    ) -> None:
        super().__init__(tokens, **tokenizer)
        self.keep_whitespace, self.rules = keep_whitespace, rules

    def tokenize(self, text: str) -> list[str]:
        if self.rules == 1:
            return re.findall(r"\w+|\W" if self.keep_whitespace else r"\w+|[^\w\s]", text)
        if self.keep_whitespace:
            return split_characterwise(text)
        known = self._token_ids
        return [
            token for token in split_words(text.strip()) if token in known or not token.isspace()
        ]

    def normalize(self, text: str) -> str:
        text = self._fold_case(text)
        return text if self.rules == 1 else self.detokenize(self.tokenize(text))

    def detokenize(self, tokens: list[str]) -> str:
        if self.keep_whitespace:
            return "".join(tokens)
        return " ".join(tokens) if self.rules == 1 else join_words(tokens)

    def token_text(self, token_id: int) -> str:
        return self.tokens[token_id].strip(GLUE) or self.tokens[token_id]

    def characters_per_token(self) -> list[int]:
        return [
            0 if i < self.num_special_tokens else len(self.token_text(i)) for i in range(len(self))
        ]

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings() | {"keep_whitespace": self.keep_whitespace}
        return settings if self.rules == 1 else settings | {"rules": self.rules}


class Bytes(Tokenizer):
    """Byte-level tokenizer of UTF-8; it can encode any text."""

    kind = "bytes"

    def __init__(self, num_special_tokens: int = 0, lowercase: bool = False) -> None:
        tokens = [*SPECIAL_TOKENS[:num_special_tokens], *map(chr, range(256))]
        super().__init__(tokens, num_special_tokens, lowercase)

    def tokenize(self, text: str) -> list[str]:
        return [chr(byte) for byte in text.encode("utf-8")]

    def detokenize(self, tokens: list[str]) -> str:
        return bytes(map(ord, tokens)).decode("utf-8", errors="replace")

    def decode(self, token_ids: Iterable[int]) -> str:
        return self.detokenize([self.tokens[i] for i in token_ids if i >= self.num_special_tokens])

    def characters_per_token(self) -> list[int]:
        return [0] * self.num_special_tokens + [int(_starts_character(b)) for b in range(256)]

    def _settings(self) -> dict[str, Any]:
        return self._common_settings()


class BPE(Tokenizer):
    """Byte-pair encoding: frequent pairs of neighboring tokens are merged, starting from bytes.

    Args:
        model: JSON string of the ``tokenizers`` library.
        num_special_tokens: see :class:`Tokenizer`.
        lowercase: see :class:`Tokenizer`.

    Raises:
        InputError: the package tokenizers is not installed.

    Source: Sennrich et al., Neural machine translation of rare words with subword units, 2016.
    """

    kind = "bpe"

    def __init__(self, model: str, num_special_tokens: int = 0, lowercase: bool = False) -> None:
        self.model = model
        self._tokenizer = _tokenizers().Tokenizer.from_str(model)
        self._tokenizer.encode_special_tokens = True  # "<pad>" in a text is text
        vocab_size = self._tokenizer.get_vocab_size()
        tokens = [self._tokenizer.id_to_token(token_id) for token_id in range(vocab_size)]
        super().__init__(tokens, num_special_tokens, lowercase)

    def tokenize(self, text: str) -> list[str]:
        return self._tokenizer.encode(text, add_special_tokens=False).tokens

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(self._fold_case(text), add_special_tokens=False).ids

    def decode(self, token_ids: Iterable[int]) -> str:
        return self._tokenizer.decode([i for i in token_ids if i >= self.num_special_tokens])

    def token_text(self, token_id: int) -> str:
        if token_id < self.num_special_tokens:
            return self.tokens[token_id]
        return self._tokenizer.decode([token_id])

    def characters_per_token(self) -> list[int]:
        byte_of = {character: byte for byte, character in _byte_characters().items()}
        return [
            0 if i < self.num_special_tokens
            else sum(_starts_character(byte_of[character]) for character in token)
            for i, token in enumerate(self.tokens)
        ]  # fmt: skip

    def _settings(self) -> dict[str, Any]:
        return {"model": self.model, **self._common_settings()}


TOKENIZERS: dict[str, type[Tokenizer]] = {
    cls.kind: cls for cls in (Characters, Bytes, Words, BPE)
}  # fmt: skip


def load_tokenizer(text: str) -> Tokenizer:
    """Restore a tokenizer from the JSON string of ``Tokenizer.to_json``."""
    arguments = {key: argument for argument, key in JSON_KEYS.items()}
    settings = json.loads(text)
    cls = TOKENIZERS[settings.pop("kind")]
    if cls is Words:
        settings.setdefault("rules", 1)  # versions that had no other rules did not name them
    return cls(**{arguments.get(key, key): value for key, value in settings.items()})


def make_tokenizer(
    kind: str,
    texts: Sequence[str],
    max_vocab_size: int = 8192,
    special_tokens: bool = False,
    lowercase: bool = False,
    keep_whitespace: bool = False,
    min_count: int = 1,
) -> Tokenizer:
    """Build a tokenizer with a vocabulary from the given texts.

    Args:
        kind: ``characters``, ``bytes``, ``words`` or ``bpe``.
        texts: texts from which the vocabulary is learned.
        max_vocab_size: maximum size of the vocabulary of ``words`` and ``bpe``, which consists of
            the most frequent tokens; default 8192.
        special_tokens: whether there are special tokens for padding, unknown, begin and end,
            default False. ``words`` always has them, because its vocabulary is never complete.
        lowercase: whether text is converted to lowercase, default False.
        keep_whitespace: whether ``words`` has tokens for whitespace, default False; see
            :class:`Words`.
        min_count: minimum number of occurrences of a token of ``words`` or a merged pair of
            ``bpe``, default 1.

    Raises:
        InputError: ``kind`` is unknown, or ``max_vocab_size`` is smaller than the number of tokens
            that ``words`` or ``bpe`` needs.
    """
    check_choice("tokenizer", kind, KINDS)
    specials = SPECIAL_TOKENS if special_tokens or kind == "words" else ()
    common: dict[str, Any] = {"num_special_tokens": len(specials), "lowercase": lowercase}
    texts = [text.lower() for text in texts] if lowercase else texts
    if kind == "bytes":
        return Bytes(**common)
    if kind == "characters":
        return Characters([*specials, *sorted(set().union(*texts))], **common)
    if kind == "words":
        check_at_least(len(specials), max_vocab_size=max_vocab_size)
        split = split_characterwise if keep_whitespace else split_words
        counts = Counter(word for text in texts for word in split(text))
        frequent = [word for word, count in counts.most_common() if count >= min_count]
        vocabulary = [*specials, *frequent[: max_vocab_size - len(specials)]]
        return Words(vocabulary, keep_whitespace, **common)
    return BPE(_train_bpe(texts, max_vocab_size, specials, min_count), **common)


def _train_bpe(
    texts: Sequence[str], max_vocab_size: int, specials: Sequence[str], min_count: int
) -> str:
    """Learn the merges from texts, and return the JSON string of the ``tokenizers`` library."""
    check_at_least(256 + len(specials), max_vocab_size=max_vocab_size)  # each byte is a token
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=max_vocab_size,
        min_frequency=min_count,
        special_tokens=list(specials),
        initial_alphabet=sorted(_byte_characters().values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def _starts_character(byte: int) -> bool:
    """Return whether a byte of UTF-8 starts a character: continuation bytes are 10xxxxxx."""
    return byte & 0xC0 != 0x80


def _byte_characters() -> dict[int, str]:
    """Return the printable character that byte-level BPE writes for each byte.

    It is the byte's own character if that is printable, otherwise one from code point 256 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ModuleNotFoundError:
        raise InputError(
            "byte-pair encoding needs the package tokenizers: "
            'pip install "lightning-model-zoo[text]"'
        ) from None
    return tokenizers

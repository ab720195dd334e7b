"""Sentences and their translations: the user's own files, Multi30k, dates in words."""

from __future__ import annotations

import datetime
import random
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor

from datamodules.files import read_text, split_lines
from datamodules.token_sequences import TokenSequenceDataModule
from zoo.errors import DataError, check_at_least, check_count_or_fraction
from zoo.functional.tokenization import BEGIN_ID, END_ID, Tokenizer, make_tokenizer

Pairs = list[tuple[str, str]]  # a sentence and its translation


class ParallelText(TokenSequenceDataModule):
    """Pairs of sentences: ``--data parallel_text --data.path a.de --data.target_path a.en``.

    Batches are (x, y), both padded with 0: source tokens followed by the end token, int64 (B, S),
    and target tokens between the begin and end tokens, (B, T). Pairs of similar length are batched
    together.

    Properties for models: ``vocab_size``, ``tokenizer`` and ``length`` of the source;
    ``target_vocab_size``, ``target_tokenizer``, ``target_length``.

    Args:
        path: training sentences in the source language, one per line; the file may be compressed
            with gzip. Default: generated dates, see :func:`generate_dates`.
        target_path: translations of the training sentences, line by line.
        val_path: validation sentences; default: held out from the training pairs by the seed.
        val_target_path: translations of the validation sentences.
        test_path: test sentences; default: held out from the training pairs by the seed.
        test_target_path: translations of the test sentences.
        tokenizer_type: tokenizer of the source: ``words`` (default), ``characters``, ``bytes`` or
            ``bpe``; its vocabulary comes from the training sentences.
        target_tokenizer_type: tokenizer of the target, as above; default ``characters``, which
            suits the dates.
        max_vocab_size: largest vocabulary of ``words`` and ``bpe``, default 8,000.
        min_count: number of times that a word or piece must occur in the training sentences to be
            in a vocabulary, default 1.
        lowercase: whether to convert sentences to lower case, default False.
        max_length: largest number of tokens in a sentence, default 128. Training pairs with a
            longer sentence are left out; in other splits, longer sentences are cut off.
        val_size: pairs held out for validation: a count (≥ 1) or a fraction (< 1) of the pairs that
            remain after ``test_size``, default 0.1.
        test_size: pairs held out for testing: a count (≥ 1) or a fraction (< 1), default 0.1.
        num_samples: number of generated dates, default 6,000.
        batch_size: training pairs per batch and process, default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: two files differ in their number of lines, or a line is empty; the message names
            the file and line.
    """

    def __init__(
        self,
        path: str | None = None,
        target_path: str | None = None,
        val_path: str | None = None,
        val_target_path: str | None = None,
        test_path: str | None = None,
        test_target_path: str | None = None,
        tokenizer_type: str = "words",
        target_tokenizer_type: str = "characters",
        max_vocab_size: int = 8_000,
        min_count: int = 1,
        lowercase: bool = False,
        max_length: int = 128,
        val_size: float = 0.1,
        test_size: float = 0.1,
        num_samples: int = 6_000,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        check_at_least(1, max_length=max_length, num_samples=num_samples, min_count=min_count)
        check_at_least(1, max_vocab_size=max_vocab_size)
        check_count_or_fraction(test_size=test_size)
        self.paths = {
            "train": (path, target_path),
            "val": (val_path, val_target_path),
            "test": (test_path, test_target_path),
        }
        self.tokenizer_types = tokenizer_type, target_tokenizer_type
        self.max_vocab_size, self.min_count, self.lowercase = max_vocab_size, min_count, lowercase
        self.max_length, self.test_size, self.num_samples = max_length, test_size, num_samples

    # -- properties for models ------------------------------------------------------------------

    @cached_property
    def sentence_pairs(self) -> dict[str, Pairs]:
        """Sentences and translations of each split."""
        splits: dict[str, Pairs] = {}
        for name, (source, target) in self.paths.items():
            if (source is None) != (target is None):
                raise DataError(
                    f"{source or target} has no counterpart: give both the source and the target "
                    f"file of the {name} split"
                )
            if source is not None and target is not None:
                splits[name] = read_pairs(Path(source), Path(target))
        if "train" not in splits:
            splits["train"] = generate_dates(self.num_samples, self.seed)
        for name, size in (("test", self.test_size), ("val", self.val_size)):
            if name not in splits:
                splits["train"], splits[name] = self.hold_out_examples(
                    splits["train"], size, f"{name}_size"
                )
        return splits

    @cached_property
    def fitted_tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """Tokenizers of source and target, with vocabularies from the training sentences."""
        source, target = (
            make_tokenizer(
                tokenizer_type,
                [pair[side] for pair in self.sentence_pairs["train"]],
                self.max_vocab_size,
                special_tokens=True,
                lowercase=self.lowercase,
                min_count=self.min_count,
            )
            for side, tokenizer_type in enumerate(self.tokenizer_types)
        )
        return source, target

    @property
    def tokenizer(self) -> str:
        """Description of the source tokenizer, from which a model recreates it."""
        return self.fitted_tokenizers[0].to_json()

    @property
    def target_tokenizer(self) -> str:
        """Description of the target tokenizer, from which a model recreates it."""
        return self.fitted_tokenizers[1].to_json()

    @property
    def vocab_size(self) -> int:
        """Number of symbols in the source vocabulary."""
        return len(self.fitted_tokenizers[0])

    @property
    def target_vocab_size(self) -> int:
        """Number of symbols in the target vocabulary."""
        return len(self.fitted_tokenizers[1])

    @property
    def length(self) -> int:
        """Number of tokens in the longest source sequence of any split."""
        return self._longest(0)

    @property
    def target_length(self) -> int:
        """Number of tokens in the longest target sequence of any split."""
        return self._longest(1)

    def _longest(self, side: int) -> int:
        return max(
            len(tokens) for split in self.sentence_pairs for tokens in self.encoded(split)[side]
        )

    # -- sequences ------------------------------------------------------------------------------

    def encoded(self, split: str) -> tuple[list[list[int]], list[list[int]]]:
        """Return the tokens of all sources and targets of a split, with begin and end tokens."""
        if split not in self._encoded:
            self._encoded[split] = self._encode(split)
        return self._encoded[split]

    @cached_property
    def _encoded(self) -> dict[str, tuple[list[list[int]], list[list[int]]]]:
        return {}

    def _encode(self, split: str) -> tuple[list[list[int]], list[list[int]]]:
        source_tokenizer, target_tokenizer = self.fitted_tokenizers
        sources, targets = [], []
        for source, target in self.sentence_pairs[split]:
            x, y = source_tokenizer.encode(source), target_tokenizer.encode(target)
            if split == "train" and max(len(x), len(y)) > self.max_length:
                continue
            sources.append([*x[: self.max_length], END_ID])
            targets.append([BEGIN_ID, *y[: self.max_length], END_ID])
        if split == "train" and not sources:
            raise DataError(
                f"every training pair has a sentence of more than {self.max_length} tokens; raise "
                "max_length"
            )
        return sources, targets

    def load_sequences(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        return list(self.encoded(split)), []


class Multi30k(ParallelText):
    """Image captions in German and English: 29,000 train, 1,014 validation and 1,000 test pairs.

    Six files in ``root/multi30k``: ``train``, ``val`` and ``test_2016_flickr``, each with the
    suffixes ``.de.gz`` and ``.en.gz``.

    Args:
        source: source language, ``de`` (default) or ``en``.
        target: target language, ``en`` (default) or ``de``.
        tokenizer_type: tokenizer of the source, default ``bpe``.
        target_tokenizer_type: tokenizer of the target, default ``bpe``.
        **text: see :class:`ParallelText`; the paths are fixed.

    Source: Elliott et al., Multi30K: multilingual English-German image descriptions, 2016.
    """

    def __init__(
        self,
        source: str = "de",
        target: str = "en",
        tokenizer_type: str = "bpe",
        target_tokenizer_type: str = "bpe",
        **text: Any,
    ) -> None:
        super().__init__(
            "", "", "", "", "", "", tokenizer_type=tokenizer_type,
            target_tokenizer_type=target_tokenizer_type, **text,
        )  # fmt: skip
        folder = self.root / "multi30k"
        for split, name in (("train", "train"), ("val", "val"), ("test", "test_2016_flickr")):
            path, target_path = (str(folder / f"{name}.{side}.gz") for side in (source, target))
            self.paths[split] = path, target_path


def read_pairs(path: Path, target_path: Path) -> Pairs:
    """Return the pairs of corresponding lines in two files.

    Raises:
        DataError: a file has more lines than the other, or a line is empty.
    """
    sources, targets = (split_lines(read_text(file)) for file in (path, target_path))
    pairs: Pairs = []
    for line, (source, target) in enumerate(zip_longest(sources, targets), 1):
        if source is None or target is None:
            longer, shorter = (target_path, path) if source is None else (path, target_path)
            raise DataError(
                f"{longer}, line {line} has no counterpart in {shorter}, which ends after line "
                f"{line - 1}: both files need the same number of lines"
            )
        for text, file in ((source, path), (target, target_path)):
            if not text.strip():
                raise DataError(
                    f"{file}, line {line} is empty: fill it in, or remove the line from both files"
                )
        pairs.append((source.strip(), target.strip()))
    if not pairs:
        raise DataError(f"{path} contains no sentences")
    return pairs


UNITS = [
    "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth", "twenty": "twentieth", "thirty": "thirtieth",
}  # fmt: skip
FIRST_DATE, LAST_DATE = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)


def generate_dates(count: int, seed: int = 0) -> Pairs:
    """Generate dates of two centuries in words, with their translation to ISO 8601.

    *the twenty-third of may nineteen eighty-six* is 1986-05-23, and so are *may the twenty-third
    nineteen eighty-six* and *friday the twenty-third of may nineteen eighty-six*: the order varies,
    and the weekday does not occur in the translation.

    Args:
        count: number of dates.
        seed: random seed of the dates, default 0.
    """
    rng = random.Random(seed)
    days = (LAST_DATE - FIRST_DATE).days + 1
    pairs: Pairs = []
    for _ in range(count):
        date = FIRST_DATE + datetime.timedelta(days=rng.randrange(days))
        month, weekday = date.strftime("%B").lower(), date.strftime("%A").lower()
        day, year = ordinal_in_words(date.day), year_in_words(date.year)
        pattern = rng.choice(["the {d} of {m} {y}", "{m} the {d} {y}", "{w} the {d} of {m} {y}"])
        pairs.append((pattern.format(d=day, m=month, y=year, w=weekday), date.isoformat()))
    return pairs


def number_in_words(value: int) -> str:
    """Return a number below 100 in words, such as *twenty-three*; *""* for 0."""
    if value < len(UNITS):
        return UNITS[value]
    return f"{TENS[value // 10]}-{UNITS[value % 10]}".rstrip("-")


def ordinal_in_words(value: int) -> str:
    """Return an ordinal number below 100 in words, such as *first* or *twenty-third*."""
    tens, dash, last = number_in_words(value).rpartition("-")
    return tens + dash + ORDINALS.get(last, f"{last}th")


def year_in_words(year: int) -> str:
    """Return a year in words.

    Examples: *nineteen eighty-six*, *nineteen hundred*, *nineteen oh five*, *two thousand five*,
    *twenty twelve*.
    """
    century, rest = divmod(year, 100)
    if 2000 <= year < 2010:
        return f"two thousand {number_in_words(rest)}".strip()
    return f"{number_in_words(century)} {number_in_words(rest) if rest > 9 else _early_year(rest)}"


def _early_year(rest: int) -> str:
    return f"oh {UNITS[rest]}" if rest else "hundred"

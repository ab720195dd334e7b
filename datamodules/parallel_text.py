"""Sentences and their translations: from two files, from Multi30k, or dates in words."""

from __future__ import annotations

import datetime
import random
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor

from datamodules.files import read_text
from datamodules.token_rows import TokenRows
from zoo.errors import DataError
from zoo.functional.tokenization import BEGIN_ID, END_ID, Tokenizer, make_tokenizer

Pairs = list[tuple[str, str]]  # a sentence and its translation


class ParallelText(TokenRows):
    """Pairs of sentences: ``--data parallel_text --data.path a.de --data.target_path a.en``.

    Batches are (x, y): tokens of the source with the end mark behind them, int64 (B, S), and of the
    target between the marks for begin and end, (B, T); both padded with 0. Rows of like length meet
    in a batch.

    Properties that models ask for: ``vocab_size``, ``tokenizer``, ``length`` of the source;
    ``target_vocab_size``, ``target_tokenizer``, ``target_length``.

    Args:
        path, target_path: training sentences, one a line, gzip or not. Default: generated dates,
            see :func:`dates`.
        val_path, val_target_path, test_path, test_target_path: likewise; where a pair is missing,
            that part is cut from the training sentences by the seed.
        tokenizer, target_tokenizer: ``words``, ``characters``, ``bytes`` or ``bpe``, made of the
            training sentences; default ``words`` and ``characters``, as the dates need.
        vocab_size, min_count, lowercase: of both tokenizers, default 8,000, 1 and no.
        max_length: tokens of a sentence, at most: longer training pairs are left out, longer ones
            elsewhere cut. Default 128.
        val_size, test_size: see :class:`~datamodules.base.TensorDataModule`; default 0.1 each.
        samples: generated pairs, default 6,000.
        batch_size: default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        DataError: files of unequal length, empty lines: names file and line.
    """

    def __init__(
        self,
        path: str | None = None,
        target_path: str | None = None,
        val_path: str | None = None,
        val_target_path: str | None = None,
        test_path: str | None = None,
        test_target_path: str | None = None,
        tokenizer: str = "words",
        target_tokenizer: str = "characters",
        vocab_size: int = 8_000,
        min_count: int = 1,
        lowercase: bool = False,
        max_length: int = 128,
        val_size: float = 0.1,
        test_size: float = 0.1,
        samples: int = 6_000,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        self.paths = {
            "train": (path, target_path),
            "val": (val_path, val_target_path),
            "test": (test_path, test_target_path),
        }
        self.kinds = tokenizer, target_tokenizer
        self.largest, self.min_count, self.lowercase = vocab_size, min_count, lowercase
        self.max_length, self.test_size, self.samples = max_length, test_size, samples

    # -- what models ask for --------------------------------------------------------------------

    @cached_property
    def pairs(self) -> dict[str, Pairs]:
        """Sentences and translations of each split."""
        found: dict[str, Pairs] = {}
        for name, (source, target) in self.paths.items():
            if (source is None) != (target is None):
                raise DataError(f"{source or target} has no partner: give both files of {name}")
            if source is not None and target is not None:
                found[name] = read_pairs(Path(source), Path(target))
        if "train" not in found:
            found["train"] = dates(self.samples, self.seed)
        for name, size in (("test", self.test_size), ("val", self.val_size)):
            if name not in found:
                found["train"], found[name] = self.held_out(found["train"], size)
        return found

    @cached_property
    def codecs(self) -> tuple[Tokenizer, Tokenizer]:
        """Tokenizers of source and target."""
        source, target = (
            make_tokenizer(
                kind, [pair[side] for pair in self.pairs["train"]], self.largest, True,
                self.lowercase, min_count=self.min_count,
            )
            for side, kind in enumerate(self.kinds)
        )  # fmt: skip
        return source, target

    @property
    def tokenizer(self) -> str:
        """Description of the source's tokenizer."""
        return self.codecs[0].to_json()

    @property
    def target_tokenizer(self) -> str:
        """Description of the target's tokenizer."""
        return self.codecs[1].to_json()

    @property
    def vocab_size(self) -> int:
        """Symbols of the source."""
        return len(self.codecs[0])

    @property
    def target_vocab_size(self) -> int:
        """Symbols of the target."""
        return len(self.codecs[1])

    @property
    def length(self) -> int:
        """Tokens of the longest source."""
        return max(len(row) for split in self.pairs for row in self.rows_of(split)[0])

    @property
    def target_length(self) -> int:
        """Tokens of the longest target."""
        return max(len(row) for split in self.pairs for row in self.rows_of(split)[1])

    # -- rows -----------------------------------------------------------------------------------

    def rows_of(self, split: str) -> tuple[list[list[int]], list[list[int]]]:
        """Numbers of sources and targets, with their marks."""
        if split not in self._encoded:
            self._encoded[split] = self._encode(split)
        return self._encoded[split]

    @cached_property
    def _encoded(self) -> dict[str, tuple[list[list[int]], list[list[int]]]]:
        return {}

    def _encode(self, split: str) -> tuple[list[list[int]], list[list[int]]]:
        begin, end = BEGIN_ID, END_ID
        source, target = self.codecs
        sources, targets = [], []
        for one, other in self.pairs[split]:
            x, y = source.encode(one), target.encode(other)
            if split == "train" and max(len(x), len(y)) > self.max_length:
                continue
            sources.append([*x[: self.max_length], end])
            targets.append([begin, *y[: self.max_length], end])
        return sources, targets

    def load_rows(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        return list(self.rows_of(split)), []


class Multi30k(ParallelText):
    """Captions of pictures in German and English: 29,000 pairs, 1,014, and 1,000 for the test.

    Six files in ``root/multi30k``: ``train``, ``val`` and ``test_2016_flickr``, each with the
    ending ``.de.gz`` and ``.en.gz``.

    Args:
        source, target: ``de`` (default) and ``en``, or the other way round.
        tokenizer, target_tokenizer: default ``bpe`` each.
        **text: see :class:`ParallelText`; the paths are fixed.

    Source: Elliott et al., Multi30K: multilingual English-German image descriptions, 2016.
    """

    def __init__(
        self,
        source: str = "de",
        target: str = "en",
        tokenizer: str = "bpe",
        target_tokenizer: str = "bpe",
        **text: Any,
    ) -> None:
        super().__init__(
            "", "", "", "", "", "", tokenizer=tokenizer, target_tokenizer=target_tokenizer, **text
        )  # fmt: skip
        folder = self.root / "multi30k"
        for split, name in (("train", "train"), ("val", "val"), ("test", "test_2016_flickr")):
            one, other = (str(folder / f"{name}.{side}.gz") for side in (source, target))
            self.paths[split] = one, other


def read_pairs(path: Path, target_path: Path) -> Pairs:
    """Lines of two files, side by side.

    Raises:
        DataError: one is longer, or a line is empty: names file and line.
    """
    sources, targets = (read_text(file).splitlines() for file in (path, target_path))
    pairs: Pairs = []
    for line, (one, other) in enumerate(zip_longest(sources, targets), 1):
        if one is None or other is None:
            longer, shorter = (target_path, path) if one is None else (path, target_path)
            raise DataError(
                f"{longer}, line {line}: there is no such line in {shorter}, which has {line - 1}"
            )
        for text, file in ((one, path), (other, target_path)):
            if not text.strip():
                raise DataError(f"{file}, line {line} is empty")
        pairs.append((one.strip(), other.strip()))
    if not pairs:
        raise DataError(f"{path} holds no sentences")
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
FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)


def dates(count: int, seed: int = 0) -> Pairs:
    """Days of two centuries in words, and as ISO 8601 writes them.

    *the twenty-third of may nineteen eighty-six* is 1986-05-23, and so are *may the twenty-third
    nineteen eighty-six* and *friday the twenty-third of may nineteen eighty-six*: the order
    changes, and one word may be there that the translation has no use for.
    """
    source = random.Random(seed)
    days = (LAST - FIRST).days + 1
    pairs: Pairs = []
    for _ in range(count):
        date = FIRST + datetime.timedelta(days=source.randrange(days))
        month, weekday = date.strftime("%B").lower(), date.strftime("%A").lower()
        day, year = ordinal(date.day), year_in_words(date.year)
        pattern = source.choice(["the {d} of {m} {y}", "{m} the {d} {y}", "{w} the {d} of {m} {y}"])
        pairs.append((pattern.format(d=day, m=month, y=year, w=weekday), date.isoformat()))
    return pairs


def number(value: int) -> str:
    """A number below a hundred in words."""
    if value < len(UNITS):
        return UNITS[value]
    return f"{TENS[value // 10]}-{UNITS[value % 10]}".rstrip("-")


def ordinal(value: int) -> str:
    """*first*, *twenty-third*."""
    tens, dash, last = number(value).rpartition("-")
    return tens + dash + ORDINALS.get(last, f"{last}th")


def year_in_words(year: int) -> str:
    """*nineteen eighty-six*, *nineteen hundred*, *two thousand five*, *twenty twelve*."""
    century, rest = divmod(year, 100)
    if 2000 <= year < 2010:
        return f"two thousand {number(rest)}".strip()
    return f"{number(century)} {number(rest) if rest > 9 else _early(rest)}"


def _early(rest: int) -> str:
    return f"oh {UNITS[rest]}" if rest else "hundred"

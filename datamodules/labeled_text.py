"""Sentences with labels: from a table, from the Stanford Sentiment Treebank, or from a grammar."""

from __future__ import annotations

import csv
import io
import random
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.files import read_text
from datamodules.token_rows import TokenRows
from datamodules.tokenized import Tokenized
from zoo.errors import DataError
from zoo.functional.tokenization import Tokenizer, make_tokenizer

Pairs = list[tuple[str, str]]  # text and label


class LabeledText(Tokenized, TokenRows):
    """Texts and their classes: ``--data labeled_text --data.path reviews.tsv``.

    Batches are (x, y) with x int64 (B, T), padded with 0 behind each text, and y int64 (B,).

    Properties that models ask for: ``vocab_size``, ``tokenizer``, ``length``, ``num_classes``.

    Args:
        path: a table of training texts, text and label in two columns, separated by tabs (or by
            commas, with quotes, where the name ends in ``.csv``). Default: generated sentences, see
            :func:`negations`.
        val_path, test_path: tables for validation and test; where one is missing, that part is cut
            from the training table by the seed.
        header: whether tables have a first line with names, default no.
        tokenizer: ``words`` (default), ``characters``, ``bytes`` or ``bpe``, made of the training
            texts; unknown words share one number.
        vocab_size, min_count, lowercase: of the tokenizer, default 20,000, 1 and yes.
        max_length: tokens of a text, at most; the rest is left out. Default 256.
        val_size, test_size: see :class:`~datamodules.base.TensorDataModule`; default 0.1 each.
        samples: generated sentences, default 4,000.
        batch_size: default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        DataError: names the file and line of what is wrong.
    """

    def __init__(
        self,
        path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        header: bool = False,
        tokenizer: str = "words",
        vocab_size: int = 20_000,
        min_count: int = 1,
        lowercase: bool = True,
        max_length: int = 256,
        val_size: float = 0.1,
        test_size: float = 0.1,
        samples: int = 4_000,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        self.paths = {"train": path, "val": val_path, "test": test_path}
        self.header, self.kind, self.lowercase = header, tokenizer, lowercase
        self.largest, self.min_count, self.max_length = vocab_size, min_count, max_length
        self.test_size, self.samples = test_size, samples

    # -- what models ask for --------------------------------------------------------------------

    @cached_property
    def pairs(self) -> dict[str, Pairs]:
        """Texts and labels of each split."""
        given = {n: self._read(Path(p)) for n, p in self.paths.items() if p is not None}
        if "train" not in given:
            given["train"] = negations(self.samples, self.seed)
        for name, size in (("test", self.test_size), ("val", self.val_size)):
            if name not in given:
                given["train"], given[name] = self.held_out(given["train"], size)
        return given

    def _read(self, path: Path) -> Pairs:
        delimiter = "," if path.suffixes[:1] == [".csv"] else "\t"
        # in a table with tabs a quotation mark is a character like any other
        quoting: Any = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        lines = csv.reader(io.StringIO(read_text(path)), delimiter=delimiter, quoting=quoting)
        pairs: Pairs = []
        for row in lines:
            if not row or (self.header and lines.line_num == 1):
                continue
            if len(row) != 2:
                raise DataError(
                    f"{path}, line {lines.line_num}: {len(row)} columns in place of text and label"
                )
            text, label = (cell.strip() for cell in row)
            if not text or not label:
                empty = "text" if not text else "label"
                raise DataError(f"{path}, line {lines.line_num}: the {empty} is empty")
            pairs.append((text, label))
        if not pairs:
            raise DataError(f"{path} holds no texts")
        return pairs

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes."""
        names = sorted({label for _, label in self.pairs["train"]})
        if len(names) < 2:
            raise DataError(f"all training texts have one label, {names[0]!r}")
        for split in ("val", "test"):
            strange = [label for _, label in self.pairs[split] if label not in names]
            if strange:
                raise DataError(f"label {strange[0]!r} of a {split} text is in no training text")
        return names

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return len(self.class_names)

    @cached_property
    def codec(self) -> Tokenizer:  # type: ignore[override]
        """The tokenizer."""
        texts = [text for text, _ in self.pairs["train"]]
        return make_tokenizer(
            self.kind, texts, self.largest, True, self.lowercase, min_count=self.min_count
        )

    @property
    def length(self) -> int:
        """Tokens of the longest text, in any split."""
        return max(len(row) for rows in self.encoded.values() for row in rows)

    # -- rows -----------------------------------------------------------------------------------

    @cached_property
    def encoded(self) -> dict[str, list[list[int]]]:
        """Tokens of each text, by split."""
        return {
            split: [self.codec.encode(text)[: self.max_length] for text, _ in pairs]
            for split, pairs in self.pairs.items()
        }

    def load_rows(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        labels = [self.class_names.index(label) for _, label in self.pairs[split]]
        return [self.encoded[split]], [torch.tensor(labels)]


class SST2(LabeledText):
    """Sentences of film reviews, positive or negative: 6,920 for training, 872, 1,821 for test.

    Three files ``sst2_sentences_{train,dev,test}.tsv`` in ``root/sentiment``, without a header: the
    whole sentences of the Stanford Sentiment Treebank with labels 0 and 1.

    Args:
        **text: see :class:`LabeledText`; the paths are fixed.

    Source: Socher et al., Recursive deep models for semantic compositionality, 2013.
    """

    def __init__(self, **text: Any) -> None:
        super().__init__("", "", "", **text)  # set below, so that no path is taken and not used
        folder = self.root / "sentiment"
        for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
            self.paths[split] = str(folder / f"sst2_sentences_{name}.tsv")


GOOD = ["good", "great", "fine", "lovely", "superb", "warm", "clever", "moving"]
BAD = ["bad", "poor", "dull", "awful", "weak", "cold", "clumsy", "tiring"]
THINGS = ["plot", "cast", "music", "script", "pace", "ending", "dialogue", "camera"]
ADVERBS = ["", "", "really", "very", "at all", "quite"]
OPENINGS = ["", "", "i thought", "they said", "in the end"]


def negations(count: int, seed: int = 0) -> Pairs:
    """Sentences whose words alone do not tell what they mean.

    Each has two clauses, one with a good and one with a bad word, in random order, and one ``not``
    before one of the two. *the plot was not dull , the cast was good* is positive, as both clauses
    say something good; *the plot was dull , the cast was not good* is negative, with the very same
    words. Whatever looks at the set of words alone is right half of the time.
    """
    source = random.Random(seed)
    pairs: Pairs = []
    for _ in range(count):
        positive = source.random() < 0.5
        clauses = []
        for words, denied in ((GOOD, not positive), (BAD, positive)):
            parts = [
                "the", source.choice(THINGS), "was", "not" if denied else "",
                source.choice(ADVERBS), source.choice(words),
            ]  # fmt: skip
            clauses.append(" ".join(filter(None, parts)))
        source.shuffle(clauses)
        text = f"{source.choice(OPENINGS)} {source.choice([' , ', ' and ']).join(clauses)}"
        pairs.append((" ".join(text.split()), "positive" if positive else "negative"))
    return pairs

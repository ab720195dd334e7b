"""Labeled texts: the user's own table, the Stanford Sentiment Treebank, generated reviews."""

from __future__ import annotations

import csv
import random
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.files import read_text, split_rows
from datamodules.token_sequences import TokenSequenceDataModule
from datamodules.tokenized import Tokenized
from zoo.errors import DataError, check_at_least, check_count_or_fraction
from zoo.functional.tokenization import Tokenizer, make_tokenizer

Examples = list[tuple[str, str]]  # text and label


class LabeledText(Tokenized, TokenSequenceDataModule):
    """Texts and their classes: ``--data labeled_text --data.path reviews.tsv``.

    Batches are (x, y) with x int64 (B, T), padded with 0, and y int64 (B,).

    Properties for models: ``vocab_size``, ``tokenizer``, ``length``, ``num_classes``.

    Args:
        path: table of training texts with two columns, text and label, separated by tabs, or by
            commas with quotes if the file is named ``.csv``. Default: generated reviews, see
            :func:`generate_reviews`.
        val_path: table of validation texts; default: held out from the training texts by the seed.
        test_path: table of test texts; default: held out from the training texts by the seed.
        header: whether the first line of each table is a header, default False.
        tokenizer_type: ``words`` (default), ``characters``, ``bytes`` or ``bpe``; its vocabulary
            comes from the training texts, and all unknown words share one index.
        max_vocab_size: largest vocabulary of ``words`` and ``bpe``, default 20,000.
        min_count: number of times that a word or piece must occur in the training texts to be in
            the vocabulary, default 1.
        lowercase: whether to convert texts to lower case, default True.
        max_length: number of tokens after which texts are cut off, default 256.
        val_size: texts held out for validation: a count (≥ 1) or a fraction (< 1) of the texts that
            remain after ``test_size``, default 0.1.
        test_size: texts held out for testing: a count (≥ 1) or a fraction (< 1), default 0.1.
        num_samples: number of generated reviews, default 4,000.
        batch_size: training texts per batch and process, default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: a table cannot be used; the message names the file and line.
    """

    def __init__(
        self,
        path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        header: bool = False,
        tokenizer_type: str = "words",
        max_vocab_size: int = 20_000,
        min_count: int = 1,
        lowercase: bool = True,
        max_length: int = 256,
        val_size: float = 0.1,
        test_size: float = 0.1,
        num_samples: int = 4_000,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        check_at_least(1, max_length=max_length, num_samples=num_samples, min_count=min_count)
        check_at_least(1, max_vocab_size=max_vocab_size)
        check_count_or_fraction(test_size=test_size)
        self.paths = {"train": path, "val": val_path, "test": test_path}
        self._lines: dict[str, list[int]] = {}  # line numbers of the examples from each table
        self.header, self.lowercase = header, lowercase
        self.tokenizer_type, self.max_vocab_size = tokenizer_type, max_vocab_size
        self.min_count, self.max_length = min_count, max_length
        self.test_size, self.num_samples = test_size, num_samples

    # -- properties for models ------------------------------------------------------------------

    @cached_property
    def examples(self) -> dict[str, Examples]:
        """Texts and labels of each split."""
        splits: dict[str, Examples] = {}
        for name, path in self.paths.items():
            if path is not None:
                splits[name], self._lines[name] = self._read(Path(path))
        if "train" not in splits:
            splits["train"] = generate_reviews(self.num_samples, self.seed)
        for name, size in (("test", self.test_size), ("val", self.val_size)):
            if name not in splits:
                splits["train"], splits[name] = self.hold_out_examples(
                    splits["train"], size, f"{name}_size"
                )
        return splits

    def _read(self, path: Path) -> tuple[Examples, list[int]]:
        """Return the texts and labels of a table, and their line numbers."""
        delimiter = "," if path.suffixes[:1] == [".csv"] else "\t"
        # in a tab-separated table, a quotation mark is an ordinary character
        quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        rows = split_rows(path, read_text(path), delimiter=delimiter, quoting=quoting)
        examples: Examples = []
        lines: list[int] = []
        for line, row in rows[1:] if self.header else rows:
            location = f"{path}, line {line}"
            if len(row) != 2:
                raise DataError(f"{location}: expected 2 columns, text and label, got {len(row)}")
            text, label = (cell.strip() for cell in row)
            if not text or not label:
                raise DataError(
                    f"{location}: the {'label' if text else 'text'} is empty; fill it in or remove "
                    "the line"
                )
            examples.append((text, label))
            lines.append(line)
        if not examples:
            raise DataError(f"{path} contains no texts")
        return examples, lines

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes: the labels of the training texts, sorted."""
        names = sorted({label for _, label in self.examples["train"]})
        if len(names) < 2:
            raise DataError(
                f"{self._source}: all training texts have the label {names[0]!r}; at least "
                "2 different labels are needed"
            )
        for split in ("val", "test"):
            for i, (_, label) in enumerate(self.examples[split]):
                if label not in names:
                    raise DataError(
                        f"{self._location(split, i)}: the label {label!r} does not occur in the "
                        "training texts; correct it or remove the line"
                    )
        return names

    def _location(self, split: str, index: int) -> str:
        if split in self._lines:
            return f"{self.paths[split]}, line {self._lines[split][index]}"
        return f"{self._source}, {split} split"

    @property
    def _source(self) -> str:
        return self.paths["train"] or "generated reviews"

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return len(self.class_names)

    @cached_property
    def fitted_tokenizer(self) -> Tokenizer:  # type: ignore[override]
        """Tokenizer of the texts, with a vocabulary from the training texts."""
        return make_tokenizer(
            self.tokenizer_type,
            [text for text, _ in self.examples["train"]],
            self.max_vocab_size,
            special_tokens=True,
            lowercase=self.lowercase,
            min_count=self.min_count,
        )

    @property
    def length(self) -> int:
        """Number of tokens in the longest text of any split."""
        return max(len(tokens) for split in self.encoded.values() for tokens in split)

    # -- sequences ------------------------------------------------------------------------------

    @cached_property
    def encoded(self) -> dict[str, list[list[int]]]:
        """Tokens of each text, by split."""
        encode = self.fitted_tokenizer.encode
        return {
            split: [encode(text)[: self.max_length] for text, _ in examples]
            for split, examples in self.examples.items()
        }

    def load_sequences(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        labels = [self.class_names.index(label) for _, label in self.examples[split]]
        return [self.encoded[split]], [torch.tensor(labels)]


class SST2(LabeledText):
    """Sentences of movie reviews, positive or negative: 6,920 train, 872 validation, 1,821 test.

    Three files ``sst2_sentences_{train,dev,test}.tsv`` in ``root/sentiment``, without a header: the
    whole sentences of the Stanford Sentiment Treebank with labels 0 and 1.

    Args:
        **text: see :class:`LabeledText`; the paths are fixed.

    Source: Socher et al., Recursive deep models for semantic compositionality, 2013.
    """

    def __init__(self, **text: Any) -> None:
        super().__init__("", "", "", **text)  # a path in ``text`` raises TypeError
        folder = self.root / "sentiment"
        for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
            self.paths[split] = str(folder / f"sst2_sentences_{name}.tsv")


GOOD = ["good", "great", "fine", "lovely", "superb", "warm", "clever", "moving"]
BAD = ["bad", "poor", "dull", "awful", "weak", "cold", "clumsy", "tiring"]
THINGS = ["plot", "cast", "music", "script", "pace", "ending", "dialogue", "camera"]
ADVERBS = ["", "", "really", "very", "at all", "quite"]
OPENINGS = ["", "", "i thought", "they said", "in the end"]


def generate_reviews(count: int, seed: int = 0) -> Examples:
    """Generate sentences whose sentiment depends on the position of a negation.

    Each sentence has two clauses in random order, one with a good and one with a bad word, and
    ``not`` in one of the two. *the plot was not dull , the cast was good* is positive, because both
    clauses express something good; *the plot was dull , the cast was not good* is negative, with
    the same words. A bag-of-words model is right half of the time.

    Args:
        count: number of sentences.
        seed: random seed of the sentences, default 0.
    """
    rng = random.Random(seed)
    examples: Examples = []
    for _ in range(count):
        positive = rng.random() < 0.5
        clauses = []
        for words, is_negated in ((GOOD, not positive), (BAD, positive)):
            parts = [
                "the", rng.choice(THINGS), "was", "not" if is_negated else "", rng.choice(ADVERBS),
                rng.choice(words),
            ]  # fmt: skip
            clauses.append(" ".join(filter(None, parts)))
        rng.shuffle(clauses)
        text = f"{rng.choice(OPENINGS)} {rng.choice([' , ', ' and ']).join(clauses)}"
        examples.append((" ".join(text.split()), "positive" if positive else "negative"))
    return examples

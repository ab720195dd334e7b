"""Labeled texts: the user's own table, the Stanford Sentiment Treebank, generated reviews."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.files import parse_number
from datamodules.held_out_classes import Examples, keep_every_class, name_classes
from datamodules.labeled_table import (
    LabeledTable,
    TableColumns,
    TableOptions,
    merge_equal_numbers,
    read_labeled_table,
)
from datamodules.token_sequences import (
    TokenCount,
    TokenSequenceDataModule,
    cut_rows,
    default_length,
    hash_texts,
    name_splits,
)
from datamodules.tokenized import SPLIT_NAMES, Tokenized
from zoo.errors import DataError, check_at_least, check_count_or_fraction
from zoo.functional.tokenization import make_tokenizer

MAX_LENGTH = 1_024  # largest default length: the cost of attention grows with its square


class LabeledText(Tokenized, TokenSequenceDataModule):
    """Texts and their classes: ``--data labeled_text --data.path reviews.tsv``.

    Batches are (x, y) with x int64 (B, T), padded with 0, and y int64 (B,).

    A checkpoint contains the vocabulary, the class names, the columns and the length. Other texts
    are tested as a whole, and ``predict`` takes texts with or without labels, in a table or one per
    line.

    Properties for models: ``vocab_size``, ``tokenizer``, ``length``, ``num_classes``.

    Args:
        path: table of training texts and their labels: separated by tabs, or as CSV with quotation
            marks if the file is named ``.csv``; see
            :func:`~datamodules.labeled_table.read_labeled_table`. Default: generated reviews, see
            :func:`generate_reviews`.
        val_path: table of validation texts; default: held out from the training texts by the seed.
        test_path: table of test texts; default: held out from the training texts by the seed.
        header: whether the first line of each table is a header; default recognized by the usual
            names of columns.
        text_column: name of the column of texts, default recognized.
        label_column: name of the column of labels, default recognized.
        tokenizer_type: ``words`` (default), ``characters``, ``bytes`` or ``bpe``; its vocabulary
            comes from the training texts, and all unknown words share one index.
        max_vocab_size: largest vocabulary of ``words`` and ``bpe``, default 20,000.
        min_count: number of times that a word or piece must occur in the training texts to be in
            the vocabulary, default 1.
        lowercase: whether to convert texts to lower case, default True.
        max_length: number of tokens after which texts are cut, with a warning; default twice the
            length of the longest text, at least 128 and at most 1,024.
        val_size: texts held out for validation: a count (≥ 1) or a fraction (< 1) of the texts that
            remain after ``test_size``, default 0.1.
        test_size: texts held out for testing: a count (≥ 1) or a fraction (< 1), default 0.1.
        num_samples: number of generated reviews, default 4,000.
        batch_size: training texts per batch and process, default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: a table cannot be used, or has a label that does not occur in the training texts;
            the message names the file and line.
    """

    learned_settings = (
        *TokenSequenceDataModule.learned_settings, "test_size", "num_samples", "tokenizer_type",
        "max_vocab_size", "min_count", "lowercase", "max_length",
    )  # fmt: skip
    #: whether ``predict`` serves the official test split
    has_official_test_split = False

    def __init__(
        self,
        path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        header: bool | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
        tokenizer_type: str = "words",
        max_vocab_size: int = 20_000,
        min_count: int = 1,
        lowercase: bool = True,
        max_length: int | None = None,
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
        self.header, self.text_column, self.label_column = header, text_column, label_column
        self.tokenizer_type, self.max_vocab_size = tokenizer_type, max_vocab_size
        self.min_count, self.lowercase, self.max_length = min_count, lowercase, max_length
        self.test_size, self.num_samples = test_size, num_samples
        self._counts: dict[str, TokenCount] = {}  # by split

    @property
    def source(self) -> str:
        return self.paths["train"] or "generated reviews"

    # -- what is learned ------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return the columns, class names, vocabulary and length of the training texts."""
        examples = self.examples
        names = sorted({label for _, label in examples["train"]})
        if len(names) < 2:
            raise DataError(
                f"{self.source}: all training texts have the label {names[0][:40]!r}; at least "
                "2 different labels are needed"
            )
        for split in ("val", "test"):
            self._check_labels(split, examples[split], names)
        tokenizer = make_tokenizer(
            self.tokenizer_type,
            [text for text, _ in examples["train"]],
            self.max_vocab_size,
            special_tokens=True,
            lowercase=self.lowercase,
            min_count=self.min_count,
        )
        texts = (text for split in examples.values() for text, _ in split)
        longest = max(len(tokenizer.encode(text)) for text in texts)
        columns = self._tables["train"].columns if "train" in self._tables else TableColumns()
        return {
            "columns": asdict(columns),
            "class_names": names,
            "tokenizer": tokenizer.to_json(),
            "length": self.max_length or default_length(longest, MAX_LENGTH),
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        return hash_texts(self._training_examples)

    def forget(self) -> None:
        super().forget()
        self._counts.clear()

    # -- properties for models ------------------------------------------------------------------

    @property
    def class_names(self) -> list[str]:
        """Names of the classes: the labels of the training texts, sorted."""
        return list(self.learned["class_names"])

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return len(self.class_names)

    @property
    def length(self) -> int:
        """Number of tokens after which texts are cut."""
        return int(self.learned["length"])

    # -- texts ----------------------------------------------------------------------------------

    @property
    def examples(self) -> dict[str, Examples]:
        """Texts and labels of each split."""
        return {split: self.split_examples(split) for split in self.paths}

    def split_examples(self, split: str) -> Examples:
        """Return the texts and labels of ``train``, ``val`` or ``test``."""
        if split != "train" and self.paths[split] is not None:
            table = self._read(split)
            return list(zip(table.texts, table.labels, strict=True))
        if self.is_split:
            return self._held_out[split]
        return [] if split == "train" else self._training_examples

    @cached_property
    def _tables(self) -> dict[str, LabeledTable]:
        return {}

    def _read(self, split: str) -> LabeledTable:
        """Return the table of a split, or of the texts to predict; equal numbers are one class."""
        if split not in self._tables:
            needs_labels = split != "predict"
            options = TableOptions(
                self.header, self.text_column, self.label_column, self._columns(split), needs_labels
            )
            table = read_labeled_table(Path(str(self._path(split))), options)
            if needs_labels:
                table = merge_equal_numbers(table, self._known_labels(split))
            else:
                self._say_other_labels(table)
            self._tables[split] = table
        return self._tables[split]

    def _columns(self, split: str) -> TableColumns | None:
        """Return the columns of the training table, by which the others are read."""
        if self.has_loaded_state:
            return TableColumns(**self.learned["columns"])
        is_first = split == "train" or self.paths["train"] is None
        return None if is_first else self._read("train").columns

    def _say_other_labels(self, table: LabeledTable) -> None:
        """Warn about values in an ignored column of labels that are not classes of the model."""
        others = [label for label in table.labels if label and label not in self.class_names]
        numbers = {parse_number(name) for name in self.class_names}
        others = [label for label in others if parse_number(label) not in numbers - {None}]
        if others:
            column = repr(table.columns.label) if table.columns.label else "the second column"
            self.say(
                f"{len(others):,} of {len(table.texts):,} values in {column}, such as "
                f"{others[0][:40]!r}, are not classes of the model and are left out; if they are "
                "parts of texts, put the texts in quotation marks, or one on each line of a file "
                "named .txt"
            )

    def _path(self, split: str) -> str | None:
        if split != "predict":
            return self.paths[split]
        own = None if self.has_official_test_split else self.paths["train"]
        return own or self.paths["test"]

    def _known_labels(self, split: str) -> list[str] | None:
        """Return the labels that those of a table are compared with, None for its own."""
        if self.has_loaded_state:
            return self.class_names
        return None if split == "train" else [label for _, label in self._training_examples]

    @cached_property
    def _training_examples(self) -> Examples:
        if self.paths["train"] is None:
            return generate_reviews(self.num_samples, self.seed)
        table = self._read("train")
        return list(zip(table.texts, table.labels, strict=True))

    @cached_property
    def _held_out(self) -> dict[str, Examples]:
        """Training texts, and those that are held out from them."""
        splits = {"train": self._training_examples}
        for name, size in (("test", self.test_size), ("val", self.val_size)):
            if self.paths[name] is None:
                splits["train"], splits[name] = self.hold_out_examples(
                    splits["train"], size, f"{name}_size"
                )
        if moved := keep_every_class(splits):
            self.say(
                "a class that was held out as a whole gets one training text: "
                f"{name_classes(moved)}"
            )
        return splits

    def _check_labels(self, split: str, examples: Examples, names: list[str]) -> None:
        known = set(names)
        for i, (_, label) in enumerate(examples):
            if label not in known:
                raise DataError(
                    f"{self._location(split, i)}: the label {label[:40]!r} does not occur in the "
                    "training texts; correct it or remove the line"
                )

    def _location(self, split: str, index: int) -> str:
        if self.paths[split] is not None:
            return f"{self.paths[split]}, line {self._tables[split].lines[index]}"
        if not self.is_split and "train" in self._tables:
            return f"{self.source}, line {self._tables['train'].lines[index]}"
        return f"{self.source}, {split} split"

    # -- sequences ------------------------------------------------------------------------------

    def load_sequences(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        if split == "predict":
            texts = self._prediction_texts
            return [self._encode(split, texts)], [torch.zeros(len(texts), dtype=torch.int64)]
        examples = self.split_examples(split)
        self._check_labels(split, examples, self.class_names)
        index = {name: i for i, name in enumerate(self.class_names)}
        labels = torch.tensor([index[label] for _, label in examples], dtype=torch.int64)
        return [self._encode(split, [text for text, _ in examples])], [labels]

    def _encode(self, split: str, texts: list[str]) -> list[list[int]]:
        rows = [self.fitted_tokenizer.encode(text) for text in texts]
        rows, self._counts[split] = cut_rows(rows, self.length)
        return rows

    def report(self, splits: list[str]) -> None:
        whole = [name for name in splits if name in ("val", "test") and self.paths[name] is None]
        if whole and not self.is_split:
            self.say(
                f"not the training data: all {len(self._training_examples):,} texts are tested"
            )
        for name in splits:
            if name in ("val", "test") and self.is_split:
                self._say_missing_classes(name)
        total = sum((self._counts[name] for name in splits), TokenCount())
        texts = f"{name_splits(splits)} texts".strip()
        hint = (
            "the model was trained with this length"
            if self.has_loaded_state
            else "raise --data.max_length to keep more"
        )
        self.say_counts(total, texts, self.length, hint)

    def _say_missing_classes(self, split: str) -> None:
        found = set(self._splits[split][0][-1].tolist())
        missing = [label for i, label in enumerate(self.class_names) if i not in found]
        if found and missing:
            self.say(f"the {SPLIT_NAMES[split]} split has no text of {name_classes(missing)}")

    # -- prediction -----------------------------------------------------------------------------

    @property
    def _prediction_texts(self) -> list[str]:
        if self._path("predict") is None:
            return [text for text, _ in self.split_examples("test")]
        return self._read("predict").texts

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        if self._path("predict") is None:
            return {"sample": range(len(self._prediction_texts))}
        return {"line": self._read("predict").lines}


class SST2(LabeledText):
    """Sentences of movie reviews, positive or negative: 6,920 train, 872 validation, 1,821 test.

    Three files ``sst2_sentences_{train,dev,test}.tsv`` in ``root/sentiment``, without a header: the
    whole sentences of the Stanford Sentiment Treebank with labels 0 and 1.

    Args:
        **text: see :class:`LabeledText`; the paths are fixed.

    Source: Socher et al., Recursive deep models for semantic compositionality, 2013.
    """

    has_official_test_split = True

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

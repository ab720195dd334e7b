"""Sentences and their translations: the user's own files, Multi30k, dates in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from datamodules.dates import generate_dates
from datamodules.sentence_files import Pairs, read_pairs, read_sentences
from datamodules.token_sequences import (
    TokenCount,
    TokenSequenceDataModule,
    cut_rows,
    default_length,
    hash_texts,
    name_splits,
)
from zoo.errors import DataError, check_at_least, check_count_or_fraction
from zoo.functional.tokenization import (
    BEGIN_ID,
    END_ID,
    Tokenizer,
    load_tokenizer,
    make_tokenizer,
)

MAX_LENGTH = 512  # largest default length of a sentence in tokens


class ParallelText(TokenSequenceDataModule):
    """Pairs of sentences: ``--data parallel_text --data.path a.de --data.target_path a.en``.

    Batches are (x, y), both padded with 0: source tokens followed by the end token, int64 (B, S),
    and target tokens between the begin and end tokens, (B, T). Pairs of similar length are batched
    together.

    A checkpoint contains the vocabularies and lengths. Other pairs are tested as a whole, and
    ``predict`` takes source sentences with or without translations.

    Properties for models: ``vocab_size``, ``tokenizer`` and ``length`` of the source;
    ``target_vocab_size``, ``target_tokenizer``, ``target_length``.

    Args:
        path: training sentences in the source language, one per line, without whitespace at their
            ends; lines end at line feeds, and the file may be compressed with gzip. Default:
            generated dates, see :func:`~datamodules.dates.generate_dates`.
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
        max_length: largest number of tokens in a sentence, default 512. Training pairs with a
            longer sentence are left out; in other splits, and in new files by default after twice
            the length of the longest source and after the longest target, sentences are cut. Both
            are said in a warning.
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

    learned_settings = (
        *TokenSequenceDataModule.learned_settings, "test_size", "num_samples", "tokenizer_type",
        "target_tokenizer_type", "max_vocab_size", "min_count", "lowercase", "max_length",
    )  # fmt: skip
    #: whether ``predict`` serves the official test split
    has_official_test_split = False

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
        max_length: int | None = None,
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
        self.tokenizer_type, self.target_tokenizer_type = tokenizer_type, target_tokenizer_type
        self.max_vocab_size, self.min_count, self.lowercase = max_vocab_size, min_count, lowercase
        self.max_length, self.test_size, self.num_samples = max_length, test_size, num_samples

        self._counts: dict[str, tuple[TokenCount, TokenCount]] = {}  # of each side, by split
        self._left_out = 0  # number of training pairs that are too long

    @property
    def source(self) -> str:
        return self.paths["train"][0] or "generated dates"

    # -- what is learned ------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return the vocabularies of the training sentences, and the lengths of all splits."""
        kinds = self.tokenizer_type, self.target_tokenizer_type
        source, target = (
            make_tokenizer(
                kind,
                [pair[side] for pair in self.split_pairs("train")],
                self.max_vocab_size,
                special_tokens=True,
                lowercase=self.lowercase,
                min_count=self.min_count,
            )
            for side, kind in enumerate(kinds)
        )
        longest, limit = [0, 0], self.max_length or MAX_LENGTH
        for split in self.paths:
            sides = self._tokenize(split, (source, target), (limit, limit))
            longest = [max([n, *map(len, rows)]) for n, rows in zip(longest, sides, strict=True)]
        return {
            "tokenizer": source.to_json(),
            "target_tokenizer": target.to_json(),
            "length": (self.max_length or default_length(longest[0], MAX_LENGTH)) + 1,  # end token
            "target_length": longest[1] + 2,  # with begin and end tokens
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        return hash_texts(self._training_pairs)

    def forget(self) -> None:
        super().forget()
        self._counts.clear()

    # -- properties for models ------------------------------------------------------------------

    @cached_property
    def fitted_tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """Tokenizers of source and target, with vocabularies from the training sentences."""
        return load_tokenizer(self.tokenizer), load_tokenizer(self.target_tokenizer)

    @property
    def tokenizer(self) -> str:
        """Description of the source tokenizer, from which a model recreates it."""
        return str(self.learned["tokenizer"])

    @property
    def target_tokenizer(self) -> str:
        """Description of the target tokenizer, from which a model recreates it."""
        return str(self.learned["target_tokenizer"])

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
        """Largest number of tokens of a source, its end token included."""
        return int(self.learned["length"])

    @property
    def target_length(self) -> int:
        """Number of tokens in the longest target sequence of any split."""
        return int(self.learned["target_length"])

    # -- sentences ------------------------------------------------------------------------------

    @property
    def sentence_pairs(self) -> dict[str, Pairs]:
        """Sentences and translations of each split."""
        return {split: self.split_pairs(split) for split in self.paths}

    def split_pairs(self, split: str) -> Pairs:
        """Return the sentences and translations of ``train``, ``val`` or ``test``."""
        if split != "train" and self._has_files(split):
            return self._read(split)
        if self.is_split:
            return self._held_out[split]
        return [] if split == "train" else self._training_pairs

    def _has_files(self, split: str) -> bool:
        source, target = self.paths[split]
        if (source is None) != (target is None):
            raise DataError(
                f"{source or target} has no counterpart: give both the source and the target file "
                f"of the {split} split"
            )
        return source is not None

    def _read(self, split: str) -> Pairs:
        source, target = self.paths[split]
        return read_pairs(Path(str(source)), Path(str(target)))

    @cached_property
    def _training_pairs(self) -> Pairs:
        if self._has_files("train"):
            return self._read("train")
        return generate_dates(self.num_samples, self.seed)

    @cached_property
    def _held_out(self) -> dict[str, Pairs]:
        """Training pairs, and those that are held out from them."""
        splits = {"train": self._training_pairs}
        for name, size in (("test", self.test_size), ("val", self.val_size)):
            if not self._has_files(name):
                splits["train"], splits[name] = self.hold_out_examples(
                    splits["train"], size, f"{name}_size"
                )
        return splits

    # -- sequences ------------------------------------------------------------------------------

    def _tokenize(
        self, split: str, tokenizers: tuple[Tokenizer, Tokenizer], limits: tuple[int, int]
    ) -> list[list[list[int]]]:
        """Return the tokens of all sources and targets of a split, at most as many as the limits.

        Training pairs with a longer sentence are left out.
        """
        pairs = self.split_pairs(split)
        sides = [
            [tokenizer.encode(pair[side]) for pair in pairs]
            for side, tokenizer in enumerate(tokenizers)
        ]
        if split == "train":
            fits = [
                len(x) <= limits[0] and len(y) <= limits[1] for x, y in zip(*sides, strict=True)
            ]
            self._left_out = fits.count(False)
            sides = [[row for row, fit in zip(rows, fits, strict=True) if fit] for rows in sides]
            if pairs and not sides[0]:
                raise DataError(
                    f"{self.source}: every training pair has a sentence of more than "
                    f"{max(limits):,} tokens; raise --data.max_length"
                )
        source, target = map(cut_rows, sides, limits)
        self._counts[split] = source[1], target[1]
        return [source[0], target[0]]

    def load_sequences(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        limits = self.length - 1, self.target_length - 2
        if split == "predict":
            encode = self.fitted_tokenizers[0].encode
            rows = [encode(sentence) for sentence in self._prediction_lines.values()]
            sources, count = cut_rows(rows, limits[0])
            self._counts[split] = count, TokenCount()
            targets: list[list[int]] = [[]] * len(sources)
        else:
            sources, targets = self._tokenize(split, self.fitted_tokenizers, limits)
        return [[[*x, END_ID] for x in sources], [[BEGIN_ID, *y, END_ID] for y in targets]], []

    def report(self, splits: list[str]) -> None:
        whole = [name for name in splits if name in ("val", "test") and not any(self.paths[name])]
        if whole and not self.is_split:
            count = len(self._training_pairs)
            self.say(f"not the training data: all {count:,} pairs are tested")
        if "train" in splits and self._left_out:
            limit, count = self.max_length or MAX_LENGTH, len(self.split_pairs("train"))
            self.say(
                f"{self._left_out:,} of {count:,} training pairs have a sentence of more than "
                f"{limit:,} tokens and are left out; raise --data.max_length to keep them"
            )
        hint = (
            "the model was trained with this length"
            if self.has_loaded_state
            else "raise --data.max_length to keep more"
        )
        lengths = self.length - 1, self.target_length - 2
        for side, (name, length) in enumerate(zip(("sources", "targets"), lengths, strict=True)):
            total = sum((self._counts[split][side] for split in splits), TokenCount())
            self.say_counts(total, f"{name_splits(splits)} {name}".strip(), length, hint)

    # -- prediction -----------------------------------------------------------------------------

    def _prediction_path(self) -> str | None:
        own = None if self.has_official_test_split else self.paths["train"][0]
        return own or self.paths["test"][0]

    @cached_property
    def _prediction_lines(self) -> dict[int, str]:
        """Sentences to translate, by their line."""
        path = self._prediction_path()
        if path is None:
            return {i: source for i, (source, _) in enumerate(self.split_pairs("test"))}
        return read_sentences(Path(path))

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        name = "sample" if self._prediction_path() is None else "line"
        return {name: list(self._prediction_lines)}


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

    has_official_test_split = True

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

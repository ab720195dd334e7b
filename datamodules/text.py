"""Running text for language models: any file or folder, or Python's own standard library."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.base import TensorDataModule, split_count, stage_splits
from datamodules.files import download_file
from datamodules.loader import Batch, TensorLoader
from datamodules.text_files import JoinedText, read_texts, shuffle_lines, sorted_fraction
from datamodules.tokenized import MIN_UNKNOWN, SPLIT_NAMES, Tokenized
from zoo.errors import DataError, check_at_least, check_count_or_fraction
from zoo.functional.tokenization import UNKNOWN_ID, UnknownTokenError, make_tokenizer

STDLIB_CHARACTERS = 1_000_000  # default limit for the text of the standard library
SORTED = 0.8  # fraction of ascending lines from which on a text counts as sorted
MAX_REST = 0.01  # fraction of training tokens that is left out without a warning
IGNORE_INDEX = -100  # target that F.cross_entropy ignores


class Text(Tokenized, TensorDataModule):
    """Text in windows of tokens; the target of each token is the next token.

    Batches are (x, y), both int64 (B, T) with T = ``length``. Training windows start at random
    tokens; the windows of one epoch cover the text about once. Evaluation windows are consecutive,
    so every token of a split except its first is a target exactly once; targets beyond the end of
    the split are −100.

    The splits are consecutive parts of the text: training, validation, test. Carriage returns
    before line feeds are removed.

    A checkpoint contains the tokenizer and the length. A text that begins with the training text is
    tested on what follows the validation split, any other text as a whole. ``predict`` takes whole
    texts.

    Properties for models: ``vocab_size``, ``tokenizer`` (its description, see
    :mod:`zoo.functional.tokenization`), ``length``.

    Args:
        path: a text file, or a folder whose files are joined in the order of their names. Default:
            the modules of the standard library of this Python installation.
        pattern: glob pattern of the files in a folder, default ``**/*.txt``, which includes
            subfolders.
        length: number of tokens T in a window, default 64.
        tokenizer_type: ``characters`` (default), ``bytes``, ``words`` or ``bpe``.
        max_vocab_size: largest vocabulary of ``words`` and ``bpe``, default 8,192.
        lowercase: whether to convert the text to lower case, default False.
        max_characters: number of characters to use from the beginning of the text; default all of
            the user's text, or one million of the standard library.
        shuffle_lines: whether to shuffle the lines before the text is split, by the seed, default
            False. It is needed for sorted lists, whose end is unlike the rest.
        val_size: characters for validation: a count (≥ 1) or a fraction (< 1), default 0.05.
        test_size: characters for testing: a count (≥ 1) or a fraction (< 1), default 0.05.
        batch_size: training windows per batch and process, default 32.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: a file does not exist, is empty or not UTF-8, or is too short for the splits, or
            for a window.
    """

    learned_settings = (
        *TensorDataModule.learned_settings, "test_size", "tokenizer_type", "max_vocab_size",
        "lowercase", "max_characters", "shuffle_lines", "length",
    )  # fmt: skip
    #: whether ``predict`` serves the official test split
    has_official_test_split = False

    def __init__(
        self,
        path: str | None = None,
        pattern: str = "**/*.txt",
        length: int = 64,
        tokenizer_type: str = "characters",
        max_vocab_size: int = 8192,
        lowercase: bool = False,
        max_characters: int | None = None,
        shuffle_lines: bool = False,
        val_size: float = 0.05,
        test_size: float = 0.05,
        batch_size: int = 32,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        check_at_least(
            1, length=length, max_characters=max_characters, max_vocab_size=max_vocab_size
        )
        check_count_or_fraction(test_size=test_size)
        self.path, self.pattern, self.length = path, pattern, length
        self.tokenizer_type, self.max_vocab_size = tokenizer_type, max_vocab_size
        self.lowercase, self.shuffle_lines = lowercase, shuffle_lines
        self.max_characters, self.test_size = max_characters, test_size
        self._is_training = False

    # -- what is learned ------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return the tokenizer, and the sizes of the splits and a hash to recognize the text.

        The vocabulary of ``characters`` comes from the whole text, so that every character has an
        index; those of ``words`` and ``bpe`` come from the training split.
        """
        sizes = self._count_characters()
        whole = self.tokenizer_type == "characters"
        tokenizer = make_tokenizer(
            self.tokenizer_type,
            [self.text if whole else self.text[: sizes["train"]]],
            self.max_vocab_size,
            lowercase=self.lowercase,
            keep_whitespace=True,
        )
        return {
            "tokenizer": tokenizer.to_json(),
            "sizes": sizes,
            "fingerprint": self._fingerprint(sizes["train"]),
        }

    def _fingerprint(self, count: int) -> str:
        """Return a hash of the first characters, by which the training text is recognized."""
        return hashlib.sha256(self.text[:count].encode()).hexdigest()

    @cached_property
    def has_training_data(self) -> bool:
        """True if the text begins with the training split; more text may follow."""
        if not self.has_loaded_state:
            return True
        count = self.learned["sizes"]["train"]
        return len(self.text) >= count and self._fingerprint(count) == self.learned["fingerprint"]

    # -- the text -------------------------------------------------------------------------------

    @cached_property
    def text(self) -> str:
        """Text of all splits."""
        text = self._unshuffled_text()
        return shuffle_lines(text, self.seed) if self.shuffle_lines else text

    def _unshuffled_text(self) -> str:
        limit = self.max_characters
        if limit is None and self.path is None:
            limit = STDLIB_CHARACTERS
        text = self.joined.text[:limit]
        if not text.strip():
            raise DataError(f"{self.source} contains no text")
        return text

    @cached_property
    def joined(self) -> JoinedText:
        """Text of all files."""
        self.download()
        return read_texts(None if self.path is None else Path(self.path), self.pattern)

    @property
    def source(self) -> str:
        """Name of the text in messages."""
        return self.path or "the standard library"

    @property
    def split_texts(self) -> dict[str, str]:
        """Text of each split; a text that is not that of the training is not split."""
        if not self.is_split:
            return {"train": "", "val": self.text, "test": self.text}
        is_new = self._is_training or not self.has_loaded_state
        sizes = self._count_characters() if is_new else self.learned["sizes"]
        first = sizes["train"]
        second = first + sizes["val"]
        splits = {"train": slice(first), "val": slice(first, second), "test": slice(second, None)}
        return {name: self.text[characters] for name, characters in splits.items()}

    @property
    def is_split(self) -> bool:
        """True if the text is divided into splits, as in training."""
        return self._is_training or self.has_training_data

    def _count_characters(self) -> dict[str, int]:
        """Return the number of characters of each split."""
        count = len(self.text)
        val, test = split_count(self.val_size, count), split_count(self.test_size, count)
        if val + test >= count:
            raise DataError(
                f"{self.source}: val_size={self.val_size:g} and test_size={self.test_size:g} "
                f"leave none of {count} characters for training"
            )
        return {"train": count - val - test, "val": val, "test": test}

    # -- windows --------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        if stage == "fit":
            self._train_on_this_text()
        elif stage == "test":
            self._describe_test()
        names = ("predict",) if stage == "predict" else stage_splits(stage)
        for name in names:
            if name not in self._splits:
                windows = self._windows(name)
                self._splits[name] = (windows,), torch.arange(len(windows))

    def _train_on_this_text(self) -> None:
        """Split a text that a trained model is trained on further, and remember it."""
        if self._is_training:
            return
        self._is_training = True
        self._warn_of_sorted_lines()
        if not self.has_training_data:
            self._say("not the training text: split again, with the vocabulary of the checkpoint")
            sizes = self._count_characters()
            fingerprint = self._fingerprint(sizes["train"])
            self._learned = {**self.learned, "sizes": sizes, "fingerprint": fingerprint}
            self.__dict__.pop("has_training_data")
            self._splits.clear()

    def _warn_of_sorted_lines(self) -> None:
        if self.path is None or self.shuffle_lines or not (self.val_size or self.test_size):
            return
        share = sorted_fraction(self.text)
        if share >= SORTED:
            self._say(
                f"{share:.0%} of the lines are in alphabetical order after the line before them, "
                "so that the end of the text, which is for validation and testing, differs from "
                "the rest; shuffle the lines with --data.shuffle_lines true"
            )

    def _describe_test(self) -> None:
        """Say which characters are tested, if they are not the test split of the training text."""
        if not self.has_loaded_state or self._is_training:
            return
        if not self.has_training_data:
            self._say(f"not the training text: all {len(self.text):,} characters are tested")
            return
        added = len(self.text) - sum(self.learned["sizes"].values())
        if added > 0:
            self._say(f"{added:,} characters that were added since training are tested too")

    def _say(self, text: str) -> None:
        warnings.warn(f"{self.source}: {text}", stacklevel=3)

    def _encode(self, name: str) -> Tensor:
        """Return the tokens of a split, int32 (N,)."""
        text = self._prediction_text if name == "predict" else self.split_texts[name]
        try:
            return torch.tensor(self.fitted_tokenizer.encode(text), dtype=torch.int32)
        except UnknownTokenError as error:
            raise DataError(
                f"{self.source}: {error}, or train with --data.tokenizer_type bytes"
            ) from None

    def _windows(self, name: str) -> Tensor:
        """Return the windows of a split, int32: 2T tokens for training, T + 1 for evaluation."""
        tokens = self._encode(name)
        if name == "train":
            return self._training_windows(tokens)
        self._warn_of_unknown(name, tokens)
        if len(tokens) < 2:
            if name == "predict" or (name == "test" and not self.is_split):
                raise DataError(
                    f"{self.source}: a text of 1 token has no next token to predict; at least 2 "
                    "are needed"
                )
            return torch.empty(0, self.length + 1, dtype=torch.int32)
        missing = -(len(tokens) - 1) % self.length
        return F.pad(tokens, (0, missing), value=-1).unfold(0, self.length + 1, self.length)

    def _warn_of_unknown(self, name: str, tokens: Tensor) -> None:
        if not self.fitted_tokenizer.num_special_tokens:
            return
        split = "text" if name == "predict" else f"{SPLIT_NAMES[name]} text"
        share = float((tokens == UNKNOWN_ID).sum()) / max(1, len(tokens))
        if share >= MIN_UNKNOWN:
            self._say(
                f"{share:.1%} of the tokens of the {split} are not in the vocabulary; their "
                "characters are not counted in bits per character"
            )

    def _training_windows(self, tokens: Tensor) -> Tensor:
        if len(tokens) < 2 * self.length:
            raise DataError(
                f"{self.source}: {len(tokens)} training tokens are too few for windows of "
                f"length {self.length}; at least {2 * self.length} are needed"
            )
        rest = len(tokens) % self.length
        if rest > MAX_REST * len(tokens):
            self._say(
                f"the last {rest:,} of {len(tokens):,} training tokens do not fill a window of "
                f"{self.length} and are left out; lower --data.length"
            )
        return tokens.unfold(0, 2 * self.length, self.length)

    @property
    def is_training_random(self) -> bool:
        return True

    def prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return T + 1 tokens of each window, from a random start."""
        (windows,) = batch
        start = torch.randint(self.length, (len(windows), 1), generator=generator)
        positions = start.to(windows.device) + torch.arange(self.length + 1, device=windows.device)
        return self.prepare_evaluation((windows.gather(1, positions),), generator)

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        tokens = batch[0].long()
        x, y = tokens[:, :-1], tokens[:, 1:]
        return x.clamp(min=0), y.masked_fill(y < 0, IGNORE_INDEX)

    # -- prediction -----------------------------------------------------------------------------

    @property
    def _predicts_test_split(self) -> bool:
        return self.path is None or self.has_official_test_split

    @property
    def _prediction_text(self) -> str:
        return self.split_texts["test"] if self._predicts_test_split else self._unshuffled_text()

    def test_dataloader(self) -> Any:
        if len(self._stored("test")[1]):
            return self._loader("test")
        self._say("the test split is empty, so that nothing is tested; raise --data.test_size")
        return []

    def predict_dataloader(self) -> TensorLoader:
        self.setup("predict")
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        """Return the number of each window, from 0 on, and where it begins: the name of the file,
        if there are several, and the line, from 1 on."""
        self.setup("predict")
        (windows,), _ = self._splits["predict"]
        tokenizer = self.fitted_tokenizer
        breaks = torch.tensor([tokenizer.token_text(i).count("\n") for i in range(len(tokenizer))])
        per_window = breaks[windows[:, : self.length].clamp(min=0).long()].sum(1)
        ids: dict[str, Sequence[Any]] = {"window": range(len(windows))}
        if self._predicts_test_split and self.shuffle_lines:
            return ids  # its lines are from anywhere
        start = len(self._unshuffled_text()) - len(self._prediction_text)
        first = 1 + self._unshuffled_text().count("\n", 0, start)
        return ids | self.joined.locate((first + per_window.cumsum(0) - per_window).tolist())


class TinyShakespeare(Text):
    """40,000 lines of Shakespeare's plays: 1,115,394 characters, 65 different ones.

    The last tenth is the test split, which is nanoGPT's validation split; by default nothing is
    held out for validation. Stored as ``root/text/tinyshakespeare.txt``, downloaded if missing.

    Args:
        val_size: characters for validation: a count (≥ 1) or a fraction (< 1), default 0.
        test_size: characters for testing, default 111,540, a tenth.
        **text: see :class:`Text`; ``path`` is fixed.

    Source: Karpathy, char-rnn, 2015.
    """

    url = (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    )
    sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

    has_official_test_split = True

    def __init__(self, val_size: float = 0.0, test_size: float = 111_540, **text: Any) -> None:
        super().__init__("", val_size=val_size, test_size=test_size, **text)
        self.path = str(self.root / "text" / "tinyshakespeare.txt")

    def download(self) -> None:
        download_file(self.url, Path(str(self.path)), self.sha256)

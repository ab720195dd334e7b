"""Running text for language models: any file or folder, or Python's own standard library."""

from __future__ import annotations

import sysconfig
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.base import TensorDataModule, split_count, stage_splits
from datamodules.files import download_file, read_text
from datamodules.loader import Batch
from datamodules.tokenized import Tokenized
from zoo.errors import DataError, check_at_least, check_count_or_fraction
from zoo.functional.tokenization import Tokenizer, make_tokenizer

STDLIB_CHARACTERS = 1_000_000  # default limit for the text of the standard library
IGNORE_INDEX = -100  # target that F.cross_entropy ignores


class Text(Tokenized, TensorDataModule):
    """Text in windows of tokens; the target of each token is the next token.

    Batches are (x, y), both int64 (B, T) with T = ``length``. Training windows start at random
    tokens; the windows of one epoch cover the text about once. Evaluation windows are consecutive,
    so every token of a split except its first is a target exactly once; targets beyond the end of
    the split are −100.

    The splits are consecutive parts of the text: training, validation, test.

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
        val_size: characters for validation: a count (≥ 1) or a fraction (< 1), default 0.05.
        test_size: characters for testing: a count (≥ 1) or a fraction (< 1), default 0.05.
        batch_size: training windows per batch and process, default 32.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: a file does not exist, is empty or not UTF-8, or is too short for the splits.
    """

    def __init__(
        self,
        path: str | None = None,
        pattern: str = "**/*.txt",
        length: int = 64,
        tokenizer_type: str = "characters",
        max_vocab_size: int = 8192,
        lowercase: bool = False,
        max_characters: int | None = None,
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
        self.lowercase = lowercase
        if path is None and max_characters is None:
            max_characters = STDLIB_CHARACTERS
        self.max_characters = max_characters
        self.test_size = test_size

    # -- properties for models ------------------------------------------------------------------

    @cached_property
    def text(self) -> str:
        """Text of all splits."""
        if self.path is None:
            folder = Path(sysconfig.get_paths()["stdlib"])
            files = sorted(folder.glob("*.py"))
        elif (path := Path(self.path)).is_dir():
            files = sorted(file for file in path.glob(self.pattern) if file.is_file())
            if not files:
                raise DataError(
                    f"{path} has no files that match {self.pattern}: set --data.pattern"
                )
        else:
            files = [path]
        text = "\n".join(map(read_text, files))[: self.max_characters]
        if not text.strip():
            raise DataError(f"{self._source} contains no text")
        return text

    @property
    def _source(self) -> str:
        return self.path or "the standard library"

    @cached_property
    def fitted_tokenizer(self) -> Tokenizer:  # type: ignore[override]
        """Tokenizer of the text.

        The vocabulary of ``characters`` comes from the whole text, so that every character has an
        index; those of ``words`` and ``bpe`` come from the training split.
        """
        whole = self.tokenizer_type == "characters"
        return make_tokenizer(
            self.tokenizer_type,
            [self.text if whole else self.split_texts["train"]],
            self.max_vocab_size,
            lowercase=self.lowercase,
            keep_whitespace=True,
        )

    @cached_property
    def split_texts(self) -> dict[str, str]:
        """Text of each split."""
        count = len(self.text)
        val, test = split_count(self.val_size, count), split_count(self.test_size, count)
        if val + test >= count:
            raise DataError(
                f"{self._source}: val_size={self.val_size:g} and test_size={self.test_size:g} "
                f"leave none of {count} characters for training"
            )
        first, second = count - val - test, count - test
        splits = {"train": slice(first), "val": slice(first, second), "test": slice(second, None)}
        return {name: self.text[characters] for name, characters in splits.items()}

    # -- windows --------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        for name in stage_splits(stage):
            if name not in self._splits:
                windows = self._windows(name)
                self._splits[name] = (windows,), torch.arange(len(windows))

    def _windows(self, name: str) -> Tensor:
        """Return the windows of a split, int32: 2T tokens for training, T + 1 for evaluation."""
        tokens = torch.tensor(
            self.fitted_tokenizer.encode(self.split_texts[name]), dtype=torch.int32
        )
        if name == "train":
            if len(tokens) < 2 * self.length:
                raise DataError(
                    f"{self._source}: {len(tokens)} training tokens are too few for windows of "
                    f"length {self.length}; at least {2 * self.length} are needed"
                )
            return tokens.unfold(0, 2 * self.length, self.length)
        if len(tokens) < 2:
            return torch.empty(0, self.length + 1, dtype=torch.int32)
        missing = -(len(tokens) - 1) % self.length
        return F.pad(tokens, (0, missing), value=-1).unfold(0, self.length + 1, self.length)

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

    def __init__(self, val_size: float = 0.0, test_size: float = 111_540, **text: Any) -> None:
        super().__init__("", val_size=val_size, test_size=test_size, **text)
        self.path = str(self.root / "text" / "tinyshakespeare.txt")

    def download(self) -> None:
        download_file(self.url, Path(str(self.path)), self.sha256)

    @cached_property
    def text(self) -> str:
        self.download()
        return super().text

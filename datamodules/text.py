"""Running text for language models: any file or folder, or Python's own standard library."""

from __future__ import annotations

import sysconfig
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.files import fetch, read_text
from datamodules.loader import Batch
from datamodules.tokenized import Tokenized
from zoo.errors import DataError
from zoo.functional.tokenization import Tokenizer, make_tokenizer

STANDARD = 1_000_000  # characters of the standard library, unless told otherwise
IGNORE = -100  # a target that does not count, as F.cross_entropy has it


class Text(Tokenized, TensorDataModule):
    """Text, cut into windows; each token's target is the one after it.

    Batches are (x, y), both int64 (B, T) with T = ``length``. Training windows begin at any token:
    those of one pass cover the text once, moved by random amounts. Evaluation windows lie one
    behind the other, so that every token of a split but its first is a target exactly once;
    what is missing in the last window has the target −100.

    The text is divided in its order: training first, then validation, then test.

    Properties that models ask for: ``vocab_size``, ``tokenizer`` (its description, see
    :mod:`zoo.functional.tokenization`), ``length``.

    Args:
        path: a text file, or a folder whose files are joined in the order of their names; default
            the modules of Python's standard library, as they lie in this installation.
        pattern: of the files of a folder, default ``*.txt`` in it and below it.
        length: T, default 64.
        tokenizer: ``characters`` (default), ``bytes``, ``words`` or ``bpe``.
        vocab_size: of ``words`` and ``bpe``, at most, default 8192.
        lowercase: whether case is dropped, default no.
        max_characters: of the text, from its beginning; default all of a text of yours, a million
            of the standard library.
        val_size, test_size: fractions (< 1) or characters (≥ 1), default 0.05 each.
        batch_size: default 32.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        DataError: no such file, an empty one, one that is not UTF-8; a split without one window.
    """

    def __init__(
        self,
        path: str | None = None,
        pattern: str = "**/*.txt",
        length: int = 64,
        tokenizer: str = "characters",
        vocab_size: int = 8192,
        lowercase: bool = False,
        max_characters: int | None = None,
        val_size: float = 0.05,
        test_size: float = 0.05,
        batch_size: int = 32,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if test_size < 0:
            raise ValueError(f"test_size must not be negative, got {test_size}")
        self.path, self.pattern, self.length = path, pattern, length
        self.kind, self.largest, self.lowercase = tokenizer, vocab_size, lowercase
        self.max_characters = (
            STANDARD if path is None and max_characters is None else max_characters
        )
        self.test_size = test_size

    # -- what models ask for --------------------------------------------------------------------

    @cached_property
    def text(self) -> str:
        """All of it."""
        if self.path is None:
            folder = Path(sysconfig.get_paths()["stdlib"])
            files = sorted(folder.glob("*.py"))
        elif (path := Path(self.path)).is_dir():
            files = sorted(file for file in path.glob(self.pattern) if file.is_file())
            if not files:
                raise DataError(f"{path} has no files {self.pattern}: set pattern")
        else:
            files = [path]
        text = "\n".join(map(read_text, files))[: self.max_characters]
        if not text.strip():
            raise DataError(f"{self.path} holds no text")
        return text

    @cached_property
    def codec(self) -> Tokenizer:  # type: ignore[override]
        """The tokenizer; the list of its characters is that of the whole text, what it learns of
        words and pieces comes from the training split."""
        text = self.text if self.kind == "characters" else self.parts["train"]
        return make_tokenizer(
            self.kind, [text], self.largest, lowercase=self.lowercase, keep_whitespace=True
        )

    @cached_property
    def parts(self) -> dict[str, str]:
        """The text of each split."""
        count = len(self.text)
        val, test = (
            int(size if size >= 1 else round(size * count))
            for size in (self.val_size, self.test_size)
        )
        if val + test >= count:
            raise DataError(
                f"val_size={self.val_size} and test_size={self.test_size} leave nothing of "
                f"{count} characters for training"
            )
        first, second = count - val - test, count - test
        splits = {"train": slice(first), "val": slice(first, second), "test": slice(second, None)}
        return {name: self.text[part] for name, part in splits.items()}

    # -- windows --------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        wanted = {"fit": ("train", "val"), "validate": ("val",)}.get(stage or "", ("test",))
        for name in ("train", "val", "test") if stage is None else wanted:
            if name not in self._splits:
                windows = self._windows(name)
                self._splits[name] = (windows,), torch.arange(len(windows))

    def _windows(self, name: str) -> Tensor:
        """Windows of a split, int32: of 2T tokens for training, of T + 1 for evaluation."""
        tokens = torch.tensor(self.codec.encode(self.parts[name]), dtype=torch.int32)
        if name == "train":
            if len(tokens) < 2 * self.length:
                raise DataError(
                    f"{len(tokens)} training tokens are too few for windows of length "
                    f"{self.length}: at least {2 * self.length} are needed"
                )
            return tokens.unfold(0, 2 * self.length, self.length)
        if len(tokens) < 2:
            return torch.empty(0, self.length + 1, dtype=torch.int32)
        missing = -(len(tokens) - 1) % self.length
        return F.pad(tokens, (0, missing), value=-1).unfold(0, self.length + 1, self.length)

    @property
    def draws(self) -> bool:
        return True

    def _prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        """T + 1 tokens of each window, from a random place on."""
        (windows,) = batch
        start = torch.randint(self.length, (len(windows), 1), generator=generator)
        places = start.to(windows.device) + torch.arange(self.length + 1, device=windows.device)
        return self._prepare_evaluation((windows.gather(1, places),), generator)

    def _prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        tokens = batch[0].long()
        x, y = tokens[:, :-1], tokens[:, 1:]
        return x.clamp(min=0), y.masked_fill(y < 0, IGNORE)


class TinyShakespeare(Text):
    """Forty thousand lines of Shakespeare's plays: 1,115,394 characters, of 65 kinds.

    The last tenth is the test split, as nanoGPT's validation split; no validation is cut from the
    rest unless asked for. Lies in ``root/text/tinyshakespeare.txt``; downloaded when it is missing.

    Args:
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
        fetch(self.url, Path(str(self.path)), self.sha256)

    @cached_property
    def text(self) -> str:
        self.download()
        return super().text

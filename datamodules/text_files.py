"""Running text from files, and the order of its lines."""

from __future__ import annotations

import sysconfig
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch

from datamodules.files import read_text, refuse_old_line_ends
from zoo.errors import DataError

MIN_LINES = 50  # fewer lines are not enough to tell whether they are sorted


@dataclass(frozen=True)
class JoinedText:
    """The text of one or more files.

    Args:
        text: texts of the files, with a line break between two of them.
        first_lines: number of the line of ``text`` in which each file begins, by its name.
    """

    text: str
    first_lines: dict[str, int]

    def locate(self, lines: Sequence[int]) -> dict[str, list[Any]]:
        """Return the columns ``file``, if there is more than one, and ``line``, counted from 1.

        Args:
            lines: numbers of lines of ``text``, from 1 on.
        """
        if len(self.first_lines) == 1:
            return {"line": list(lines)}
        names, starts = list(self.first_lines), list(self.first_lines.values())
        files = [bisect_right(starts, line) - 1 for line in lines]
        return {
            "file": [names[i] for i in files],
            "line": [line - starts[i] + 1 for line, i in zip(lines, files, strict=True)],
        }


def read_texts(path: Path | None, pattern: str) -> JoinedText:
    """Return the text of a file, or of the files in a folder, joined in the order of their names.

    Args:
        path: a file or folder; None for the modules of the standard library.
        pattern: glob pattern of the files in a folder; hidden files are left out.

    Raises:
        DataError: no file matches, or a file cannot be read.
    """
    folder = Path(sysconfig.get_paths()["stdlib"]) if path is None else path
    if path is None:
        files = sorted(folder.glob("*.py"))
    elif path.is_dir():
        visible = _files_in(path, "**/*")
        files = _files_in(path, pattern)
        if not files:
            raise DataError(f"{path} has no files that match {pattern}: set --data.pattern")
        if others := len(set(visible) - set(files)):
            warnings.warn(
                f"{path}: {others:,} of {len(visible):,} files do not match {pattern} and are left "
                "out; set --data.pattern",
                stacklevel=4,
            )
    else:
        files = [path]
    texts = [_read_file(file) for file in files]
    heights = [text.count("\n") + 1 for text in texts]
    names = [file.name if file == path else file.relative_to(folder).as_posix() for file in files]
    first_lines = accumulate(heights[:-1], initial=1)
    return JoinedText("\n".join(texts), dict(zip(names, first_lines, strict=True)))


def _read_file(path: Path) -> str:
    text = read_text(path)
    refuse_old_line_ends(path, text)
    return text.replace("\r\n", "\n")


def _files_in(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that match, without hidden ones, by name."""
    files = (file for file in folder.glob(pattern) if file.is_file())
    return sorted(
        file for file in files if not any(p.startswith(".") for p in file.relative_to(folder).parts)
    )


def shuffle_lines(text: str, seed: int) -> str:
    """Return a text with its lines in random order."""
    lines = text.removesuffix("\n").split("\n")
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(seed))
    return "\n".join(lines[i] for i in order.tolist()) + "\n"


def sorted_fraction(text: str) -> float:
    """Return the fraction of lines that come after the line before in alphabetical order.

    Empty lines and repetitions are not counted. The fraction is about ½ for lines in random order,
    and 0 for fewer than 50 lines.
    """
    lines = [line.strip().casefold() for line in text.split("\n") if line.strip()]
    pairs = [(first, second) for first, second in pairwise(lines) if first != second]
    if len(pairs) < MIN_LINES:
        return 0.0
    return sum(first < second for first, second in pairs) / len(pairs)

"""Files with one sentence per line, and pairs of such files."""

from __future__ import annotations

import warnings
from itertools import zip_longest
from pathlib import Path

from datamodules.files import read_text, source_name, split_lines
from zoo.errors import DataError

Pairs = list[tuple[str, str]]  # a sentence and its translation


def read_pairs(path: Path, target_path: Path) -> Pairs:
    """Return the pairs of corresponding lines in two files; lines that are empty in both are left
    out, with a warning.

    Raises:
        DataError: a file has no sentences or more lines than the other, or a line is empty in one
            of them.
    """
    sources, targets = map(_read_lines, (path, target_path))
    pairs: Pairs = []
    for line, (source, target) in enumerate(zip_longest(sources, targets), 1):
        if source is None or target is None:
            longer, shorter = (target_path, path) if source is None else (path, target_path)
            raise DataError(
                f"{longer}, line {line} has no counterpart in {shorter}, which ends after line "
                f"{line - 1}: both files need the same number of lines"
            )
        source, target = source.strip(), target.strip()
        if bool(source) != bool(target):
            raise DataError(
                f"{path if target else target_path}, line {line} is empty: fill it in, or remove "
                "the line from both files"
            )
        if source:
            pairs.append((source, target))
    _say_left_out(path, len(sources) - len(pairs))
    return pairs


def read_sentences(path: Path) -> dict[int, str]:
    """Return the sentences in the lines of a file, by the number of the line; empty lines are left
    out, with a warning.

    Args:
        path: a file; ``-`` for the standard input.

    Raises:
        DataError: the file has no sentences.
    """
    lines = _read_lines(path)
    sentences = {line: text.strip() for line, text in enumerate(lines, 1) if text.strip()}
    _say_left_out(path, len(lines) - len(sentences))
    return sentences


def _read_lines(path: Path) -> list[str]:
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{source_name(path)} contains no sentences")
    return split_lines(source_name(path), text)


def _say_left_out(path: Path, count: int) -> None:
    if count:
        lines = "1 empty line is" if count == 1 else f"{count:,} empty lines are"
        warnings.warn(f"{source_name(path)}: {lines} left out", stacklevel=3)

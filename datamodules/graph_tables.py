"""Rows of the tables of a user's graph, with or without a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules.files import read_text, split_lines, split_rows
from zoo.errors import DataError

Rows = list[tuple[int, list[str]]]  # line numbers and cells


def read_rows(path: Path) -> Rows:
    """Return all rows of a table, with their line numbers, without comments at its beginning.

    A comment is a line that starts with "# ". The separator, a comma, semicolon, tab or vertical
    bar, is detected; without any of these, cells are separated by spaces. Cells are stripped of
    spaces.
    """
    text = read_text(path)
    body = re.sub(r"\A(#[ \t][^\n]*\n|[ \t\r]*\n)+", "", text)
    skipped = text[: len(text) - len(body)].count("\n")
    rows = _split_cells(path, body)
    return [(line + skipped, cells) for line, cells in rows if any(cells)]


def _split_cells(path: Path, text: str) -> Rows:
    if not any(mark in text for mark in ",;\t|"):
        return [(line, row.split()) for line, row in enumerate(split_lines(text), 1)]
    try:
        dialect: Any = csv.Sniffer().sniff(text[:65536], delimiters=",;\t|")
        dialect.doublequote = True  # the sniffer sees only the beginning of the text
    except csv.Error:
        dialect = csv.excel
    rows = split_rows(path, text, dialect=dialect)
    return [(line, [cell.strip() for cell in row]) for line, row in rows]


def check_widths(path: Path, rows: Rows) -> None:
    """Raise DataError for a row with more or fewer cells than the first one."""
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise DataError(f"{path}, line {line}: expected {width} values, got {len(cells)}")


def normalize_id(cell: str) -> str:
    """Return a node id; 7.0, as spreadsheets write whole numbers, is the same id as 7."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", cell)


def find_column(names: Sequence[str], choices: Sequence[str]) -> int | None:
    """Return the position of the first of some column names, in upper or lower case, or None."""
    lower = [name.lower() for name in names]
    return next((lower.index(choice) for choice in choices if choice in lower), None)

"""Files of the user's or from the network, read with errors that say what to do."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import urllib.request
from pathlib import Path
from typing import Any

from zoo.errors import DataError


def read_text(path: Path) -> str:
    """The text of a file, gzip or not.

    Raises:
        DataError: no such file; not UTF-8; not the gzip that its name says it is.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: byte {error.start} is not UTF-8 text") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns of a table with a header, and its rows with their line numbers.

    Cells are separated by commas, semicolons, tabs or bars, whichever the file has, and stripped.

    Raises:
        DataError: no rows; no header, or one with a name twice; a row longer or shorter than it.
    """
    text = read_text(path).removeprefix("\ufeff")
    try:
        dialect: Any = csv.Sniffer().sniff(text[:65536], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel  # one column, or too little to tell
    reader = csv.reader(text.splitlines(), dialect)
    numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    if len(numbered) < 2:
        raise DataError(f"{path} holds no rows under its header")
    (_, names), *rows = numbered
    if all(number(name) is not None for name in names):
        raise DataError(f"{path} begins with numbers: its first line must name the columns")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has more than one column {twice[0]!r}")
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {line}: {len(row)} values, but the header has {len(names)}"
            )
    return names, rows


def number(cell: str) -> float | None:
    """What a cell says as a number, None where it says none."""
    try:
        return float(cell)
    except ValueError:
        return None


def fetch(url: str, path: Path, sha256: str) -> None:
    """Makes a file be there and be the right one; it appears whole or not at all.

    Raises:
        DataError: it cannot be downloaded; its contents are others than expected.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            urllib.request.urlretrieve(url, part)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DataError(
                f"{url} cannot be downloaded ({error}): put the file at {path} by hand"
            ) from None
        part.replace(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise DataError(f"{path} is not the file expected (sha256 {found}): delete it")

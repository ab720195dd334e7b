"""The user's files and downloads, with error messages that say what to do."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path
from typing import Any

import torch

from zoo.errors import DataError


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, which may be compressed with gzip.

    Raises:
        DataError: the file does not exist, is not UTF-8, or is named ``.gz`` but is not gzip.
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
        raise DataError(
            f"{path}, line {line}: byte {error.start} is not UTF-8 text; save the file as UTF-8"
        ) from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the column names of a table with a header, and its rows with their line numbers.

    Cells are separated by commas, semicolons, tabs or vertical bars, which is detected, and
    stripped of spaces.

    Raises:
        DataError: the table has no rows, no header, a repeated column name, or a row with more or
            fewer values than the header.
    """
    text = read_text(path).removeprefix("\ufeff")
    try:
        dialect: Any = csv.Sniffer().sniff(text[:65536], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel  # one column, or too little text to detect the separator
    reader = csv.reader(text.splitlines(), dialect)
    numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    if len(numbered) < 2:
        raise DataError(f"{path} has no rows below its header")
    (_, names), *rows = numbered
    if all(parse_number(name) is not None for name in names):
        raise DataError(f"{path} starts with numbers: its first line must name the columns")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path} has more than one column {repeated[0]!r}: rename all but one")
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{path}, line {line}: expected {len(names)} values, got {len(row)}")
    return names, rows


def parse_number(cell: str) -> float | None:
    """Return the number in a cell, or None if the cell does not contain a number."""
    try:
        return float(cell)
    except ValueError:
        return None


def download_file(url: str, path: Path, sha256: str) -> None:
    """Download a file unless it exists, and check its contents.

    A download that is interrupted or has the wrong contents leaves no file.

    Args:
        url: address of the file.
        path: path of the local file.
        sha256: expected checksum, in hexadecimal.

    Raises:
        DataError: the file cannot be downloaded, or has another checksum.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{url} cannot be downloaded ({error}): download it elsewhere and save it as {path}"
            ) from None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} has other contents than expected (SHA-256 {found} instead of {sha256}): "
            "delete it and run again"
        )

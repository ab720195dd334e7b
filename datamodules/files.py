"""Reading text and tables from files, and downloads."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import sys
import zlib
from pathlib import Path

import torch

from zoo.errors import DataError, writing

STANDARD_INPUT = Path("-")
#: byte order marks of other encodings; that of UTF-32 begins with that of UTF-16
OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file without its byte order mark; gzip files are decompressed.

    Args:
        path: a file; ``-`` for the standard input.

    Raises:
        DataError: the file does not exist, is not UTF-8, contains null characters, or is named
            ``.gz`` but is not gzip.
    """
    if path == STANDARD_INPUT:
        return decode_text(sys.stdin.buffer.read(), source_name(path))
    if path.exists() and not path.is_file():  # a device such as /dev/zero has no end
        raise DataError(f"{path} is not a file")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return decode_text(content, str(path))


def source_name(path: Path) -> str:
    """Return the name of a file in messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def decode_text(content: bytes, source: str) -> str:
    """Return the text of UTF-8 without its byte order mark.

    Args:
        content: encoded text.
        source: name of the text in messages.

    Raises:
        DataError: the text is not UTF-8, or contains null characters, as UTF-16 does.
    """
    for mark, encoding in OTHER_MARKS.items():
        if content.startswith(mark):
            raise DataError(f"{source} is {encoding} text; save it as UTF-8")
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{source}, line {line}: byte {error.start} is not UTF-8 text; save the file as UTF-8"
        ) from None
    if (position := text.find("\0")) >= 0:
        line = text.count("\n", 0, position) + 1
        raise DataError(
            f"{source}, line {line}: a null character, so this is not UTF-8 text, but perhaps "
            "UTF-16; save the file as UTF-8"
        )
    return text


def split_lines(source: Path | str, text: str) -> list[str]:
    """Return the lines of a text, which end at line feeds; a carriage return before one is removed.

    Other characters that ``str.splitlines`` takes as line ends are parts of sentences.

    Args:
        source: name of the text in messages.
        text: contents of the file.

    Raises:
        DataError: the text has carriage returns, but no line feed.
    """
    refuse_old_line_ends(source, text)
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def refuse_old_line_ends(source: Path | str, text: str) -> None:
    """Raise an error if the lines of a text end at carriage returns alone."""
    if "\n" not in text and "\r" in text.rstrip("\r"):
        raise DataError(
            f"{source} has carriage returns in place of line feeds; save it with Unix or Windows "
            "line ends"
        )


def parse_number(cell: str) -> float | None:
    """Return the number in a cell, or None if the cell does not contain a number."""
    if "_" in cell:  # Python reads 1_2 as 12, but in a table it is a code
        return None
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
        DataError: the file cannot be downloaded, or its checksum does not match.
        InputError: its folder cannot be created.
    """
    if not path.is_file():
        with writing(path, "or choose another --data.root"):
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
            f"{path} has unexpected contents (SHA-256 {found} instead of {sha256}): "
            "delete it and run again"
        )

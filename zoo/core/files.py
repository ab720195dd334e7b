"""Files that are written whole or not at all; a failure is a one-line error."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import InputError, writing

PROBE_SIZE = 4096  # bytes


@contextmanager
def replacing(path: str | Path, hint: str = "") -> Iterator[Path]:
    """Yield the path of a temporary file, which takes the place of ``path`` at the end.

    The temporary file has the same name, and is in a temporary folder beside ``path``, whose folder
    is created if necessary. After an error it is deleted, and an existing file is unchanged. A
    device such as ``/dev/stdout`` is written to directly.

    Args:
        path: file to write; a link is followed.
        hint: end of the message, such as ``or choose another --data.root``; default none.

    Raises:
        InputError: the file cannot be written.
    """
    with writing(path, hint):
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            yield target
            return
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as folder:
            partial = Path(folder) / target.name
            yield partial
            partial.replace(target)


def check_writable(path: Path) -> None:
    """Check that a file could be written, before the long computation of its contents.

    Raises:
        InputError: the file cannot be written, or no space is left.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if path.exists() and not path.is_file():
        return
    probe = path.with_name(f".{os.getpid()}.probe")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(PROBE_SIZE))
        finally:
            probe.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")

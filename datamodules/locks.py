"""Locks: one process at a time prepares the files that several processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def preparing(folder: Path) -> Iterator[None]:
    """Let one process at a time download or unpack files into a folder; the others wait.

    Runs that start together on a fresh machine would otherwise read files that another run is still
    writing. A folder that cannot be written needs no lock, since no process prepares files in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".preparing.lock")
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()

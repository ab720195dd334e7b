"""A mesh as read from a file, and the lines of text files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from zoo.errors import DataError

Array = np.ndarray[Any, Any]
MAX_INTEGER = 2**62


class PolygonMesh(NamedTuple):
    """Vertices and polygons, as a file lists them.

    Attributes:
        vertices: coordinates, float64 (V, 3).
        corners: vertex indices of the corners of all polygons, one polygon after another,
            int64 (C,).
        sizes: number of corners of each polygon, int64 (P,); P = 0 for a point set.
        notes: description of contents that were not read → their count.
    """

    vertices: Array
    corners: Array
    sizes: Array
    notes: Mapping[str, int] = MappingProxyType({})

    @classmethod
    def of_lists(
        cls, positions: list[list[float]], corners: list[int], sizes: list[int]
    ) -> PolygonMesh:
        """Return the mesh of lists of coordinates, corners and numbers of corners."""
        return cls(
            np.array(positions, dtype=np.float64).reshape(-1, 3),
            np.array(corners, dtype=np.int64),
            np.array(sizes, dtype=np.int64),
        )

    def first_face_beyond(self) -> tuple[int, int] | None:
        """Return the first polygon with a vertex that does not exist, and the index of the vertex;
        None if all vertices exist."""
        bad = ((self.corners < 0) | (self.corners >= len(self.vertices))).nonzero()[0]
        if not len(bad):
            return None
        face = int(np.searchsorted(self.sizes.cumsum(), bad[0], side="right"))
        return face, int(self.corners[bad[0]])


class Lines:
    """Numbered lines of a text file without comments and empty lines.

    Args:
        path: path of the file, for error messages.
        lines: pairs of a line number, counted from 1, and a line.
    """

    def __init__(self, path: Path, lines: list[tuple[int, bytes]]) -> None:
        self.path, self.lines = path, lines

    @classmethod
    def of_file(
        cls, path: Path, comments: Sequence[bytes] = (b"#",), continuation: bool = False
    ) -> Lines:
        r"""Read the lines of a file.

        Args:
            path: path of the file.
            comments: strings that start a comment, which ends at the end of the line.
            continuation: whether a line that ends with a backslash continues in the next one;
                default False.
        """
        found, pending = [], b""
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        for number, line in enumerate(text.splitlines(), 1):
            for comment in comments:
                if comment in line:
                    line = line[: line.index(comment)]
            line = line.strip()
            if continuation and line.endswith(b"\\"):
                pending += line[:-1] + b" "
                continue
            line, pending = pending + line, b""
            if line:
                found.append((number, line))
        if pending.strip():
            found.append((number, pending))
        return cls(path, found)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def error(self, number: int, problem: str) -> DataError:
        """Return the error about a line."""
        return DataError(f"{self.path}, line {number}: {problem}")

    def numbers(
        self, number: int, line: bytes, values: Sequence[bytes], at_least: int
    ) -> list[float]:
        """Return the numbers in a line.

        Args:
            number: number of the line.
            line: the line, for error messages.
            values: the strings to convert.
            at_least: smallest number of values.

        Raises:
            DataError: too few values, or one that is not a number.
        """
        if len(values) < at_least:
            raise self.error(number, f"expected {at_least} numbers, got {_shorten(line)}")
        try:
            if b"_" not in line:  # Python reads 1_2 as 12
                return [float(value) for value in values]
        except ValueError:
            pass
        raise self.error(number, f"expected numbers, got {_shorten(line)}")

    def integer(self, number: int, value: bytes) -> int:
        """Return the integer in a line.

        Raises:
            DataError: the value is not an integer, or does not fit into 64 bits.
        """
        try:
            if b"_" not in value and abs(integer := int(value)) < MAX_INTEGER:
                return integer
        except ValueError:
            pass
        raise self.error(number, f"expected an integer, got {_shorten(value)}")


def check_count(path: Path, what: str, declared: int, found: int) -> None:
    """Raise DataError if a file declares another number of elements than it contains."""
    if declared != found:
        raise DataError(
            f"{path} declares {declared:,} {what}, but contains {found:,}: the file is damaged or "
            "cut off; export it again"
        )


def _shorten(line: bytes) -> str:
    """Return the start of a line for an error message."""
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= 60 else f"{text[:57]}...")

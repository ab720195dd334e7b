"""Reading STL files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.polygon_mesh import Array, Lines, PolygonMesh, check_count
from zoo.errors import DataError

HEADER = 84  # bytes before the triangles of a binary file; the last four are their number
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(path: Path) -> PolygonMesh:
    """Read the triangles of an ASCII or binary STL file, each with three vertices of its own.

    Raises:
        DataError: a line that cannot be read, or another number of triangles than declared.
    """
    data = path.read_bytes()
    declared = int.from_bytes(data[HEADER - 4 : HEADER], "little")
    is_binary = len(data) == HEADER + declared * TRIANGLE.itemsize
    # some binary files start with "solid" too, but no ASCII file contains zero bytes
    if is_binary or data.lstrip()[:5].lower() != b"solid" or b"\0" in data:
        vertices = _read_binary(path, data, declared)
    else:
        vertices = _read_ascii(path)
    triangles = len(vertices) // 3
    corners = np.arange(len(vertices), dtype=np.int64)
    return PolygonMesh(vertices, corners, np.full(triangles, 3))


def _read_binary(path: Path, data: bytes, declared: int) -> Array:
    """Return the corners of all triangles, (3 F, 3)."""
    if len(data) < HEADER:
        raise DataError(f"{path} is not an STL file: it has only {len(data)} bytes")
    found, extra = divmod(len(data) - HEADER, TRIANGLE.itemsize)
    check_count(path, "triangles", declared, found)
    if extra:
        raise DataError(f"{path} has {extra} bytes after its {declared:,} triangles: it is damaged")
    triangles = np.frombuffer(data, TRIANGLE, declared, HEADER)
    return triangles["corners"].reshape(-1, 3).astype(np.float64)


def _read_ascii(path: Path) -> Array:
    """Return the corners of all triangles, (3 F, 3)."""
    lines = Lines.of_file(path, comments=())
    counts = {b"solid": 0, b"endsolid": 0, b"facet": 0, b"endfacet": 0}
    corners: list[list[float]] = []
    for number, line in lines:
        keyword, *values = line.split()
        keyword = keyword.lower()
        if keyword == b"vertex":
            corners.append(lines.numbers(number, line, values, 3)[:3])
        elif keyword in counts:
            counts[keyword] += 1
            if keyword == b"endfacet" and len(corners) != 3 * counts[b"facet"]:
                raise lines.error(number, "a facet needs three vertices")
        elif keyword not in (b"outer", b"endloop"):
            raise lines.error(number, f"unknown keyword {keyword.decode('utf-8', 'replace')!r}")
    check_count(path, "facets", counts[b"facet"], counts[b"endfacet"])
    check_count(path, "solids", counts[b"solid"], counts[b"endsolid"])
    return np.array(corners, dtype=np.float64).reshape(-1, 3)

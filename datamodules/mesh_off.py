"""Reading OFF files."""

from __future__ import annotations

import re
from pathlib import Path

from datamodules.polygon_mesh import Lines, PolygonMesh, check_count
from zoo.errors import DataError

KEYWORD = re.compile(rb"(ST)?(C)?(N)?(4)?(n)?OFF", re.IGNORECASE)


def read_off(path: Path) -> PolygonMesh:
    """Read the polygons of an OFF file; normals, colors and texture coordinates are left out.

    Raises:
        DataError: a line that cannot be read; another number of vertices or faces than declared;
            vertices that are not in three dimensions; a binary file.
    """
    lines = _body(path)
    if not lines.lines:
        raise DataError(f"{path} is empty")
    number, line = lines.lines[0]
    counts = [lines.integer(number, value) for value in line.split()]
    if not 2 <= len(counts) <= 3 or min(counts) < 0:
        raise lines.error(number, "expected the numbers of vertices, faces and edges")
    num_vertices, num_faces = counts[:2]
    rows = lines.lines[1:]
    check_count(path, "vertices", num_vertices, min(num_vertices, len(rows)))
    positions = _read_vertices(lines, rows[:num_vertices])
    check_count(path, "faces", num_faces, len(rows) - num_vertices)
    faces = [_read_face(lines, *row) for row in rows[num_vertices:]]
    corners = [corner for face in faces for corner in face]
    return PolygonMesh.of_lists(positions, corners, list(map(len, faces)))


def _read_vertices(lines: Lines, rows: list[tuple[int, bytes]]) -> list[list[float]]:
    """Return the coordinates in the first three columns of each row."""
    positions: list[list[float]] = []
    columns = 0
    for number, line in rows:
        values = lines.numbers(number, line, line.split(), 3)
        columns = columns or len(values)
        if len(values) != columns:
            raise lines.error(
                number,
                f"a vertex has {len(values)} numbers, the first one has {columns}; the file "
                f"declares {len(rows)} vertices",
            )
        positions.append(values[:3])
    return positions


def _read_face(lines: Lines, number: int, line: bytes) -> list[int]:
    """Return the corners in a row; numbers after them are a color."""
    size, *corners = line.split()
    count = lines.integer(number, size)
    if count < 3 or len(corners) < count:
        raise lines.error(
            number,
            "expected the number of corners, from 3, and as many vertex indices, got "
            f"{line[:60].decode('utf-8', 'replace')!r}",
        )
    return [lines.integer(number, corner) for corner in corners[:count]]


def _body(path: Path) -> Lines:
    """Return the lines of a file without its keyword; the first has the counts."""
    if re.match(rb"\s*\w*OFF\s+BINARY", path.read_bytes()[:100], re.IGNORECASE):
        raise DataError(f"{path} is a binary OFF file: save it as text, or as PLY")
    lines = Lines.of_file(path)
    if not lines.lines:
        return lines
    number, line = lines.lines[0]
    keyword = KEYWORD.match(line)
    if keyword is None:  # the keyword may be left out
        return lines
    if keyword[4] or keyword[5]:
        raise lines.error(number, f"{keyword[0].decode()}: vertices in three dimensions are needed")
    rest = line[keyword.end() :].strip()
    return Lines(path, ([(number, rest)] if rest else []) + lines.lines[1:])

"""Reading XYZ files: text files of point coordinates."""

from __future__ import annotations

import re
from pathlib import Path

from datamodules.polygon_mesh import Lines, PolygonMesh, check_count
from zoo.errors import DataError

DECIMAL_COMMA = re.compile(rb"-?\d+,\d+(\s+-?\d+,\d+){2,}")


def read_xyz(path: Path) -> PolygonMesh:
    """Read the points of an XYZ file: one point per line, x y z in the first three columns.

    Columns are separated by spaces, tabs, commas or semicolons. A header with the names of the
    columns, a number of points above them and chemical symbols before them are recognized.

    Raises:
        DataError: a line that cannot be read, or another number of points than declared.
    """
    lines = Lines.of_file(path, comments=(b"#", b"//"))
    rows = list(lines)
    if not rows:
        raise DataError(f"{path} is empty")
    declared = None
    if re.fullmatch(rb"\d+", rows[0][1]):
        declared = int(rows.pop(0)[1])
    if declared is not None and len(rows) == declared + 1:
        rows.pop(0)  # a comment, as in files of molecules
    elif rows and not any(map(_is_number, _columns(rows[0][1]))):
        rows.pop(0)  # names of the columns
    if declared is not None:
        check_count(path, "points", declared, len(rows))
    positions, columns = [], 0
    for number, line in rows:
        if DECIMAL_COMMA.match(line):
            raise lines.error(number, "decimal commas: replace them by points")
        values = _columns(line)
        columns = columns or len(values)
        if len(values) != columns:
            raise lines.error(
                number, f"expected {columns} columns, as in the first point, got {len(values)}"
            )
        positions.append(lines.numbers(number, line, _without_symbol(values)[:3], 3))
    return PolygonMesh.of_lists(positions, [], [])


def _columns(line: bytes) -> list[bytes]:
    return line.replace(b",", b" ").replace(b";", b" ").split()


def _without_symbol(values: list[bytes]) -> list[bytes]:
    """Return the columns without a chemical symbol in the first one."""
    is_symbol = values[0].isalpha() and not _is_number(values[0])
    return values[1:] if is_symbol else values


def _is_number(value: bytes) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True

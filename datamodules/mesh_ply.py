"""Reading PLY files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.polygon_mesh import Array, Lines, PolygonMesh, check_count
from zoo.errors import DataError

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
FACE_LISTS = ("vertex_indices", "vertex_index")


class Property(NamedTuple):
    """A column of an element: its name, type and, for a list, the type of the list's length."""

    name: str
    kind: str
    length_kind: str | None = None


@dataclass(frozen=True)
class Element:
    """A table in the file: its name, number of rows and columns."""

    name: str
    count: int
    properties: list[Property]

    @property
    def rows(self) -> str:
        """Plural noun for the rows, for error messages."""
        return {"vertex": "vertices", "face": "faces"}.get(self.name, f"rows of {self.name!r}")


class Column(NamedTuple):
    """Values of a property: one per row, or for a list the values of all rows after one another."""

    values: Array
    lengths: Array | None = None


Table = dict[str, Column]


def read_ply(path: Path) -> PolygonMesh:
    """Read the polygons of an ASCII or binary PLY file; other properties are left out.

    Raises:
        DataError: a damaged header or body; another number of rows than declared; vertices without
            coordinates or faces without vertex indices.
    """
    data = path.read_bytes()
    order, elements, body = _read_header(path, data)
    if order:
        tables = _read_binary(path, data[body:], order, elements)
    else:
        first_line = len(data[:body].splitlines()) + 1
        tables = _read_ascii(path, data[body:], first_line, elements)
    vertex = tables.get("vertex", {})
    missing = [axis for axis in "xyz" if axis not in vertex]
    if missing:
        raise DataError(f"{path} has no property {missing[0]} of its vertices")
    vertices = np.stack([vertex[axis].values for axis in "xyz"], 1).astype(np.float64)
    corners, sizes = _faces(path, tables)
    return PolygonMesh(vertices, corners, sizes)


def _faces(path: Path, tables: dict[str, Table]) -> tuple[Array, Array]:
    """Return the corners of all polygons, (C,), and the number of corners of each, (P,)."""
    empty = np.zeros(0, np.int64)
    if "tristrips" in tables:
        raise DataError(f"{path} contains triangle strips: save it with faces")
    if "face" not in tables:
        return empty, empty
    found = [name for name in FACE_LISTS if name in tables["face"]]
    column = tables["face"][found[0]] if found else Column(empty)
    if column.lengths is None:
        raise DataError(f"{path}: the faces have no list {' or '.join(FACE_LISTS)}")
    if len(column.lengths) and column.lengths.min() < 3:
        face = int((column.lengths < 3).argmax())
        raise DataError(
            f"{path}: face {face} has {int(column.lengths[face])} corners; at least 3 are needed"
        )
    return column.values.astype(np.int64), column.lengths.astype(np.int64)


# -- header ----------------------------------------------------------------------------------------


def _read_header(path: Path, data: bytes) -> tuple[str, list[Element], int]:
    """Return the byte order ("" for ASCII), the elements, and the position of the body."""
    end = re.search(rb"(?:^|[\r\n])end_header[ \t]*(\r\n|\n|\r|$)", data)
    if not data.startswith(b"ply") or end is None:
        raise DataError(f"{path} is not a PLY file: it needs the lines ply and end_header")
    order = None
    elements: list[Element] = []
    for number, raw in enumerate(data[: end.start()].splitlines(), 1):
        words = raw.decode("utf-8", "replace").split()
        try:
            match words:
                case [] | ["ply" | "comment" | "obj_info", *_]:
                    pass
                case ["format", kind, _]:
                    order = BYTE_ORDERS[kind]
                case ["element", name, count]:
                    elements.append(Element(name, _natural_number(count), []))
                case ["property", "list", length, kind, name]:
                    if TYPES[length].startswith("f"):
                        raise ValueError("a length is an integer")
                    elements[-1].properties.append(Property(name, TYPES[kind], TYPES[length]))
                case ["property", kind, name]:
                    elements[-1].properties.append(Property(name, TYPES[kind]))
                case _:
                    raise ValueError("unknown line")
        except (ValueError, LookupError):
            line = " ".join(words)[:60]
            raise DataError(f"{path}, line {number}: cannot read {line!r} in the header") from None
    if order is None:
        raise DataError(f"{path} has no line format in its header")
    return order, elements, end.end()


def _natural_number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text} is not a number of rows")
    return int(text)


# -- bodies ----------------------------------------------------------------------------------------


def _read_ascii(
    path: Path, body: bytes, first_line: int, elements: list[Element]
) -> dict[str, Table]:
    """Read one table after another from lines of text, a line per row."""
    rows = [
        (number, line)
        for number, line in enumerate(body.splitlines(), first_line)
        if line.strip() and not line.startswith(b"comment")
    ]
    lines = Lines(path, rows)
    tables, position = {}, 0
    for element in elements:
        found = rows[position : position + element.count]
        check_count(path, element.rows, element.count, len(found))
        position += element.count
        tables[element.name] = _parse_rows(lines, found, element)
    if position < len(rows):
        last = elements[-1]
        check_count(path, last.rows, last.count, last.count + len(rows) - position)
    return tables


def _parse_rows(lines: Lines, rows: list[tuple[int, bytes]], element: Element) -> Table:
    values: list[list[float]] = [[] for _ in element.properties]
    lengths: list[list[int]] = [[] for _ in element.properties]
    for number, line in rows:
        numbers = lines.numbers(number, line, line.split(), 0)
        position = 0
        for i, prop in enumerate(element.properties):
            count = 1
            if prop.length_kind and position < len(numbers):
                count = int(numbers[position])
                position += 1
            lengths[i].append(count)
            values[i] += numbers[position : position + count]
            position += count
        if position != len(numbers):
            raise lines.error(
                number,
                f"a row of {element.name!r} needs {position} numbers, got {len(numbers)}; the "
                f"header declares {element.count:,} {element.rows}",
            )
    return {
        prop.name: _column(lines.path, element, prop, values[i], lengths[i])
        for i, prop in enumerate(element.properties)
    }


def _column(
    path: Path, element: Element, prop: Property, values: list[float], lengths: list[int]
) -> Column:
    array = np.array(values, dtype=np.float64)
    if prop.kind[0] in "iu" and not (array == np.floor(array)).all():
        raise DataError(f"{path}: {prop.name} of {element.name!r} contains numbers with decimals")
    return Column(array, np.array(lengths) if prop.length_kind else None)


def _read_binary(path: Path, body: bytes, order: str, elements: list[Element]) -> dict[str, Table]:
    """Read one table after another from bytes."""
    tables, position = {}, 0
    for element in elements:
        read = _read_lists if any(p.length_kind for p in element.properties) else _read_records
        tables[element.name], position = read(path, body, position, order, element)
    if body[position:].strip():
        raise DataError(
            f"{path} has {len(body) - position} bytes after its "
            + " and ".join(f"{e.count:,} {e.rows}" for e in elements)
            + ": the header does not fit the file"
        )
    return tables


def _read_records(
    path: Path, body: bytes, position: int, order: str, element: Element
) -> tuple[Table, int]:
    """Read rows of equal size; return the table and the position after it."""
    kinds = [(f"{i}", order + prop.kind) for i, prop in enumerate(element.properties)]
    dtype = np.dtype(kinds)
    if dtype.itemsize:
        found = min(element.count, (len(body) - position) // dtype.itemsize)
        check_count(path, element.rows, element.count, found)
    records = np.frombuffer(body, dtype, element.count, position)
    table = {prop.name: Column(records[f"{i}"]) for i, prop in enumerate(element.properties)}
    return table, position + element.count * dtype.itemsize


def _read_lists(
    path: Path, body: bytes, position: int, order: str, element: Element
) -> tuple[Table, int]:
    """Read rows with lists; return the table and the position after it."""
    if element.count:
        fast = _read_equal_lists(body, position, order, element)
        if fast is not None:
            return fast
    lengths: list[list[int]] = [[] for _ in element.properties]
    parts: list[list[Array]] = [[] for _ in element.properties]
    kinds = [np.dtype(order + prop.kind) for prop in element.properties]
    length_kinds = [
        np.dtype(order + prop.length_kind) if prop.length_kind else None
        for prop in element.properties
    ]
    for row in range(element.count):
        for i, kind in enumerate(kinds):
            count, length_kind = 1, length_kinds[i]
            if length_kind is not None:
                head = body[position : position + length_kind.itemsize]
                position += length_kind.itemsize
                count = int(np.frombuffer(head, length_kind)[0]) if head else 0
            values = body[position : position + max(count, 0) * kind.itemsize]
            position += count * kind.itemsize
            if count < 0 or position > len(body):
                check_count(path, element.rows, element.count, row)
            parts[i].append(np.frombuffer(values, kind))
            lengths[i].append(count)
    table = {
        prop.name: Column(
            np.concatenate([np.zeros(0, kinds[i]), *parts[i]]),
            np.array(lengths[i]) if prop.length_kind else None,
        )
        for i, prop in enumerate(element.properties)
    }
    return table, position


def _read_equal_lists(
    body: bytes, position: int, order: str, element: Element
) -> tuple[Table, int] | None:
    """Read rows whose lists have the lengths of those in the first row, many times faster.

    Returns None if some list has another length.
    """
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    lengths: list[int | None] = []
    for i, prop in enumerate(element.properties):
        count = None
        if prop.length_kind:
            start = position + np.dtype(fields).itemsize
            kind = np.dtype(order + prop.length_kind)
            if start + kind.itemsize > len(body):
                return None
            count = int(np.frombuffer(body, kind, 1, start)[0])
            fields.append((f"length{i}", order + prop.length_kind))
        if count is not None and not 0 <= count <= len(body):
            return None
        fields.append((f"{i}", order + prop.kind, (1 if count is None else count,)))
        lengths.append(count)
    dtype = np.dtype(fields)
    if position + element.count * dtype.itemsize > len(body):
        return None
    records = np.frombuffer(body, dtype, element.count, position)
    for i, count in enumerate(lengths):
        if count is not None and not (records[f"length{i}"] == count).all():
            return None
    table = {
        prop.name: Column(
            records[f"{i}"].reshape(-1),
            None if count is None else np.full(element.count, count),
        )
        for i, (prop, count) in enumerate(zip(element.properties, lengths, strict=True))
    }
    return table, position + element.count * dtype.itemsize

"""Reading OBJ files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from datamodules.polygon_mesh import Lines, PolygonMesh

#: statements about appearance, names and groups, which do not change the shape
OTHER_STATEMENTS = frozenset(
    b"vt vn vp g o s mg usemtl mtllib usemap maplib bevel c_interp d_interp lod shadow_obj".split()
)  # fmt: skip
#: statements that describe shapes without polygons
LEFT_OUT = {
    b"p": "points", b"l": "lines", b"curv": "curves", b"curv2": "curves", b"surf": "surfaces",
}  # fmt: skip


def read_obj(path: Path) -> PolygonMesh:
    """Read the polygons of a Wavefront OBJ file; texture coordinates and normals are ignored.

    Raises:
        DataError: a line that cannot be read, or a face of a vertex that does not exist.
    """
    lines = Lines.of_file(path, continuation=True)
    positions: list[list[float]] = []
    corners: list[int] = []
    sizes: list[int] = []
    face_lines: list[int] = []
    left_out: Counter[str] = Counter()
    for number, line in lines:
        keyword, *values = line.split()
        if keyword == b"v":
            positions.append(lines.numbers(number, line, values, 3)[:3])
        elif keyword in (b"f", b"fo"):
            face = [_corner(lines, number, value, len(positions)) for value in values]
            if len(face) < 3:
                raise lines.error(number, f"a face needs at least 3 corners, got {len(face)}")
            corners += face
            sizes.append(len(face))
            face_lines.append(number)
        elif keyword not in OTHER_STATEMENTS:
            word = keyword.decode("utf-8", "replace")
            left_out[LEFT_OUT.get(keyword, f"statements {word!r}")] += 1
    mesh = PolygonMesh.of_lists(positions, corners, sizes)
    beyond = mesh.first_face_beyond()
    if beyond is not None:
        index, vertex = beyond
        raise lines.error(
            face_lines[index],
            f"a face refers to vertex {vertex + 1}, but the file has {len(positions)} vertices",
        )
    return mesh._replace(notes={f"{what} left out": count for what, count in left_out.items()})


def _corner(lines: Lines, number: int, value: bytes, num_vertices: int) -> int:
    """Return the vertex index of a corner such as ``7``, ``7/1/2`` or ``-1//3``, counted from 0.

    Negative numbers count back from the last vertex above the line.
    """
    index = lines.integer(number, value.partition(b"/")[0])
    if index > 0:
        return index - 1
    if index == 0:
        raise lines.error(number, "a face refers to vertex 0, but OBJ files count from 1")
    if -index > num_vertices:
        raise lines.error(
            number, f"a face refers to vertex {index}, but {num_vertices} vertices are above it"
        )
    return num_vertices + index

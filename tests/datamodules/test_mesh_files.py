"""Reading meshes and point sets: variants of the formats, damaged files, declared numbers."""

from __future__ import annotations

import math
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.folder_tree import list_tree
from datamodules.mesh_files import read_mesh, read_polygons, read_surface
from zoo.errors import DataError, InputError
from zoo.functional.meshes import face_areas

VERTICES = [(0, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1)]
TETRAHEDRON = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
AREA = 4.0  # of the tetrahedron
HOUSE = [(0, 0, 0), (2, 0, 0), (2, 2, 0), (1, 0.2, 0), (0, 2, 0)]  # a square with a deep notch
STRIP = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 0, 0)]  # a square and a triangle


def lines(rows: Any, prefix: str = "") -> str:
    """Return the rows of a table as text, one row a line."""
    return "".join(f"{prefix}{' '.join(map(str, row))}\n" for row in rows)


def off(
    keyword: str = "OFF", vertices: Any = VERTICES, faces: str | None = None, **counts: int
) -> str:
    """Return the text of an OFF file; ``counts`` are wrong numbers that it declares."""
    faces = lines(TETRAHEDRON, "3 ") if faces is None else faces
    declared = (counts.get("v", len(vertices)), counts.get("f", faces.count("\n")), 0)
    return f"{keyword}\n{lines([declared])}{lines(vertices)}{faces}"


def obj(prefix: str = "", faces: Any = TETRAHEDRON) -> str:
    """Return the text of an OBJ file."""
    rows = [[v + 1 for v in face] for face in faces]
    return lines(VERTICES, f"{prefix}v ") + lines(rows, f"{prefix}f ")


def stl() -> str:
    """Return the text of an STL file."""
    facets = (
        f"facet normal 0 0 1\nouter loop\n{lines([VERTICES[v] for v in face], 'vertex ')}"
        "endloop\nendfacet\n"
        for face in TETRAHEDRON
    )
    return f"solid a\n{''.join(facets)}endsolid a\n"


def binary_stl(head: bytes = b"") -> bytes:
    """Return the contents of a binary STL file."""
    facets = (
        struct.pack("<12fH", 0, 0, 1, *[c for v in face for c in VERTICES[v]], 0)
        for face in TETRAHEDRON
    )
    return head.ljust(80, b" ") + struct.pack("<I", 4) + b"".join(facets)


def ply_head(
    form: str = "ascii", vertices: int = 4, faces: int | None = 4, names: Any = "xyz",
    kind: str = "float", lists: str = "uchar int vertex_indices", before: str = "", after: str = "",
    comment: str = "",
) -> str:  # fmt: skip
    """Return the header of a PLY file."""
    head = f"ply\nformat {form} 1.0\n{comment}element vertex {vertices}\n"
    head += "".join(f"property {kind} {name}\n" for name in names)
    if faces is not None:
        head += f"element face {faces}\n{before}property list {lists}\n{after}"
    return f"{head}end_header\n"


def ply(body: str | None = None, **head: Any) -> str:
    """Return the text of an ASCII PLY file."""
    return ply_head(**head) + (lines(VERTICES) + lines(TETRAHEDRON, "3 ") if body is None else body)


def binary_ply(order: str, **head: Any) -> bytes:
    """Return the contents of a binary PLY file of a square and a triangle."""
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    body = b"".join(struct.pack(f"{order}3f", *v) for v in STRIP)
    body += struct.pack(f"{order}B4i", 4, 0, 1, 2, 3) + struct.pack(f"{order}B3i", 3, 1, 4, 2)
    return ply_head(form, 5, 2, **head).encode() + body


def binary_tetrahedron(order: str, index: str = "i") -> bytes:
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    lists = {"i": "uchar int vertex_index", "H": "uchar ushort vertex_index"}[index]
    body = b"".join(struct.pack(f"{order}3d", *v) for v in VERTICES)
    body += b"".join(struct.pack(f"{order}B3{index}", 3, *face) for face in TETRAHEDRON)
    return ply_head(form, kind="double", lists=lists).encode() + body


def binary_ply_with_extras(order: str) -> bytes:
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    head = ply_head(
        form, 5, 2, before="property float quality\n", after="property list uchar float uv\n"
    )
    body = b"".join(struct.pack(f"{order}3f", *v) for v in STRIP)
    body += struct.pack(f"{order}fB4iB2f", 1, 4, 0, 1, 2, 3, 2, 1, 2)
    body += struct.pack(f"{order}fB3iB6f", 1, 3, 1, 4, 2, 6, *range(6))
    return head.encode() + body


LONG = "x" * 5000
GROUPS = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 0 0\nv 8 0 0\nv 5 2 0\nf -3 -2 -1\n"
CORNERS = "".join(f"vt {i / 12} 0\n" for i in range(12))
TEXTURED = lines(VERTICES, "v ") + CORNERS + "".join(
    "f " + " ".join(f"{v + 1}/{3 * i + j + 1}" for j, v in enumerate(face)) + "\n"
    for i, face in enumerate(TETRAHEDRON)
)  # fmt: skip
MATERIALS = (
    f"mtllib none.mtl\no a\n{lines(VERTICES, 'v ')}g one\nusemtl x\nf 1 3 2\nf 1 2 4\n"
    "g two\nusemtl y\ns off\nf 1 4 3\nusemtl x\nf 2 3 4\n"
)
FACES_FIRST = (
    "ply\nformat ascii 1.0\nelement face 4\nproperty list uchar int vertex_indices\n"
    "element vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    "element edge 1\nproperty int vertex1\nproperty int vertex2\nend_header\n"
    f"{lines(TETRAHEDRON, '3 ')}{lines(VERTICES)}0 1\n"
)
TETRA = (4, 4, AREA)
NOTCHED = (5, 3, 2.2)
#: file name → contents, and the numbers of vertices and triangles and the area
GOOD: dict[str, tuple[str | bytes, tuple[int, int, float]]] = {
    "plain.obj": (obj(), TETRA),
    "indented.obj": (obj("\t  "), TETRA),
    "tabs.obj": (obj().replace(" ", "\t"), TETRA),
    "windows.obj": ("\ufeff" + obj().replace("\n", "\r\n"), TETRA),
    "comments.obj": ("# v 9 9 9\n" + obj().replace("\n", " # v 9 9 9\n"), TETRA),
    "continued.obj": (obj().replace("f 1 3 2", "f 1 3 \\\n 2"), TETRA),
    "relative.obj": (GROUPS, (6, 2, 0.5 + 3)),
    "colors.obj": (obj().replace("2 0 0", "2 0 0 0.5 0.5 0.5"), TETRA),
    "textures.obj": (TEXTURED, TETRA),
    "materials.obj": (MATERIALS, TETRA),
    "faces first.obj": (
        lines([[v + 1 for v in f] for f in TETRAHEDRON], "f ") + lines(VERTICES, "v "), TETRA),
    "twice.obj": (obj(faces=[*TETRAHEDRON, TETRAHEDRON[0]]), (4, 5, AREA + 1)),
    "concave.obj": (lines(HOUSE, "v ") + "f 1 2 3 4 5\n", NOTCHED),
    "concave from the notch.obj": (lines(HOUSE, "v ") + "f 4 3 2 1 5\n", NOTCHED),
    "plain.off": (off(), TETRA),
    "vertex comment.off": (off().replace("2 0 0\n", "2 0 0 # 3 3 3\n"), TETRA),
    "comment lines.off": (off().replace("2 0 0\n", "# 7 7 7\n\n2 0 0\n"), TETRA),
    "long comment.off": (off().replace("OFF\n", f"# {LONG}\nOFF\n# {LONG}\n"), TETRA),
    "glued.off": (off().replace("OFF\n", "OFF"), TETRA),
    "one line.off": (off().replace("OFF\n", "OFF "), TETRA),
    "no keyword.off": (off().replace("OFF\n", ""), TETRA),
    "COFF.off": (off("COFF", [(*v, 255, 0, 0, 255) for v in VERTICES]), TETRA),
    "NOFF.off": (off("NOFF", [(*v, 0, 0, 1) for v in VERTICES]), TETRA),
    "STCNOFF.off": (off("STCNOFF", [(*v, *range(9)) for v in VERTICES]), TETRA),
    "face colors.off": (off(faces=lines([(*f, 255, 0, 0) for f in TETRAHEDRON], "3 ")), TETRA),
    "indented.off": (off().replace("\n", "\n\t "), TETRA),
    "concave.off": (off(vertices=HOUSE, faces="5 0 1 2 3 4\n"), NOTCHED),
    "mixed.off": (off(vertices=STRIP, faces="4 0 1 2 3\n3 1 4 2\n"), (5, 3, 1.5)),
    "plain.ply": (ply(), TETRA),
    "long comment.ply": (ply(comment=f"comment {LONG}\nobj_info {LONG}\n"), TETRA),
    "windows.ply": (ply().replace("\n", "\r\n"), TETRA),
    "old mac.ply": (ply().replace("\n", "\r"), TETRA),
    "zyx.ply": (ply(lines([v[::-1] for v in VERTICES]) + lines(TETRAHEDRON, "3 "), names="zyx"),
                TETRA),
    "extra columns.ply": (
        ply(lines([(9, x, 8, y, z, 7) for x, y, z in VERTICES]) + lines(TETRAHEDRON, "3 "),
            names=["nx", "x", "s", "y", "z", "red"]), TETRA),
    "face columns.ply": (
        ply(lines(VERTICES) + lines([(0.5, 3, *f, 7) for f in TETRAHEDRON]),
            before="property float q\n", after="property uchar red\n"), TETRA),
    "faces first.ply": (FACES_FIRST, TETRA),
    "concave.ply": (ply(lines(HOUSE) + "5 0 1 2 3 4\n", vertices=5, faces=1), NOTCHED),
    "points.ply": (ply(lines(VERTICES), faces=None), (4, 0, 0.0)),
    "little mixed.ply": (binary_ply("<"), (5, 3, 1.5)),
    "big mixed.ply": (binary_ply(">"), (5, 3, 1.5)),
    "little long comment.ply": (binary_ply("<", comment=f"comment {LONG}\n"), (5, 3, 1.5)),
    "little double.ply": (binary_tetrahedron("<"), TETRA),
    "big double.ply": (binary_tetrahedron(">"), TETRA),
    "little ushort.ply": (binary_tetrahedron("<", "H"), TETRA),
    "big ushort.ply": (binary_tetrahedron(">", "H"), TETRA),
    "little extras.ply": (binary_ply_with_extras("<"), (5, 3, 1.5)),
    "big extras.ply": (binary_ply_with_extras(">"), (5, 3, 1.5)),
    "ascii.stl": (stl(), (12, 4, AREA)),
    "capitals.stl": (stl().upper().replace("\n", "\n\t"), (12, 4, AREA)),
    "two solids.stl": (stl() + stl().replace("solid a", "solid b"), (24, 8, 2 * AREA)),
    "binary.stl": (binary_stl(), (12, 4, AREA)),
    "binary that starts with solid.stl": (binary_stl(b"solid"), (12, 4, AREA)),
    "plain.xyz": (lines(VERTICES), (4, 0, 0.0)),
    "commas.xyz": (lines(VERTICES).replace(" ", ", "), (4, 0, 0.0)),
    "semicolons.xyz": (lines(VERTICES).replace(" ", ";"), (4, 0, 0.0)),
    "colors.xyz": (lines([(*v, 255, 0, 0) for v in VERTICES]), (4, 0, 0.0)),
    "comments.xyz": ("//X Y Z\n4\n" + lines(VERTICES).replace("\n", " # 1\n"), (4, 0, 0.0)),
    "header.xyz": ("x,y,z\n" + lines(VERTICES).replace(" ", ","), (4, 0, 0.0)),
    "molecule.xyz": ("4\nenergy -1.5\n" + lines(VERTICES, "C "), (4, 0, 0.0)),
    "one.xyz": ("0 0 1\n", (1, 0, 0.0)),
}  # fmt: skip


def write(folder: Path, name: str, contents: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return path


@pytest.mark.parametrize("name", GOOD)
def test_variants_of_the_formats(tmp_path: Path, name: str) -> None:
    contents, expected = GOOD[name]
    vertices, faces, _ = read_mesh(write(tmp_path, name, contents))
    area = float(face_areas(vertices, faces).sum()) if len(faces) else 0.0
    assert (len(vertices), len(faces), pytest.approx(area)) == expected
    assert (vertices.dtype, faces.dtype) == (torch.float64, torch.int64)
    if expected == TETRA:
        assert vertices.tolist() == [list(map(float, v)) for v in VERTICES]
        assert faces.tolist() == [list(f) for f in TETRAHEDRON]


#: file name → contents, and the error
BAD: dict[str, tuple[str | bytes, str]] = {
    "zero.obj": (obj() + "f 0 1 2\n", "line 9: a face refers to vertex 0, but OBJ files count"),
    "beyond.obj": (obj() + "f 1 2 9\n", "line 9: a face refers to vertex 9, but the file has 4"),
    "before.obj": (obj() + "f -9 -2 -1\n", "line 9: a face refers to vertex -9, but 4 vertices"),
    "word.obj": (obj() + "v a b c\n", "line 9: expected numbers, got 'v a b c'"),
    "decimal comma.obj": (obj().replace("2 0 0", "2,5 0 0"), "line 2: expected numbers, got 'v 2,"),
    "code.obj": (obj().replace("2 0 0", "1_2 0 0"), "line 2: expected numbers, got 'v 1_2 0 0'"),
    "flat vertex.obj": (obj() + "v 1 2\n", "line 9: expected 3 numbers, got 'v 1 2'"),
    "line.obj": (obj() + "f 1 2\n", "line 9: a face needs at least 3 corners, got 2"),
    "empty.obj": ("# nothing\n", r"empty\.obj contains no vertices"),
    "more faces.off": (off(f=5), "declares 5 faces, but contains 4"),
    "fewer faces.off": (off(f=3), "declares 3 faces, but contains 4"),
    "more vertices.off": (off(v=5, f=3), "line 7: a vertex has 4 numbers, the first one has 3; the "
                                         "file declares 5 vertices"),
    "fewer vertices.off": (off(v=3, f=4), "declares 4 faces, but contains 5"),
    "cut.off": ("OFF\n4 4 0\n0 0 0\n", "declares 4 vertices, but contains 1"),
    "four dimensions.off": (off("4OFF"), "line 1: 4OFF: vertices in three dimensions are needed"),
    "binary.off": (b"OFF BINARY\n\0\0\0\4", "is a binary OFF file: save it as text, or as PLY"),
    "word.off": (off().replace("2 0 0", "2 a 0"), "line 4: expected numbers, got '2 a 0'"),
    "negative.off": (off().replace("3 1 2 3", "3 1 2 -3"), "face 3 refers to vertex -3, but"),
    "decimals.off": (off().replace("3 1 2 3", "3 1 2 0.5"), "line 10: expected an integer, got"),
    "huge.off": (off().replace("3 1 2 3", f"3 1 2 {10**19}"), "line 10: expected an integer, got"),
    "huge.obj": (f"v 0 0 0\nf 1 1 {10**19}\n", "line 2: expected an integer, got '10000000000"),
    "list.ply": (
        "ply\nformat ascii 1.0\nelement face 1\nproperty list float int vertex_indices\n"
        "end_header\n",
        "line 4: cannot read 'property list float int vertex_indices' in the header",
    ),
    "words.off": ("OFF\nthree\n", "line 2: expected an integer, got 'three'"),
    "no counts.off": ("OFF\n4\n", "line 2: expected the numbers of vertices, faces and edges"),
    "empty.off": ("", r"empty\.off is empty"),
    "nan.off": (off(vertices=[(0, 0, "nan"), *VERTICES[1:]]), "vertex 0 has a coordinate that"),
    "large.off": (off(vertices=[*VERTICES[:3], (0, 1e38, 0)]),
                  r"vertex 3 has the coordinate 1e\+38; coordinates may be up to 1e\+15"),
    "more faces.ply": (ply(faces=5), "declares 5 faces, but contains 4"),
    "fewer faces.ply": (ply(faces=3), "declares 3 faces, but contains 4"),
    "more vertices.ply": (ply(vertices=5), "line 14: a row of 'vertex' needs 3 numbers, got 4; the "
                                           "header declares 5 vertices"),
    "fewer vertices.ply": (ply(vertices=3), "line 13: a row of 'face' needs 1 numbers, got 3"),
    "wrong list.ply": (ply().replace("3 1 2 3", "4 1 2 3"), "line 17: a row of 'face' needs 5"),
    "line.ply": (ply().replace("3 1 2 3", "2 1 2"), "face 3 has 2 corners; at least 3 are needed"),
    "beyond.ply": (ply().replace("3 1 2 3", "3 1 2 7"), "face 3 refers to vertex 7, but the"),
    "no z.ply": (ply(names="xyw"), "has no property z of its vertices"),
    "no list.ply": (ply(lists="uchar int corners"), "no list vertex_indices or vertex_index"),
    "strips.ply": ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                   "property float z\nelement tristrips 0\nproperty list int int vertex_indices\n"
                   "end_header\n0 0 0\n", "contains triangle strips: save it with faces"),
    "header.ply": (ply().replace("property float y", "property quad y"),
                   "line 5: cannot read 'property quad y' in the header"),
    "no end.ply": (ply().replace("end_header", ""), "is not a PLY file: it needs the lines"),
    "cut.ply": (binary_ply("<")[:-1], "declares 2 faces, but contains 1"),
    "cut vertices.ply": (binary_ply(">")[:-40], "declares 5 vertices, but contains 4"),
    "cut triangles.ply": (binary_tetrahedron("<")[:-1], "declares 4 faces, but contains 3"),
    "long.ply": (binary_ply("<") + b"more", "4 bytes after its 5 vertices and 2 faces: the header"),
    "cut.stl": (stl()[: stl().rindex("vertex")] + "endloop\n", "declares 4 facets, but contains 3"),
    "open.stl": (stl().replace("endsolid a\n", ""), "declares 1 solids, but contains 0"),
    "two vertices.stl": (stl().replace("vertex 0 0 1\n", "", 1), "a facet needs three vertices"),
    "cut binary.stl": (binary_stl()[:-7], "declares 4 triangles, but contains 3"),
    "long binary.stl": (binary_stl() + b"7 bytes", "has 7 bytes after its 4 triangles"),
    "empty.stl": ("", "is not an STL file: it has only 0 bytes"),
    "ragged.xyz": (lines(VERTICES) + "1 2\n", "line 5: expected 3 columns, as in the first point"),
    "word.xyz": (lines(VERTICES) + "1 2 a\n", "line 5: expected numbers, got '1 2 a'"),
    "first word.xyz": ("1 2 a\n" + lines(VERTICES), "line 1: expected numbers, got '1 2 a'"),
    "decimal commas.xyz": ("1,0 2,0 3,0\n", "line 1: decimal commas: replace them by points"),
    "more points.xyz": ("7\n" + lines(VERTICES), "declares 7 points, but contains 4"),
    "empty.xyz": ("\n", r"empty\.xyz is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    contents, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        read_mesh(write(tmp_path, name, contents))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pipes_and_links_to_themselves_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.off")  # reading it would wait for a writer
    with pytest.raises(DataError, match=r"pipe\.off is not a regular file: remove it"):
        read_mesh(tmp_path / "pipe.off")
    (tmp_path / "loop.off").symlink_to("loop.off")
    assert list_tree(tmp_path, [".off"]).files == [("loop.off",), ("pipe.off",)]
    with pytest.raises(DataError, match=r"loop\.off cannot be read: Too many levels of symbolic"):
        read_mesh(tmp_path / "loop.off")


def test_positions_far_from_the_origin_keep_their_digits(tmp_path: Path) -> None:
    # float32 would round these coordinates, such as those of a survey, to half a meter
    rows = [(5_400_000.25 + x, 500_000.125 + y, z) for x, y, z in VERTICES]
    vertices = read_mesh(write(tmp_path, "survey.off", off(vertices=rows)))[0]
    assert vertices.tolist() == [list(map(float, row)) for row in rows]


def test_changes_are_counted(tmp_path: Path) -> None:
    twice = obj(faces=[*TETRAHEDRON, (0, 1, 2), (0, 0, 1)]) + "l 1 2\nv 9 9 9\ncurve 1\n"
    vertices, faces, notes = read_surface(write(tmp_path, "twice.obj", twice))
    assert (len(vertices), len(faces)) == (4, 4)
    assert notes == {
        "lines left out": 1, "statements 'curve' left out": 1, "repeated faces removed": 1,
        "faces that repeat a vertex removed": 1, "vertices without a face removed": 1,
    }  # fmt: skip
    crossing = lines([(0, 0, 0), (1, 1, 0), (1, 0, 0), (0, 1, 0)], "v ") + "f 1 2 3 4\n"
    assert read_mesh(write(tmp_path, "crossing.obj", crossing)).notes == {
        "polygons cut into triangles": 1,
        "polygons without a defined area, as their sides cross": 1,
    }
    assert read_surface(write(tmp_path, "fine.ply", ply())).notes == {}


def test_glb_files_need_trimesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / "a.glb"
    trimesh.Trimesh(np.array(VERTICES, float), np.array(TETRAHEDRON), process=False).export(path)
    vertices, faces, _ = read_mesh(path)
    assert (len(faces), float(face_areas(vertices, faces).sum())) == (4, pytest.approx(AREA))
    with pytest.raises(DataError, match=r"bad\.glb is not a readable GLB file"):
        read_mesh(write(tmp_path, "bad.glb", "hello"))
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(InputError, match="GLB files needs the package trimesh: pip") as caught:
        read_mesh(path)
    assert not isinstance(caught.value, DataError)
    assert read_polygons(write(tmp_path, "a.obj", obj())).sizes.tolist() == [3] * 4


def test_a_million_numbers_are_read_quickly(tmp_path: Path) -> None:
    n = 180
    heights = [(i, j, round(math.sin(i), 6)) for i in range(n) for j in range(n)]
    squares = [(i * n + j, i * n + n + j, i * n + n + j + 1, i * n + j + 1)
               for i in range(n - 1) for j in range(n - 1)]  # fmt: skip
    text = off(vertices=heights, faces=lines(squares, "4 "))
    vertices, faces, notes = read_mesh(write(tmp_path, "grid.off", text))
    assert len(faces) == 2 * len(squares)
    assert notes == {"polygons cut into triangles": len(squares)}
    assert float(vertices[-1, 2]) == heights[-1][2]

"""Reading meshes and point sets from files.

The zoo reads OBJ, OFF, PLY, STL and XYZ files itself. Of the libraries that were tried on 110 small
files, trimesh read 39 differently from what they contain, most of them without an error (relative
indices, comments, concave polygons, declared counts), and meshio 60; plyfile is right, but its
license is the GPL. GLB files are read by trimesh.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.mesh_obj import read_obj
from datamodules.mesh_off import read_off
from datamodules.mesh_ply import read_ply
from datamodules.mesh_stl import read_stl
from datamodules.point_xyz import read_xyz
from datamodules.polygon_mesh import Array, PolygonMesh
from zoo.errors import DataError, InputError
from zoo.functional.meshes import merge_duplicate_vertices, repeated_faces
from zoo.functional.polygons import triangulate

MESH_SUFFIXES = {".glb", ".obj", ".off", ".ply", ".stl"}
SHAPE_SUFFIXES = MESH_SUFFIXES | {".xyz"}  # meshes and point sets
#: upward axis of a file → order of the axes that makes it the third, by a rotation
AXIS_ORDER = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}
#: squares of larger coordinates, and their sums, would not be finite in float32
LARGEST_COORDINATE = 1e15


class Mesh(NamedTuple):
    """A triangle mesh from a file.

    Attributes:
        vertices: coordinates, float64 (V, 3).
        faces: vertex indices, int64 (F, 3); F = 0 for a point set.
        notes: description of each change or omission → its count.
    """

    vertices: Tensor
    faces: Tensor
    notes: dict[str, int]


def read_polygons(path: Path) -> PolygonMesh:
    """Read a mesh or point set, without cutting its polygons into triangles.

    Raises:
        InputError: a GLB file, and trimesh is not installed.
        DataError: the file cannot be read, has no points, or is inconsistent, such as by another
            number of faces than declared; a coordinate is not finite or too large.
    """
    if path.exists() and not path.is_file():  # a pipe, or a device such as /dev/zero, has no end
        raise DataError(f"{path} is not a regular file: remove it")
    try:
        mesh = READERS[path.suffix.lower()](path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not len(mesh.vertices):
        raise DataError(f"{path} contains no vertices")
    check_coordinates(mesh.vertices, path)
    beyond = mesh.first_face_beyond()
    if beyond is not None:
        face, vertex = beyond
        raise DataError(
            f"{path}: face {face} refers to vertex {vertex}, but the vertices are 0 to "
            f"{len(mesh.vertices) - 1}"
        )
    return mesh


def read_mesh(path: Path) -> Mesh:
    """Read a mesh or point set and cut its polygons into triangles.

    Raises:
        InputError: see :func:`read_polygons`.
        DataError: see :func:`read_polygons`.
    """
    return triangulate_mesh(read_polygons(path))


def triangulate_mesh(mesh: PolygonMesh) -> Mesh:
    """Cut the polygons of a mesh into triangles."""
    vertices = torch.from_numpy(mesh.vertices)
    corners, sizes = torch.from_numpy(mesh.corners), torch.from_numpy(mesh.sizes)
    faces, crossing = triangulate(vertices, corners, sizes)
    notes = {
        **mesh.notes,
        "polygons cut into triangles": int((sizes > 3).sum()),
        "polygons without a defined area, as their sides cross": len(crossing),
    }
    return Mesh(vertices, faces, _without_zeros(notes))


def read_surface(path: Path) -> Mesh:
    """Read a mesh and repair it: merge vertices at the same position, and remove repeated faces,
    faces that repeat a vertex, and vertices without a face.

    Raises:
        InputError: see :func:`read_polygons`.
        DataError: see :func:`read_polygons`; or the mesh has no faces, before or after the repair.
    """
    vertices, faces, notes = read_mesh(path)
    if not len(faces):
        raise DataError(f"{path} has no faces; for point sets, use --data point_folder")
    merged, faces = merge_duplicate_vertices(vertices, faces)
    faces, removed = remove_needless_faces(faces)
    if not len(faces):
        raise DataError(f"{path}: every face repeats a vertex, so the surface has no area")
    used = torch.zeros(len(merged), dtype=torch.bool)
    used[faces.flatten()] = True
    unused = int((~used).sum())
    if unused:
        merged, faces = merged[used], (used.cumsum(0) - 1)[faces]
    notes |= {
        "duplicate vertices merged": len(vertices) - len(used),
        **removed,
        "vertices without a face removed": unused,
    }
    return Mesh(merged, faces, _without_zeros(notes))


def remove_needless_faces(faces: Tensor) -> tuple[Tensor, dict[str, int]]:
    """Remove faces that repeat a vertex, and those with the same vertices as an earlier face.

    Returns:
        The remaining faces, and the number of removed ones of each kind.
    """
    is_line = (faces == faces[:, [1, 2, 0]]).any(1)
    kept = faces[~is_line]
    is_repeated = repeated_faces(kept)
    notes = {
        "faces that repeat a vertex removed": int(is_line.sum()),
        "repeated faces removed": int(is_repeated.sum()),
    }
    return kept[~is_repeated], _without_zeros(notes)


class ChangeLog:
    """Changes and omissions in the files that were read, for a single warning."""

    def __init__(self) -> None:
        self._changes: dict[str, list[tuple[Path, int]]] = {}

    def add(self, path: Path, notes: Mapping[str, int]) -> None:
        """Add the changes of one file, with their counts."""
        for change, count in notes.items():
            self._changes.setdefault(change, []).append((path, count))

    def warn(self) -> None:
        """Warn about all changes, with the number of files and the first file of each."""
        parts = []
        for change, files in self._changes.items():
            total = sum(count for _, count in files)
            where = str(files[0][0])
            if len(files) > 1:
                where = f"{len(files):,} files, first {where}"
            parts.append(f"{total:,} {change} ({where})")
        if parts:
            warnings.warn("; ".join(parts), stacklevel=3)


def _without_zeros(notes: Mapping[str, int]) -> dict[str, int]:
    return {change: count for change, count in notes.items() if count}


def check_coordinates(vertices: Array, path: Path, what: str = "vertex") -> None:
    """Raise DataError if a coordinate of vertices (V, 3), or of frames (T, V, 3), cannot be used.

    Args:
        vertices: coordinates; the first axis counts what the message names.
        path: file of the coordinates.
        what: noun for an entry of the first axis, default ``vertex``.
    """
    flat = vertices.reshape(len(vertices), -1)
    infinite = ~np.isfinite(flat).all(1)
    if infinite.any():
        raise DataError(
            f"{path}: {what} {int(infinite.argmax())} has a coordinate that is not finite"
        )
    large = (np.abs(flat) > LARGEST_COORDINATE).any(1)
    if large.any():
        first = int(large.argmax())
        raise DataError(
            f"{path}: {what} {first} has the coordinate {np.abs(flat[first]).max():.3g}; "
            f"coordinates may be up to {LARGEST_COORDINATE:.0e}: correct it or use larger units"
        )


def _read_glb(path: Path) -> PolygonMesh:
    try:
        import trimesh
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: reading GLB files needs the package trimesh: "
            'pip install "lightning-model-zoo[meshes]"'
        ) from None
    try:
        # process=True would merge and reorder vertices, whose indices must agree between files
        loaded: Any = trimesh.load(path, process=False)
        geometry: Any = loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
        vertices = np.asarray(geometry.vertices, dtype=np.float64).reshape(-1, 3)
        faces = np.asarray(getattr(geometry, "faces", np.empty((0, 3))), dtype=np.int64)
    except Exception as error:  # the reader raises all kinds of exceptions
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not a readable GLB file: {reason}") from error
    sizes = np.full(len(faces), 3, dtype=np.int64)
    return PolygonMesh(vertices, faces.reshape(-1), sizes)


READERS: dict[str, Callable[[Path], PolygonMesh]] = {
    ".glb": _read_glb, ".obj": read_obj, ".off": read_off, ".ply": read_ply, ".stl": read_stl,
    ".xyz": read_xyz,
}  # fmt: skip

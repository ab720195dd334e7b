"""Reading meshes and point sets from files with trimesh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import DataError, InputError

MESH_SUFFIXES = {".glb", ".obj", ".off", ".ply", ".stl"}
SHAPE_SUFFIXES = MESH_SUFFIXES | {".xyz"}  # meshes and point sets
#: upward axis of a file → order of the axes that makes it the third, by a rotation
AXIS_ORDER = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}


def read_mesh(path: Path) -> tuple[Tensor, Tensor]:
    """Read vertices, float32 (V, 3), and faces, int64 (F, 3); F = 0 for a point set.

    Raises:
        InputError: trimesh is not installed.
        DataError: the file cannot be read, a coordinate is not finite, or a face refers to a vertex
            that does not exist.
    """
    try:
        import trimesh
    except ModuleNotFoundError:
        raise InputError(
            'reading meshes needs the package trimesh: pip install "lightning-model-zoo[meshes]"'
        ) from None
    try:
        # process=True would merge and reorder vertices, whose indices must agree between files
        loaded: Any = trimesh.load(path, process=False)
        geometry: Any = loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
        vertices = np.asarray(geometry.vertices, dtype=np.float32)
    except Exception as error:  # the readers of the formats raise all kinds of exceptions
        raise DataError(f"{path} is not a readable mesh: {error}") from error
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise DataError(f"{path} contains no points in three dimensions")
    infinite = ~np.isfinite(vertices).all(1)
    if infinite.any():
        raise DataError(
            f"{path}: vertex {int(infinite.argmax())} has a coordinate that is not finite"
        )
    faces = np.asarray(getattr(geometry, "faces", np.empty((0, 3))), dtype=np.int64)
    check_face_indices(faces, len(vertices), path)
    return torch.from_numpy(vertices), torch.from_numpy(faces)


def read_surface(path: Path) -> tuple[Tensor, Tensor, list[str]]:
    """Read a mesh and repair it: merge duplicate vertices, remove faces that this makes degenerate,
    and remove vertices without a face.

    Returns:
        Vertices (V, 3), faces (F, 3) and a description of each repair.

    Raises:
        InputError: see :func:`read_mesh`.
        DataError: see :func:`read_mesh`; or the mesh has no faces.
    """
    vertices, faces = read_mesh(path)
    if not len(faces):
        raise DataError(f"{path} has no faces; for point sets, use --data point_folder")
    repairs = []
    polygons = count_polygons(path)
    if polygons is not None and polygons < len(faces):
        repairs.append(f"triangulated {polygons} polygons into {len(faces)} triangles")
    merged, faces = _merge_duplicates(vertices, faces)
    if len(merged) < len(vertices):
        repairs.append(f"merged {len(vertices) - len(merged)} duplicate vertices")
    used = torch.zeros(len(merged), dtype=torch.bool)
    used[faces.flatten()] = True
    if not used.all():
        repairs.append(f"removed {int((~used).sum())} vertices without a face")
        merged, faces = merged[used], (used.cumsum(0) - 1)[faces]
    return merged, faces, repairs


def check_face_indices(faces: np.ndarray[Any, Any], num_vertices: int, path: Path) -> None:
    """Raise DataError if a face refers to a vertex that the file does not have."""
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < num_vertices:
        raise DataError(
            f"{path}: faces refer to vertices {int(faces.min())} to {int(faces.max())}, but the "
            f"vertices are 0 to {num_vertices - 1}"
        )


def _merge_duplicates(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Merge vertices at the same position, in the order of their first occurrence."""
    positions, position_of = torch.unique(vertices, dim=0, return_inverse=True)
    if len(positions) == len(vertices):
        return vertices, faces
    first = torch.full((len(positions),), len(vertices)).scatter_reduce(
        0, position_of, torch.arange(len(vertices)), "amin"
    )
    order = first.argsort()
    faces = order.argsort()[position_of][faces]
    degenerate = (faces == faces[:, [1, 2, 0]]).any(1)
    return vertices[first[order]], faces[~degenerate]


def count_polygons(path: Path) -> int | None:
    """Return the number of faces that an OFF, OBJ or PLY file declares, before triangulation; None
    for other formats."""
    suffix = path.suffix.lower()
    if suffix == ".obj":
        return sum(line.startswith(b"f ") for line in path.read_bytes().splitlines())
    head = path.read_bytes()[:4096]
    if suffix == ".ply":
        found = re.search(rb"element face (\d+)", head)
        return int(found[1]) if found else None
    if suffix == ".off":
        uncommented = re.sub(rb"#[^\n]*", b"", head)
        counts = re.split(rb"C?OFF", uncommented, maxsplit=1)[-1].split()
        return int(counts[1])
    return None

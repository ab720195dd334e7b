"""Meshes and clouds of points from files, read by trimesh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import DataError

MESHES = {".glb", ".obj", ".off", ".ply", ".stl"}
SUFFIXES = MESHES | {".xyz"}
#: which axis of a file goes upwards → the order of axes in which the third does
UPWARDS = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}


def check_axis(up: str) -> None:
    """ValueError for an unknown axis."""
    if up not in UPWARDS:
        raise ValueError(f"unknown axis {up!r}; choose from {', '.join(UPWARDS)}")


def read_mesh(path: Path) -> tuple[Tensor, Tensor]:
    """Vertices, float32 (V, 3), and faces, int64 (F, 3): none in a file of points alone.

    Raises:
        DataError: a file that cannot be read, or with coordinates that are no numbers; trimesh is
            missing.
    """
    try:
        import trimesh
    except ModuleNotFoundError:
        raise DataError(
            'reading meshes needs the package trimesh: pip install "lightning-model-zoo[meshes]"'
        ) from None
    try:
        # merging and repairing would renumber vertices, which belong to those of other files
        found: Any = trimesh.load(path, process=False)
        geometry: Any = found.to_geometry() if isinstance(found, trimesh.Scene) else found
        vertices = np.asarray(geometry.vertices, dtype=np.float32)
    except Exception as error:  # its readers raise whatever they stumble over
        raise DataError(f"{path} is not a readable mesh: {error}") from error
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise DataError(f"{path} holds no points in space")
    if not np.isfinite(vertices).all():
        row = int(np.flatnonzero(~np.isfinite(vertices).all(1))[0])
        raise DataError(f"{path}: vertex {row} has a coordinate that is no number")
    faces = np.asarray(getattr(geometry, "faces", np.empty((0, 3))), dtype=np.int64)
    return torch.from_numpy(vertices), torch.from_numpy(faces)


def read_surface(path: Path) -> tuple[Tensor, Tensor, list[str]]:
    """Vertices (V, 3) and faces (F, 3) of a mesh, and what was mended in it, in words.

    Vertices in the same place become one, faces without area in consequence and vertices without a
    face are left out.

    Raises:
        DataError: see :func:`read_mesh`; a file without faces.
    """
    vertices, faces = read_mesh(path)
    if not len(faces):
        raise DataError(f"{path} has no faces")
    if not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise DataError(
            f"{path}: faces name vertices {int(faces.min())} to {int(faces.max())}, there are "
            f"{len(vertices)}"
        )
    mended = []
    polygons = polygon_count(path)
    if polygons is not None and polygons < len(faces):
        mended.append(f"{polygons} faces of three and more corners cut into {len(faces)} triangles")
    places, number = torch.unique(vertices, dim=0, return_inverse=True)
    if len(places) < len(vertices):
        mended.append(f"{len(vertices) - len(places)} vertices joined with others in their place")
        # in the order of the file, the first of each place
        first = torch.full((len(places),), len(vertices)).scatter_reduce(
            0, number, torch.arange(len(vertices)), "amin"
        )
        order = first.argsort()
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        vertices, faces = vertices[first[order]], rank[number][faces]
        flat = (faces == faces[:, [1, 2, 0]]).any(1)
        faces = faces[~flat]
    used = torch.zeros(len(vertices), dtype=torch.bool)
    used[faces.flatten()] = True
    if not used.all():
        mended.append(f"{int((~used).sum())} vertices without a face left out")
        vertices, faces = vertices[used], (used.cumsum(0) - 1)[faces]
    return vertices, faces, mended


def polygon_count(path: Path) -> int | None:
    """Faces that an OFF, OBJ or PLY file says it has, before they are cut into triangles; None for
    other formats."""
    suffix = path.suffix.lower()
    if suffix == ".obj":
        return sum(line.startswith(b"f ") for line in path.read_bytes().splitlines())
    head = path.read_bytes()[:4096]
    if suffix == ".ply":
        found = re.search(rb"element face (\d+)", head)
        return int(found[1]) if found else None
    if suffix == ".off":
        words = re.sub(rb"#[^\n]*", b"", head).replace(b"OFF", b" ", 1).split()
        return int(words[1])
    return None

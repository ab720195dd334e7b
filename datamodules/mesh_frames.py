"""Reading the frames of a moving mesh from an npz file or a folder of meshes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.mesh_files import MESH_SUFFIXES, check_coordinates, read_polygons
from datamodules.polygon_mesh import Array, PolygonMesh
from zoo.errors import DataError


class Frames(NamedTuple):
    """Frames of a moving mesh, before vertices are merged.

    Attributes:
        path: the npz file, folder or mesh.
        vertices: coordinates, float64 (T, U, 3).
        corners: vertex indices of the corners of all polygons, int64 (C,).
        sizes: number of corners of each polygon, int64 (P,).
        files: file of each frame; empty for an npz file.
        notes: description of contents that were not read → their count.
    """

    path: Path
    vertices: Tensor
    corners: Array
    sizes: Array
    files: list[Path]
    notes: dict[str, int]

    def name(self, frame: int) -> str:
        """Return the name of a frame for error messages."""
        return str(self.files[frame]) if self.files else f"{self.path}, frame {frame}"


def read_frames(path: Path) -> Frames:
    """Read an npz file, a folder of meshes with the same faces, or one mesh.

    Raises:
        DataError: the files cannot be read, or are not frames of the same mesh.
    """
    if path.is_dir():
        return read_folder(path)
    if path.suffix.lower() in MESH_SUFFIXES:
        return _stack(path, [path])
    return read_npz(path)


def read_npz(path: Path) -> Frames:
    """Read ``verts`` (T, V, 3) and ``faces`` (F, 3) from an npz file.

    Raises:
        DataError: not an npz file, a missing array, or wrong shapes, types, coordinates or vertex
            indices.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in ("verts", "faces") if name in file}
    except Exception as error:  # NumPy raises all kinds of exceptions; npy files: TypeError
        raise DataError(f"{path} is not an npz file: {error}") from error
    for name, dims, shape in (("verts", 3, "(T, V, 3)"), ("faces", 2, "(F, 3)")):
        if name not in arrays:
            raise DataError(f"{path} has no array {name!r}; it must contain verts and faces")
        if arrays[name].ndim != dims or arrays[name].shape[-1] != 3:
            raise DataError(
                f"{path}: array {name!r} must have shape {shape}, got {arrays[name].shape}"
            )
        if arrays[name].dtype.kind not in "iuf":
            raise DataError(
                f"{path}: array {name!r} must contain numbers, got {arrays[name].dtype}"
            )
    verts, faces = arrays["verts"].astype(np.float64), arrays["faces"]
    if not verts.size:
        raise DataError(f"{path}: array 'verts' is empty, its shape is {verts.shape}")
    check_coordinates(verts, path, "frame")
    if faces.dtype.kind == "f" and not (faces == np.floor(faces)).all():
        raise DataError(f"{path}: array 'faces' contains numbers with decimals")
    corners = faces.astype(np.int64).reshape(-1)
    sizes = np.full(len(faces), 3, dtype=np.int64)
    beyond = PolygonMesh(verts[0], corners, sizes).first_face_beyond()
    if beyond is not None:
        raise DataError(
            f"{path}: face {beyond[0]} refers to vertex {beyond[1]}, but the vertices are 0 to "
            f"{verts.shape[1] - 1}"
        )
    return Frames(path, torch.from_numpy(verts), corners, sizes, [], {})


def read_folder(path: Path) -> Frames:
    """Read meshes with the same faces, in the order of the numbers in their names.

    Raises:
        DataError: no meshes, two files of one frame, or a mesh whose vertices or faces differ from
            those of the first.
    """
    files = [
        file
        for file in path.iterdir()
        if file.suffix.lower() in MESH_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{path} contains no meshes ({', '.join(sorted(MESH_SUFFIXES))})")
    files.sort(key=natural_key)
    for one, other in zip(files, files[1:], strict=False):
        if one.stem == other.stem:
            raise DataError(
                f"{path} has two files of one frame, {one.name} and {other.name}: keep one format"
            )
    return _stack(path, files)


def natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Return the sort key by which ``f2`` comes before ``f10``."""
    parts = re.split(r"(\d+)", path.stem)
    key = [(int(part), "") if i % 2 else (-1, part.lower()) for i, part in enumerate(parts)]
    return key, path.name


def _stack(path: Path, files: list[Path]) -> Frames:
    """Read files and stack their vertices, after checking that their polygons are the same."""
    first = read_polygons(files[0])
    frames, notes = [first.vertices], Counter(first.notes)
    for file in files[1:]:
        mesh = read_polygons(file)
        if len(mesh.vertices) != len(first.vertices):
            raise DataError(
                f"{file} has {len(mesh.vertices)} vertices, but {files[0].name} has "
                f"{len(first.vertices)}; all frames need the same vertices in the same order"
            )
        same_sizes = np.array_equal(mesh.sizes, first.sizes)
        if not same_sizes or not np.array_equal(mesh.corners, first.corners):
            raise DataError(
                f"the faces of {file} differ from those of {files[0].name}; all frames need the "
                "same faces in the same order"
            )
        frames.append(mesh.vertices)
        notes.update(mesh.notes)
    vertices = torch.from_numpy(np.stack(frames))
    return Frames(path, vertices, first.corners, first.sizes, files, dict(notes))

"""Meshes and clouds of points from files, read by trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import DataError

SUFFIXES = {".glb", ".obj", ".off", ".ply", ".stl", ".xyz"}


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

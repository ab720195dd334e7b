"""A user's own moving mesh: a sequence of frames with the same connectivity."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.mesh_files import AXIS_ORDER, MESH_SUFFIXES, check_face_indices, read_mesh
from datamodules.template_meshes import TemplateMeshDataModule
from zoo.errors import DataError, check_at_least, check_choice


class MeshSequence(TemplateMeshDataModule):
    """Your own moving mesh: ``--data mesh_sequence --data.path FRAMES.npz``.

    The file contains ``verts`` (T, V, 3) and ``faces`` (F, 3). Alternatively, the path is a folder
    of meshes with the same faces (PLY, OBJ, OFF, STL, GLB), in alphabetical order. Labels are frame
    indices.

    Args:
        path: npz file or folder of meshes.
        test_every: interval of the test frames: of every ``test_every`` frames, the last one is for
            testing; default 4.
        up: axis of the file that points upward: ``x``, ``y`` or ``z`` (default).
        **data: see :class:`~datamodules.template_meshes.TemplateMeshDataModule`.

    Raises:
        InputError: ``test_every`` below 2, or an unknown axis.
        DataError: a fault in the data; the message names the file and the frame.
    """

    def __init__(self, path: str, test_every: int = 4, up: str = "z", **data: Any) -> None:
        super().__init__(**data)
        check_choice("up axis", up, AXIS_ORDER)
        check_at_least(2, test_every=test_every)
        self.path, self.test_every, self.up = Path(path), test_every, up

    @cached_property
    def frames(self) -> tuple[Tensor, Tensor]:
        """Vertices of all frames, (T, V, 3), and faces, (F, 3)."""
        if not self.path.exists():
            raise DataError(f"no such file or folder: {self.path} (--data.path)")
        vertices, faces = read_folder(self.path) if self.path.is_dir() else read_npz(self.path)
        if not len(faces):
            raise DataError(f"{self.path}: the meshes have no faces")
        if len(vertices) < 2 * self.test_every:
            raise DataError(
                f"{self.path} has {len(vertices)} frames; --data.test_every {self.test_every} "
                f"needs at least {2 * self.test_every}"
            )
        return vertices[..., AXIS_ORDER[self.up]], faces

    @property
    def faces(self) -> Tensor:
        return self.frames[1]

    def meshes(self, train: bool) -> tuple[Tensor, Tensor]:
        vertices, _ = self.frames
        indices = torch.arange(len(vertices))
        is_test = indices % self.test_every == self.test_every - 1
        indices = indices[~is_test if train else is_test]
        return vertices[indices], indices


def read_npz(path: Path) -> tuple[Tensor, Tensor]:
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
    vertices = torch.from_numpy(arrays["verts"].astype(np.float32))
    infinite = (~vertices.isfinite()).flatten(1).any(1).nonzero()[:, 0]
    if len(infinite):
        raise DataError(f"{path}: frame {int(infinite[0])} has a coordinate that is not finite")
    faces = arrays["faces"].astype(np.int64)
    check_face_indices(faces, vertices.shape[1], path)
    return vertices, torch.from_numpy(faces)


def read_folder(path: Path) -> tuple[Tensor, Tensor]:
    """Read meshes with the same faces, in alphabetical order: vertices (T, V, 3), faces (F, 3).

    Raises:
        DataError: no meshes, or a mesh whose vertices or faces differ from those of the first.
    """
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in MESH_SUFFIXES)
    if not files:
        raise DataError(f"{path} contains no meshes ({', '.join(sorted(MESH_SUFFIXES))})")
    first, template = read_mesh(files[0])
    frames = [first]
    for file in files[1:]:
        vertices, faces = read_mesh(file)
        if len(vertices) != len(first):
            raise DataError(
                f"{file} has {len(vertices)} vertices, but {files[0].name} has {len(first)}; all "
                "frames need the same vertices in the same order"
            )
        if not torch.equal(faces, template):
            raise DataError(
                f"the faces of {file} differ from those of {files[0].name}; all frames need the "
                "same faces in the same order"
            )
        frames.append(vertices)
    return torch.stack(frames), template

"""Shapes with shared connectivity: vertices that correspond from one to the next."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.bodies import GESTURES, body, draw_poses, pose
from datamodules.loader import Batch
from datamodules.mesh_files import MESHES, UPWARDS, check_axis, read_mesh
from zoo.errors import DataError
from zoo.functional.templates import pack_template


class TemplateDataModule(TensorDataModule):
    """Shapes of equally many vertices with the same faces, (x, y): x float32 (B, V, 3).

    A data set implements ``shapes`` and ``faces``. Coordinates are centred and scaled so that those
    of the training shapes deviate from their mean shape by 1 on root average: a squared error is
    then the share of the variance that is left.

    Properties that models ask for: ``input_shape``, and ``template``: the mean training shape with
    the faces, packed as text (:func:`zoo.functional.templates.pack_template`).

    Args:
        batch_size: default 16.
        **data: see :class:`~datamodules.base.TensorDataModule`.
    """

    def __init__(self, batch_size: int = 16, **data: Any) -> None:
        super().__init__(batch_size=batch_size, **data)

    def shapes(self, train: bool) -> tuple[Tensor, Tensor]:
        """The training or test split: vertices (N, V, 3) and labels int64 (N,)."""
        raise NotImplementedError(f"{type(self).__name__} has no shapes(train)")

    @property
    def faces(self) -> Tensor:
        """(F, 3)."""
        raise NotImplementedError(f"{type(self).__name__} has no faces")

    @cached_property
    def _training(self) -> tuple[Tensor, Tensor]:
        """The training shapes as they come, for all that is asked of them."""
        return self.shapes(True)

    @cached_property
    def scale(self) -> tuple[Tensor, float]:
        """Centre (3,) and spread by which coordinates are moved and divided, of the training
        shapes."""
        vertices = self._training[0].double()
        spread = float((vertices - vertices.mean(0)).square().mean().sqrt())
        if not spread > 0:
            raise DataError(f"the {len(vertices)} training shapes are all the same")
        return vertices.mean((0, 1)), spread

    def normalized(self, vertices: Tensor) -> Tensor:
        """Coordinates as batches have them, (..., V, 3) → float32."""
        center, spread = self.scale
        return ((vertices.double() - center) / spread).float()

    def load(self, train: bool) -> Batch:
        vertices, labels = self._training if train else self.shapes(False)
        return self.normalized(vertices), labels

    @property
    def input_shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self._training[0].shape[1], 3

    @property
    def template(self) -> str:
        """The mean training shape, as batches have shapes, packed as text."""
        return pack_template(self.normalized(self._training[0]).mean(0), self.faces)

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        return batch


class Articulated(TemplateDataModule):
    """A body that walks, waves, squats and jumps; every pose is made of eight known angles.

    Labels are the four movements. ``angles(train)`` are the true factors, and
    :func:`datamodules.bodies.pose` gives the body at any angles.

    Args:
        num_samples: training poses, validation included, default 600; a third as many for test.
        noise: standard deviation of each angle around the movement's, radians, default 0.08.
        **data: see :class:`TemplateDataModule`.
    """

    classes = GESTURES
    num_classes = len(GESTURES)

    def __init__(self, num_samples: int = 600, noise: float = 0.08, **data: Any) -> None:
        super().__init__(**data)
        self.num_samples, self.noise = num_samples, noise

    @property
    def faces(self) -> Tensor:
        return body().faces

    def angles(self, train: bool) -> tuple[Tensor, Tensor]:
        """Angles of the joints (N, 8), radians, and movements (N,)."""
        return draw_poses(
            self.num_samples if train else self.num_samples // 3, self.noise, 2 * self.seed + train
        )

    def shapes(self, train: bool) -> tuple[Tensor, Tensor]:
        angles, labels = self.angles(train)
        return pose(angles), labels


class MeshSequence(TemplateDataModule):
    """A moving shape: ``--data mesh_sequence --data.path FILE.npz``.

    The file holds ``verts`` (T, V, 3) and ``faces`` (F, 3). A folder of meshes with the same faces
    (PLY, OBJ, OFF, STL, GLB) does as well, its files in the order of their names. Labels are the
    numbers of the frames.

    Args:
        path: the file or folder.
        up: the axis of the file that goes upwards, default ``z``.
        test_every: each n-th frame is for test: the last of every n; default 4.
        **data: see :class:`TemplateDataModule`.

    Raises:
        DataError: names the file, and the frame that does not fit.
        ValueError: ``test_every`` below 2, an unknown axis.
    """

    def __init__(self, path: str, test_every: int = 4, up: str = "z", **data: Any) -> None:
        super().__init__(**data)
        check_axis(up)
        if test_every < 2:
            raise ValueError(f"test_every must be at least 2, got {test_every}")
        self.path, self.test_every, self.up = Path(path), test_every, up

    @cached_property
    def frames(self) -> tuple[Tensor, Tensor]:
        """Vertices of all frames (T, V, 3) and faces (F, 3)."""
        if not self.path.exists():
            raise DataError(f"there is no {self.path} (--data.path)")
        vertices, faces = read_folder(self.path) if self.path.is_dir() else read_npz(self.path)
        if len(vertices) < 2 * self.test_every:
            raise DataError(
                f"{self.path} has {len(vertices)} frames: with every {self.test_every}th for test "
                f"at least {2 * self.test_every} are needed (--data.test_every)"
            )
        return vertices[..., UPWARDS[self.up]], faces

    @property
    def faces(self) -> Tensor:
        return self.frames[1]

    def shapes(self, train: bool) -> tuple[Tensor, Tensor]:
        vertices, _ = self.frames
        numbers = torch.arange(len(vertices))
        tested = numbers % self.test_every == self.test_every - 1
        numbers = numbers[~tested if train else tested]
        return vertices[numbers], numbers


def read_npz(path: Path) -> tuple[Tensor, Tensor]:
    """``verts`` (T, V, 3) and ``faces`` (F, 3) of a file.

    Raises:
        DataError: what is missing or has the wrong shape.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in ("verts", "faces") if name in file}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no npz file: {error}") from error
    for name, dims in (("verts", 3), ("faces", 2)):
        if name not in arrays:
            raise DataError(f"{path} has no array {name!r}")
        if arrays[name].ndim != dims or arrays[name].shape[-1] != 3:
            wanted = "(T, V, 3)" if dims == 3 else "(F, 3)"
            raise DataError(f"{path}: {name!r} is {arrays[name].shape}, it must be {wanted}")
    vertices = torch.from_numpy(arrays["verts"].astype(np.float32))
    faces = torch.from_numpy(arrays["faces"].astype(np.int64))
    bad = (~vertices.isfinite()).flatten(1).any(1).nonzero()[:, 0]
    if len(bad):
        raise DataError(f"{path}: frame {int(bad[0])} has a coordinate that is no number")
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < vertices.shape[1]:
        raise DataError(
            f"{path}: faces name vertices {int(faces.min())} to {int(faces.max())}, there are "
            f"{vertices.shape[1]}"
        )
    return vertices, faces


def read_folder(path: Path) -> tuple[Tensor, Tensor]:
    """Meshes of one connectivity, in the order of their names.

    Raises:
        DataError: no meshes, or one that has other vertices or faces than the first.
    """
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in MESHES)
    if not files:
        raise DataError(f"{path} holds no meshes ({', '.join(sorted(MESHES))})")
    found: list[Tensor] = []
    faces = torch.empty(0, 3, dtype=torch.long)
    for file in files:
        vertices, corners = read_mesh(file)
        if not found:
            faces = corners
        if found and len(vertices) != len(found[0]):
            raise DataError(
                f"{file} has {len(vertices)} vertices, {files[0].name} has {len(found[0])}: shapes "
                "of one template have as many, in the same order"
            )
        if not torch.equal(corners, faces):
            raise DataError(f"{file} has other faces than {files[0].name}")
        found.append(vertices)
    return torch.stack(found), faces

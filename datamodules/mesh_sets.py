"""Meshes with a class: a folder of your own, and the parts of a body in many poses."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from datamodules.bodies import PARTS, body, draw_poses, pose
from datamodules.class_folders import ClassFolders
from datamodules.mesh_files import MESHES, UPWARDS, check_axis, read_surface
from datamodules.meshes import MeshDataModule
from zoo.functional.meshes import connected_components


class MeshFolder(MeshDataModule):
    """Meshes from files: ``--data mesh_folder --data.path FOLDER``.

    Layouts: ``path/train/CLASS/…`` with ``path/test/CLASS/…``, or ``path/CLASS/…``, of which a
    tenth is for test. PLY, OBJ, OFF, STL, GLB. Faces of more than three corners are cut into
    triangles, vertices in the same place become one, those without a face are left out; each is
    said in a warning. The operators are kept in ``root/operators``.

    Properties that models ask for: ``num_classes``; and ``class_names``.

    Args:
        path: the folder.
        train_per_class: without ``train`` and ``test``: so many of each class, drawn by the seed,
            are for training and validation, all others for test. Default none: nine tenths of all.
        up: the axis of the files that goes upwards, default ``z``.
        on_error: what a file does that cannot be read or is no surface: ``stop`` (default), or
            ``skip``, which names it in a warning and goes on without it.
        **meshes: see :class:`~datamodules.meshes.MeshDataModule`.

    Raises:
        ValueError: unknown ``up`` or ``on_error``.
        DataError: names the folder or file that is wrong.
    """

    cached = True

    def __init__(
        self,
        path: str,
        train_per_class: int | None = None,
        up: str = "z",
        on_error: str = "stop",
        **meshes: Any,
    ) -> None:
        super().__init__(**meshes)
        check_axis(up)
        self.folders = ClassFolders(Path(path), MESHES, "meshes", on_error)
        self.train_per_class, self.up = train_per_class, up

    @property
    def class_names(self) -> list[str]:
        """Names of the class folders."""
        return self.folders.class_names

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        if len(self.class_names) < 2:
            raise AttributeError(f"{self.folders.path} has no class folders")
        return len(self.class_names)

    def load(self, train: bool) -> list[Data]:
        files = self.folders.split_files(train, self.seed, self.train_per_class)
        meshes = (self.folders.read_or_skip(partial(self._read, file)) for file in files)
        return [mesh for mesh in meshes if mesh is not None]

    def _read(self, file: Path) -> Data:
        vertices, faces, mended = read_surface(file)
        pieces = int(connected_components(faces, len(vertices)).max()) + 1
        if pieces > 1:
            mended.append(f"it is in {pieces} pieces, between which nothing flows")
        if mended:
            warnings.warn(f"{file}: {'; '.join(mended)}", stacklevel=2)
        label = torch.tensor([self.folders.label(file)])
        pos = vertices[:, UPWARDS[self.up]]
        return Data(pos=pos, face=faces.T.contiguous(), y=label, name=str(file))

    def ready(self, mesh: Data) -> Data | None:
        return self.folders.read_or_skip(partial(super().ready, mesh))


class BodyParts(MeshDataModule):
    """A body in many poses: which part each vertex belongs to, (V,).

    Properties that models ask for: ``num_classes``; and ``class_names``.

    Args:
        num_samples: training poses, validation included, default 60; half as many for test.
        noise: of the joints' angles, radians, default 0.3.
        batch_size: default 4.
        **meshes: see :class:`~datamodules.meshes.MeshDataModule`.
    """

    classes = PARTS
    num_classes = len(PARTS)

    def __init__(
        self, num_samples: int = 60, noise: float = 0.3, batch_size: int = 4, **meshes: Any
    ) -> None:
        super().__init__(batch_size=batch_size, **meshes)
        self.num_samples, self.noise = num_samples, noise

    def load(self, train: bool) -> list[Data]:
        count = self.num_samples if train else self.num_samples // 2
        angles, _ = draw_poses(count, self.noise, 2 * self.seed + train)
        rest = body()
        return [Data(pos=pos, face=rest.faces.T, y=rest.parts) for pos in pose(angles)]

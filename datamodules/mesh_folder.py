"""A user's own meshes in class folders."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from datamodules.class_folders import ClassFolders
from datamodules.mesh_files import AXIS_ORDER, MESH_SUFFIXES, ChangeLog, read_surface
from datamodules.meshes import MeshDataModule
from zoo.errors import check_at_least, check_choice
from zoo.functional.meshes import connected_components


class MeshFolder(MeshDataModule):
    """Your own meshes: ``--data mesh_folder --data.path FOLDER``.

    The folder contains ``train/CLASS/…`` and ``test/CLASS/…``, or only ``CLASS/…``; then a random
    tenth of the files is for testing. Formats: PLY, OBJ, OFF, STL, GLB. Polygons are cut into
    triangles, duplicate vertices merged, and repeated faces, faces that repeat a vertex and
    vertices without a face removed, with a warning that counts them. The operators are cached in
    ``root/operators``.

    Properties for models: ``num_classes``; for figures: ``class_names``.

    Args:
        path: folder of the files.
        train_per_class: number of files of each class for training and validation, sampled by the
            seed; the others are for testing. Default: nine tenths of all files. It is ignored if
            the folder contains ``train`` and ``test``.
        up: axis of the files that points upward: ``x``, ``y`` or ``z`` (default).
        on_error: handling of files that cannot be read or are not manifold surfaces: ``stop``
            (default), or ``skip``: leave the file out with a warning that names it.
        **meshes: see :class:`~datamodules.meshes.MeshDataModule`.

    Raises:
        InputError: unknown ``up`` or ``on_error``, or ``train_per_class`` below 1.
        DataError: a fault in the data; the message names the folder or file.
    """

    cache_operators = True

    def __init__(
        self,
        path: str,
        train_per_class: int | None = None,
        up: str = "z",
        on_error: str = "stop",
        **meshes: Any,
    ) -> None:
        super().__init__(**meshes)
        check_at_least(1, train_per_class=train_per_class)
        check_choice("up axis", up, AXIS_ORDER)
        self.folders = ClassFolders(Path(path), MESH_SUFFIXES, "meshes", on_error)
        self.train_per_class, self.up = train_per_class, up

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        """Names of the class folders, sorted."""
        return self.folders.class_names

    @property
    def num_classes(self) -> int:
        """Number of class folders."""
        return self.folders.num_classes

    def load(self, train: bool) -> list[Data]:
        files = self.folders.split_files(train, self.seed, self.train_per_class)
        changes = ChangeLog()
        meshes = [self.folders.read_or_skip(partial(self._read, file, changes)) for file in files]
        changes.warn()
        return [mesh for mesh in meshes if mesh is not None]

    def _read(self, file: Path, changes: ChangeLog) -> Data:
        vertices, faces, notes = read_surface(file)
        components = int(connected_components(faces, len(vertices)).max()) + 1
        if components > 1:
            notes["parts apart from the first, between which heat does not flow"] = components - 1
        changes.add(file, notes)
        label = torch.tensor([self.folders.label(file)])
        pos = vertices[:, AXIS_ORDER[self.up]]
        return Data(pos=pos, face=faces.T.contiguous(), y=label, name=str(file))

    def prepare_mesh(self, mesh: Data) -> Data | None:
        return self.folders.read_or_skip(partial(super().prepare_mesh, mesh))

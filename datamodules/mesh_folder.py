"""A user's own meshes in class folders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.class_folders import ClassFolders
from datamodules.mesh_files import AXIS_ORDER, MESH_SUFFIXES, ChangeLog, read_surface
from datamodules.meshes import MeshDataModule
from zoo.errors import check_at_least, check_choice
from zoo.functional.meshes import connected_components


class MeshFolder(MeshDataModule):
    """Your own meshes: ``--data mesh_folder --data.path FOLDER``.

    The folder contains ``train/CLASS/…`` with ``val/CLASS/…`` and ``test/CLASS/…``, or one of the
    two; or only ``CLASS/…``. A split without a folder is held out by the seed, with the same
    fraction of each class: a tenth of the files for testing, then ``val_size``.

    Formats: PLY, OBJ, OFF, STL, GLB. Polygons are cut into triangles, duplicate vertices merged,
    and repeated faces, faces that repeat a vertex and vertices without a face removed, with a
    warning that counts them. The operators are cached in ``root/operators``.

    A checkpoint contains the class names, and which files were used in training. In other folders
    the classes are matched by name, and ``test`` uses all files that were not used in training;
    ``predict`` uses all files of a folder, with or without class folders.

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

    learned_settings = ("seed", "val_size", "train_per_class", "up", "eigenpairs")
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
        self._trains_on_path = False

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        """Names of the class folders, sorted."""
        return self.folders.class_names

    @property
    def num_classes(self) -> int:
        """Number of class folders."""
        return self.folders.num_classes

    # -- what is learned from the training data -------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return the classes, and the keys of the files for training and validation."""
        return {
            "class_names": self.class_names,
            "training_files": self.folders.training_keys(self.seed, self.train_per_class),
            "num_test_files": len(self._split_files(False)),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.folders.use_classes(self.learned["class_names"])

    def forget(self) -> None:
        super().forget()
        self._splits.clear()

    # -- meshes ---------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        if stage == "fit":
            self._trains_on_path = True
        if stage != "predict":
            super().setup(stage)
        elif "predict" not in self._splits:
            meshes = self._read_files(self.folders.files, False)
            self._splits["predict"] = self.prepare_meshes(meshes, self.seed)

    def load(self, train: bool) -> list[Data]:
        is_new = not train and self.has_loaded_state and not self._trains_on_path
        files = self._unused_files() if is_new else self._split_files(train)
        return self._read_files(files)

    def hold_out_validation(self, meshes: list[Data]) -> tuple[Tensor, Tensor]:
        files = [Path(mesh.name) for mesh in meshes]
        return self.folders.hold_out_validation(files, self.val_size, self.seed)

    def predict_dataloader(self) -> Any:
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        folder = self.folders.path
        files = [Path(mesh.name) for mesh in self.split("predict")]
        return {"file": [file.relative_to(folder).as_posix() for file in files]}

    def _split_files(self, train: bool) -> list[Path]:
        return self.folders.split_files(train, self.seed, self.train_per_class)

    def _unused_files(self) -> list[Path]:
        used, count = self.learned["training_files"], self.learned["num_test_files"]
        return self.folders.unused_files(used, count)

    def _read_files(self, files: Sequence[Path], has_labels: bool = True) -> list[Data]:
        """Read files, and say once what was changed in them."""
        changes = ChangeLog()
        read = (partial(self._read, file, changes, has_labels) for file in files)
        meshes = [self.folders.read_or_skip(function) for function in read]
        changes.warn()
        return [mesh for mesh in meshes if mesh is not None]

    def _read(self, file: Path, changes: ChangeLog, has_labels: bool) -> Data:
        vertices, faces, notes = read_surface(file)
        components = int(connected_components(faces, len(vertices)).max()) + 1
        if components > 1:
            notes["parts apart from the first, between which heat does not flow"] = components - 1
        changes.add(file, notes)
        label = torch.tensor([self.folders.label(file) if has_labels else 0])
        pos = vertices[:, AXIS_ORDER[self.up]]
        return Data(pos=pos, face=faces.T.contiguous(), y=label, name=str(file))

    def prepare_mesh(self, mesh: Data) -> Data | None:
        prepared = self.folders.read_or_skip(partial(super().prepare_mesh, mesh))
        if prepared is not None:
            prepared.name = mesh.name
        return prepared

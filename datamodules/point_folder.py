"""A user's own shapes as point clouds, from mesh and point files in class folders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.class_folders import ClassFolders
from datamodules.loader import TensorLoader
from datamodules.mesh_files import SHAPE_SUFFIXES, ChangeLog, read_mesh, remove_needless_faces
from datamodules.point_clouds import SampledPointDataModule, scale_to_unit_ball
from zoo.errors import DataError, check_at_least


class PointFolder(SampledPointDataModule):
    """Your own shapes as point clouds: ``--data point_folder --data.path FOLDER``.

    The folder contains ``train/CLASS/…`` with ``val/CLASS/…`` and ``test/CLASS/…``, or one of the
    two; or only ``CLASS/…``. A split without a folder is held out by the seed, with the same
    fraction of each class: a tenth of the files for testing, then ``val_size``.

    Points are sampled uniformly from the surfaces of meshes (PLY, OBJ, OFF, STL, GLB) and from the
    points of point files (PLY, XYZ).

    A checkpoint contains the class names, and which files were used in training. In other folders
    the classes are matched by name, and ``test`` uses all files that were not used in training;
    ``predict`` uses all files of a folder, with or without class folders.

    Properties for models: ``num_classes``, ``num_points``; with ``voxel_resolution``
    ``input_shape``; for figures: ``class_names``.

    Args:
        path: folder of the files.
        train_per_class: number of files of each class for training and validation, sampled by the
            seed; the others are for testing. Default: nine tenths of all files. It is ignored if
            the folder contains ``train`` and ``test``.
        on_error: handling of files that cannot be read: ``stop`` (default), or ``skip``: leave the
            file out with a warning that names it.
        **points: see :class:`~datamodules.point_clouds.SampledPointDataModule`.

    Raises:
        InputError: unknown ``on_error``, or ``train_per_class`` below 1.
        DataError: a fault in the data; the message names the folder or file.
    """

    learned_settings = (
        "seed", "val_size", "train_per_class", "up", "num_points", "stored_points",
        "voxel_resolution",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        train_per_class: int | None = None,
        on_error: str = "stop",
        **points: Any,
    ) -> None:
        super().__init__(**points)
        check_at_least(1, train_per_class=train_per_class)
        self.folders = ClassFolders(Path(path), SHAPE_SUFFIXES, "shapes", on_error)
        self.train_per_class = train_per_class
        self._files: dict[str, list[Path]] = {}  # files of each split that could be read

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        """Names of the class folders, sorted."""
        return self.folders.class_names

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of class folders."""
        return self.folders.num_classes

    # -- what is learned from the training data -------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return the classes, and the keys of the files for training and validation."""
        tested = self.folders.split_files(False, self.seed, self.train_per_class)
        return {
            "class_names": self.class_names,
            "training_files": self.folders.training_keys(self.seed, self.train_per_class),
            "num_test_files": len(tested),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.folders.use_classes(self.learned["class_names"])

    # -- point clouds ---------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        if stage != "predict":
            super().setup(stage)
        elif "predict" not in self._splits:
            clouds = self._read_files("predict", self.folders.files)
            tensors = self.with_rotations(*clouds, self.seed)
            self._splits["predict"] = tensors, torch.arange(len(tensors[0]))

    def point_clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        if not train and self.has_loaded_state:
            used, count = self.learned["training_files"], self.learned["num_test_files"]
            files = self.folders.unused_files(used, count)
        else:
            files = self.folders.split_files(train, self.seed, self.train_per_class)
        return self._read_files("train" if train else "test", files)

    def hold_out_validation(self, num_samples: int) -> tuple[Tensor, Tensor]:
        return self.folders.hold_out_validation(self._files["train"], self.val_size, self.seed)

    def predict_dataloader(self) -> TensorLoader:
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        self._stored("predict")
        folder = self.folders.path
        return {"file": [file.relative_to(folder).as_posix() for file in self._files["predict"]]}

    def _read_files(self, split: str, files: Sequence[Path]) -> tuple[Tensor, Tensor]:
        """Return the points and labels of the files that can be read."""
        points, read, changes = [], [], ChangeLog()
        for file in files:
            cloud = self.folders.read_or_skip(partial(self._read, file, changes))
            if cloud is not None:
                points.append(cloud)
                read.append(file)
        changes.warn()
        if not points:
            raise DataError(f"{self.folders.path}: none of the files could be read")
        self._files[split] = read
        return torch.stack(points), torch.tensor([self.folders.label(file) for file in read])

    def _read(self, file: Path, changes: ChangeLog) -> Tensor:
        # a generator per file: a shape's points do not depend on the other files
        generator = torch.Generator().manual_seed(self.seed)
        vertices, faces, notes = read_mesh(file)
        faces, removed = remove_needless_faces(faces)  # a face twice would have twice the points
        changes.add(file, {**notes, **removed})
        try:
            return scale_to_unit_ball(self.sample_points(vertices, faces, generator)).float()
        except ValueError as error:
            raise DataError(f"{file}: {error}") from None

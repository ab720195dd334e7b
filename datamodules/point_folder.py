"""A user's own shapes as point clouds, from mesh and point files in class folders."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.class_folders import ClassFolders
from datamodules.mesh_files import SHAPE_SUFFIXES, ChangeLog, read_mesh, remove_needless_faces
from datamodules.point_clouds import SampledPointDataModule, scale_to_unit_ball
from zoo.errors import DataError, check_at_least


class PointFolder(SampledPointDataModule):
    """Your own shapes as point clouds: ``--data point_folder --data.path FOLDER``.

    The folder contains ``train/CLASS/…`` and ``test/CLASS/…``, or only ``CLASS/…``; then a random
    tenth of the files is for testing. Points are sampled uniformly from the surfaces of meshes
    (PLY, OBJ, OFF, STL, GLB) and from the points of point files (PLY, XYZ).

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

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        """Names of the class folders, sorted."""
        return self.folders.class_names

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of class folders."""
        return self.folders.num_classes

    def point_clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        points, labels, changes = [], [], ChangeLog()
        for file in self.folders.split_files(train, self.seed, self.train_per_class):
            cloud = self.folders.read_or_skip(partial(self._read, file, changes))
            if cloud is not None:
                points.append(cloud)
                labels.append(self.folders.label(file))
        changes.warn()
        if not points:
            raise DataError(f"{self.folders.path}: none of the files could be read")
        return torch.stack(points), torch.tensor(labels)

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

"""Clouds of points from files: a folder of your own, and ModelNet."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.class_folders import ClassFolders
from datamodules.mesh_files import SUFFIXES, UPWARDS, check_axis, read_mesh
from datamodules.points import PointDataModule
from zoo.errors import DataError
from zoo.functional.meshes import sample_surface


class SampledPoints(PointDataModule):
    """Clouds drawn from meshes, or from larger or smaller clouds.

    Args:
        stored_points: drawn of each shape once, default 2,048.
        up: the axis of the files that goes upwards, default ``z``.
        **points: see :class:`~datamodules.points.PointDataModule`; there are no parts.

    Raises:
        ValueError: an unknown axis, parts.
    """

    def __init__(self, stored_points: int = 2_048, up: str = "z", **points: Any) -> None:
        super().__init__(stored_points=stored_points, **points)
        check_axis(up)
        if self.task == "parts":
            raise ValueError(f"{type(self).__name__} knows shapes, not parts: task=shapes")
        self.up = up

    def sample(self, vertices: Tensor, faces: Tensor, generator: torch.Generator) -> Tensor:
        """Points of one shape, (stored_points, 3)."""
        if len(faces):
            points = sample_surface(vertices, faces, self.stored_points, generator)
        else:  # all of them, and then some again
            rounds = -(-self.stored_points // len(vertices))
            order = [torch.randperm(len(vertices), generator=generator) for _ in range(rounds)]
            points = vertices[torch.cat(order)[: self.stored_points]]
        return points[:, UPWARDS[self.up]]


class PointFolder(SampledPoints):
    """Shapes from files: ``--data point_folder --data.path FOLDER``.

    Layouts: ``path/train/CLASS/…`` with ``path/test/CLASS/…``, or ``path/CLASS/…``, of which a
    tenth is for test. Meshes (PLY, OBJ, OFF, STL, GLB) are sampled evenly by area; of files of
    points alone (PLY, XYZ) points are drawn.

    Properties that models ask for: ``num_classes``, ``num_points``; and ``class_names``.

    Args:
        path: the folder.
        train_per_class: without ``train`` and ``test``: so many of each class, drawn by the seed,
            are for training and validation, all others for test. Default none: nine tenths of all.
        on_error: what a file does that cannot be read: ``stop`` (default), or ``skip``, which names
            it in a warning and goes on without it.
        **points: see :class:`SampledPoints`.

    Raises:
        DataError: names the folder or file that is wrong.
    """

    def __init__(
        self,
        path: str,
        train_per_class: int | None = None,
        on_error: str = "stop",
        **points: Any,
    ) -> None:
        super().__init__(**points)
        self.folders = ClassFolders(Path(path), SUFFIXES, "shapes", on_error)
        self.train_per_class = train_per_class

    @property
    def class_names(self) -> list[str]:
        """Names of the class folders."""
        return self.folders.class_names

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        if len(self.class_names) < 2:
            raise AttributeError(f"{self.folders.path} has no class folders")
        return len(self.class_names)

    def clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        points, labels = [], []
        for file in self.folders.split_files(train, self.seed, self.train_per_class):
            cloud = self.folders.read_or_skip(partial(self._read, file))
            if cloud is not None:
                points.append(cloud)
                labels.append(self.folders.label(file))
        if not points:
            raise DataError(f"no file of {self.folders.path} could be used")
        return torch.stack(points), torch.tensor(labels)

    def _read(self, file: Path) -> Tensor:
        # a shape's points do not depend on which other files there are
        generator = torch.Generator().manual_seed(self.seed)
        vertices, faces = read_mesh(file)
        try:
            return self.sample(vertices, faces, generator)
        except ValueError as error:
            raise DataError(f"{file}: {error}") from None


class ModelNet(SampledPoints):
    """CAD models of furniture and other things, in the official split: 10 or 40 classes.

    Lies in ``root/ModelNet10`` or ``root/ModelNet40``; downloaded by PyG when it is missing.

    Args:
        name: ``10`` (default) or ``40``.
        **points: see :class:`SampledPoints`.

    Source: Wu et al., 3D ShapeNets, 2015.
    """

    def __init__(self, name: str = "10", **points: Any) -> None:
        super().__init__(**points)
        if name not in ("10", "40"):
            raise ValueError(f"unknown name {name!r}; choose from 10, 40")
        self.name, self.num_classes = name, int(name)

    def clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        from torch_geometric.datasets import ModelNet as Official

        folder = self.root / f"ModelNet{self.name}"
        try:
            shapes = Official(str(folder), self.name, train)
        except OSError as error:
            raise DataError(
                f"ModelNet{self.name} is neither in {folder} nor can it be downloaded ({error}): "
                f"put its class folders into {folder / 'raw'}"
            ) from None
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        points = [self.sample(shape.pos, shape.face.T, generator) for shape in shapes]
        return torch.stack(points), torch.tensor([int(shape.y) for shape in shapes])

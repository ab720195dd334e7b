"""ModelNet10 and ModelNet40."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from datamodules.locks import preparing
from datamodules.pickles import check_processed
from datamodules.point_clouds import SampledPointDataModule
from zoo.errors import DataError, check_choice

#: variant → its classes in the order of their indices
CLASS_NAMES = {
    "10": [
        "bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table",
        "toilet",
    ],
    "40": [
        "airplane", "bathtub", "bed", "bench", "bookshelf", "bottle", "bowl", "car", "chair",
        "cone", "cup", "curtain", "desk", "door", "dresser", "flower_pot", "glass_box", "guitar",
        "keyboard", "lamp", "laptop", "mantel", "monitor", "night_stand", "person", "piano",
        "plant", "radio", "range_hood", "sink", "sofa", "stairs", "stool", "table", "tent",
        "toilet", "tv_stand", "vase", "wardrobe", "xbox",
    ],
}  # fmt: skip


class ModelNet(SampledPointDataModule):
    """Point clouds sampled from CAD models of objects, in the official split: 10 or 40 classes.

    The data is read from ``root/ModelNet10`` or ``root/ModelNet40`` and downloaded by PyG if it is
    not there.

    Args:
        name: number of classes, ``10`` (default) or ``40``.
        **points: see :class:`~datamodules.point_clouds.SampledPointDataModule`.

    Raises:
        InputError: unknown name.
        DataError: the files are missing and cannot be downloaded.

    Source: Wu et al., 3D ShapeNets: A deep representation for volumetric shapes, 2015.
    """

    def __init__(self, name: str = "10", **points: Any) -> None:
        super().__init__(**points)
        check_choice("name", name, CLASS_NAMES)
        self.name, self.class_names = name, list(CLASS_NAMES[name])

    def point_clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        from torch_geometric.datasets import ModelNet as PyGModelNet

        folder = self.root / f"ModelNet{self.name}"
        try:
            with preparing(folder):
                check_processed(folder)
                shapes = PyGModelNet(str(folder), self.name, train)
        except OSError as error:
            raise DataError(
                f"ModelNet{self.name} was not found in {folder} and could not be downloaded "
                f"({error}); put its class folders into {folder / 'raw'}"
            ) from None
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        points = [self.sample_points(shape.pos, shape.face.T, generator) for shape in shapes]
        return torch.stack(points), torch.tensor([int(shape.y) for shape in shapes])

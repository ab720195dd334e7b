"""Data for the zoo's models: LightningDataModules that know nothing of models.

Those of graphs are imported when they are first used: PyG takes seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from datamodules.augment import Augmentation
from datamodules.base import TensorDataModule
from datamodules.csv_file import CSV
from datamodules.errors import DataError
from datamodules.folder import ImageFolder
from datamodules.images import CIFAR10, MNIST, Digits, FashionMNIST
from datamodules.labeled_text import SST2, LabeledText
from datamodules.loader import BatchPlan, TensorLoader
from datamodules.parallel_text import Multi30k, ParallelText
from datamodules.pictures import Anscombe, Datasaurus
from datamodules.point_files import ModelNet, PointFolder
from datamodules.points import PointAugmentation, PointDataModule
from datamodules.series import Brownian, ETTh1, Series
from datamodules.shapes import Shapes
from datamodules.tables import BreastCancer, Diabetes, Iris, Table, TableDataModule, Wine
from datamodules.templates import Articulated, MeshSequence, TemplateDataModule
from datamodules.text import Text, TinyShakespeare
from datamodules.toys import Gaussians2D, Toy2D, ToyCurves

if TYPE_CHECKING:
    from datamodules.graph_sets import GraphSetDataModule as GraphSetDataModule
    from datamodules.graph_sets import RandomGraphs as RandomGraphs
    from datamodules.graph_sets import TUDataset as TUDataset
    from datamodules.graphs import GraphDataModule as GraphDataModule
    from datamodules.isometric import Isometric as Isometric
    from datamodules.known_graphs import SBM as SBM
    from datamodules.known_graphs import GraphCSV as GraphCSV
    from datamodules.known_graphs import Karate as Karate
    from datamodules.known_graphs import Planetoid as Planetoid
    from datamodules.mesh_sets import BodyParts as BodyParts
    from datamodules.mesh_sets import MeshFolder as MeshFolder
    from datamodules.meshes import MeshDataModule as MeshDataModule

_HOMES = {
    "GraphDataModule": "datamodules.graphs",
    "GraphSetDataModule": "datamodules.graph_sets",
    "RandomGraphs": "datamodules.graph_sets",
    "TUDataset": "datamodules.graph_sets",
    "GraphCSV": "datamodules.known_graphs",
    "Karate": "datamodules.known_graphs",
    "Planetoid": "datamodules.known_graphs",
    "SBM": "datamodules.known_graphs",
    "BodyParts": "datamodules.mesh_sets",
    "Isometric": "datamodules.isometric",
    "MeshDataModule": "datamodules.meshes",
    "MeshFolder": "datamodules.mesh_sets",
}

__all__ = [
    "CIFAR10",
    "CSV",
    "MNIST",
    "SBM",
    "SST2",
    "Anscombe",
    "Articulated",
    "Augmentation",
    "BatchPlan",
    "BodyParts",
    "BreastCancer",
    "Brownian",
    "DataError",
    "Datasaurus",
    "Diabetes",
    "Digits",
    "ETTh1",
    "FashionMNIST",
    "Gaussians2D",
    "GraphCSV",
    "GraphDataModule",
    "GraphSetDataModule",
    "ImageFolder",
    "Iris",
    "Isometric",
    "Karate",
    "LabeledText",
    "MeshDataModule",
    "MeshFolder",
    "MeshSequence",
    "ModelNet",
    "Multi30k",
    "ParallelText",
    "Planetoid",
    "PointAugmentation",
    "PointDataModule",
    "PointFolder",
    "RandomGraphs",
    "Series",
    "Shapes",
    "TUDataset",
    "Table",
    "TableDataModule",
    "TemplateDataModule",
    "TensorDataModule",
    "TensorLoader",
    "Text",
    "TinyShakespeare",
    "Toy2D",
    "ToyCurves",
    "Wine",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'datamodules' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

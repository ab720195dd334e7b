"""Data for the zoo's models: LightningDataModules that know nothing of models."""

from datamodules.augment import Augmentation
from datamodules.base import TensorDataModule
from datamodules.csv_file import CSV
from datamodules.errors import DataError
from datamodules.folder import ImageFolder
from datamodules.images import CIFAR10, MNIST, Digits, FashionMNIST
from datamodules.labelled_text import SST2, LabelledText
from datamodules.loader import BatchPlan, TensorLoader
from datamodules.parallel_text import Multi30k, ParallelText
from datamodules.pictures import Anscombe, Datasaurus
from datamodules.series import Brownian, ETTh1, Series
from datamodules.tables import BreastCancer, Diabetes, Iris, Table, TableDataModule, Wine
from datamodules.text import Text, TinyShakespeare
from datamodules.toys import Gaussians2D, Toy2D, ToyCurves

__all__ = [
    "CIFAR10",
    "CSV",
    "MNIST",
    "SST2",
    "Anscombe",
    "Augmentation",
    "BatchPlan",
    "BreastCancer",
    "Brownian",
    "DataError",
    "Datasaurus",
    "Diabetes",
    "Digits",
    "ETTh1",
    "FashionMNIST",
    "Gaussians2D",
    "ImageFolder",
    "Iris",
    "LabelledText",
    "Multi30k",
    "ParallelText",
    "Series",
    "Table",
    "TableDataModule",
    "TensorDataModule",
    "TensorLoader",
    "Text",
    "TinyShakespeare",
    "Toy2D",
    "ToyCurves",
    "Wine",
]

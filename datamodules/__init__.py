"""Data for the zoo's models: LightningDataModules that know nothing of models."""

from datamodules.augment import Augmentation
from datamodules.base import TensorDataModule
from datamodules.errors import DataError
from datamodules.folder import ImageFolder
from datamodules.images import CIFAR10, MNIST, Digits, FashionMNIST
from datamodules.loader import BatchPlan, TensorLoader

__all__ = [
    "CIFAR10",
    "MNIST",
    "Augmentation",
    "BatchPlan",
    "DataError",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "TensorDataModule",
    "TensorLoader",
]

"""A deep-learning course as LightningModules.

``zoo.list_models()``, ``zoo.create_model("vae", latent_dim=8)``, ``zoo.load("…/best.ckpt")``, and
every model class by name. Everything is imported when it is first used, so that ``import zoo``
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.checkpoints import load as load
    from zoo.geometric.graphs import GraphAutoencoder as GraphAutoencoder
    from zoo.geometric.graphs import GraphClassifier as GraphClassifier
    from zoo.geometric.graphs import NodeClassifier as NodeClassifier
    from zoo.geometric.meshes import MeshClassifier as MeshClassifier
    from zoo.geometric.meshes import MeshSegmenter as MeshSegmenter
    from zoo.geometric.pointclouds import PointClassifier as PointClassifier
    from zoo.geometric.pointclouds import PointSegmenter as PointSegmenter
    from zoo.geometric.templates import MeshAutoencoder as MeshAutoencoder
    from zoo.geometric.templates import MeshVAE as MeshVAE
    from zoo.geometric.voxels import VoxelClassifier as VoxelClassifier
    from zoo.latent.autoencoders import Autoencoder as Autoencoder
    from zoo.latent.autoencoders import ContractiveAutoencoder as ContractiveAutoencoder
    from zoo.latent.autoencoders import DenoisingAutoencoder as DenoisingAutoencoder
    from zoo.latent.autoencoders import SparseAutoencoder as SparseAutoencoder
    from zoo.latent.base import LatentModel as LatentModel
    from zoo.latent.bounds import IWAE as IWAE
    from zoo.latent.bounds import VampPriorVAE as VampPriorVAE
    from zoo.latent.gan import GAN as GAN
    from zoo.latent.gan import ConditionalGAN as ConditionalGAN
    from zoo.latent.pca import PCA as PCA
    from zoo.latent.vae import VAE as VAE
    from zoo.latent.vae import BetaVAE as BetaVAE
    from zoo.latent.vae import ConditionalVAE as ConditionalVAE
    from zoo.latent.vqvae import VQVAE as VQVAE
    from zoo.prediction import Classifier as Classifier
    from zoo.prediction import Regressor as Regressor
    from zoo.registry import create_model as create_model
    from zoo.registry import list_models as list_models
    from zoo.sequences.classification import SequenceClassifier as SequenceClassifier
    from zoo.sequences.forecasting import DLinear as DLinear
    from zoo.sequences.forecasting import Forecaster as Forecaster
    from zoo.sequences.language import LanguageModel as LanguageModel
    from zoo.sequences.translation import Translator as Translator
    from zoo.sequences.vision import VisionTransformer as VisionTransformer
    from zoo.supervised.backbones import TorchvisionClassifier as TorchvisionClassifier
    from zoo.supervised.cnn import CNN as CNN
    from zoo.supervised.cnn import ResNet as ResNet
    from zoo.supervised.ensembles import DeepEnsemble as DeepEnsemble
    from zoo.supervised.ensembles import DeepEnsembleRegressor as DeepEnsembleRegressor
    from zoo.supervised.ensembles import MCDropout as MCDropout
    from zoo.supervised.ensembles import MCDropoutRegressor as MCDropoutRegressor
    from zoo.supervised.linear import LinearRegression as LinearRegression
    from zoo.supervised.linear import LogisticRegression as LogisticRegression
    from zoo.supervised.linear import PolynomialRegression as PolynomialRegression
    from zoo.supervised.mlp import MLPClassifier as MLPClassifier
    from zoo.supervised.mlp import MLPRegressor as MLPRegressor
    from zoo.task import Task as Task

_HOMES = {
    "list_models": "zoo.registry",
    "create_model": "zoo.registry",
    "load": "zoo.checkpoints",
    "Task": "zoo.task",
    "Classifier": "zoo.prediction",
    "Regressor": "zoo.prediction",
    "MLPClassifier": "zoo.supervised.mlp",
    "CNN": "zoo.supervised.cnn",
    "ResNet": "zoo.supervised.cnn",
    "TorchvisionClassifier": "zoo.supervised.backbones",
    "DeepEnsemble": "zoo.supervised.ensembles",
    "DeepEnsembleRegressor": "zoo.supervised.ensembles",
    "MCDropout": "zoo.supervised.ensembles",
    "MCDropoutRegressor": "zoo.supervised.ensembles",
    "LinearRegression": "zoo.supervised.linear",
    "PolynomialRegression": "zoo.supervised.linear",
    "LogisticRegression": "zoo.supervised.linear",
    "MLPRegressor": "zoo.supervised.mlp",
    "LatentModel": "zoo.latent.base",
    "VAE": "zoo.latent.vae",
    "Autoencoder": "zoo.latent.autoencoders",
    "ContractiveAutoencoder": "zoo.latent.autoencoders",
    "DenoisingAutoencoder": "zoo.latent.autoencoders",
    "SparseAutoencoder": "zoo.latent.autoencoders",
    "PCA": "zoo.latent.pca",
    "BetaVAE": "zoo.latent.vae",
    "ConditionalVAE": "zoo.latent.vae",
    "IWAE": "zoo.latent.bounds",
    "VampPriorVAE": "zoo.latent.bounds",
    "VQVAE": "zoo.latent.vqvae",
    "GAN": "zoo.latent.gan",
    "ConditionalGAN": "zoo.latent.gan",
    "LanguageModel": "zoo.sequences.language",
    "Translator": "zoo.sequences.translation",
    "Forecaster": "zoo.sequences.forecasting",
    "DLinear": "zoo.sequences.forecasting",
    "SequenceClassifier": "zoo.sequences.classification",
    "VisionTransformer": "zoo.sequences.vision",
    "NodeClassifier": "zoo.geometric.graphs",
    "GraphClassifier": "zoo.geometric.graphs",
    "PointSegmenter": "zoo.geometric.pointclouds",
    "VoxelClassifier": "zoo.geometric.voxels",
    "MeshAutoencoder": "zoo.geometric.templates",
    "MeshClassifier": "zoo.geometric.meshes",
    "MeshSegmenter": "zoo.geometric.meshes",
    "MeshVAE": "zoo.geometric.templates",
    "PointClassifier": "zoo.geometric.pointclouds",
    "GraphAutoencoder": "zoo.geometric.graphs",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

"""A deep-learning course as LightningModules.

``zoo.list_models()``, ``zoo.create_model("vae", latent_dim=8)``, ``zoo.load("…/best.ckpt")``, and
every model class by name. Everything is imported when it is first used, so that ``import zoo``
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.core.checkpoints import load as load
    from zoo.core.classification import Classifier as Classifier
    from zoo.core.registry import create_model as create_model
    from zoo.core.registry import list_models as list_models
    from zoo.core.regression import Regressor as Regressor
    from zoo.core.task import Task as Task
    from zoo.models.geometric.graphs import GraphAutoencoder as GraphAutoencoder
    from zoo.models.geometric.graphs import GraphClassifier as GraphClassifier
    from zoo.models.geometric.graphs import NodeClassifier as NodeClassifier
    from zoo.models.geometric.meshes import MeshClassifier as MeshClassifier
    from zoo.models.geometric.meshes import MeshSegmenter as MeshSegmenter
    from zoo.models.geometric.point_clouds import PointClassifier as PointClassifier
    from zoo.models.geometric.point_clouds import PointSegmenter as PointSegmenter
    from zoo.models.geometric.voxels import VoxelClassifier as VoxelClassifier
    from zoo.models.latent.autoencoders import Autoencoder as Autoencoder
    from zoo.models.latent.autoencoders import ContractiveAutoencoder as ContractiveAutoencoder
    from zoo.models.latent.autoencoders import DenoisingAutoencoder as DenoisingAutoencoder
    from zoo.models.latent.autoencoders import SparseAutoencoder as SparseAutoencoder
    from zoo.models.latent.base import LatentModel as LatentModel
    from zoo.models.latent.gan import GAN as GAN
    from zoo.models.latent.gan import ConditionalGAN as ConditionalGAN
    from zoo.models.latent.iwae import IWAE as IWAE
    from zoo.models.latent.mesh_autoencoder import MeshAutoencoder as MeshAutoencoder
    from zoo.models.latent.mesh_autoencoder import MeshVAE as MeshVAE
    from zoo.models.latent.pca import PCA as PCA
    from zoo.models.latent.vae import VAE as VAE
    from zoo.models.latent.vae import BetaVAE as BetaVAE
    from zoo.models.latent.vae import ConditionalVAE as ConditionalVAE
    from zoo.models.latent.vamp_prior import VampPriorVAE as VampPriorVAE
    from zoo.models.latent.vqvae import VQVAE as VQVAE
    from zoo.models.sequences.classification import SequenceClassifier as SequenceClassifier
    from zoo.models.sequences.forecasting import DLinear as DLinear
    from zoo.models.sequences.forecasting import Forecaster as Forecaster
    from zoo.models.sequences.language import LanguageModel as LanguageModel
    from zoo.models.sequences.translation import Translator as Translator
    from zoo.models.sequences.vision import VisionTransformer as VisionTransformer
    from zoo.models.supervised.backbones import TorchvisionClassifier as TorchvisionClassifier
    from zoo.models.supervised.cnn import CNN as CNN
    from zoo.models.supervised.cnn import ResNet as ResNet
    from zoo.models.supervised.ensembles import DeepEnsemble as DeepEnsemble
    from zoo.models.supervised.ensembles import DeepEnsembleRegressor as DeepEnsembleRegressor
    from zoo.models.supervised.ensembles import MCDropout as MCDropout
    from zoo.models.supervised.ensembles import MCDropoutRegressor as MCDropoutRegressor
    from zoo.models.supervised.linear import LinearRegression as LinearRegression
    from zoo.models.supervised.linear import LogisticRegression as LogisticRegression
    from zoo.models.supervised.linear import PolynomialRegression as PolynomialRegression
    from zoo.models.supervised.mlp import MLPClassifier as MLPClassifier
    from zoo.models.supervised.mlp import MLPRegressor as MLPRegressor

_HOMES = {
    "list_models": "zoo.core.registry",
    "create_model": "zoo.core.registry",
    "load": "zoo.core.checkpoints",
    "Task": "zoo.core.task",
    "Classifier": "zoo.core.classification",
    "Regressor": "zoo.core.regression",
    "MLPClassifier": "zoo.models.supervised.mlp",
    "CNN": "zoo.models.supervised.cnn",
    "ResNet": "zoo.models.supervised.cnn",
    "TorchvisionClassifier": "zoo.models.supervised.backbones",
    "DeepEnsemble": "zoo.models.supervised.ensembles",
    "DeepEnsembleRegressor": "zoo.models.supervised.ensembles",
    "MCDropout": "zoo.models.supervised.ensembles",
    "MCDropoutRegressor": "zoo.models.supervised.ensembles",
    "LinearRegression": "zoo.models.supervised.linear",
    "PolynomialRegression": "zoo.models.supervised.linear",
    "LogisticRegression": "zoo.models.supervised.linear",
    "MLPRegressor": "zoo.models.supervised.mlp",
    "LatentModel": "zoo.models.latent.base",
    "VAE": "zoo.models.latent.vae",
    "Autoencoder": "zoo.models.latent.autoencoders",
    "ContractiveAutoencoder": "zoo.models.latent.autoencoders",
    "DenoisingAutoencoder": "zoo.models.latent.autoencoders",
    "SparseAutoencoder": "zoo.models.latent.autoencoders",
    "PCA": "zoo.models.latent.pca",
    "BetaVAE": "zoo.models.latent.vae",
    "ConditionalVAE": "zoo.models.latent.vae",
    "IWAE": "zoo.models.latent.iwae",
    "VampPriorVAE": "zoo.models.latent.vamp_prior",
    "VQVAE": "zoo.models.latent.vqvae",
    "GAN": "zoo.models.latent.gan",
    "ConditionalGAN": "zoo.models.latent.gan",
    "LanguageModel": "zoo.models.sequences.language",
    "Translator": "zoo.models.sequences.translation",
    "Forecaster": "zoo.models.sequences.forecasting",
    "DLinear": "zoo.models.sequences.forecasting",
    "SequenceClassifier": "zoo.models.sequences.classification",
    "VisionTransformer": "zoo.models.sequences.vision",
    "NodeClassifier": "zoo.models.geometric.graphs",
    "GraphClassifier": "zoo.models.geometric.graphs",
    "PointSegmenter": "zoo.models.geometric.point_clouds",
    "VoxelClassifier": "zoo.models.geometric.voxels",
    "MeshAutoencoder": "zoo.models.latent.mesh_autoencoder",
    "MeshClassifier": "zoo.models.geometric.meshes",
    "MeshSegmenter": "zoo.models.geometric.meshes",
    "MeshVAE": "zoo.models.latent.mesh_autoencoder",
    "PointClassifier": "zoo.models.geometric.point_clouds",
    "GraphAutoencoder": "zoo.models.geometric.graphs",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

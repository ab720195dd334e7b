"""Public names of the zoo; ``zoo.NAME`` imports its module when it is first used."""

from .core.checkpoints import load as load
from .core.classification import Classifier as Classifier
from .core.create import create_model as create_model
from .core.registry import list_models as list_models
from .core.regression import Regressor as Regressor
from .core.task import Task as Task
from .models.geometric.graph_autoencoder import GraphAutoencoder as GraphAutoencoder
from .models.geometric.graph_classifier import GraphClassifier as GraphClassifier
from .models.geometric.mesh_classifier import MeshClassifier as MeshClassifier
from .models.geometric.mesh_segmenter import MeshSegmenter as MeshSegmenter
from .models.geometric.node_classifier import NodeClassifier as NodeClassifier
from .models.geometric.point_classifier import PointClassifier as PointClassifier
from .models.geometric.point_segmenter import PointSegmenter as PointSegmenter
from .models.geometric.voxel_classifier import VoxelClassifier as VoxelClassifier
from .models.latent.autoencoders import Autoencoder as Autoencoder
from .models.latent.autoencoders import ContractiveAutoencoder as ContractiveAutoencoder
from .models.latent.autoencoders import DenoisingAutoencoder as DenoisingAutoencoder
from .models.latent.autoencoders import SparseAutoencoder as SparseAutoencoder
from .models.latent.base import LatentModel as LatentModel
from .models.latent.gan import GAN as GAN
from .models.latent.gan import ConditionalGAN as ConditionalGAN
from .models.latent.iwae import IWAE as IWAE
from .models.latent.mesh_autoencoder import MeshAutoencoder as MeshAutoencoder
from .models.latent.mesh_autoencoder import MeshVAE as MeshVAE
from .models.latent.pca import PCA as PCA
from .models.latent.vae import VAE as VAE
from .models.latent.vae import BetaVAE as BetaVAE
from .models.latent.vae import ConditionalVAE as ConditionalVAE
from .models.latent.vamp_prior import VampPriorVAE as VampPriorVAE
from .models.latent.vqvae import VQVAE as VQVAE
from .models.sequences.dlinear import DLinear as DLinear
from .models.sequences.forecaster import Forecaster as Forecaster
from .models.sequences.language_model import LanguageModel as LanguageModel
from .models.sequences.sequence_classifier import SequenceClassifier as SequenceClassifier
from .models.sequences.translator import Translator as Translator
from .models.sequences.vision_transformer import VisionTransformer as VisionTransformer
from .models.supervised.backbones import TorchvisionClassifier as TorchvisionClassifier
from .models.supervised.cnn import CNN as CNN
from .models.supervised.cnn import ResNet as ResNet
from .models.supervised.ensembles import DeepEnsemble as DeepEnsemble
from .models.supervised.ensembles import DeepEnsembleRegressor as DeepEnsembleRegressor
from .models.supervised.ensembles import MCDropout as MCDropout
from .models.supervised.ensembles import MCDropoutRegressor as MCDropoutRegressor
from .models.supervised.linear import LinearRegression as LinearRegression
from .models.supervised.linear import LogisticRegression as LogisticRegression
from .models.supervised.linear import PolynomialRegression as PolynomialRegression
from .models.supervised.mlp import MLPClassifier as MLPClassifier
from .models.supervised.mlp import MLPRegressor as MLPRegressor

__all__: list[str]
__version__: str

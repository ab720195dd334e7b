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
from .models.latent.autoencoder import Autoencoder as Autoencoder
from .models.latent.base import LatentModel as LatentModel
from .models.latent.beta_vae import BetaVAE as BetaVAE
from .models.latent.conditional_gan import ConditionalGAN as ConditionalGAN
from .models.latent.conditional_vae import ConditionalVAE as ConditionalVAE
from .models.latent.contractive_autoencoder import ContractiveAutoencoder as ContractiveAutoencoder
from .models.latent.denoising_autoencoder import DenoisingAutoencoder as DenoisingAutoencoder
from .models.latent.gan import GAN as GAN
from .models.latent.iwae import IWAE as IWAE
from .models.latent.mesh_autoencoder import MeshAutoencoder as MeshAutoencoder
from .models.latent.mesh_vae import MeshVAE as MeshVAE
from .models.latent.pca import PCA as PCA
from .models.latent.sparse_autoencoder import SparseAutoencoder as SparseAutoencoder
from .models.latent.vae import VAE as VAE
from .models.latent.vamp_prior_vae import VampPriorVAE as VampPriorVAE
from .models.latent.vq_vae import VQVAE as VQVAE
from .models.sequences.dlinear import DLinear as DLinear
from .models.sequences.forecaster import Forecaster as Forecaster
from .models.sequences.language_model import LanguageModel as LanguageModel
from .models.sequences.sequence_classifier import SequenceClassifier as SequenceClassifier
from .models.sequences.translator import Translator as Translator
from .models.sequences.vision_transformer import VisionTransformer as VisionTransformer
from .models.supervised.cnn import CNN as CNN
from .models.supervised.deep_ensemble import DeepEnsemble as DeepEnsemble
from .models.supervised.deep_ensemble import DeepEnsembleRegressor as DeepEnsembleRegressor
from .models.supervised.linear_regression import LinearRegression as LinearRegression
from .models.supervised.linear_regression import PolynomialRegression as PolynomialRegression
from .models.supervised.logistic_regression import LogisticRegression as LogisticRegression
from .models.supervised.mc_dropout import MCDropout as MCDropout
from .models.supervised.mc_dropout import MCDropoutRegressor as MCDropoutRegressor
from .models.supervised.mlp import MLPClassifier as MLPClassifier
from .models.supervised.mlp import MLPRegressor as MLPRegressor
from .models.supervised.multi_label import MultiLabelClassifier as MultiLabelClassifier
from .models.supervised.resnet import ResNet as ResNet
from .models.supervised.torchvision_classifier import TorchvisionClassifier as TorchvisionClassifier

__all__: list[str]
__version__: str

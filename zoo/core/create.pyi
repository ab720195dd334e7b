"""Written by docs/generate.py: the class of each model, for type checkers."""

from typing import Any, Literal, overload

from zoo.core.task import Task
from zoo.models.geometric.graph_autoencoder import GraphAutoencoder
from zoo.models.geometric.graph_classifier import GraphClassifier
from zoo.models.geometric.mesh_classifier import MeshClassifier
from zoo.models.geometric.mesh_segmenter import MeshSegmenter
from zoo.models.geometric.node_classifier import NodeClassifier
from zoo.models.geometric.point_classifier import PointClassifier
from zoo.models.geometric.point_segmenter import PointSegmenter
from zoo.models.geometric.voxel_classifier import VoxelClassifier
from zoo.models.latent.autoencoder import Autoencoder
from zoo.models.latent.beta_vae import BetaVAE
from zoo.models.latent.conditional_gan import ConditionalGAN
from zoo.models.latent.conditional_vae import ConditionalVAE
from zoo.models.latent.contractive_autoencoder import ContractiveAutoencoder
from zoo.models.latent.denoising_autoencoder import DenoisingAutoencoder
from zoo.models.latent.gan import GAN
from zoo.models.latent.iwae import IWAE
from zoo.models.latent.mesh_autoencoder import MeshAutoencoder
from zoo.models.latent.mesh_vae import MeshVAE
from zoo.models.latent.pca import PCA
from zoo.models.latent.sparse_autoencoder import SparseAutoencoder
from zoo.models.latent.vae import VAE
from zoo.models.latent.vamp_prior_vae import VampPriorVAE
from zoo.models.latent.vq_vae import VQVAE
from zoo.models.sequences.dlinear import DLinear
from zoo.models.sequences.forecaster import Forecaster
from zoo.models.sequences.language_model import LanguageModel
from zoo.models.sequences.sequence_classifier import SequenceClassifier
from zoo.models.sequences.translator import Translator
from zoo.models.sequences.vision_transformer import VisionTransformer
from zoo.models.supervised.cnn import CNN
from zoo.models.supervised.deep_ensemble import DeepEnsemble
from zoo.models.supervised.deep_ensemble import DeepEnsembleRegressor
from zoo.models.supervised.linear_regression import LinearRegression
from zoo.models.supervised.linear_regression import PolynomialRegression
from zoo.models.supervised.logistic_regression import LogisticRegression
from zoo.models.supervised.mc_dropout import MCDropout
from zoo.models.supervised.mc_dropout import MCDropoutRegressor
from zoo.models.supervised.mlp import MLPClassifier
from zoo.models.supervised.mlp import MLPRegressor
from zoo.models.supervised.multi_label import MultiLabelClassifier
from zoo.models.supervised.resnet import ResNet
from zoo.models.supervised.torchvision_classifier import TorchvisionClassifier

@overload
def create_model(
    name: Literal["autoencoder"], data: str | None = None, **overrides: Any
) -> Autoencoder: ...

@overload
def create_model(
    name: Literal["beta_vae"], data: str | None = None, **overrides: Any
) -> BetaVAE: ...

@overload
def create_model(
    name: Literal["cnn", "cnn_wide", "lenet5", "robust_cnn"], data: str | None = None, **overrides: Any
) -> CNN: ...

@overload
def create_model(
    name: Literal["conditional_gan"], data: str | None = None, **overrides: Any
) -> ConditionalGAN: ...

@overload
def create_model(
    name: Literal["conditional_vae"], data: str | None = None, **overrides: Any
) -> ConditionalVAE: ...

@overload
def create_model(
    name: Literal["contractive_autoencoder"], data: str | None = None, **overrides: Any
) -> ContractiveAutoencoder: ...

@overload
def create_model(
    name: Literal["dlinear"], data: str | None = None, **overrides: Any
) -> DLinear: ...

@overload
def create_model(
    name: Literal["deep_ensemble"], data: str | None = None, **overrides: Any
) -> DeepEnsemble: ...

@overload
def create_model(
    name: Literal["deep_ensemble_regressor"], data: str | None = None, **overrides: Any
) -> DeepEnsembleRegressor: ...

@overload
def create_model(
    name: Literal["denoising_autoencoder"], data: str | None = None, **overrides: Any
) -> DenoisingAutoencoder: ...

@overload
def create_model(
    name: Literal["forecaster"], data: str | None = None, **overrides: Any
) -> Forecaster: ...

@overload
def create_model(
    name: Literal["dcgan", "gan", "sn_gan", "wgan_gp"], data: str | None = None, **overrides: Any
) -> GAN: ...

@overload
def create_model(
    name: Literal["graph_autoencoder"], data: str | None = None, **overrides: Any
) -> GraphAutoencoder: ...

@overload
def create_model(
    name: Literal["gin"], data: str | None = None, **overrides: Any
) -> GraphClassifier: ...

@overload
def create_model(
    name: Literal["iwae"], data: str | None = None, **overrides: Any
) -> IWAE: ...

@overload
def create_model(
    name: Literal["causal_conv", "language_model", "rnn"], data: str | None = None, **overrides: Any
) -> LanguageModel: ...

@overload
def create_model(
    name: Literal["linear_regression"], data: str | None = None, **overrides: Any
) -> LinearRegression: ...

@overload
def create_model(
    name: Literal["logistic_regression"], data: str | None = None, **overrides: Any
) -> LogisticRegression: ...

@overload
def create_model(
    name: Literal["mc_dropout"], data: str | None = None, **overrides: Any
) -> MCDropout: ...

@overload
def create_model(
    name: Literal["mc_dropout_regressor"], data: str | None = None, **overrides: Any
) -> MCDropoutRegressor: ...

@overload
def create_model(
    name: Literal["mlp", "mlp_max_norm", "mlp_pruned"], data: str | None = None, **overrides: Any
) -> MLPClassifier: ...

@overload
def create_model(
    name: Literal["mlp_regressor"], data: str | None = None, **overrides: Any
) -> MLPRegressor: ...

@overload
def create_model(
    name: Literal["mesh_autoencoder"], data: str | None = None, **overrides: Any
) -> MeshAutoencoder: ...

@overload
def create_model(
    name: Literal["diffusion_net"], data: str | None = None, **overrides: Any
) -> MeshClassifier: ...

@overload
def create_model(
    name: Literal["mesh_parts"], data: str | None = None, **overrides: Any
) -> MeshSegmenter: ...

@overload
def create_model(
    name: Literal["mesh_vae"], data: str | None = None, **overrides: Any
) -> MeshVAE: ...

@overload
def create_model(
    name: Literal["multi_label"], data: str | None = None, **overrides: Any
) -> MultiLabelClassifier: ...

@overload
def create_model(
    name: Literal["appnp", "chebnet", "gat", "gcn", "graphsage"], data: str | None = None, **overrides: Any
) -> NodeClassifier: ...

@overload
def create_model(
    name: Literal["pca"], data: str | None = None, **overrides: Any
) -> PCA: ...

@overload
def create_model(
    name: Literal["dgcnn", "pointnet", "pointnet2", "ri_dgcnn"], data: str | None = None, **overrides: Any
) -> PointClassifier: ...

@overload
def create_model(
    name: Literal["point_parts"], data: str | None = None, **overrides: Any
) -> PointSegmenter: ...

@overload
def create_model(
    name: Literal["polynomial_regression"], data: str | None = None, **overrides: Any
) -> PolynomialRegression: ...

@overload
def create_model(
    name: Literal["resnet"], data: str | None = None, **overrides: Any
) -> ResNet: ...

@overload
def create_model(
    name: Literal["sequence_classifier"], data: str | None = None, **overrides: Any
) -> SequenceClassifier: ...

@overload
def create_model(
    name: Literal["sparse_autoencoder"], data: str | None = None, **overrides: Any
) -> SparseAutoencoder: ...

@overload
def create_model(
    name: Literal["torchvision"], data: str | None = None, **overrides: Any
) -> TorchvisionClassifier: ...

@overload
def create_model(
    name: Literal["translator"], data: str | None = None, **overrides: Any
) -> Translator: ...

@overload
def create_model(
    name: Literal["vae", "vae_50"], data: str | None = None, **overrides: Any
) -> VAE: ...

@overload
def create_model(
    name: Literal["vq_vae"], data: str | None = None, **overrides: Any
) -> VQVAE: ...

@overload
def create_model(
    name: Literal["vamp_prior_vae"], data: str | None = None, **overrides: Any
) -> VampPriorVAE: ...

@overload
def create_model(
    name: Literal["vit"], data: str | None = None, **overrides: Any
) -> VisionTransformer: ...

@overload
def create_model(
    name: Literal["voxnet"], data: str | None = None, **overrides: Any
) -> VoxelClassifier: ...

@overload
def create_model(name: str, data: str | None = None, **overrides: Any) -> Task: ...
def data_property(data_module: Any, name: str, model_class: type) -> Any: ...

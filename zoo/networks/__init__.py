"""Building blocks as plain ``nn.Module`` classes, independent of Lightning."""

from zoo.networks.conv_autoencoder import ConvDecoder, ConvEncoder
from zoo.networks.mlp import MLP, make_activation
from zoo.networks.normalization import Normalize
from zoo.networks.residual_autoencoder import ResidualDecoder, ResidualEncoder
from zoo.networks.running_gaussian import RunningGaussian

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "Normalize",
    "ResidualDecoder",
    "ResidualEncoder",
    "RunningGaussian",
    "make_activation",
]

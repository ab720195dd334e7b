"""Building blocks as plain ``nn.Module``; they know nothing of Lightning."""

from zoo.networks.conv import ConvDecoder, ConvEncoder
from zoo.networks.gaussian import RunningGaussian
from zoo.networks.mlp import MLP, Unflatten, make_activation
from zoo.networks.norms import Normalize
from zoo.networks.residual import ResidualDecoder, ResidualEncoder

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "Normalize",
    "ResidualDecoder",
    "ResidualEncoder",
    "RunningGaussian",
    "Unflatten",
    "make_activation",
]

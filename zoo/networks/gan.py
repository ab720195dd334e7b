"""Generators and discriminators of generative adversarial networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from zoo.errors import InputError
from zoo.networks.mlp import make_activation
from zoo.networks.normalization import cancels_bias, make_image_norm, make_vector_norm
from zoo.networks.shapes import check_image_shape, infer_output_shape

LEAKY_SLOPE = 0.2  # of the discriminators' leaky ReLUs; Radford et al., 2016, section 3
MIN_SIDE = 8  # side in pixels; residual discriminators halve only larger images


def check_even_halvings(image_shape: Sequence[int], channels: Sequence[int]) -> None:
    """Raise :class:`InputError` unless the sides of an image can be halved without rounding.

    Args:
        image_shape: shape of one image, (channels, height, width).
        channels: channels of each halving, at least one.
    """
    check_image_shape(image_shape)
    count, (height, width) = len(channels), image_shape[1:]
    if not count:
        raise InputError("a convolutional network needs at least one width, got hidden_dims=()")
    possible = max(n for n in range(count + 1) if not (height % 2**n or width % 2**n))
    if possible < count:
        fewer = f"at most {possible} widths, or " if possible else ""
        raise InputError(
            f"images of {height}×{width} pixels cannot be halved evenly once for each width in "
            f"hidden_dims={tuple(channels)}: choose {fewer}network='mlp'"
        )


def first_map_shape(image_shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of a generator's first and smallest feature map.

    Args:
        image_shape: shape of one image, (channels, height, width).
        channels: channels of the feature maps, from the largest map to the smallest.

    Raises:
        InputError: samples that are not images, or sides that cannot be halved evenly.
    """
    check_even_halvings(image_shape, channels)
    factor = 2 ** len(channels)
    return channels[-1], image_shape[1] // factor, image_shape[2] // factor


# -- generators: code → output in the shape of a sample -------------------------------------------


class DCGANGenerator(nn.Sequential):
    """DCGAN generator: a linear layer, then 4×4 transposed convolutions that double feature maps.

    Args:
        output_shape: shape of one image, (channels, height, width); the sides must be divisible
            by 2^n for n widths.
        channels: channels of the feature maps, from the largest map to the smallest.
        in_features: dimension of the code.
        activation: nonlinearity, default ``relu``.
        normalization: normalization of all feature maps, default ``batch``.

    Shapes: (B, in_features) → (B, *output_shape).

    Raises:
        InputError: samples that are not images, or sides that cannot be halved evenly; unknown
            names.

    Source: Radford et al., Unsupervised representation learning with deep convolutional GANs, 2016,
    section 3 (initial weights from N(0, 0.02²)).
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        channels: Sequence[int],
        in_features: int,
        activation: str = "relu",
        normalization: str = "batch",
    ) -> None:
        first_shape = first_map_shape(output_shape, channels)
        bias = not cancels_bias(normalization, is_image=True)
        layers: list[nn.Module] = [
            nn.Linear(in_features, math.prod(first_shape), bias), nn.Unflatten(1, first_shape),
        ]  # fmt: skip
        for width, out_channels in pairwise([*reversed(channels), output_shape[0]]):
            layers += [
                *make_image_norm(normalization, width), make_activation(activation),
                nn.ConvTranspose2d(width, out_channels, 4, 2, 1, bias=bias),
            ]  # fmt: skip
        # no normalization follows the last layer, so it keeps its bias
        layers[-1] = nn.ConvTranspose2d(channels[0], output_shape[0], 4, 2, 1)
        super().__init__(*layers)
        self.apply(_initialize_dcgan)


class ResidualGenerator(nn.Sequential):
    """Residual generator: a linear layer, then residual blocks that double feature maps.

    Args:
        output_shape, channels, in_features, activation, normalization: see
            :class:`DCGANGenerator`.

    Shapes: (B, in_features) → (B, *output_shape).

    Raises:
        InputError: see :class:`DCGANGenerator`.

    Source: Miyato et al., Spectral normalization for generative adversarial networks, 2018, table 4
    (32×32 with channels 256, 256, 256); Gulrajani et al., 2017, appendix C.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        channels: Sequence[int],
        in_features: int,
        activation: str = "relu",
        normalization: str = "batch",
    ) -> None:
        first_shape = first_map_shape(output_shape, channels)
        blocks = [
            UpBlock(in_channels, width, activation, normalization)
            for in_channels, width in pairwise([channels[-1], *reversed(channels)])
        ]
        super().__init__(
            nn.Linear(in_features, math.prod(first_shape)),
            nn.Unflatten(1, first_shape),
            *blocks,
            *make_image_norm(normalization, channels[0]),
            make_activation(activation),
            nn.Conv2d(channels[0], output_shape[0], 3, padding=1),
        )
        self.apply(_initialize_xavier)


class UpBlock(nn.Module):
    """Residual block F(x) + S(x) that doubles the image.

    F is norm, φ, upsampling, 3×3 convolution, norm, φ, 3×3 convolution; S is a 1×1 convolution and
    upsampling.

    Args:
        in_channels: channels of the input.
        width: channels of the output.
        activation: nonlinearity φ.
        normalization: ``none``, ``batch``, ``layer``, ``instance`` or ``group``.

    Shapes: (B, in_channels, H, W) → (B, width, 2H, 2W).
    """

    def __init__(self, in_channels: int, width: int, activation: str, normalization: str) -> None:
        super().__init__()
        bias = not cancels_bias(normalization, is_image=True)
        self.change = nn.Sequential(
            *make_image_norm(normalization, in_channels), make_activation(activation),
            nn.Upsample(scale_factor=2), nn.Conv2d(in_channels, width, 3, padding=1, bias=bias),
            *make_image_norm(normalization, width), make_activation(activation),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip
        # the convolution commutes with upsampling; before it, there are a quarter of the pixels
        conv = nn.Conv2d(in_channels, width, 1)
        self.shortcut = nn.Sequential(conv, nn.Upsample(scale_factor=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.change(x) + self.shortcut(x)


# -- discriminators: sample → features → score ----------------------------------------------------


def make_mlp_features(
    input_shape: Sequence[int], widths: Sequence[int], normalization: str
) -> nn.Sequential:
    """Create the hidden layers of an MLP discriminator: linear layers with leaky ReLUs.

    Args:
        input_shape: shape of one sample.
        widths: widths of the layers.
        normalization: ``none``, ``batch``, ``layer``, ``instance`` or ``group``.

    Shapes: (B, *input_shape) → (B, widths[-1]).
    """
    bias = not cancels_bias(normalization, is_image=False)
    layers: list[nn.Module] = [nn.Flatten()]
    for in_features, width in pairwise([math.prod(input_shape), *widths]):
        layers += [
            nn.Linear(in_features, width, bias),
            *make_vector_norm(normalization, width), nn.LeakyReLU(LEAKY_SLOPE),
        ]  # fmt: skip
    return nn.Sequential(*layers)


def make_dcgan_features(
    input_shape: Sequence[int], channels: Sequence[int], normalization: str
) -> nn.Sequential:
    """Create the convolutions of a DCGAN discriminator, the mirror image of the generator.

    4×4 convolutions of stride 2 with leaky ReLUs; the first has no normalization (Radford et al.,
    2016, section 3).

    Args:
        input_shape: shape of one image, (channels, height, width).
        channels: output channels of each convolution.
        normalization: ``none``, ``batch``, ``layer``, ``instance`` or ``group``.

    Shapes: (B, C, H, W) → (B, F).

    Raises:
        InputError: samples that are not images, or sides that cannot be halved evenly.
    """
    check_even_halvings(input_shape, channels)
    layers: list[nn.Module] = []
    for i, (in_channels, width) in enumerate(pairwise([input_shape[0], *channels])):
        norm = make_image_norm(normalization, width) if i else []
        bias = not (i and cancels_bias(normalization, is_image=True))
        layers += [
            nn.Conv2d(in_channels, width, 4, 2, 1, bias=bias), *norm, nn.LeakyReLU(LEAKY_SLOPE)
        ]  # fmt: skip
    network = nn.Sequential(*layers, nn.Flatten())
    return network.apply(_initialize_dcgan)


def make_residual_features(
    input_shape: Sequence[int], channels: Sequence[int], normalization: str
) -> nn.Sequential:
    """Create the residual blocks of a discriminator, and a sum over all pixels.

    A block halves the image if its sides are even and above 8 pixels. Four blocks on images of
    32×32 pixels are the discriminator of Miyato et al., 2018, table 4.

    Args:
        input_shape: shape of one image, (channels, height, width).
        channels: output channels of each block.
        normalization: ``none``, ``batch``, ``layer``, ``instance`` or ``group``.

    Shapes: (B, C, H, W) → (B, channels[-1]).

    Raises:
        InputError: samples that are not images.
    """
    check_image_shape(input_shape)
    blocks: list[nn.Module] = []
    in_channels, *sides = input_shape
    for i, width in enumerate(channels):
        halves = min(sides) > MIN_SIDE and not any(side % 2 for side in sides)
        sides = [side // 2 for side in sides] if halves else sides
        blocks.append(DownBlock(in_channels, width, halves, normalization, is_first=i == 0))
        in_channels = width
    network = nn.Sequential(*blocks, nn.ReLU(), SumPool())
    return network.apply(_initialize_xavier)


class DownBlock(nn.Module):
    """Residual block F(x) + S(x) that may halve the image.

    F is norm, ReLU, 3×3 convolution, norm, ReLU, 3×3 convolution, average pooling; S is average
    pooling and a 1×1 convolution.

    Args:
        in_channels: channels of the input.
        width: channels of the output.
        halves: whether the block halves the image; if not, it has no pooling.
        normalization: ``none``, ``batch``, ``layer``, ``instance`` or ``group``.
        is_first: whether the input is the image itself; F then starts with a convolution. Default
            no.

    Shapes: (B, in_channels, H, W) → (B, width, H/2, W/2), or (B, width, H, W).
    """

    def __init__(
        self, in_channels: int, width: int, halves: bool, normalization: str, is_first: bool = False
    ) -> None:
        super().__init__()
        first = [] if is_first else [*make_image_norm(normalization, in_channels), nn.ReLU()]
        self.change = nn.Sequential(
            *first, nn.Conv2d(in_channels, width, 3, padding=1),
            *make_image_norm(normalization, width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip
        self.pool: nn.Module = nn.AvgPool2d(2) if halves else nn.Identity()
        # pooling commutes with the 1×1 convolution, which is cheaper after it
        keeps_shape = in_channels == width and not halves
        self.shortcut = nn.Identity() if keeps_shape else nn.Conv2d(in_channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.change(x)) + self.shortcut(self.pool(x))


class SumPool(nn.Module):
    """Sum of each feature map: (B, C, H, W) → (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


class Discriminator(nn.Module):
    """D(x) = w·φ(x) + b; given a class y, D(x, y) = w·φ(x) + b + v_y·φ(x).

    Args:
        features: network φ, (B, ...) → (B, F).
        input_shape: shape of one sample, from which F is inferred.
        num_classes: number of classes of a conditional discriminator; default None, unconditional.
        use_spectral_norm: whether every weight is divided by its largest singular value, estimated
            by one power iteration per step (Miyato et al., 2018); default no.

    Shapes: x (B, *input_shape), y int64 (B,) → (B,).

    Source: the last term is the projection of Miyato and Koyama, cGANs with projection
    discriminator, 2018, equation 3.
    """

    def __init__(
        self,
        features: nn.Module,
        input_shape: Sequence[int],
        num_classes: int | None = None,
        use_spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.features = features
        num_features = infer_output_shape(features, input_shape)[0]
        self.score = nn.Linear(num_features, 1)
        self.classes = nn.Embedding(num_classes, num_features) if num_classes else None
        if use_spectral_norm:
            for module in list(self.modules()):
                if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                    spectral_norm(module)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.features(x)  # (B, F)
        score = self.score(h)[:, 0]
        if self.classes is None or y is None:
            return score
        return score + (self.classes(y) * h).sum(1)


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether a network has batch normalization, which mixes the samples of a batch."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def to_symmetric_range(x: Tensor) -> Tensor:
    """Map pixels in [0, 1] to [−1, 1]."""
    return 2 * x - 1


def to_pixel_range(output: Tensor) -> Tensor:
    """Map the output of a generator to pixels in [0, 1], (1 + tanh)/2."""
    return 0.5 * (1 + F.tanh(output))


def _initialize_dcgan(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def _initialize_xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

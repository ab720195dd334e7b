"""Generators and critics of generative adversarial networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from zoo.networks.mlp import Unflatten, make_activation
from zoo.networks.normalization import image_norm, removes_bias, vector_norm

SLOPE = 0.2  # of critics' leaky ReLUs below zero; Radford et al., 2016, section 3
SMALLEST = 8  # side in pixels from which a residual critic halves no further


def check_halvings(shape: Sequence[int], channels: Sequence[int]) -> None:
    """Raises ValueError unless these are images whose sides halve evenly for each width."""
    if len(shape) != 3:
        raise ValueError(
            f"this network makes images (channels, height, width), not samples {tuple(shape)}: "
            "choose network='mlp'"
        )
    factor = 2 ** len(channels)
    if shape[1] % factor or shape[2] % factor:
        fitting = max(n for n in range(9) if not (shape[1] % 2**n or shape[2] % 2**n))
        raise ValueError(
            f"this network cannot make images of {shape[1]}×{shape[2]} pixels: with "
            f"{len(channels)} widths in hidden={tuple(channels)} it doubles the sides "
            f"{len(channels)} times, which needs sides that {factor} divides; these can be doubled "
            f"{fitting} time(s): give at most {fitting} widths, or choose network='mlp'"
        )


def smallest_maps(shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int, int]:
    """Shape of the maps after all halvings, where a generator starts; see ``check_halvings``."""
    check_halvings(shape, channels)
    factor = 2 ** len(channels)
    return channels[-1], shape[1] // factor, shape[2] // factor


# -- generators: code → numbers in the shape of a sample -------------------------------------------


class DCGANGenerator(nn.Sequential):
    """A linear layer to small maps, then transposed convolutions of 4×4 that double them.

    Args:
        output_shape: (channels, height, width); the sides must be divisible by 2 for each width.
        channels: of the maps, from the largest map's to the smallest's.
        in_features: length of the code.
        activation: default ``relu``.
        normalization: of all maps but the image itself, default ``batch``.

    Shapes: (B, in_features) → (B, *output_shape).

    Raises:
        ValueError: no image; sides that do not halve evenly.

    Source: Radford et al., Unsupervised representation learning with deep convolutional GANs, 2016,
    section 3 (weights drawn from N(0, 0.02²)).
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        channels: Sequence[int],
        in_features: int,
        activation: str = "relu",
        normalization: str = "batch",
    ) -> None:
        start = smallest_maps(output_shape, channels)
        bias = not removes_bias(normalization, image=True)
        layers: list[nn.Module] = [
            nn.Linear(in_features, math.prod(start), bias=bias), Unflatten(start),
        ]  # fmt: skip
        wide = list(reversed(channels))
        for width, out in zip(wide, [*wide[1:], output_shape[0]], strict=True):
            layers += [
                *image_norm(normalization, width), make_activation(activation),
                nn.ConvTranspose2d(width, out, 4, 2, 1, bias=bias),
            ]  # fmt: skip
        layers[-1] = nn.ConvTranspose2d(wide[-1], output_shape[0], 4, 2, 1)  # no norm follows
        super().__init__(*layers)
        self.apply(_dcgan_weights)


class ResidualGenerator(nn.Sequential):
    """A linear layer to small maps, then residual blocks that double them.

    Args:
        output_shape, channels, in_features, activation, normalization: see
            :class:`DCGANGenerator`.

    Shapes: (B, in_features) → (B, *output_shape).

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
        start = smallest_maps(output_shape, channels)
        widths = [channels[-1], *reversed(channels)]
        blocks = [
            UpBlock(before, after, activation, normalization)
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        ]
        super().__init__(
            nn.Linear(in_features, math.prod(start)),
            Unflatten(start),
            *blocks,
            *image_norm(normalization, channels[0]),
            make_activation(activation),
            nn.Conv2d(channels[0], output_shape[0], 3, padding=1),
        )
        self.apply(_xavier_weights)


class UpBlock(nn.Module):
    """F(x) + S(x) at twice the side: norm, φ, doubling, 3×3, norm, φ, 3×3; S a doubling and 1×1.

    Shapes: (B, fan_in, H, W) → (B, width, 2H, 2W).
    """

    def __init__(self, fan_in: int, width: int, activation: str, normalization: str) -> None:
        super().__init__()
        bias = not removes_bias(normalization, image=True)
        self.change = nn.Sequential(
            *image_norm(normalization, fan_in), make_activation(activation),
            nn.Upsample(scale_factor=2), nn.Conv2d(fan_in, width, 3, padding=1, bias=bias),
            *image_norm(normalization, width), make_activation(activation),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip
        # a 1×1 convolution and a doubling commute: before it, there are a quarter of the pixels
        self.shortcut = nn.Sequential(nn.Conv2d(fan_in, width, 1), nn.Upsample(scale_factor=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.change(x) + self.shortcut(x)


# -- critics: sample → features → one number ------------------------------------------------------


def mlp_features(
    input_shape: Sequence[int], widths: Sequence[int], normalization: str
) -> nn.Sequential:
    """Linear layers with leaky ReLUs: (B, *input_shape) → (B, widths[-1])."""
    bias = not removes_bias(normalization, image=False)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, width in zip([math.prod(input_shape), *widths[:-1]], widths, strict=True):
        layers += [
            nn.Linear(fan_in, width, bias=bias),
            *vector_norm(normalization, width), nn.LeakyReLU(SLOPE),
        ]  # fmt: skip
    return nn.Sequential(*layers)


def dcgan_features(
    input_shape: Sequence[int], channels: Sequence[int], normalization: str
) -> nn.Sequential:
    """4×4 convolutions of stride 2 with leaky ReLUs, the mirror of :class:`DCGANGenerator`.

    The first has no normalisation (Radford et al., 2016, section 3).

    Shapes: (B, C, H, W) → (B, F).
    """
    check_halvings(input_shape, channels)
    layers: list[nn.Module] = []
    for i, (fan_in, width) in enumerate(
        zip([input_shape[0], *channels[:-1]], channels, strict=True)
    ):
        norm = image_norm(normalization, width) if i else []
        bias = not (i and removes_bias(normalization, image=True))
        layers += [nn.Conv2d(fan_in, width, 4, 2, 1, bias=bias), *norm, nn.LeakyReLU(SLOPE)]
    network = nn.Sequential(*layers, nn.Flatten())
    return network.apply(_dcgan_weights)


def residual_features(
    input_shape: Sequence[int], channels: Sequence[int], normalization: str
) -> nn.Sequential:
    """Residual blocks, the first ones halving, and a sum over all pixels.

    A block halves as long as the sides are even and above 8 pixels; the others keep them: four
    blocks on 32×32 pixels are the critic of Miyato et al., 2018, table 4.

    Shapes: (B, C, H, W) → (B, channels[-1]).

    Raises:
        ValueError: no image.
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"a residual critic needs images (channels, height, width), got {tuple(input_shape)}"
        )
    blocks: list[nn.Module] = []
    fan_in, *sides = input_shape
    for i, width in enumerate(channels):
        halves = min(sides) > SMALLEST and not any(side % 2 for side in sides)
        sides = [side // 2 for side in sides] if halves else sides
        blocks.append(DownBlock(fan_in, width, halves, normalization, first=not i))
        fan_in = width
    network = nn.Sequential(*blocks, nn.ReLU(), SumPool())
    return network.apply(_xavier_weights)


class DownBlock(nn.Module):
    """F(x) + S(x): norm, ReLU, 3×3, norm, ReLU, 3×3, halving; S a 1×1 and a halving.

    The first block of a critic begins with the convolution.

    Shapes: (B, fan_in, H, W) → (B, width, H/2, W/2), or (B, width, H, W).
    """

    def __init__(
        self, fan_in: int, width: int, halves: bool, normalization: str, first: bool = False
    ) -> None:
        super().__init__()
        begin = [] if first else [*image_norm(normalization, fan_in), nn.ReLU()]
        self.change = nn.Sequential(
            *begin, nn.Conv2d(fan_in, width, 3, padding=1),
            *image_norm(normalization, width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip
        self.pool: nn.Module = nn.AvgPool2d(2) if halves else nn.Identity()
        plain = fan_in == width and not halves
        # on the halved image, which commutes with the 1×1 convolution and is cheaper
        self.shortcut: nn.Module = nn.Identity() if plain else nn.Conv2d(fan_in, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.change(x)) + self.shortcut(self.pool(x))


class SumPool(nn.Module):
    """Sum of each map: (B, C, H, W) → (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


class Discriminator(nn.Module):
    """D(x) = w·φ(x) + b, and of a class y D(x, y) = w·φ(x) + b + v_y·φ(x).

    Args:
        features: φ, (B, ...) → (B, F).
        input_shape: of a sample, to find F.
        num_classes: of a conditional critic, default none.
        spectral: whether every weight is divided by its largest singular value, estimated by a
            power iteration a step (Miyato et al., 2018).

    Shapes: x (B, *input_shape), y int64 (B,) → (B,).

    Source: the last term is the projection of Miyato and Koyama, cGANs with projection
    discriminator, 2018, equation 3.
    """

    def __init__(
        self,
        features: nn.Module,
        input_shape: Sequence[int],
        num_classes: int | None = None,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.features = features
        with torch.no_grad():
            size = features.eval()(torch.zeros(1, *input_shape)).shape[1]
        features.train()
        self.score = nn.Linear(size, 1)
        self.classes = nn.Embedding(num_classes, size) if num_classes else None
        if spectral:
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
    """Whether an output depends on the other samples of its batch, as batch norm has it."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def to_symmetric_range(x: Tensor) -> Tensor:
    """Pixels in [0, 1] to [−1, 1]."""
    return 2 * x - 1


def to_pixel_range(numbers: Tensor) -> Tensor:
    """A generator's numbers as pixels, (1 + tanh)/2: the same range as data."""
    return 0.5 * (1 + F.tanh(numbers))


def _dcgan_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def _xavier_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

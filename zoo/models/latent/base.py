"""LatentModel: the contract that latent callbacks and metrics rely on."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from zoo.core.task import Task
from zoo.errors import InputError, check_at_least, check_choice
from zoo.functional.paths import PATHS, interpolation_path
from zoo.networks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    ResidualDecoder,
    ResidualEncoder,
)

NETWORKS = ("mlp", "conv", "residual")
ENCODERS = {"conv": ConvEncoder, "residual": ResidualEncoder}
DECODERS = {"conv": ConvDecoder, "residual": ResidualDecoder}


class Sampler(Protocol):
    """A density over codes; see :mod:`zoo.models.latent.samplers`."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` codes, (n, latent_dim)."""
        ...


class LatentModel(Task):
    """A task with a latent space.

    ``encode``, ``decode``, ``reconstruct``, ``sample`` and ``interpolate_features`` are plain functions of
    tensors without logging; ``encode`` and ``reconstruct`` are deterministic.

    Args:
        input_shape: shape of one sample, such as (1, 28, 28).
        latent_dim: D, dimensions of a code.
        network: ``mlp`` (default; any input), ``conv`` or ``residual`` (images of any size).
        hidden: widths of the MLP's hidden layers, or channels after each halving of the image, from
            input to code; the decoder mirrors them. Default (256, 256).
        activation: nonlinearity, default ``relu``.
        **task: see :class:`zoo.core.task.Task`.

    Batch: (x, y), x in [0, 1]; y is ignored.

    Raises:
        ValueError: unknown network, or one that does not fit ``input_shape``; as many latent
            dimensions as a sample has numbers, in a model that nothing else keeps from copying
            its input.
    """

    #: what the ``network`` argument may say
    networks: ClassVar[tuple[str, ...]] = NETWORKS
    #: what the ``kind`` of a path may be
    paths: ClassVar[tuple[str, ...]] = PATHS
    #: whether the codes may have as many dimensions as the data, or more
    overcomplete: ClassVar[bool] = False

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        network: str = "mlp",
        hidden_dims: tuple[int, ...] = (256, 256),
        activation: str = "relu",
        **task: Any,
    ) -> None:
        super().__init__(**task)
        check_at_least(1, latent_dim=latent_dim)
        check_choice("network", network, self.networks)
        size = math.prod(input_shape)
        if latent_dim >= size and not self.overcomplete:
            raise InputError(
                f"latent_dim={latent_dim} is not smaller than a sample, which has {size} values: the "
                "model could copy its input; choose a smaller latent_dim"
            )
        self.input_shape = tuple(input_shape)
        self.latent_dim = latent_dim

    # -- networks -------------------------------------------------------------------------------

    def make_encoder_network(self, out_features: int) -> nn.Module:
        """(B, *input_shape) → (B, out_features), by the ``network`` argument."""
        hp = self.hparams
        if hp["network"] == "mlp":
            return MLP(
                [math.prod(self.input_shape), *hp["hidden_dims"], out_features], hp["activation"]
            )
        make = ENCODERS[hp["network"]]
        return make(self.input_shape, hp["hidden_dims"], out_features, hp["activation"])

    def make_decoder_network(self, in_features: int | None = None, values: int = 1) -> nn.Module:
        """(B, in_features) → (B, *input_shape), by the ``network`` argument.

        Args:
            in_features: default ``latent_dim``.
            values: numbers for each pixel; several come as (B, values, *input_shape).
        """
        hp = self.hparams
        size = self.latent_dim if in_features is None else in_features
        shape = self.input_shape if values == 1 else (values, *self.input_shape)
        if hp["network"] == "mlp":
            sizes = [size, *reversed(hp["hidden_dims"]), math.prod(shape)]
            return nn.Sequential(MLP(sizes, hp["activation"]), nn.Unflatten(1, shape))
        channels, *sides = self.input_shape
        make = DECODERS[hp["network"]]
        decoder = make((values * channels, *sides), hp["hidden_dims"], size, hp["activation"])
        if values == 1:
            return decoder
        return nn.Sequential(decoder, nn.Unflatten(1, (values, channels)))

    # -- the contract ---------------------------------------------------------------------------

    @property
    def has_encoder(self) -> bool:
        """Whether there are ``encode``, ``reconstruct`` and ``interpolate_features``: a GAN has none."""
        return type(self).encode is not LatentModel.encode

    def encode(self, x: Tensor) -> Tensor:
        """(B, *input_shape) → (B, latent_dim); the mean, for a distribution over codes."""
        raise NotImplementedError(f"{type(self).__name__} has no encoder")

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent_dim) → (B, *input_shape); the mean, for a distribution of images."""
        raise NotImplementedError(f"{type(self).__name__} has no decode(z)")

    def reconstruct(self, x: Tensor) -> Tensor:
        """decode(encode(x))."""
        return self.decode(self.encode(x))

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` codes from the model's own density over codes, (n, latent_dim)."""
        raise NotImplementedError(f"{type(self).__name__} has no sample_latent(n)")

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        sampler: Sampler | None = None,
    ) -> Tensor:
        """``n`` new samples, (n, *input_shape).

        Args:
            n: how many.
            generator: on the model's device; the global one by default.
            sampler: of the codes, such as a mixture fitted to those of the training data
                (:func:`zoo.models.latent.samplers.fit_sampler`); default the model's own density.
        """
        if sampler is None:
            return self.decode(self.sample_latent(n, generator))
        return self.decode(sampler.sample(n, generator).to(self.device, self.dtype))

    def interpolate(self, x0: Tensor, x1: Tensor, steps: int = 10, kind: str = "linear") -> Tensor:
        """Decoded points of a path between two codes, both ends included.

        Args:
            x0, x1: where it begins and ends, (B, *input_shape) each.
            steps: points along it, default 10.
            kind: ``linear`` (default) or ``spherical_path``; see :mod:`zoo.functional.paths`.

        Returns:
            (steps, B, *input_shape).
        """
        codes = interpolation_path(kind, self.encode(x0), self.encode(x1), steps)
        return torch.stack([self.decode(z) for z in codes])

    def to_images(self, x: Tensor) -> Tensor:
        """Samples as images in [0, 1], (N, *input_shape) → (N, 1 or 3, H, W): as they are.

        Raises:
            InputError: samples that are no images.
        """
        if x.ndim != 4:
            raise InputError(
                f"{type(self).__name__} cannot draw samples of shape {tuple(x.shape[1:])}: leave "
                "the callbacks that show them out"
            )
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.reconstruct(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return tuple(batch[0].shape)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        code = self.encode(batch[0])
        return {"code": code, "reconstruction": self.decode(code)}

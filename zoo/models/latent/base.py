"""LatentModel: the base class of all models with a latent space.

Callbacks and commands for latent models are written for this class rather than for its subclasses.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from zoo import plots
from zoo.core.task import Task
from zoo.errors import InputError, check_at_least, check_choice
from zoo.functional.paths import PATHS, interpolation_path
from zoo.functional.templates import unpack_template
from zoo.networks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    ResidualDecoder,
    ResidualEncoder,
)

NETWORK_TYPES = ("mlp", "conv", "residual")
ENCODERS = {"conv": ConvEncoder, "residual": ResidualEncoder}
DECODERS = {"conv": ConvDecoder, "residual": ResidualDecoder}


class Sampler(Protocol):
    """A density over codes; see :mod:`zoo.models.latent.samplers`."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Sample ``n`` codes, (n, latent_dim)."""
        ...


class LatentModel(Task):
    """A model with a latent space, such as an autoencoder or a GAN.

    ``encode`` maps samples x to codes z, and ``decode`` maps codes to samples. These two,
    ``reconstruct``, ``sample`` and ``interpolate`` are plain functions of tensors that log nothing;
    ``encode`` and ``reconstruct`` are deterministic.

    A subclass provides ``step``, ``decode``, ``sample_latent`` and, unless it has no encoder,
    ``encode``. It creates its networks in ``build``, usually with :meth:`make_encoder_network` and
    :meth:`make_decoder_network`.

    Args:
        input_shape: shape of one sample, such as (1, 28, 28).
        latent_dim: dimension of a code, D, default 2.
        network: ``mlp`` (default; samples of any shape), ``conv`` or ``residual`` (images of any
            size).
        hidden_dims: widths of the MLP's hidden layers, or numbers of channels after each halving of
            the image, from input to code; the decoder mirrors them. Default (256, 256).
        activation: activation function of the hidden layers, default ``relu``.
        template: mean shape and its faces, as the text that
            :func:`zoo.functional.templates.pack_template` returns, if samples are the vertices of
            meshes, (V, 3); figures draw them as such. Default None.
        **task: see :class:`~zoo.core.task.Task`.

    Batch: (x, y) with x in [0, 1], (B, *input_shape); y is ignored.

    Raises:
        InputError: an unknown network, or one that does not fit ``input_shape``; a ``latent_dim``
            that is not smaller than the number of values of a sample, unless the class has
            ``allows_overcomplete``.
    """

    #: choices of the ``network`` argument
    network_types: ClassVar[tuple[str, ...]] = NETWORK_TYPES
    #: choices of the ``kind`` argument of :meth:`interpolate`
    path_types: ClassVar[tuple[str, ...]] = PATHS
    #: whether a code may have as many dimensions as a sample has values, or more
    allows_overcomplete: ClassVar[bool] = False

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        network: str = "mlp",
        hidden_dims: tuple[int, ...] = (256, 256),
        activation: str = "relu",
        template: str | None = None,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        check_at_least(1, latent_dim=latent_dim, hidden_dims=hidden_dims)
        check_choice("network", network, self.network_types)
        size = math.prod(input_shape)
        if latent_dim >= size and not self.allows_overcomplete:
            raise InputError(
                f"latent_dim={latent_dim} is not smaller than a sample, which has {size} values: "
                "the model could copy its input; choose a smaller latent_dim"
            )
        self.input_shape = tuple(input_shape)
        self.latent_dim = latent_dim

    # -- networks -------------------------------------------------------------------------------

    def make_encoder_network(self, out_features: int) -> nn.Module:
        """Create an encoder of the type ``network``, (B, *input_shape) → (B, out_features)."""
        hp = self.hparams
        if hp["network"] == "mlp":
            return MLP(
                [math.prod(self.input_shape), *hp["hidden_dims"], out_features], hp["activation"]
            )
        make = ENCODERS[hp["network"]]
        return make(self.input_shape, hp["hidden_dims"], out_features, hp["activation"])

    def make_decoder_network(
        self, in_features: int | None = None, outputs_per_value: int = 1
    ) -> nn.Module:
        """Create a decoder of the type ``network``, (B, in_features) → (B, *input_shape).

        Args:
            in_features: size of the input, default ``latent_dim``.
            outputs_per_value: number of outputs for each value of a sample, default 1. With n > 1
                the output has the shape (B, n, *input_shape).
        """
        hp = self.hparams
        size = self.latent_dim if in_features is None else in_features
        n = outputs_per_value
        shape = self.input_shape if n == 1 else (n, *self.input_shape)
        if hp["network"] == "mlp":
            sizes = [size, *reversed(hp["hidden_dims"]), math.prod(shape)]
            return nn.Sequential(MLP(sizes, hp["activation"]), nn.Unflatten(1, shape))
        channels, *sides = self.input_shape
        make = DECODERS[hp["network"]]
        decoder = make((n * channels, *sides), hp["hidden_dims"], size, hp["activation"])
        return decoder if n == 1 else nn.Sequential(decoder, nn.Unflatten(1, (n, channels)))

    # -- codes and samples ----------------------------------------------------------------------

    @property
    def has_encoder(self) -> bool:
        """True if the model has ``encode``, ``reconstruct`` and ``interpolate``; a GAN does not."""
        return type(self).encode is not LatentModel.encode

    def encode(self, x: Tensor) -> Tensor:
        """Return the code of each sample, (B, *input_shape) → (B, latent_dim).

        If the model has a distribution over codes, the code is its mean.
        """
        raise NotImplementedError(f"{type(self).__name__} has no encoder")

    def decode(self, z: Tensor) -> Tensor:
        """Return the sample for each code, (B, latent_dim) → (B, *input_shape).

        If the model has a distribution over samples, the sample is its mean.
        """
        raise NotImplementedError(f"{type(self).__name__} has no decode(z)")

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return ``decode(encode(x))``."""
        return self.decode(self.encode(x))

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Sample ``n`` codes from the model's own density, such as its prior: (n, latent_dim).

        Args:
            n: number of codes.
            generator: random generator on the model's device, default the global one.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sample_latent(n)")

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        sampler: Sampler | None = None,
    ) -> Tensor:
        """Generate ``n`` new samples, (n, *input_shape).

        Args:
            n: number of samples.
            generator: random generator on the model's device, default the global one.
            sampler: density that codes are sampled from, such as a mixture fitted to the codes of
                the training data (:func:`zoo.models.latent.samplers.fit_sampler`); default the
                model's own.
        """
        if sampler is None:
            return self.decode(self.sample_latent(n, generator))
        return self.decode(sampler.sample(n, generator).to(self.device, self.dtype))

    def interpolate(self, x0: Tensor, x1: Tensor, steps: int = 10, kind: str = "linear") -> Tensor:
        """Decode the points of a path from the code of one sample to that of another.

        Args:
            x0: samples at the start, (B, *input_shape).
            x1: samples at the end, (B, *input_shape).
            steps: number of points, both ends included, default 10.
            kind: ``linear`` (default; straight line) or ``spherical`` (arc); see
                :mod:`zoo.functional.paths`.

        Returns:
            (steps, B, *input_shape).

        Raises:
            InputError: ``kind`` is not in ``path_types``.
        """
        check_choice("path", kind, self.path_types)
        codes = interpolation_path(kind, self.encode(x0), self.encode(x1), steps)
        return torch.stack([self.decode(z) for z in codes])

    @property
    def has_images(self) -> bool:
        """True if ``to_images`` converts the model's samples to images."""
        overrides = type(self).to_images is not LatentModel.to_images
        is_mesh = self.hparams["template"] is not None
        return len(self.input_shape) == 3 or is_mesh or overrides

    def to_images(self, x: Tensor) -> Tensor:
        """Convert samples to images in [0, 1] for figures, (N, *input_shape) → (N, 1 or 3, H, W).

        Images are returned unchanged, and meshes are rendered; a model of other data overrides this
        method.

        Raises:
            InputError: samples that are neither images nor meshes.
        """
        if self.hparams["template"] is not None:
            vertices, faces = unpack_template(self.hparams["template"])
            radius = float(vertices.norm(dim=1).max())  # of the farthest vertex from the origin
            return plots.render(x, faces, half_width=1.15 * radius)
        if x.ndim != 4:
            raise InputError(
                f"{type(self).__name__} cannot show samples of shape {tuple(x.shape[1:])} as "
                "images: leave out the callbacks that do so, or override to_images"
            )
        return x

    # -- for subclasses -------------------------------------------------------------------------

    def labels(self, batch: Any) -> Tensor | None:
        """Return the labels that the networks are conditioned on, (B,).

        None here, as the model is unconditional; class indices in a
        :class:`~zoo.models.latent.conditional.ClassConditional` model.
        """
        return None

    def forward(self, x: Tensor) -> Tensor:
        return self.reconstruct(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return tuple(batch[0].shape)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        code = self.encode(batch[0])
        return {"code": code, "reconstruction": self.decode(code)}

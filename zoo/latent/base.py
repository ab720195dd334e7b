"""LatentModel: the contract that latent callbacks and metrics rely on."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoo.networks import MLP, ConvDecoder, ConvEncoder, Unflatten
from zoo.task import Task

NETWORKS = ("mlp", "conv")


class LatentModel(Task):
    """A task with a latent space.

    ``encode``, ``decode``, ``reconstruct``, ``sample`` and ``interpolate`` are plain functions of
    tensors without logging; ``encode`` and ``reconstruct`` are deterministic.

    Args:
        input_shape: shape of one sample, such as (1, 28, 28).
        latent_dim: D, dimensions of a code.
        network: ``mlp`` (default; any input) or ``conv`` (images of any size).
        hidden: widths of the MLP's hidden layers, or channels of the convolutions (each halves the
            image), from input to code; the decoder mirrors them. Default (256, 256).
        activation: nonlinearity, default ``relu``.
        **task: see :class:`zoo.task.Task`.

    Batch: (x, y), x in [0, 1]; y is ignored.

    Raises:
        ValueError: unknown network, or one that does not fit ``input_shape``.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        network: str = "mlp",
        hidden: tuple[int, ...] = (256, 256),
        activation: str = "relu",
        **task: Any,
    ) -> None:
        super().__init__(**task)
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, got {latent_dim}")
        if network not in NETWORKS:
            raise ValueError(f"unknown network {network!r}; choose from {', '.join(NETWORKS)}")
        self.input_shape = tuple(input_shape)
        self.latent_dim = latent_dim

    # -- networks -------------------------------------------------------------------------------

    def make_encoder_network(self, out_features: int) -> nn.Module:
        """(B, *input_shape) → (B, out_features), by the ``network`` argument."""
        hp = self.hparams
        if hp["network"] == "conv":
            return ConvEncoder(self.input_shape, hp["hidden"], out_features, hp["activation"])
        return MLP([math.prod(self.input_shape), *hp["hidden"], out_features], hp["activation"])

    def make_decoder_network(self) -> nn.Module:
        """(B, latent_dim) → (B, *input_shape), by the ``network`` argument."""
        hp = self.hparams
        if hp["network"] == "conv":
            return ConvDecoder(self.input_shape, hp["hidden"], self.latent_dim, hp["activation"])
        sizes = [self.latent_dim, *reversed(hp["hidden"]), math.prod(self.input_shape)]
        return nn.Sequential(MLP(sizes, hp["activation"]), Unflatten(self.input_shape))

    # -- the contract ---------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        """(B, *input_shape) → (B, latent_dim); the mean, for a distribution over codes."""
        raise NotImplementedError(f"{type(self).__name__} has no encode(x)")

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent_dim) → (B, *input_shape) in [0, 1]; the mean, for a distribution of images."""
        raise NotImplementedError(f"{type(self).__name__} has no decode(z)")

    def reconstruct(self, x: Tensor) -> Tensor:
        """decode(encode(x))."""
        return self.decode(self.encode(x))

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` codes from the model's density over codes, (n, latent_dim)."""
        raise NotImplementedError(f"{type(self).__name__} has no sample_latent(n)")

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` new samples, (n, *input_shape).

        Args:
            n: how many.
            generator: on the model's device; the global one by default.
        """
        return self.decode(self.sample_latent(n, generator))

    def interpolate(self, x0: Tensor, x1: Tensor, steps: int = 10) -> Tensor:
        """Decoded points of the straight line between two codes, both ends included.

        Shapes: two (B, *input_shape) → (steps, B, *input_shape).
        """
        z0, z1 = self.encode(x0), self.encode(x1)
        weights = torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype)
        return torch.stack([self.decode(torch.lerp(z0, z1, t)) for t in weights])

    def forward(self, x: Tensor) -> Tensor:
        return self.reconstruct(x)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        code = self.encode(batch[0])
        return {"code": code, "reconstruction": self.decode(code)}

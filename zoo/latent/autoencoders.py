"""Deterministic autoencoders."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.latent.base import LatentModel
from zoo.networks import RunningGaussian


class Autoencoder(LatentModel):
    """Encoder and decoder that minimise the squared error per pixel, mean (x − g(f(x)))².

    To ``sample``, a Gaussian follows the training codes (mean and covariance as moving averages,
    saved with the model).

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        input_noise: standard deviation of Gaussian noise on the encoder's input in training, in
            units of the pixel range; the target stays clean. Default 0.
        **latent: ``network``, ``hidden``, ``activation`` and the settings of
            :class:`zoo.task.Task`.

    Shapes: x (B, *input_shape), z (B, latent_dim).

    Source: Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks,
    Science 313, 2006.
    """

    metric_notes: ClassVar[dict[str, str]] = {"mse": "squared error per pixel of decode(encode(x))"}

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        input_noise: float = 0.0,
        **latent: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **latent)
        if input_noise < 0:
            raise ValueError(f"input_noise is a standard deviation, got {input_noise}")
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()
        self.codes = RunningGaussian(latent_dim)

    def make_encoder(self) -> nn.Module:
        """x (B, *input_shape) → z (B, latent_dim)."""
        return self.make_encoder_network(self.latent_dim)

    def make_decoder(self) -> nn.Module:
        """z (B, latent_dim) → logits of the pixels, (B, *input_shape)."""
        return self.make_decoder_network()

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).sigmoid()

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.codes.sample(n, generator)

    def step(self, batch: Any) -> dict[str, Tensor]:
        x = batch[0]
        noise = self.hparams["input_noise"]
        z = self.encode(x + noise * torch.randn_like(x) if noise and self.training else x)
        if self.training:
            self.codes.update(z.detach())
        mse = F.mse_loss(self.decode(z), x)
        return {"loss": mse, "mse": mse}

"""Autoencoder: deterministic codes, squared error."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_choice, check_non_negative
from zoo.functional.precision import widen
from zoo.models.latent.base import LatentModel
from zoo.networks import RunningGaussian, make_activation

OUTPUTS = ("sigmoid", "identity")


class Autoencoder(LatentModel):
    """Autoencoder: an encoder f and a decoder g, trained together to reproduce the input.

    Minimizes the squared error per pixel, mean (x − g(f(x)))².

    An autoencoder has no prior. For ``sample``, a Gaussian is fitted to the codes of the training
    data: exponential moving averages of their mean and covariance, saved with the model.
    :mod:`zoo.models.latent.samplers` has better densities.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 2.
        input_noise: standard deviation of Gaussian noise that is added to the encoder's input in
            training, in units of the pixel range, default 0. The target is the input without noise.
        code_activation: activation function of the code units, default ``identity``.
        output: range of the decoder's output: ``sigmoid`` (default; pixels in [0, 1]) or
            ``identity`` (any values).
        **latent: see :class:`~zoo.models.latent.base.LatentModel`.

    Shapes: x (B, *input_shape), z (B, latent_dim).

    Raises:
        InputError: an unknown output or activation function; a negative ``input_noise``.

    Source: Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks,
    Science 313, 2006.
    """

    metric_notes: ClassVar[dict[str, str]] = {"mse": "squared error per pixel of decode(encode(x))"}

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        input_noise: float = 0.0,
        code_activation: str = "identity",
        output: str = "sigmoid",
        **latent: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **latent)
        check_non_negative(input_noise=input_noise)
        check_choice("output", output, OUTPUTS)

    # -- networks -------------------------------------------------------------------------------

    def build(self) -> None:
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()
        self.code_density = RunningGaussian(self.latent_dim)

    def make_encoder(self) -> nn.Module:
        """Create the encoder, x (B, *input_shape) → z (B, latent_dim)."""
        activation = make_activation(self.hparams["code_activation"])
        return nn.Sequential(self.make_encoder_network(self.latent_dim), activation)

    def make_decoder(self) -> nn.Module:
        """Create the decoder, z (B, latent_dim) → pixels (B, *input_shape).

        With ``output="sigmoid"``, its outputs are the logits of the pixels.
        """
        return self.make_decoder_network()

    # -- codes and samples ----------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        decoded = self.decoder(z)
        return decoded.sigmoid() if self.hparams["output"] == "sigmoid" else decoded

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.code_density.sample(n, generator)

    # -- training -------------------------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Tensor]:
        x = batch[0]
        noise = self.hparams["input_noise"]
        z = self.encode(x + noise * torch.randn_like(x) if noise and self.training else x)
        mse = F.mse_loss(widen(self.decode(z)), widen(x))
        self.update_code_density(z)
        return self.penalize_codes({"loss": mse, "mse": mse}, x, z)

    def check_batch(self, batch: Any) -> None:
        super().check_batch(batch)
        if self.hparams["output"] == "identity":
            return
        low, high = (float(v) for v in batch[0].aminmax())
        if low < 0 or high > 1:
            raise InputError(
                f"output='sigmoid' needs pixels in [0, 1], the data has {low:.3g} to {high:.3g}: "
                "rescale the data, or choose output='identity' (--model.output identity)"
            )

    def update_code_density(self, z: Tensor) -> None:
        """Update the Gaussian over codes with a batch of codes; does nothing in evaluation."""
        if self.training:
            self.code_density.update(z.detach())

    def penalize_codes(self, parts: dict[str, Tensor], x: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Return the parts of a step with a penalty on the codes; here there is no penalty.

        A regularized autoencoder overrides this method.

        Args:
            parts: ``loss`` and ``mse``.
            x: inputs, (B, *input_shape).
            z: their codes, (B, latent_dim).

        Returns:
            The parts, with the penalty added to ``loss`` and as a part of its own.
        """
        return parts

"""Deterministic autoencoders: plain, denoising, contractive, sparse."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_choice, check_fraction, check_non_negative
from zoo.functional.divergences import kl_bernoulli
from zoo.functional.jacobians import estimate_squared_jacobian_norm, squared_jacobian_norm
from zoo.models.latent.base import LatentModel
from zoo.networks import RunningGaussian, make_activation

CORRUPTIONS = ("masking", "gaussian", "salt_and_pepper")
OUTPUTS = ("sigmoid", "identity")


class Autoencoder(LatentModel):
    """Encoder f and decoder g that minimise the squared error per pixel, mean (x − g(f(x)))².

    To ``sample``, a Gaussian follows the training codes (mean and covariance as moving averages,
    saved with the model); :mod:`zoo.models.latent.samplers` has better densities.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        input_noise: standard deviation of Gaussian noise on the encoder's input in training, in
            units of the pixel range; the target stays clean. Default 0.
        code_activation: of the code units, default ``identity``.
        output: ``sigmoid`` (default; pixels in [0, 1]) or ``identity`` (any numbers).
        **latent: ``network``, ``hidden_dims``, ``activation`` and the settings of
            :class:`zoo.core.task.Task`.

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
        code_activation: str = "identity",
        output: str = "sigmoid",
        **latent: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **latent)
        check_non_negative(input_noise=input_noise)
        check_choice("output", output, OUTPUTS)

    def build(self) -> None:
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()
        self.codes = RunningGaussian(self.latent_dim)

    def make_encoder(self) -> nn.Module:
        """x (B, *input_shape) → z (B, latent_dim)."""
        activation = make_activation(self.code_activation())
        return nn.Sequential(self.make_encoder_network(self.latent_dim), activation)

    def make_decoder(self) -> nn.Module:
        """z (B, latent_dim) → pixels, or their logits with ``output="sigmoid"``."""
        return self.make_decoder_network()

    def code_activation(self) -> str:
        """Name of the code units' nonlinearity."""
        return self.hparams["code_activation"]

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        decoded = self.decoder(z)
        return decoded.sigmoid() if self.hparams["output"] == "sigmoid" else decoded

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.codes.sample(n, generator)

    def step(self, batch: Any) -> dict[str, Tensor]:
        x = batch[0]
        noise = self.hparams["input_noise"]
        z = self.encode(x + noise * torch.randn_like(x) if noise and self.training else x)
        mse = F.mse_loss(self.decode(z), x)
        self.update_code_statistics(z)
        return {"loss": mse, "mse": mse} | self.regularize_codes(x, z, mse)

    def update_code_statistics(self, z: Tensor) -> None:
        """Lets the density over codes follow those of a training batch."""
        if self.training:
            self.codes.update(z.detach())

    def regularize_codes(self, x: Tensor, z: Tensor, mse: Tensor) -> dict[str, Tensor]:
        """What a regulariser of the codes adds: further parts, and the loss with its penalty."""
        return {}


class DenoisingAutoencoder(Autoencoder):
    """Learns x from a corrupted x̃: minimises mean (x − g(f(x̃)))², in evaluation too.

    ``encode`` and ``reconstruct`` take inputs as they are: give them noisy ones to be cleaned.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 64; more than the data has is allowed.
        corruption: ``masking`` (default; a share of the pixels becomes 0), ``gaussian`` (noise is
            added) or ``salt_and_pepper`` (a share of the pixels becomes 0 or 1).
        corruption_level: that share, or the noise's standard deviation; default 0.3.
        **autoencoder: see :class:`Autoencoder`.

    Raises:
        ValueError: unknown corruption; a level that is negative, or above 1 for a share; noise on
            the input beside it.

    Source: Vincent et al., Stacked denoising autoencoders, JMLR 11, 2010, sections 3 and 4.
    """

    overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error per pixel of decode(encode(corrupted x)) from x",
        "psnr": "−10 log₁₀ of an image's squared error, mean over images, dB",
        "noisy_psnr": "the same of the corrupted images",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        corruption: str = "masking",
        corruption_level: float = 0.3,
        **autoencoder: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **autoencoder)
        if self.hparams["input_noise"]:
            raise InputError("a denoising autoencoder corrupts its input: leave input_noise out")
        check_choice("corruption", corruption, CORRUPTIONS)
        if corruption == "gaussian":
            check_non_negative(corruption_level=corruption_level)
        else:
            check_fraction(corruption_level=corruption_level)

    def step(self, batch: Any) -> dict[str, Tensor]:
        x = batch[0]
        hp = self.hparams
        noisy = corrupt(x, hp["corruption"], hp["corruption_level"], self.rng)
        z = self.encode(noisy)
        self.update_code_statistics(z)
        cleaned = self.decode(z)
        mse = F.mse_loss(cleaned, x)
        parts = {"loss": mse, "mse": mse}
        if not self.training:
            parts |= {"psnr": psnr(cleaned, x).mean(), "noisy_psnr": psnr(noisy, x).mean()}
        return parts


class ContractiveAutoencoder(Autoencoder):
    """Codes that move little when the input does: mean (x − g(f(x)))² + λ E‖∂f/∂x‖²_F.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 64; more than the data has is allowed.
        contraction_weight: λ, default 1e-3.
        jacobian: ``exact`` (default; D reverse passes at once) or ``estimate`` (one, unbiased).
        code_activation: default ``sigmoid``.
        **autoencoder: see :class:`Autoencoder`.

    Raises:
        ValueError: unknown jacobian; a negative strength.

    Source: Rifai et al., Contractive auto-encoders, 2011.
    """

    overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "jacobian": "‖∂z/∂x‖²_F, mean over samples",
        "loss": "mse + contraction_weight · jacobian",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        contraction_weight: float = 1e-3,
        jacobian: str = "exact",
        code_activation: str = "sigmoid",
        **autoencoder: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, code_activation=code_activation, **autoencoder)
        check_non_negative(contraction_weight=contraction_weight)
        check_choice("jacobian", jacobian, ("exact", "estimate"))

    def regularize_codes(self, x: Tensor, z: Tensor, mse: Tensor) -> dict[str, Tensor]:
        if self.hparams["jacobian"] == "exact" or not self.training:
            norm = squared_jacobian_norm(self.encode, x).mean()
        else:
            norm = estimate_squared_jacobian_norm(self.encode, x).mean()
        return {"loss": mse + self.hparams["contraction_weight"] * norm, "jacobian": norm}


class SparseAutoencoder(Autoencoder):
    """Codes of which few units are active: mean (x − g(f(x)))² + λ · penalty(z).

    The penalty is E Σ_d |z_d| (``l1``, rectified codes), or Σ_d KL(ρ ‖ ρ̂_d) (``kl``, sigmoid
    codes), where ρ̂_d is the mean activity of unit d over the batch.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 64; more than the data has is allowed.
        sparsity: ``l1`` (default) or ``kl``.
        sparsity_weight: λ, default 1e-3.
        target_rate: ρ in (0, 1), default 0.05; of ``kl``.
        code_activation: default ``relu`` for ``l1`` and ``sigmoid`` for ``kl``.
        **autoencoder: see :class:`Autoencoder`.

    Raises:
        ValueError: unknown sparsity; a rate outside (0, 1); ``kl`` of codes that are no rates.

    Source: Ng, Sparse autoencoder (CS294A lecture notes), 2011, section 3.
    """

    overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "sparsity": "E Σ|z|, or Σ KL(target rate ‖ mean activity) in nats",
        "active": "effective share of active code units, (Σ|z|)² / (D Σ z²), mean over samples",
        "loss": "mse + sparsity_weight · sparsity",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        sparsity: str = "l1",
        sparsity_weight: float = 1e-3,
        target_rate: float = 0.05,
        code_activation: str | None = None,
        **autoencoder: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **autoencoder)
        check_choice("sparsity", sparsity, ("l1", "kl"))
        if sparsity == "kl" and code_activation not in (None, "sigmoid", "scaled_sigmoid"):
            raise InputError(
                f"sparsity='kl' needs code_activation='sigmoid', got {code_activation!r}"
            )
        check_non_negative(sparsity_weight=sparsity_weight)
        if not 0 < target_rate < 1:
            raise InputError(f"target_rate must be between 0 and 1, got {target_rate}")

    def code_activation(self) -> str:
        hp = self.hparams
        return hp["code_activation"] or ("relu" if hp["sparsity"] == "l1" else "sigmoid")

    def regularize_codes(self, x: Tensor, z: Tensor, mse: Tensor) -> dict[str, Tensor]:
        if self.hparams["sparsity"] == "l1":
            penalty = z.abs().sum(1).mean()
        else:
            penalty = kl_bernoulli(self.hparams["target_rate"], z.mean(0)).sum()
        loss = mse + self.hparams["sparsity_weight"] * penalty
        return {"loss": loss, "sparsity": penalty, "active": active_fraction(z.detach()).mean()}


def active_fraction(z: Tensor) -> Tensor:
    """(Σ_d |z_d|)² / (D Σ_d z_d²) of each code, (B,): k/D where k of D units are equally active."""
    squares = z.square().sum(1).clamp(min=1e-12)
    return z.abs().sum(1).square() / (z.shape[1] * squares)


def corrupt(x: Tensor, kind: str, level: float, generator: torch.Generator | None = None) -> Tensor:
    """A corrupted copy of images in [0, 1].

    Args:
        x: (B, ...).
        kind: ``masking``, ``gaussian`` or ``salt_and_pepper``.
        level: share of the pixels that change, or standard deviation of the noise.
        generator: of the noise.
    """
    if kind == "gaussian":
        return x + level * torch.empty_like(x).normal_(generator=generator)
    hit = torch.empty_like(x).uniform_(generator=generator) < level
    if kind == "masking":
        return x.masked_fill(hit, 0)
    salt = torch.empty_like(x).bernoulli_(0.5, generator=generator)
    return torch.where(hit, salt, x)


def psnr(images: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio −10 log₁₀ mean (x − y)² of each image, pixels in [0, 1]: (B,)."""
    error = (images - clean).square().flatten(1).mean(1)
    return -10 * error.clamp(min=1e-12).log10()

"""Denoising autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError, check_choice, check_fraction, check_non_negative
from zoo.functional.precision import widen
from zoo.functional.rng import SampleRNG, TorchRNG
from zoo.models.latent.autoencoder import Autoencoder

CORRUPTIONS = ("masking", "gaussian", "salt_and_pepper")


class DenoisingAutoencoder(Autoencoder):
    """Denoising autoencoder: reconstructs the clean input x from a corrupted version x̃.

    Minimizes the squared error per pixel, mean (x − g(f(x̃)))².

    ``step`` corrupts its inputs in training and evaluation alike. ``encode`` and ``reconstruct`` do
    not: ``reconstruct(noisy)`` denoises.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 64; it may exceed the size of a sample.
        corruption: ``masking`` (default; sets a fraction of the pixels to 0), ``gaussian`` (adds
            noise) or ``salt_and_pepper`` (sets a fraction of the pixels to 0 or 1).
        corruption_level: fraction of pixels, or standard deviation of the Gaussian noise in units
            of the pixel range, default 0.3.
        **autoencoder: see :class:`~zoo.models.latent.autoencoder.Autoencoder`; ``input_noise``
            must be 0.

    Raises:
        InputError: an unknown corruption; a level that is negative, or above 1 where it is a
            fraction; ``input_noise`` in addition to the corruption.

    Source: Vincent et al., Stacked denoising autoencoders, JMLR 11, 2010, sections 3 and 4.
    """

    allows_overcomplete = True
    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error per pixel of decode(encode(corrupted x)) from x",
        "psnr": "−10 log₁₀ of the squared error of a denoised image, mean over images, dB",
        "noisy_psnr": "−10 log₁₀ of the squared error of a corrupted image, mean over images, dB",
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
            raise InputError(
                "DenoisingAutoencoder already corrupts its input: leave input_noise at 0, and set "
                "corruption and corruption_level"
            )
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
        self.update_code_density(z)
        denoised = self.decode(z)
        mse = F.mse_loss(widen(denoised), widen(x))
        parts = {"loss": mse, "mse": mse}
        if not self.training:
            parts |= {"psnr": psnr(denoised, x).mean(), "noisy_psnr": psnr(noisy, x).mean()}
        return parts


def corrupt(x: Tensor, kind: str, level: float, rng: TorchRNG | SampleRNG | None = None) -> Tensor:
    """Return a corrupted copy of images in [0, 1].

    Args:
        x: images, (B, ...).
        kind: ``masking`` (pixels become 0), ``gaussian`` (noise is added) or ``salt_and_pepper``
            (pixels become 0 or 1, with equal probability).
        level: probability that a pixel changes, or standard deviation of the Gaussian noise.
        rng: random numbers, default from the global generator.
    """
    rng = rng or TorchRNG()
    if kind == "gaussian":
        return x + level * rng.normal_like(x)
    changed = rng.uniform_like(x) < level
    if kind == "masking":
        return x.masked_fill(changed, 0)
    salt = rng.bernoulli(torch.full_like(x, 0.5))
    return torch.where(changed, salt, x)


def psnr(images: Tensor, clean: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio −10 log₁₀ mean (x − y)² of each image in dB.

    Args:
        images: noisy or denoised images x in [0, 1], (B, ...).
        clean: ground truth y in [0, 1], (B, ...).

    Returns:
        (B,); 120 dB at most.
    """
    error = (images - clean).square().flatten(1).mean(1)
    return -10 * error.clamp(min=1e-12).log10()

"""PixelModel: a latent model whose decoder says a distribution of pixels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least, check_choice
from zoo.functional.likelihoods import (
    bernoulli_log_prob,
    categorical_log_prob,
    gaussian_log_prob,
)
from zoo.models.latent.base import LatentModel

LIKELIHOODS = ("bernoulli", "gaussian", "categorical")
BINARIZATIONS = ("none", "threshold", "stochastic")


class LikelihoodModel(LatentModel):
    """A latent model with a likelihood p(x|z) of its pixels.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        likelihood: ``bernoulli`` (default) for pixels in [0, 1]; ``gaussian`` with one learned
            standard deviation for all pixels, for any numbers; or ``categorical``: a free
            distribution over the ``levels`` grey values of each pixel.
        binarization: what a Bernoulli likelihood is given. ``none`` (default): grey values as
            probabilities; ``threshold``: x > ½; ``stochastic``: a fresh draw from the grey values
            each time an image is seen, while ``encode`` takes the grey values themselves. The
            bounds of the three are not comparable.
        levels: grey values of the categorical likelihood, from the data; default 256.
        **latent: see :class:`zoo.models.latent.base.LatentModel`.

    Raises:
        ValueError: unknown likelihood or binarisation; binarised pixels without a Bernoulli.
        InputError: pixels outside [0, 1], in the first batch of a pass, for a likelihood that
            needs them there.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        likelihood: str = "bernoulli",
        binarization: str = "none",
        levels: int = 256,
        **latent: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **latent)
        check_choice("likelihood", likelihood, LIKELIHOODS)
        check_choice("binarization", binarization, BINARIZATIONS)
        if likelihood != "bernoulli" and binarization != "none":
            raise InputError(f"binarization={binarization!r} needs likelihood='bernoulli'")
        if likelihood == "categorical":
            check_at_least(2, levels=levels)

    def build(self) -> None:
        super().build()
        if self.hparams["likelihood"] == "gaussian":
            self.log_sigma = nn.Parameter(torch.zeros(()))

    def parameters_per_pixel(self) -> int:
        """Numbers that the decoder says for each pixel."""
        return self.hparams["levels"] if self.hparams["likelihood"] == "categorical" else 1

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), from the decoder's output."""
        kind = self.hparams["likelihood"]
        if kind == "gaussian":
            return gaussian_log_prob(decoded, self.log_sigma, x)
        return (bernoulli_log_prob if kind == "bernoulli" else categorical_log_prob)(decoded, x)

    def likelihood_mean(self, decoded: Tensor) -> Tensor:
        """E[x|z], (B, *input_shape), from the decoder's output."""
        kind = self.hparams["likelihood"]
        if kind == "bernoulli":
            return decoded.sigmoid()
        if kind == "gaussian":
            return decoded
        gray = torch.linspace(0, 1, decoded.shape[1], device=decoded.device, dtype=decoded.dtype)
        return torch.einsum("bk...,k->b...", decoded.softmax(1), gray)

    def binarize(self, x: Tensor) -> Tensor:
        """The pixels whose likelihood is taken, by the ``binarization`` argument."""
        kind = self.hparams["binarization"]
        if kind == "none":
            return x
        if kind == "threshold":
            return (x > 0.5).to(x.dtype)
        return torch.bernoulli(x, generator=self.rng)

    def encoder_input(self, x: Tensor) -> Tensor:
        """What ``encode`` shows the encoder: pixels binarised at ½ where training has them so."""
        return self.binarize(x) if self.hparams["binarization"] == "threshold" else x

    def bits_per_dim(self, nats: Tensor) -> Tensor:
        """Nats per sample as bits per pixel and channel."""
        return nats / (math.prod(self.input_shape) * math.log(2))

    # -- bad input ------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._check_pixels(batch, batch_idx)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        self._check_pixels(batch, batch_idx)

    def on_test_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        self._check_pixels(batch, batch_idx)

    def _check_pixels(self, batch: Any, batch_idx: int) -> None:
        """The first batch of a pass: to look at each one would stop the device in every step."""
        kind = self.hparams["likelihood"]
        if batch_idx or kind == "gaussian":
            return
        low, high = (float(v) for v in batch[0].aminmax())
        if low < 0 or high > 1:
            raise InputError(
                f"a {kind} likelihood needs pixels in [0, 1], the data has {low:.3g} to "
                f"{high:.3g}: scale the data, or choose --model.likelihood gaussian"
            )

    def describe_likelihood(self) -> str:
        """The likelihood and what it is given, in words: bounds compare only where they agree."""
        hp = self.hparams
        pixels = {
            "none": "grey values as probabilities",
            "threshold": "pixels binarised at ½",
            "stochastic": "pixels binarised by a fresh draw",
        }[hp["binarization"]]
        if hp["likelihood"] == "gaussian":
            pixels = "one learned σ"
        elif hp["likelihood"] == "categorical":
            pixels = f"{hp['levels']} grey levels"
        return f"{hp['likelihood'].title()} likelihood, {pixels}"

    def describe_metrics(self) -> dict[str, str]:
        return super().describe_metrics() | {
            "neg_elbo": f"−ELBO, nats per image ({self.describe_likelihood()})",
            "reconstruction": "−E[log p(x|z)], nats per image",
            "bits_per_dim": "−ELBO in bits per pixel and channel",
            "mse": "squared error per pixel of decode(encode(x))",
        }

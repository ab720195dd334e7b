"""LikelihoodModel: the base class of latent models with a likelihood p(x|z)."""

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
    """A latent model whose decoder outputs the parameters of a distribution of pixels, p(x|z).

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 2.
        likelihood: family of p(x|z). ``bernoulli`` (default): one probability per pixel, for pixels
            in [0, 1]. ``gaussian``: one mean per pixel and one learned standard deviation for all
            of them, for any values. ``categorical``: one probability for each of the ``levels``
            gray values of each pixel.
        binarization: pixels that a Bernoulli likelihood is evaluated at. ``none`` (default): gray
            values, used as probabilities. ``threshold``: x > ½. ``stochastic``: pixels sampled with
            the gray values as probabilities, independently in every step; ``encode`` uses the gray
            values themselves. Bounds with different binarizations cannot be compared.
        levels: number of gray values of the categorical likelihood, default 256; the command line
            and :func:`zoo.create_model` take it from the data.
        **latent: see :class:`~zoo.models.latent.base.LatentModel`.

    Raises:
        InputError: an unknown likelihood or binarization; binarization without a Bernoulli
            likelihood; fewer than two ``levels``; pixels outside [0, 1], in the first batch of an
            epoch, if the likelihood is not Gaussian.
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
            raise InputError(
                f"binarization={binarization!r} needs likelihood='bernoulli', got {likelihood!r}"
            )
        check_at_least(2, levels=levels)

    def build(self) -> None:
        super().build()
        if self.hparams["likelihood"] == "gaussian":
            self.log_sigma = nn.Parameter(torch.zeros(()))

    # -- the distribution p(x|z) ----------------------------------------------------------------

    def parameters_per_value(self) -> int:
        """Return the number of the decoder's outputs for each pixel and channel."""
        return self.hparams["levels"] if self.hparams["likelihood"] == "categorical" else 1

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Compute log p(x|z) in nats, (B,).

        Args:
            x: pixels, (B, *input_shape).
            decoded: output of the decoder for z: logits, or means of a Gaussian, (..., B,
                *input_shape); logits of a categorical likelihood, (..., B, levels, *input_shape).
        """
        likelihood = self.hparams["likelihood"]
        if likelihood == "gaussian":
            return gaussian_log_prob(decoded, self.log_sigma, x)
        if likelihood == "bernoulli":
            return bernoulli_log_prob(decoded, x)
        return categorical_log_prob(decoded, x)

    def likelihood_mean(self, decoded: Tensor) -> Tensor:
        """Compute E[x|z], (B, *input_shape), from the output of the decoder."""
        likelihood = self.hparams["likelihood"]
        if likelihood == "bernoulli":
            return decoded.sigmoid()
        if likelihood == "gaussian":
            return decoded
        gray = torch.linspace(0, 1, decoded.shape[1], device=decoded.device, dtype=decoded.dtype)
        return torch.einsum("bk...,k->b...", decoded.softmax(1), gray)

    # -- pixels ---------------------------------------------------------------------------------

    def binarize(self, x: Tensor) -> Tensor:
        """Return the pixels at which the likelihood is evaluated, as ``binarization`` specifies."""
        binarization = self.hparams["binarization"]
        if binarization == "none":
            return x
        if binarization == "threshold":
            return (x > 0.5).to(x.dtype)
        return self.rng.bernoulli(x)

    def prepare_input(self, x: Tensor) -> Tensor:
        """Return the pixels that ``encode`` passes to the encoder.

        They are binarized if ``binarization`` is ``threshold``, but not if it is ``stochastic``, as
        ``encode`` is deterministic.
        """
        return self.binarize(x) if self.hparams["binarization"] == "threshold" else x

    def check_batch(self, batch: Any) -> None:
        super().check_batch(batch)
        likelihood = self.hparams["likelihood"]
        if likelihood == "gaussian":
            return
        low, high = (float(v) for v in batch[0].aminmax())
        if low < 0 or high > 1:
            raise InputError(
                f"a {likelihood} likelihood needs pixels in [0, 1], the data has {low:.3g} to "
                f"{high:.3g}: rescale the data, or choose likelihood='gaussian'"
            )

    # -- metrics --------------------------------------------------------------------------------

    def bits_per_dim(self, nats: Tensor) -> Tensor:
        """Convert nats per sample to bits per pixel and channel."""
        return nats / (math.prod(self.input_shape) * math.log(2))

    def describe_likelihood(self) -> str:
        """Return a description of the likelihood and its pixels.

        Bounds can be compared only between models with the same description.
        """
        hp = self.hparams
        if hp["likelihood"] == "gaussian":
            return "Gaussian likelihood, one learned σ"
        if hp["likelihood"] == "categorical":
            return f"Categorical likelihood, {hp['levels']} gray levels"
        pixels = {
            "none": "gray values as probabilities",
            "threshold": "pixels binarized at ½",
            "stochastic": "pixels binarized by sampling",
        }[hp["binarization"]]
        return f"Bernoulli likelihood, {pixels}"

    def describe_metrics(self) -> dict[str, str]:
        return super().describe_metrics() | {
            "neg_elbo": f"−ELBO, nats per image ({self.describe_likelihood()})",
            "reconstruction": "−E[log p(x|z)], nats per image",
            "bits_per_dim": "−ELBO in bits per pixel and channel",
            "mse": "squared error per pixel of decode(encode(x))",
        }

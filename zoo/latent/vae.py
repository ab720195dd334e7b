"""Variational autoencoders."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.functional.divergences import kl_standard_normal
from zoo.functional.likelihoods import bernoulli_log_prob, gaussian_log_prob
from zoo.latent.base import LatentModel

BINARIZATIONS = ("none", "threshold", "stochastic")


class VAE(LatentModel):
    """Variational autoencoder: a decoder p(x|z) with prior N(0, I) and an encoder q(z|x).

    Minimises the negative evidence lower bound, in nats per sample, summed over pixels and latent
    dimensions and averaged over the batch:

        −ELBO = −E_q[log p(x|z)] + KL(q(z|x) ‖ N(0, I)),   q(z|x) = N(μ(x), diag σ²(x)),

    with one draw z = μ + σ ε of the expectation.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        likelihood: ``bernoulli`` (default) for pixels in [0, 1], or ``gaussian`` with one learned
            standard deviation for all pixels.
        binarization: what a Bernoulli likelihood is given. ``none`` (default): grey values as
            probabilities; ``threshold``: x > ½; ``stochastic``: a fresh draw from the grey values
            each time an image is seen, while ``encode`` takes the grey values themselves. The
            bounds of the three are not comparable.
        **latent: ``network``, ``hidden``, ``activation`` and the settings of
            :class:`zoo.task.Task`.

    Shapes: x (B, *input_shape), z (B, latent_dim).

    Raises:
        ValueError: unknown likelihood or binarisation; binarised pixels with a Gaussian.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, 2014, section 3 and appendix C.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        likelihood: str = "bernoulli",
        binarization: str = "none",
        **latent: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **latent)
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"unknown likelihood {likelihood!r}; choose from bernoulli, gaussian")
        if binarization not in BINARIZATIONS:
            raise ValueError(
                f"unknown binarization {binarization!r}; choose from {', '.join(BINARIZATIONS)}"
            )
        if likelihood == "gaussian" and binarization != "none":
            raise ValueError("binarised pixels need likelihood='bernoulli'")
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()
        if likelihood == "gaussian":
            self.log_sigma = nn.Parameter(torch.zeros(()))

    def make_encoder(self) -> nn.Module:
        """x (B, *input_shape) → μ and log σ² of q(z|x), side by side: (B, 2·latent_dim)."""
        return self.make_encoder_network(2 * self.latent_dim)

    def make_decoder(self) -> nn.Module:
        """z (B, latent_dim) → logits (Bernoulli) or means (Gaussian), (B, *input_shape)."""
        return self.make_decoder_network()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """μ(x) and log σ²(x) of q(z|x), each (B, latent_dim)."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        return mean, log_var

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), from the decoder's output."""
        if self.hparams["likelihood"] == "gaussian":
            return gaussian_log_prob(decoded, self.log_sigma, x)
        return bernoulli_log_prob(decoded, x)

    def encode(self, x: Tensor) -> Tensor:
        if self.hparams["binarization"] == "threshold":
            x = (x > 0.5).to(x.dtype)
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        decoded = self.decoder(z)
        if self.hparams["likelihood"] == "gaussian":
            return decoded.clamp(0, 1)
        return decoded.sigmoid()

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        shape = (n, self.latent_dim)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

    def binarize(self, x: Tensor) -> Tensor:
        """The pixels whose likelihood is taken, by the ``binarization`` argument."""
        kind = self.hparams["binarization"]
        if kind == "none":
            return x
        if kind == "threshold":
            return (x > 0.5).to(x.dtype)
        return torch.bernoulli(x, generator=self.generator)

    def step(self, batch: Any) -> dict[str, Tensor]:
        grey = batch[0]
        x = self.binarize(grey)
        mean, log_var = self.posterior(x)  # (B, D)
        noise = torch.empty_like(mean).normal_(generator=self.generator)
        z = mean + (0.5 * log_var).exp() * noise
        reconstruction = -self.log_prob(x, self.decoder(z)).mean()
        kl = kl_standard_normal(mean, log_var).mean()
        loss = reconstruction + kl
        parts = {"loss": loss, "neg_elbo": loss, "reconstruction": reconstruction, "kl": kl}
        if not self.training:
            parts["mse"] = F.mse_loss(self.reconstruct(grey), grey)
        return parts

    def describe_metrics(self) -> dict[str, str]:
        hp = self.hparams
        pixels = {
            "none": "grey values as probabilities",
            "threshold": "pixels binarised at ½",
            "stochastic": "pixels binarised by a fresh draw",
        }[hp["binarization"]]
        if hp["likelihood"] == "gaussian":
            pixels = "one learned σ"
        return super().describe_metrics() | {
            "neg_elbo": f"−ELBO, nats per image ({hp['likelihood'].title()} likelihood, {pixels})",
            "reconstruction": "−E[log p(x|z)], nats per image",
            "kl": "KL(q(z|x) ‖ N(0, I)), nats per image",
            "mse": "squared error per pixel of decode(encode(x))",
        }

"""Variational autoencoder."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_count_or_fraction, check_non_negative
from zoo.functional.divergences import kl_standard_normal
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.functional.precision import widen
from zoo.models.latent.likelihood import LikelihoodModel


class VAE(LikelihoodModel):
    """Variational autoencoder: a decoder p(x|z) with prior N(0, I), and an encoder q(z|x).

    Minimizes the negative evidence lower bound in nats per sample, summed over pixels and latent
    dimensions and averaged over the batch,

        −ELBO = −E_q[log p(x|z)] + KL(q(z|x) ‖ N(0, I)),   q(z|x) = N(μ(x), diag σ²(x)),

    where the expectation is estimated with one sample z = μ + σ ε. The metric ``neg_elbo`` is
    always this value; ``kl_warmup`` and ``free_bits`` change only the training loss.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 2.
        kl_warmup: steps (≥ 1) or fraction of training (< 1) during which the weight of the KL term
            increases linearly from 0 to 1, default 0 (Bowman et al., 2016).
        free_bits: nats of KL per latent dimension that the loss does not penalize, default 0. The
            KL term becomes Σ_d max(free_bits, KL_d), with KL_d averaged over the batch (Kingma et
            al., 2016, appendix C.8).
        **likelihood: see :class:`~zoo.models.latent.likelihood.LikelihoodModel`.

    Shapes: x (B, *input_shape), z (B, latent_dim).

    Raises:
        InputError: a negative ``kl_warmup`` or ``free_bits``; a ``kl_warmup`` below 1 in training
            without an end.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, 2014, section 3 and appendix C.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "kl": "KL(q(z|x) ‖ prior), nats per image",
        "loss": "reconstruction + weighted KL (at least free_bits per latent dimension)",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        kl_warmup: float = 0.0,
        free_bits: float = 0.0,
        **likelihood: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **likelihood)
        check_non_negative(free_bits=free_bits)
        check_count_or_fraction(kl_warmup=kl_warmup)
        self._warmup_steps = 0.0  # set when training starts

    # -- networks -------------------------------------------------------------------------------

    def build(self) -> None:
        super().build()
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()

    def make_encoder(self) -> nn.Module:
        """Create the encoder, x (B, *input_shape) → μ and log σ² of q(z|x), (B, 2·latent_dim)."""
        return self.make_encoder_network(2 * self.latent_dim)

    def make_decoder(self) -> nn.Module:
        """Create the decoder, z (B, latent_dim) → logits or means of the pixels, (B, *input_shape).

        With a categorical likelihood its output has the shape (B, levels, *input_shape).
        """
        return self.make_decoder_network(outputs_per_value=self.parameters_per_value())

    # -- distributions --------------------------------------------------------------------------

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute μ and log σ² of q(z|x), each (B, latent_dim)."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        return mean, log_var

    def reparameterize(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """Sample z = μ + σ ε with ε ~ N(0, I)."""
        return mean + (0.5 * log_var).exp() * self.rng.normal_like(mean)

    def likelihood_parameters(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Compute the parameters of p(x|z), or of p(x|z, y) in a conditional model.

        Args:
            z: codes without a class, (B, latent_dim).
            y: class indices, (B,); ignored by an unconditional model.

        Returns:
            Output of the decoder, as :meth:`log_prob` takes it.
        """
        return self.decoder(z)

    def kl(self, mean: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
        """Compute KL(q(z|x) ‖ p(z)) in nats.

        Args:
            mean: μ of q(z|x), (B, D).
            log_var: log σ² of q(z|x), (B, D).
            z: a sample from q(z|x), (B, D), for a prior without a closed form.

        Returns:
            The KL divergence of each latent dimension, (B, D), or its total, (B, 1).
        """
        return kl_standard_normal(mean, log_var)

    def log_prior(self, z: Tensor) -> Tensor:
        """Compute log p(z) in nats, (B, D) → (B,)."""
        return gaussian_log_prob(torch.zeros_like(z), z.new_zeros(()), z)

    def log_weights(self, x: Tensor, y: Tensor | None = None, num_samples: int = 1) -> Tensor:
        """Compute log importance weights, log w = log p(x, z) − log q(z|x), for samples of z.

        Their mean over samples estimates the ELBO; log (1/K) Σ w is a tighter lower bound of
        log p(x).

        Args:
            x: pixels, (B, *input_shape), as :meth:`binarize` returns them.
            y: class indices, (B,), for a conditional model.
            num_samples: number of samples of z for each x, K, default 1.

        Returns:
            (K, B).
        """
        mean, log_var = self.posterior(x)  # (B, D)
        noise = self.rng.normal_like(mean.expand(num_samples, *mean.shape), batch_dim=1)
        z = mean + (0.5 * log_var).exp() * noise  # (K, B, D)
        log_q = gaussian_log_prob(mean, 0.5 * log_var, z)
        flat = z.flatten(0, 1)  # (K·B, D)
        y = y if y is None else y.repeat(num_samples)
        decoded = self.likelihood_parameters(flat, y).unflatten(0, (num_samples, len(x)))
        return self.log_prob(x, decoded) + self.log_prior(flat).view(num_samples, -1) - log_q

    # -- codes and samples ----------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(self.prepare_input(x))[0]

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood_mean(self.decoder(z))

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        shape = (n, self.latent_dim)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

    # -- training -------------------------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Tensor]:
        gray = batch[0]
        x = self.binarize(gray)
        mean, log_var = self.posterior(x)  # (B, D)
        z = self.reparameterize(mean, log_var)
        decoded = self.likelihood_parameters(z, self.labels(batch))
        reconstruction = -self.log_prob(x, decoded).mean()
        kl = self.kl(mean, log_var, z).mean(0)  # (D,)
        neg_elbo = reconstruction + kl.sum()
        free = self.hparams["free_bits"]
        penalized = kl.clamp(min=free).sum() if free else kl.sum()
        loss = reconstruction + self.kl_weight() * penalized
        parts = {
            "loss": loss, "neg_elbo": neg_elbo, "reconstruction": reconstruction, "kl": kl.sum(),
        }  # fmt: skip
        if not self.training:
            parts |= {
                "bits_per_dim": self.bits_per_dim(neg_elbo),
                "mse": F.mse_loss(widen(self.reconstruct(gray)), widen(gray)),
            }
        return parts

    def kl_weight(self) -> float:
        """Return the weight of the KL term in the loss: below 1 only during the warm-up."""
        if not self.training or not self._warmup_steps:
            return 1.0
        return min(1.0, self.global_step / self._warmup_steps)

    def on_train_start(self) -> None:
        super().on_train_start()
        warmup = self.hparams["kl_warmup"]
        if 0 < warmup < 1:
            warmup *= self.trainer.estimated_stepping_batches
            if math.isinf(warmup):
                raise InputError(
                    "kl_warmup below 1 is a fraction of training, which has no end: set "
                    "trainer.max_epochs or max_steps, or kl_warmup to a number of steps"
                )
        self._warmup_steps = warmup

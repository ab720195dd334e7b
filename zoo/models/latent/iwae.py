"""Importance-weighted autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError, check_at_least
from zoo.functional.likelihoods import log_mean_exp
from zoo.functional.precision import widen
from zoo.models.latent.vae import VAE


class IWAE(VAE):
    """Importance-weighted autoencoder: a VAE trained on a tighter bound from k samples of z.

    Minimizes −E log (1/k) Σ_i w_i with w_i = p(x, z_i)/q(z_i|x). As k increases, the bound
    approaches log p(x). Automatic differentiation of the log-sum-exp weights the gradient of each
    log w_i by w_i / Σ_j w_j, as the paper does.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 2.
        num_samples: number of samples of z, k, default 5.
        **vae: see :class:`~zoo.models.latent.vae.VAE`; ``kl_warmup`` and ``free_bits`` must be 0,
            as the bound has no KL term.

    Raises:
        InputError: ``num_samples`` below 1; ``kl_warmup`` or ``free_bits`` above 0.

    Source: Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016, section 3.
    """

    metric_notes: ClassVar[dict[str, str]] = {"loss": "−log (1/k) Σ p(x, z)/q(z|x), nats per image"}

    def __init__(
        self, input_shape: tuple[int, ...], latent_dim: int = 2, num_samples: int = 5, **vae: Any
    ) -> None:
        super().__init__(input_shape, latent_dim, **vae)
        check_at_least(1, num_samples=num_samples)
        if self.hparams["kl_warmup"] or self.hparams["free_bits"]:
            raise InputError(
                "the importance-weighted bound has no KL term: leave kl_warmup and free_bits at 0"
            )

    def step(self, batch: Any) -> dict[str, Tensor]:
        gray = batch[0]
        x = self.binarize(gray)
        log_w = self.log_weights(x, num_samples=self.hparams["num_samples"])
        loss = -log_mean_exp(log_w).mean()
        parts = {"loss": loss, "neg_elbo": -log_w.mean()}
        if not self.training:
            parts |= {
                "bits_per_dim": self.bits_per_dim(loss),
                "mse": F.mse_loss(widen(self.reconstruct(gray)), widen(gray)),
            }
        return parts

    def describe_metrics(self) -> dict[str, str]:
        return super().describe_metrics() | {
            "bits_per_dim": "importance-weighted bound in bits per pixel and channel",
        }

"""The importance-weighted autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError, check_at_least
from zoo.functional.likelihoods import log_mean_exp
from zoo.models.latent.vae import VAE


class IWAE(VAE):
    """Importance-weighted autoencoder: minimises −E log (1/k) Σ_i w_i, w = p(x, z)/q(z|x).

    The bound rises with k towards log p(x). Its gradient weighs each draw's own by the share
    w_i / Σ w, which automatic differentiation of log-sum-exp gives by itself.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        num_samples: k, default 5.
        **vae: see :class:`VAE`; the bound has no KL of its own that could be warmed up or freed.

    Raises:
        ValueError: fewer than one draw; KL options.

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
                "mse": F.mse_loss(self.reconstruct(gray), gray),
            }
        return parts

    def describe_metrics(self) -> dict[str, str]:
        return super().describe_metrics() | {
            "bits_per_dim": "the importance-weighted bound in bits per pixel and channel",
        }

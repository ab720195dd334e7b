"""VAEs with a tighter bound or a richer prior."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.functional.likelihoods import gaussian_log_prob, log_mean_exp
from zoo.latent.vae import VAE


class IWAE(VAE):
    """Importance-weighted autoencoder: minimises −E log (1/k) Σ_i w_i, w = p(x, z)/q(z|x).

    The bound rises with k towards log p(x). Its gradient weighs each draw's own by the share
    w_i / Σ w, which automatic differentiation of log-sum-exp gives by itself.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        num_draws: k, default 5.
        **vae: see :class:`VAE`; the bound has no KL of its own that could be warmed up or freed.

    Raises:
        ValueError: fewer than one draw; KL options.

    Source: Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016, section 3.
    """

    metric_notes: ClassVar[dict[str, str]] = {"loss": "−log (1/k) Σ p(x, z)/q(z|x), nats per image"}

    def __init__(
        self, input_shape: tuple[int, ...], latent_dim: int = 2, num_draws: int = 5, **vae: Any
    ) -> None:
        super().__init__(input_shape, latent_dim, **vae)
        if num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {num_draws}")
        if self.hparams["kl_warmup"] or self.hparams["free_bits"]:
            raise ValueError("the importance-weighted bound has no KL term: leave its options out")

    def step(self, batch: Any) -> dict[str, Tensor]:
        grey = batch[0]
        x = self.binarize(grey)
        log_w = self.log_weights(x, draws=self.hparams["num_draws"])
        loss = -log_mean_exp(log_w).mean()
        parts = {"loss": loss, "neg_elbo": -log_w.mean()}
        if not self.training:
            parts |= {
                "bits_per_dim": self.bits_per_dim(loss),
                "mse": F.mse_loss(self.reconstruct(grey), grey),
            }
        return parts

    def describe_metrics(self) -> dict[str, str]:
        return super().describe_metrics() | {
            "bits_per_dim": "the importance-weighted bound in bits per pixel and channel",
        }


class VampPriorVAE(VAE):
    """A VAE whose prior is a mixture of its own posteriors, p(z) = (1/K) Σ_k q(z|u_k).

    The pseudo-inputs u_k are learned images. The KL has no closed form; it is estimated with the
    draw of z.

    Args:
        input_shape: shape of one sample.
        latent_dim: D, default 2.
        num_pseudo_inputs: K, default 100.
        **vae: see :class:`VAE`; free bits need a KL for each dimension, which this prior lacks.

    Raises:
        ValueError: fewer than one pseudo-input; free bits.

    Source: Tomczak and Welling, VAE with a VampPrior, 2018, section 2.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        num_pseudo_inputs: int = 100,
        **vae: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **vae)
        if num_pseudo_inputs < 1:
            raise ValueError(f"num_pseudo_inputs must be at least 1, got {num_pseudo_inputs}")
        if self.hparams["free_bits"]:
            raise ValueError("free_bits need a KL for each latent dimension: choose another prior")
        # in [0, 1] through a sigmoid, first around the grey of a dark image
        self.pseudo_logits = nn.Parameter(torch.randn(num_pseudo_inputs, *self.input_shape) - 1)

    def pseudo_inputs(self) -> Tensor:
        """u, (K, *input_shape)."""
        return self.pseudo_logits.sigmoid()

    def log_prior(self, z: Tensor) -> Tensor:
        mean, log_var = self.posterior(self.pseudo_inputs())  # (K, D)
        log_q = gaussian_log_prob(mean, 0.5 * log_var, z[:, None])  # (B, K)
        return log_mean_exp(log_q, dim=1)

    def kl(self, mean: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
        return (gaussian_log_prob(mean, 0.5 * log_var, z) - self.log_prior(z))[:, None]

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        mean, log_var = self.posterior(self.pseudo_inputs())
        device = mean.device
        chosen = torch.randint(len(mean), (n,), generator=generator, device=device)
        noise = torch.randn(n, mean.shape[1], generator=generator, device=device).to(mean)
        return mean[chosen] + (0.5 * log_var[chosen]).exp() * noise

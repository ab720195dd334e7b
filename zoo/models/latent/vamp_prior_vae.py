"""VAE with a VampPrior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least
from zoo.functional.likelihoods import gaussian_log_prob, log_mean_exp
from zoo.models.latent.vae import VAE


class VampPriorVAE(VAE):
    """VAE with a VampPrior, a mixture of its own posteriors: p(z) = (1/K) Σ_k q(z|u_k).

    The pseudo-inputs u_k are learned images. The KL term has no closed form; it is estimated with
    the same sample of z as the reconstruction.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 2.
        num_pseudo_inputs: number of pseudo-inputs, K, default 100.
        **vae: see :class:`~zoo.models.latent.vae.VAE`; ``free_bits`` must be 0, as the KL of this
            prior is not a sum over latent dimensions.

    Raises:
        InputError: ``num_pseudo_inputs`` below 1; ``free_bits`` above 0.

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
        check_at_least(1, num_pseudo_inputs=num_pseudo_inputs)
        if self.hparams["free_bits"]:
            raise InputError(
                "free_bits needs a KL for each latent dimension, which a VampPrior does not have: "
                "leave free_bits at 0"
            )

    def build(self) -> None:
        super().build()
        # a sigmoid maps these to [0, 1]; the initial values correspond to a dark image
        count = self.hparams["num_pseudo_inputs"]
        self.pseudo_logits = nn.Parameter(torch.randn(count, *self.input_shape) - 1)

    def pseudo_inputs(self) -> Tensor:
        """Return the pseudo-inputs u, (K, *input_shape)."""
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

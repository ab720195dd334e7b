"""β-VAE."""

from __future__ import annotations

from typing import Any

from zoo.errors import check_non_negative
from zoo.models.latent.vae import VAE


class BetaVAE(VAE):
    """β-VAE: a VAE whose loss weights the KL term by β, E_q[−log p(x|z)] + β KL(q(z|x) ‖ p(z)).

    β > 1 gives up likelihood for codes with fewer and more independent active dimensions. The
    metric ``neg_elbo`` is that of β = 1.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 2.
        beta: weight of the KL term, β, default 4.
        **vae: see :class:`~zoo.models.latent.vae.VAE`.

    Raises:
        InputError: a negative ``beta``.

    Source: Higgins et al., β-VAE, 2017.
    """

    def __init__(
        self, input_shape: tuple[int, ...], latent_dim: int = 2, beta: float = 4.0, **vae: Any
    ) -> None:
        super().__init__(input_shape, latent_dim, **vae)
        check_non_negative(beta=beta)

    def kl_weight(self) -> float:
        return self.hparams["beta"] * super().kl_weight()

"""Densities over codes that ``model.sample(n, sampler=...)`` can sample from.

Training does not make the codes of an autoencoder follow a given distribution, and those of a VAE
match the prior only approximately. Samples improve if codes come from a density that is fitted to
the codes of the training data.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zoo.errors import InputError, check_at_least, check_choice
from zoo.models.latent.base import LatentModel, Sampler

SAMPLERS = ("prior", "gaussian", "mixture")


class PriorSampler:
    """A model's own density over codes, such as the prior of a VAE.

    Args:
        model: any latent model.
    """

    def __init__(self, model: LatentModel) -> None:
        self.model = model

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Sample ``n`` codes, (n, latent_dim)."""
        return self.model.sample_latent(n, generator)


class GaussianMixtureSampler:
    """A mixture of Gaussians, Σ_k π_k N(μ_k, C_k), fitted by expectation maximization.

    Args:
        codes: codes of the training data, (N, D).
        components: number of Gaussians, default 10.
        seed: random seed of the initialization, default 0.

    Raises:
        InputError: fewer than one component, more components than codes, or fewer than two codes.
    """

    def __init__(self, codes: Tensor, components: int = 10, seed: int = 0) -> None:
        from sklearn.mixture import GaussianMixture

        check_at_least(1, components=components)
        needed = max(2, components)
        if len(codes) < needed:
            raise InputError(
                f"fitting {components} Gaussian(s) needs at least {needed} codes, got {len(codes)}"
            )
        # scikit-learn adds reg_covar to the variances, so it is scaled with the codes
        scale = float(codes.double().std(0).mean()) or 1.0
        fitted: Any = GaussianMixture(components, reg_covar=1e-6 * scale**2, random_state=seed)
        fitted.fit(codes.detach().double().cpu().numpy())
        self.weights = torch.from_numpy(fitted.weights_)
        self.means = torch.from_numpy(fitted.means_)
        self.factors = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Sample ``n`` codes, (n, D).

        Args:
            n: number of codes.
            generator: random generator, default the global one of the CPU; the codes are on the
                generator's device.
        """
        device = generator.device if generator is not None else torch.device("cpu")
        weights, means, factors = (
            t.to(device, torch.float32) for t in (self.weights, self.means, self.factors)
        )
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, means.shape[1], generator=generator, device=device)
        return means[chosen] + torch.einsum("nij,nj->ni", factors[chosen], noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Compute the log density of codes in nats, (N, D) → (N,)."""
        z = z.detach().double().cpu()
        whitened = torch.linalg.solve_triangular(
            self.factors, (z[None] - self.means[:, None]).mT, upper=False
        )  # (K, D, N)
        log_det = self.factors.diagonal(dim1=1, dim2=2).log().sum(1)[:, None]
        dims = self.means.shape[1]
        log_p = -0.5 * (whitened.square().sum(1) + dims * math.log(2 * math.pi)) - log_det
        return (log_p + self.weights.log()[:, None]).logsumexp(0)


def fit_sampler(kind: str, model: LatentModel, codes: Tensor, components: int = 10) -> Sampler:
    """Fit a density over codes.

    Args:
        kind: ``prior`` (the model's own density, nothing is fitted), ``gaussian`` or ``mixture``
            (of Gaussians).
        model: the model of the codes.
        codes: codes of the training data, (N, D).
        components: number of Gaussians of a mixture, default 10.

    Raises:
        InputError: see :class:`GaussianMixtureSampler`; an unknown kind.
    """
    check_choice("sampler", kind, SAMPLERS)
    if kind == "prior":
        return PriorSampler(model)
    return GaussianMixtureSampler(codes, 1 if kind == "gaussian" else components)

"""Densities over codes, apart from the models: ``model.sample(n, sampler=…)``.

An autoencoder's codes follow no law that training would have imposed; a VAE's fill its prior only
nearly. A density fitted to the codes of the training data closes the gap.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zoo.errors import unknown
from zoo.models.latent.base import LatentModel, Sampler


class PriorSampler:
    """The model's own density over codes: the prior of a VAE.

    Args:
        model: any latent model.
    """

    def __init__(self, model: LatentModel) -> None:
        self.model = model

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.model.sample_latent(n, generator)


class GaussianMixtureSampler:
    """A mixture of Gaussians, Σ_k π_k N(μ_k, C_k), fitted by expectation maximisation.

    Args:
        codes: of the training data, (N, D).
        components: at most; default 10. One is a single Gaussian.
        seed: of the starting points, default 0.

    Raises:
        ValueError: no component, or more than codes.
    """

    def __init__(self, codes: Tensor, components: int = 10, seed: int = 0) -> None:
        from sklearn.mixture import GaussianMixture

        if not 1 <= components <= len(codes):
            raise ValueError(
                f"a mixture of {components} Gaussians cannot be fitted to {len(codes)} codes"
            )
        # scikit-learn's floor of the variances is absolute: 1e-6 of the codes' own scale
        scale = float(codes.double().std(0).mean()) or 1.0
        fitted: Any = GaussianMixture(components, reg_covar=1e-6 * scale**2, random_state=seed)
        fitted.fit(codes.detach().double().cpu().numpy())
        self.weights = torch.from_numpy(fitted.weights_)
        self.means = torch.from_numpy(fitted.means_)
        self.factors = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        device = generator.device if generator is not None else torch.device("cpu")
        weights, means, factors = (
            t.to(device, torch.float32) for t in (self.weights, self.means, self.factors)
        )
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, means.shape[1], generator=generator, device=device)
        return means[chosen] + torch.einsum("nij,nj->ni", factors[chosen], noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """log density of codes in nats, (N, D) → (N,)."""
        z = z.detach().double().cpu()
        away = torch.linalg.solve_triangular(
            self.factors, (z[None] - self.means[:, None]).mT, upper=False
        )  # (K, D, N)
        log_det = self.factors.diagonal(dim1=1, dim2=2).log().sum(1)[:, None]
        dims = self.means.shape[1]
        each = -0.5 * (away.square().sum(1) + dims * math.log(2 * math.pi)) - log_det
        return (each + self.weights.log()[:, None]).logsumexp(0)


SAMPLERS = ("prior", "gaussian", "mixture")


def fit_sampler(kind: str, model: LatentModel, codes: Tensor, components: int = 10) -> Sampler:
    """A density over codes by its name.

    Args:
        kind: ``prior`` (the model's own), ``gaussian`` (one, fitted) or ``mixture`` (of
            ``connected_components``, fitted).
        model: whose codes they are.
        codes: of the training data, (N, D).
        components: of the mixture, default 10.

    Raises:
        InputError: unknown kind.
    """
    if kind not in SAMPLERS:
        raise unknown("sampler", kind, SAMPLERS)
    if kind == "prior":
        return PriorSampler(model)
    return GaussianMixtureSampler(codes, 1 if kind == "gaussian" else components)

"""Principal component analysis."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from zoo.core.closed_form import MomentsTask
from zoo.errors import InputError
from zoo.functional.linear import nonzero_eigenvalue_mask
from zoo.functional.moments import FactoredMoments, Moments
from zoo.functional.precision import widen
from zoo.models.latent.base import LatentModel


class PCA(MomentsTask, LatentModel):
    """Principal component analysis: the linear encoder and decoder with the smallest squared error.

        z = W (x − μ),   x̂ = μ + Wᵀ z

    The rows of W are the orthonormal eigenvectors of the training data's covariance with the D
    largest eigenvalues λ_d. They are computed in one pass over the data, in batches and on any
    number of processes, in the memory of one min(n, P) × P matrix, where n is the number of samples
    and P the number of values of a sample.

    The density of the model is that of probabilistic PCA, p(x) = N(μ, Wᵀ(Λ − σ²I)W + σ²I), where
    σ² is the mean of the other P − D eigenvalues. ``log_prob`` is exact; ``sample_latent`` samples
    codes from N(0, Λ).

    Args:
        input_shape: shape of one sample; it is flattened to P values.
        latent_dim: number of components, D, default 2.
        solver: ``covariance`` (eigenvectors of the P × P covariance), ``svd`` (singular vectors of
            a triangular factor of the covariance, which has at most n rows and is more precise for
            small λ), or ``auto`` (default): ``svd`` if n < P, else ``covariance``.
        **latent: see :class:`~zoo.models.latent.base.LatentModel`. PCA has no network, so
            ``network``, ``hidden_dims`` and ``activation`` have no effect.

    Attributes:
        components: W, (D, P); the entry with the largest absolute value in each row is positive.
        explained_variance: eigenvalues λ, (D,).
        explained_variance_ratio: fraction of the total variance that each component explains, (D,).
        noise_variance: σ².

    Shapes: x (B, *input_shape), z (B, D).

    Raises:
        InputError: an unknown solver; D not below P; nan or infinite values, or fewer than two
            samples, in the training data.

    Source: Hastie, Tibshirani and Friedman, The elements of statistical learning, 14.5; Tipping
    and Bishop, Probabilistic principal component analysis, 1999.
    """

    solvers = ("auto", "covariance", "svd")
    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error per pixel of decode(encode(x))",
        "nll": "−log p(x) of probabilistic PCA, nats per sample",
    }
    explained_variance: Tensor
    total_variance: Tensor
    noise_variance: Tensor

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        solver: str = "auto",
        **latent: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **latent)
        self._set_solver(solver, dict.fromkeys(self.solvers, ()))
        self.moments_class = FactoredMoments if solver == "svd" else Moments

    def build(self) -> None:
        features = math.prod(self.input_shape)
        self.mean = nn.Parameter(torch.zeros(features))
        self.components = nn.Parameter(torch.eye(self.latent_dim, features))
        self.register_buffer("explained_variance", torch.ones(self.latent_dim))
        self.register_buffer("total_variance", torch.tensor(float(features)))
        self.register_buffer("noise_variance", torch.tensor(1.0))

    # -- codes and samples ----------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - self.mean) @ self.components.mT

    def decode(self, z: Tensor) -> Tensor:
        """Return x̂, (B, D) → (B, *input_shape); its values may be outside [0, 1]."""
        return (self.mean + z @ self.components).unflatten(1, self.input_shape)

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        scale = self.explained_variance.sqrt()
        shape = (n, self.latent_dim)
        return scale * torch.randn(shape, generator=generator, device=scale.device).to(scale)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute log p(x) of probabilistic PCA in nats, (B,)."""
        z = widen(self.encode(x))
        centered = widen(x.flatten(1)) - widen(self.mean)
        variance, noise = widen(self.explained_variance), widen(self.noise_variance)
        residual = centered.square().sum(1) - z.square().sum(1)
        features, dims = len(self.mean), self.latent_dim
        log_det = variance.log().sum() + (features - dims) * noise.log()
        mahalanobis = (z.square() / variance).sum(1) + residual / noise
        return -0.5 * (features * math.log(2 * math.pi) + log_det + mahalanobis)

    @property
    def explained_variance_ratio(self) -> Tensor:
        return self.explained_variance / self.total_variance

    # -- fitting --------------------------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Tensor]:
        x = batch[0]
        mse = F.mse_loss(widen(self.reconstruct(x)), widen(x))
        parts = {"loss": mse, "mse": mse}
        if not self.training:
            parts["nll"] = -self.log_prob(x).mean()
        return parts

    def accumulate(self, x: Tensor, y: Tensor) -> None:
        if self.hparams["solver"] == "auto" and self._moments is None:
            samples = self.trainer.num_training_batches * len(x) * self.trainer.world_size
            self.moments_class = FactoredMoments if samples < len(self.mean) else Moments
        self.add_rows(x.flatten(1))

    def solve(self) -> tuple[dict[str, Tensor], int]:
        moments = self.pop_moments()
        self._check_finite(moments.mean)
        if moments.n < 2:
            raise InputError("PCA needs at least two training samples, the data has one")
        dims, features = self.latent_dim, len(self.mean)
        eigenvalues, eigenvectors = principal_components(moments, dims)  # (P,), (P, D)
        rank = min(int(nonzero_eigenvalue_mask(eigenvalues).sum()), moments.n - 1)
        if rank < dims:
            rank_zero_warn(
                f"the training data varies in only {rank} direction(s): the last {dims - rank} of "
                f"{dims} components are arbitrary; choose a smaller latent_dim"
            )
        rows = eigenvectors.mT
        signs = rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
        # a positive lower bound, as there is no density where a variance is zero
        floor = torch.finfo(self.mean.dtype).tiny * features
        self.mean.copy_(moments.mean)
        self.components.copy_(rows * signs)
        self.explained_variance.copy_(eigenvalues[:dims].clamp(min=floor))
        self.total_variance.copy_(eigenvalues.sum())
        self.noise_variance.copy_(eigenvalues[dims:].mean().clamp(min=floor))
        self.trainer.should_stop = True  # another pass would give the same components
        mse = eigenvalues[dims:].sum() * (moments.n - 1) / (moments.n * features)
        return {"loss": mse, "mse": mse}, moments.n


def fit_components(samples: Tensor, dims: int, batch_size: int = 512) -> tuple[Tensor, Tensor]:
    """Fit principal components to samples, without a model.

    Args:
        samples: training samples, (N, *input_shape).
        dims: number of components, D.
        batch_size: samples that are merged at once, default 512.

    Returns:
        Mean (P,), and components as columns, (P, D), in float64.
    """
    # for few samples of many values, a triangular factor is smaller than the scatter matrix
    kind = FactoredMoments if len(samples) < samples[0].numel() else Moments
    first, *others = (kind.from_samples(batch.flatten(1)) for batch in samples.split(batch_size))
    moments = reduce(lambda one, other: one.merge(other), others, first)
    return moments.mean, principal_components(moments, dims)[1]


def projection_error(samples: Tensor, mean: Tensor, components: Tensor) -> Tensor:
    """Compute the mean squared error of samples projected onto components, a scalar.

    Args:
        samples: samples, (N, *input_shape).
        mean: mean of the training samples, (P,).
        components: orthonormal components as columns, (P, D).
    """
    centered = samples.flatten(1).to(mean) - mean
    return (centered - centered @ components @ components.mT).square().mean()


def principal_components(moments: Moments, dims: int) -> tuple[Tensor, Tensor]:
    """Compute eigenvalues and eigenvectors of a covariance, in descending order of eigenvalues.

    Args:
        moments: mean and scatter of P features; the covariance has the divisor n − 1.
        dims: number of eigenvectors, D.

    Returns:
        All eigenvalues, (P,), and the first D eigenvectors as columns, (P, D).
    """
    divisor = max(moments.n - 1, 1)
    if not isinstance(moments, FactoredMoments):
        values, vectors = torch.linalg.eigh(moments.scatter / divisor)
        return values.flip(0).clamp(min=0), vectors.flip(1)[:, :dims]
    _, singular, rows = torch.linalg.svd(moments.factor, full_matrices=False)
    features, found = len(moments.mean), len(singular)
    values = F.pad(singular.square() / divisor, (0, features - found))
    if found < dims:  # complete the basis with orthogonal directions of zero variance
        unit = torch.eye(features, dims, dtype=rows.dtype, device=rows.device)
        rows = torch.linalg.qr(torch.cat([rows.mT, unit], 1)).Q[:, :dims].mT
    return values, rows[:dims].mT

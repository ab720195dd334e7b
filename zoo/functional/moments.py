"""Mean and scatter matrix of samples, merged exactly over batches and processes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class Moments:
    """Number n, mean μ and scatter matrix S = Σ (x − μ)(x − μ)ᵀ of samples.

    Batches are merged by S ← S + S_b + δ δᵀ n n_b / (n + n_b) with δ = μ_b − μ, which is exact and
    does not lose precision when the mean is large. All tensors are float64, except on devices
    without it (MPS).

    Args:
        n: number of samples.
        mean: μ, (Q,).
        scatter: S, (Q, Q).

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, 1979.
    """

    def __init__(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        self.n, self.mean, self.scatter = n, mean, scatter

    @classmethod
    def from_samples(cls, samples: Tensor) -> Moments:
        """Compute the moments of the rows of a matrix, (N, Q)."""
        samples = _as_double(samples)
        mean = samples.mean(0)
        centered = samples - mean
        return cls(len(samples), mean, centered.mT @ centered)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the union of both sets of samples, on the device of this one."""
        n = self.n + other.n
        delta = other.mean.to(self.mean) - self.mean
        scatter = self.scatter + other.scatter.to(self.scatter)
        scatter = scatter + torch.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, self.mean + delta * (other.n / n), scatter)

    @property
    def num_rows(self) -> int:
        """Number of rows of the stored matrix, S."""
        return len(self.scatter)

    def padded(self, num_rows: int) -> Moments:
        """Return the same moments with the stored matrix zero-padded to at least ``num_rows`` rows.

        To gather the moments of several processes their tensors need equal shapes.
        """
        return self

    def uncentered_scatter(self) -> Tensor:
        """Return Σ x xᵀ, (Q, Q)."""
        return self.scatter + self.n * torch.outer(self.mean, self.mean)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the moments as named tensors."""
        return {"n": torch.tensor(self.n), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> Moments:
        """Return the moments from the named tensors of :meth:`state_dict`."""
        return cls(int(state["n"]), state["mean"], state["scatter"])


class FactoredMoments(Moments):
    """Moments with the scatter matrix stored as a triangular factor R, S = RᵀR.

    R retains all digits of the samples; forming S would lose half of them. It has about n rows and
    at most Q, which saves memory for few samples of many features, such as shapes with thousands of
    vertices.

    Batches are merged by the QR decomposition of both factors R stacked with the row
    √(n n_b / (n + n_b)) δᵀ.

    Args:
        n: number of samples.
        mean: μ, (Q,).
        factor: R, upper triangular, (num_rows, Q).

    Source: Ross et al., Incremental learning for robust visual tracking, 2008, section 3, with R
    instead of the singular values.
    """

    def __init__(self, n: int, mean: Tensor, factor: Tensor) -> None:
        self.n, self.mean, self.factor = n, mean, factor

    @property
    def scatter(self) -> Tensor:  # type: ignore[override]
        """S = RᵀR, (Q, Q)."""
        return self.factor.mT @ self.factor

    @classmethod
    def from_samples(cls, samples: Tensor) -> FactoredMoments:
        samples = _as_double(samples)
        mean = samples.mean(0)
        return cls(len(samples), mean, _triangular_factor(samples - mean))

    def merge(self, other: Moments) -> FactoredMoments:
        assert isinstance(other, FactoredMoments)
        n = self.n + other.n
        delta = other.mean.to(self.mean) - self.mean
        row = delta * math.sqrt(self.n * other.n / n)
        stacked = torch.cat([self.factor, other.factor.to(self.factor), row[None]])
        return FactoredMoments(n, self.mean + delta * (other.n / n), _triangular_factor(stacked))

    @property
    def num_rows(self) -> int:
        """Number of rows of the stored matrix, R."""
        return len(self.factor)

    def padded(self, num_rows: int) -> FactoredMoments:
        zeros = self.factor.new_zeros(max(num_rows - self.num_rows, 0), len(self.mean))
        return FactoredMoments(self.n, self.mean, torch.cat([self.factor, zeros]))

    def state_dict(self) -> dict[str, Tensor]:
        return {"n": torch.tensor(self.n), "mean": self.mean, "factor": self.factor}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> FactoredMoments:
        return cls(int(state["n"]), state["mean"], state["factor"])


def _as_double(samples: Tensor) -> Tensor:
    return samples if samples.device.type == "mps" else samples.double()


def _triangular_factor(matrix: Tensor) -> Tensor:
    """Return R of the QR decomposition of a matrix (N, Q), (min(N, Q), Q)."""
    return torch.linalg.qr(matrix, mode="r").R

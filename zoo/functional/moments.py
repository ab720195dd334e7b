"""Means and scatter matrices that are added up batch by batch and process by process."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class Moments:
    """Number n, mean μ and scatter S = Σ (x − μ)(x − μ)ᵀ of the rows seen so far.

    Batches are merged by S ← S + S_b + δ δᵀ n n_b / (n + n_b) with δ = μ_b − μ, which is exact and
    loses no digits when the mean is large. Kept in float64 where the device has it.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, 1979.
    """

    def __init__(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        self.n, self.mean, self.scatter = n, mean, scatter

    @classmethod
    def of(cls, rows: Tensor) -> Moments:
        """Of the rows of a matrix, (N, Q)."""
        rows = rows if rows.device.type == "mps" else rows.double()
        mean = rows.mean(0)
        centered = rows - mean
        return cls(len(rows), mean, centered.mT @ centered)

    def merge(self, other: Moments) -> Moments:
        """Of both sets of rows together, where this one lies."""
        n = self.n + other.n
        delta = other.mean.to(self.mean) - self.mean
        scatter = self.scatter + other.scatter.to(self.scatter)
        scatter = scatter + torch.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, self.mean + delta * (other.n / n), scatter)

    def alike(self, n: int) -> Moments:
        """The same in tensors of the shapes that ``n`` rows would have, no fewer than these: such
        can be gathered from processes."""
        return self

    def about_zero(self) -> Tensor:
        """Σ x xᵀ, (Q, Q)."""
        return self.scatter + self.n * torch.outer(self.mean, self.mean)

    def state_dict(self) -> dict[str, Tensor]:
        return {"n": torch.tensor(self.n), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> Moments:
        return cls(int(state["n"]), state["mean"], state["scatter"])


class FactoredMoments(Moments):
    """The same moments with S as RᵀR, R upper triangular: half the digits of S are never lost.

    R has as many rows as there have been samples, Q at most: few samples of many numbers, such as
    shapes of thousands of vertices, take little room.

    Batches are merged by the QR decomposition of both R on top of each other with the row
    √(n n_b / (n + n_b)) δᵀ.

    Source: Ross et al., Incremental learning for robust visual tracking, 2008, section 3, with R in
    place of the singular values.
    """

    def __init__(self, n: int, mean: Tensor, factor: Tensor) -> None:
        self.n, self.mean, self.factor = n, mean, factor

    @property
    def scatter(self) -> Tensor:  # type: ignore[override]
        return self.factor.mT @ self.factor

    def alike(self, n: int) -> FactoredMoments:
        missing = min(n, len(self.mean)) - len(self.factor)
        rows = self.factor.new_zeros(max(missing, 0), len(self.mean))
        return FactoredMoments(self.n, self.mean, torch.cat([self.factor, rows]))

    @classmethod
    def of(cls, rows: Tensor) -> FactoredMoments:
        rows = rows if rows.device.type == "mps" else rows.double()
        mean = rows.mean(0)
        return cls(len(rows), mean, _triangle(rows - mean))

    def merge(self, other: Moments) -> FactoredMoments:
        assert isinstance(other, FactoredMoments)
        n = self.n + other.n
        delta = other.mean.to(self.mean) - self.mean
        row = delta * math.sqrt(self.n * other.n / n)
        stacked = torch.cat([self.factor, other.factor.to(self.factor), row[None]])
        return FactoredMoments(n, self.mean + delta * (other.n / n), _triangle(stacked))

    def state_dict(self) -> dict[str, Tensor]:
        return {"n": torch.tensor(self.n), "mean": self.mean, "factor": self.factor}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> FactoredMoments:
        return cls(int(state["n"]), state["mean"], state["factor"])


def _triangle(rows: Tensor) -> Tensor:
    """R of the QR decomposition, (min(N, Q), Q)."""
    return torch.linalg.qr(rows, mode="r").R

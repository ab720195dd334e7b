"""Means and scatter matrices that are added up batch by batch and process by process."""

from __future__ import annotations

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
        centred = rows - mean
        return cls(len(rows), mean, centred.mT @ centred)

    def merge(self, other: Moments) -> Moments:
        """Of both sets of rows together, where this one lies."""
        n = self.n + other.n
        delta = other.mean.to(self.mean) - self.mean
        scatter = self.scatter + other.scatter.to(self.scatter)
        scatter = scatter + torch.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, self.mean + delta * (other.n / n), scatter)

    def about_zero(self) -> Tensor:
        """Σ x xᵀ, (Q, Q)."""
        return self.scatter + self.n * torch.outer(self.mean, self.mean)

    def state_dict(self) -> dict[str, Tensor]:
        return {"n": torch.tensor(self.n), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> Moments:
        return cls(int(state["n"]), state["mean"], state["scatter"])

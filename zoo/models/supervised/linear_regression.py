"""Linear and polynomial regression, solved in closed form, by proximal gradient or by SGD."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from zoo.core.closed_form import MomentsTask
from zoo.core.regression import Regressor
from zoo.errors import InputError, check_at_least, check_choice
from zoo.functional.linear import (
    fista,
    legendre_features,
    monomial_exponents,
    monomial_features,
    solve_normal_equations,
)
from zoo.functional.precision import widen

BASES = ("orthogonal", "raw")


class LinearRegression(MomentsTask, Regressor):
    """Least squares ŷ = W φ(x) + b, with optional penalties.

    Minimizes (1/nT) Σ (ŷ − y)² + l1 Σ|W| + l2 Σ W² (+ lp Σ|W|^p); the intercept b is not penalized.
    scikit-learn's ``Ridge(alpha)`` corresponds to l2 = alpha/(nT), and its ``Lasso(alpha)`` to
    l1 = 2 alpha for one target.

    If the features do not determine W, the solution of minimum norm is used, with a warning.

    Args:
        input_shape: shape of one sample, flattened to P features.
        num_targets: number of targets per sample, T.
        solver: ``closed_form`` (default): normal equations, supports l2; ``fista``: proximal
            gradient on the same sums, supports l1 and l2; ``gradient``: the optimizer, supports
            all penalties.
        intercept: whether there is an intercept b, default True.
        **regressor: see :class:`zoo.core.regression.Regressor`.

    Shapes: (B, *input_shape) → (B, T).

    Raises:
        InputError: unknown solver, or one that does not support a given penalty; nan or infinite
            values in the training data.

    Source: Hastie, Tibshirani and Friedman, The elements of statistical learning, 2009, sections
    3.2 and 3.4.
    """

    solvers = ("closed_form", "fista", "gradient")

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_targets: int,
        solver: str = "closed_form",
        intercept: bool = True,
        **regressor: Any,
    ) -> None:
        super().__init__(num_targets, **regressor)
        self.input_shape = tuple(input_shape)
        self._set_solver(solver, {"closed_form": ("l2",), "fista": ("l1", "l2")})

    def build(self) -> None:
        bias = self.hparams["intercept"]
        self.network = nn.Linear(self.num_features(), self.num_targets, bias=bias)
        if not self.automatic_optimization:
            for parameter in self.network.parameters():
                nn.init.zeros_(parameter)

    def num_features(self) -> int:
        """Return the number of features that ``features`` computes, P."""
        return math.prod(self.input_shape)

    def features(self, x: Tensor) -> Tensor:
        """Compute the features φ(x), (B, *input_shape) → (B, P)."""
        return x.flatten(1)

    def predict(self, x: Tensor) -> Tensor:
        return self.network(self.features(x))

    def accumulate(self, x: Tensor, y: Tensor) -> None:
        features = widen(self.features(x))
        targets = self._targets(y, features.new_empty(len(x), self.num_targets))
        self.add_rows(torch.cat([features, targets], dim=1))

    def solve(self) -> tuple[dict[str, Tensor], int]:
        moments = self.pop_moments()
        features, hp = self.num_features(), self.hparams
        mean_x, mean_y = moments.mean[:features], moments.mean[features:]
        self._check_finite(mean_x)
        self._check_finite(mean_y, "target")
        scatter = moments.scatter if hp["intercept"] else moments.uncentered_scatter()
        gram, cross = scatter[:features, :features], scatter[:features, features:]
        terms = moments.n * self.num_targets
        if hp["solver"] == "fista":
            weights = self._solve_by_fista(gram / terms, cross / terms)
        else:
            weights = self._solve_normal_equations(gram, cross, terms * hp["l2"], moments.n)
        self.network.weight.copy_(weights.mT)
        if hp["intercept"]:
            self.network.bias.copy_(mean_y - mean_x @ weights)
        error = scatter[features:, features:] - 2 * weights.mT @ cross + weights.mT @ gram @ weights
        mse = error.diagonal().sum() / terms
        self.trainer.should_stop = True  # another pass would give the same solution
        return self._penalized({"loss": mse, "mse": mse}), moments.n

    def _solve_by_fista(self, gram: Tensor, cross: Tensor) -> Tensor:
        weights, converged = fista(gram, cross, self.hparams["l1"], self.hparams["l2"])
        if not converged:
            rank_zero_warn(
                "FISTA reached its maximum number of iterations before it converged: the features "
                "are nearly linearly dependent; scale them, or set l2"
            )
        return weights

    def _solve_normal_equations(
        self, gram: Tensor, cross: Tensor, ridge: float, samples: int
    ) -> Tensor:
        weights, rank = solve_normal_equations(gram, cross, ridge)
        if rank < len(gram):
            rank_zero_warn(
                f"{samples} samples determine only {rank} of {len(gram)} directions of the "
                "weights, because features are constant, linearly dependent or more numerous than "
                "the samples: using the solution of minimum norm"
            )
        return weights


class PolynomialRegression(LinearRegression):
    """Least squares on all monomials of the features up to a degree.

    ŷ = b + Σ_α W_α Π_i b_{α_i}(x_i) over exponents 1 ≤ Σ α_i ≤ degree, where b_k(x) is x^k, or
    √(2k+1) times the Legendre polynomial of degree k on ``interval``. Both bases give the same
    function, but the normal equations are well conditioned at any degree only in the second.

    With fewer samples than coefficients, the solution of minimum norm is used, with a warning.

    Args:
        input_shape: shape of one sample, flattened.
        num_targets: number of targets per sample, T.
        degree: largest total degree of a monomial, default 3.
        basis: ``orthogonal`` (default; Legendre polynomials) or ``raw`` (powers).
        interval: interval of the features on which the Legendre polynomials are orthogonal,
            default (−1, 1).
        **linear: see :class:`LinearRegression`.

    Shapes: (B, *input_shape) → (B, T).

    Raises:
        InputError: a degree below 1, an unknown basis, an empty interval, or more than 10,000
            monomials.
    """

    max_monomials = 10_000

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_targets: int,
        degree: int = 3,
        basis: str = "orthogonal",
        interval: tuple[float, float] = (-1.0, 1.0),
        **linear: Any,
    ) -> None:
        check_at_least(1, degree=degree)
        check_choice("basis", basis, BASES)
        if len(interval) != 2 or interval[0] >= interval[1]:
            raise InputError(
                f"interval must go from a smaller to a larger number, got {tuple(interval)}"
            )
        variables = math.prod(input_shape)
        monomials = math.comb(variables + degree, degree) - 1
        if monomials > self.max_monomials:
            raise InputError(
                f"degree {degree} in {variables} features makes {monomials:,} monomials; at most "
                f"{self.max_monomials:,} are supported: choose a lower degree"
            )
        self._exponents = monomial_exponents(variables, degree)
        super().__init__(input_shape, num_targets, **linear)
        self.degree, self.basis, self.interval = degree, basis, tuple(interval)

    def num_features(self) -> int:
        return len(self._exponents)

    def features(self, x: Tensor) -> Tensor:
        low, high = self.interval
        x = x.flatten(1)
        if self.basis == "orthogonal":
            powers = legendre_features((2 * x - low - high) / (high - low), self.degree)
        else:
            powers = monomial_features(x, self.degree)  # (B, variables, degree + 1)
        columns = []
        for exponents in self._exponents:
            factors = [powers[:, i, k] for i, k in enumerate(exponents) if k]
            columns.append(torch.stack(factors).prod(0))
        return torch.stack(columns, dim=1)

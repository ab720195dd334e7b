"""Linear models: least squares, polynomials, logistic regression, each with an exact solver."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.core.closed_form import ClosedFormTask, MomentsTask
from zoo.core.regression import Regressor
from zoo.errors import InputError
from zoo.functional.linear import (
    fista,
    legendre_features,
    logistic_loss_gradient_hessian,
    monomial_exponents,
    monomial_features,
    solve_normal_equations,
)


class LinearRegression(MomentsTask, Regressor):
    """ŷ = W φ(x) + b by least squares, with or without penalties.

    Minimises (1/nT) Σ (ŷ − y)² + l1 Σ|W| + l2 Σ W² (+ lp Σ|W|^p); the intercept b is free.
    scikit-learn's ``Ridge(alpha)`` is l2 = alpha/(nT), its ``Lasso(alpha)`` is l1 = 2 alpha for
    one target.

    Args:
        input_shape: shape of one sample; flattened to P features.
        num_targets: T.
        solver: ``closed_form`` (default: normal equations; l2), ``fista`` (proximal gradient on
            the same sums; l1 and l2) or ``gradient`` (any optimiser, any penalty).
        intercept: whether there is b, default yes.
        **regressor: see :class:`zoo.core.regression.Regressor`.

    Where the features do not determine W, the solution of minimum norm is taken, with a warning.

    Shapes: (B, *input_shape) → (B, T).

    Raises:
        ValueError: unknown solver, or one that cannot do the penalties asked for.
        InputError: nan or infinite values in the training data.

    Source: Hastie, Tibshirani and Friedman, The elements of statistical learning, 3.2 and 3.4.
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
        """Length of ``features(x)``."""
        return math.prod(self.input_shape)

    def features(self, x: Tensor) -> Tensor:
        """φ: (B, *input_shape) → (B, P)."""
        return x.flatten(1)

    def predict(self, x: Tensor) -> Tensor:
        return self.network(self.features(x))

    def accumulate(self, x: Tensor, y: Tensor) -> None:
        columns = self.features(x)
        target = self._targets(y, columns.new_empty(len(x), self.num_targets))
        self.add_rows(torch.cat([columns, target], dim=1))

    def solve(self) -> tuple[dict[str, Tensor], int]:
        moments = self.pop_moments()
        features, hp = self.num_features(), self.hparams
        self._check_finite(moments.mean[:features])
        self._check_finite(moments.mean[features:], "target")
        scatter = moments.scatter if hp["intercept"] else moments.uncentered_scatter()
        gram, cross = scatter[:features, :features], scatter[:features, features:]
        terms = moments.n * self.num_targets
        if hp["solver"] == "fista":
            weights, converged = fista(gram / terms, cross / terms, hp["l1"], hp["l2"])
            if not converged:
                rank_zero_warn(
                    "FISTA stopped at its last iteration before the weights had settled: the "
                    "columns nearly depend on each other; scale them, or add l2"
                )
        else:
            weights, rank = solve_normal_equations(gram, cross, terms * hp["l2"])
            if rank < features:
                rank_zero_warn(
                    f"{moments.n} samples determine {rank} of {features} directions of the "
                    "weights (columns that are constant, depend on each other, or outnumber the "
                    "samples): the solution of minimum norm is taken"
                )
        mean_x, mean_y = moments.mean[:features], moments.mean[features:]
        self.network.weight.copy_(weights.mT)
        if hp["intercept"]:
            self.network.bias.copy_(mean_y - mean_x @ weights)
        error = scatter[features:, features:] - 2 * weights.mT @ cross + weights.mT @ gram @ weights
        mse = error.diagonal().sum() / terms
        self.trainer.should_stop = True  # another pass would give the same
        return self._penalized({"loss": mse, "mse": mse}), moments.n


class PolynomialRegression(LinearRegression):
    """Least squares on all monomials of the features up to a degree.

    ŷ = b + Σ_α W_α Π_i b_{α_i}(x_i) over exponents 1 ≤ Σ α_i ≤ degree, with b_k(x) = x^k, or
    √(2k+1) times the Legendre polynomial of degree k on ``interval``. Both bases give the same
    function; the second one's equations stay well conditioned at any degree.

    Args:
        input_shape, num_targets: of the data.
        degree: default 3.
        basis: ``orthogonal`` (default) or ``raw``.
        interval: of the features, default (−1, 1).
        **linear: see :class:`LinearRegression`.

    A degree of as many as the samples leaves the coefficients undetermined: the solution of minimum
    norm is taken, with a warning.

    Raises:
        ValueError: a degree below 1, an unknown basis, more than 10,000 monomials.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_targets: int,
        degree: int = 3,
        basis: str = "orthogonal",
        interval: tuple[float, float] = (-1.0, 1.0),
        **linear: Any,
    ) -> None:
        if degree < 1:
            raise ValueError(f"degree must be at least 1, got {degree}")
        if basis not in ("orthogonal", "raw"):
            raise ValueError(f"unknown basis {basis!r}; choose from orthogonal, raw")
        if interval[0] >= interval[1]:
            raise ValueError(f"interval must go from a smaller to a larger number, got {interval}")
        count = math.comb(math.prod(input_shape) + degree, degree) - 1
        if count > 10_000:
            raise ValueError(
                f"degree {degree} in {math.prod(input_shape)} features makes {count:,} monomials; "
                "at most 10,000: choose a lower degree"
            )
        self._terms = monomial_exponents(math.prod(input_shape), degree)
        super().__init__(input_shape, num_targets, **linear)
        self.degree, self.basis, self.interval = degree, basis, tuple(interval)

    def num_features(self) -> int:
        return len(self._terms)

    def features(self, x: Tensor) -> Tensor:
        low, high = self.interval
        x = x.flatten(1)
        if self.basis == "orthogonal":
            table = legendre_features((2 * x - low - high) / (high - low), self.degree)
        else:
            table = monomial_features(x, self.degree)  # (B, features, degree + 1)
        columns = []
        for exponents in self._terms:
            factors = [table[:, i, k] for i, k in enumerate(exponents) if k]
            columns.append(torch.stack(factors).prod(0))
        return torch.stack(columns, dim=1)


class LogisticRegression(ClosedFormTask, Classifier):
    """p(k|x) = softmax(W x + b)_k, a convex problem; for two classes p(1|x) = σ(w·x + b).

    Minimises the mean cross-entropy + l1 Σ|W| + l2 Σ W². scikit-learn's ``C`` is l2 = 1/(2 n C).

    Args:
        input_shape: shape of one sample; flattened.
        num_classes: K; two classes share one row of weights.
        solver: ``newton`` (default; iteratively reweighted least squares, one iteration an epoch;
            l2) or ``gradient`` (any optimiser, any penalty).
        tolerance: Newton's method stops when no component of the mean gradient is larger, default
            1e-6.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Classes that a plane separates have no finite solution without a penalty: a warning says so.

    Shapes: (B, *input_shape) → logits (B, K).

    Raises:
        ValueError: unknown solver, or one that cannot do what is asked for.
        InputError: nan or infinite values in the training data.

    Source: Hastie, Tibshirani and Friedman, The elements of statistical learning, section 4.4.
    """

    solvers = ("newton", "gradient")
    max_unknowns = 5_000  # largest number of unknowns for which the Hessian is formed

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        solver: str = "newton",
        tolerance: float = 1e-6,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        self.num_features = math.prod(input_shape)
        self.num_rows = 1 if num_classes == 2 else num_classes
        self._set_solver(solver, {"newton": ("l2",)})
        if solver == "newton":
            unknowns = self.num_rows * (self.num_features + 1)
            if unknowns > self.max_unknowns:
                raise InputError(
                    f"Newton's method for {unknowns:,} unknowns needs a Hessian of {unknowns:,}² "
                    "entries: choose solver='gradient'"
                )
            if self.hparams["label_smoothing"] or self.hparams["mixup"]:
                raise InputError("label_smoothing and mixup need solver='gradient'")
        self._sums: dict[str, Tensor] = {}
        self._accepted: dict[str, Tensor] = {}  # the best weights so far and their loss

    def build(self) -> None:
        self.network = nn.Linear(self.num_features, self.num_rows)
        for parameter in self.network.parameters():
            nn.init.zeros_(parameter)

    def logits(self, x: Tensor) -> Tensor:
        scores = self.network(x.flatten(1))
        return F.pad(scores, (1, 0)) if self.num_classes == 2 else scores

    def accumulate(self, x: Tensor, y: Tensor) -> None:
        exact = torch.float32 if x.device.type == "mps" else torch.float64
        design = F.pad(x.flatten(1).to(exact), (0, 1), value=1.0)  # (B, P + 1)
        weights = self._weights().to(exact)
        logits = design @ weights.mT
        logits = F.pad(logits, (1, 0)) if self.num_classes == 2 else logits
        loss, gradient, hessian = logistic_loss_gradient_hessian(design, logits, y)
        if self.num_classes == 2:  # class 0 has no weights
            gradient, hessian = gradient[1:], hessian[1:, :, 1:]
        right = (logits.argmax(1) == y).sum()
        batch = {
            "n": torch.tensor(float(len(x)), dtype=exact, device=x.device),
            "features": design[:, :-1].sum(0),
            "loss": loss,
            "gradient": gradient,
            "hessian": hessian,
            "right": right.to(exact),
        }
        self._sums = {k: v + self._sums[k].to(v) if self._sums else v for k, v in batch.items()}

    def solve(self) -> tuple[dict[str, Tensor], int]:
        reduce = self.trainer.strategy.reduce
        sums = {name: reduce(value, reduce_op="sum") for name, value in self._sums.items()}
        self._sums = {}
        self._check_finite(sums["features"])
        l2, n = self.hparams["l2"], sums["n"]
        weights = self._weights().to(sums["gradient"])
        free = torch.ones_like(weights)
        free[:, -1] = 0  # the intercept is not penalised
        nll = sums["loss"] / n
        penalty = l2 * (free * weights).square().sum()
        parts = {"loss": nll + penalty, "nll": nll, "accuracy": sums["right"] / n}
        if l2:
            parts["penalty"] = penalty
        accepted = {name: value.to(weights) for name, value in self._accepted.items()}
        if accepted and float(parts["loss"]) > float(accepted["loss"]) * (1 + 1e-12):
            halfway = (accepted["weights"] + weights) / 2  # the step was too long
            if torch.equal(halfway.to(self.network.weight.dtype).to(halfway), accepted["weights"]):
                self.trainer.should_stop = True
            self._set_weights(halfway)
            return parts, int(n)
        self._accepted = {"weights": weights, "loss": parts["loss"]}
        gradient = sums["gradient"] / n + 2 * l2 * free * weights
        hessian = sums["hessian"].flatten(2).flatten(0, 1) / n
        hessian = hessian + torch.diag(2 * l2 * free.flatten())
        if float(gradient.abs().max()) <= self.hparams["tolerance"] or float(nll) < 1e-7:
            self.trainer.should_stop = True
            if not l2 and float(nll) < 1e-3 and float(parts["accuracy"]) == 1:
                rank_zero_warn(
                    "a plane separates the classes: without a penalty the weights grow without "
                    "bound, and are stopped here; set l2"
                )
            return parts, int(n)
        step, _ = solve_normal_equations(hessian, gradient.flatten()[:, None])
        self._set_weights(weights - step.view_as(weights))
        return parts, int(n)

    def _weights(self) -> Tensor:
        """(rows, P + 1), the intercept last."""
        return torch.cat([self.network.weight, self.network.bias[:, None]], dim=1)

    def _set_weights(self, weights: Tensor) -> None:
        self.network.weight.copy_(weights[:, :-1])
        self.network.bias.copy_(weights[:, -1])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["newton"] = {"sums": self._sums, "accepted": self._accepted}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint.get("newton", {"sums": {}, "accepted": {}})
        self._sums, self._accepted = dict(state["sums"]), dict(state["accepted"])

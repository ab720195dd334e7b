"""L1 and L2 penalties: paths of ridge and lasso, weights of trained networks.

How do the two penalties shrink weights, and which of them makes weights exactly zero? Both methods
minimize (1/n)‖y − Xw‖² + penalty. Ridge, with λ‖w‖², shrinks every weight and sets none to zero.
Lasso, with λ‖w‖₁, sets one weight after another to exactly zero, and all of them from
λ_max = 2 max_j |x_jᵀy|/n on. Where XᵀX/n = I and w is the least-squares solution, both have closed
forms: w/(1 + λ) for ridge, and sign(w) max(|w| − λ/2, 0) for lasso.

Gradient descent on a network's loss with the same penalties moves weights towards zero, but only a
proximal step such as that of FISTA makes them exactly zero.

Sources: Hastie, Tibshirani and Friedman, The elements of statistical learning, section 3.4; Beck
and Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Diabetes, Digits
from zoo.errors import check_at_least
from zoo.functional.linear import fista, solve_normal_equations
from zoo.functional.penalties import soft_threshold
from zoo.plots.style import COLORS, INK, new_figure, subfigures
from zoo.plots.weights import draw_weights
from zoo.studies.base import Row, Table, accuracy_on_test, fit, make_generator, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PENALTIES: dict[str, dict[str, Any]] = {
    "no penalty": {}, "L1": {"l1": 3e-4}, "L2": {"l2": 2e-3}
}  # fmt: skip
EXPONENTS = {"l1": 1.0, "l2": 2.0}


@dataclass(frozen=True)
class Result:
    """Regularization paths (λ, features) on the diabetes data, solutions on orthonormal columns
    with their closed forms, and the first layers of three networks trained on digits."""

    feature_names: list[str]
    lambdas: Tensor
    ridge: Tensor
    lasso: Tensor
    lambda_max: tuple[float, float]  # smallest λ where lasso has only zeros: measured, theory
    orthonormal_ridge: tuple[Tensor, Tensor]  # solution, closed form
    orthonormal_lasso: tuple[Tensor, Tensor]
    weights: dict[str, Tensor]
    accuracies: dict[str, float]


def run(num_lambdas: int = 60, epochs: int = 25, hidden_dim: int = 128, seed: int = 0) -> Result:
    """Compute both regularization paths, and train a network with each penalty.

    Args:
        num_lambdas: number of penalty strengths λ on a path, evenly spaced in log λ.
        epochs: training epochs of each network.
        hidden_dim: hidden units of each network.
        seed: random seed of initial weights, batches and the orthonormal data.
    """
    check_at_least(2, num_lambdas=num_lambdas)
    check_at_least(1, epochs=epochs, hidden_dim=hidden_dim)
    data = Diabetes()
    data.setup()
    x, y = (part.double() for part in data.split("train"))
    x, y = x - x.mean(0), y - y.mean(0)
    gram, cross = x.mT @ x / len(x), x.mT @ y / len(x)
    lambda_max = measured_lambda_max(gram, cross), 2 * float(cross.abs().max())
    lambdas = lambda_max[1] * torch.logspace(-4, 1, num_lambdas, dtype=x.dtype)
    weights, accuracies = {}, {}
    for name, penalty in track(PENALTIES.items(), "networks"):
        weights[name], accuracies[name] = train(penalty, epochs, hidden_dim, seed)
    ridge, lasso = regularization_paths(gram, cross, lambdas)
    return Result(
        data.feature_names, lambdas, ridge, lasso, lambda_max,
        *solve_orthonormal(seed), weights, accuracies,
    )  # fmt: skip


def regularization_paths(gram: Tensor, cross: Tensor, lambdas: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of ridge and of lasso for each λ, (λ, features) each.

    Ridge gets λ / max_j |x_jᵀy/n|, so that both paths can be drawn over the same axis.

    Args:
        gram: XᵀX/n.
        cross: Xᵀy/n.
        lambdas: strengths of the penalty.
    """
    scale = float(cross.abs().max())
    ridge = [
        solve_normal_equations(gram, cross, float(strength) / scale)[0] for strength in lambdas
    ]
    lasso = [fista(gram, cross, float(strength))[0] for strength in lambdas]
    return torch.stack(ridge)[..., 0], torch.stack(lasso)[..., 0]


def measured_lambda_max(gram: Tensor, cross: Tensor) -> float:
    """Return the smallest λ at which lasso has only zeros, by bisection of [0, 1000 ‖Xᵀy/n‖]."""
    low, high = 0.0, 1e3 * float(cross.norm())
    for _ in range(50):
        middle = (low + high) / 2
        has_weights = bool((fista(gram, cross, middle)[0] != 0).any())
        low, high = (middle, high) if has_weights else (low, middle)
    return high


def solve_orthonormal(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the solution and the closed form of ridge, then of lasso, on data with XᵀX/n = I.

    λ is 0.5 for ridge, and 0.5 max_j |x_jᵀy/n| for lasso.
    """
    rng = make_generator(seed)
    x = torch.linalg.qr(torch.randn(50, 8, dtype=torch.float64, generator=rng))[0] * 50**0.5
    y = torch.randn(50, 1, dtype=torch.float64, generator=rng)
    gram, cross = x.mT @ x / 50, x.mT @ y / 50
    ridge = solve_normal_equations(gram, cross, 0.5)[0], cross / 1.5
    lasso = fista(gram, cross, 0.5 * float(cross.abs().max()))[0]
    return ridge, (lasso, soft_threshold(cross, 0.25 * float(cross.abs().max())))


def train(penalty: dict[str, Any], epochs: int, hidden_dim: int, seed: int) -> tuple[Tensor, float]:
    """Train a network on digits; return the weights of its first layer, and its test accuracy."""
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = Digits(batch_size=64, seed=seed)
    model = MLPClassifier(
        data.input_shape, 10, hidden_dims=(hidden_dim,), dropout=0.0, input_dropout=0.0, lr=2e-3,
        **penalty,
    )  # fmt: skip
    fit(model, data, epochs)
    weight = next(p for p in model.network.parameters() if p.ndim == 2)
    return weight.detach().clone(), accuracy_on_test(model, data)


def count_zeros(weights: Tensor) -> int:
    """Return the number of weights that are exactly zero."""
    return int((weights == 0).sum())


def table(result: Result) -> Table:
    """Return the results of ridge and lasso next to theory, and small weights of the networks."""
    features = result.lasso.shape[1]
    ridge_error, lasso_error = (
        float((solution - closed_form).abs().max())
        for solution, closed_form in (result.orthonormal_ridge, result.orthonormal_lasso)
    )
    rows: list[Row] = [
        ("lasso: smallest λ at which all weights are 0", *result.lambda_max, "2 max |xᵀy|/n"),
        ("ridge: exact zeros at the largest λ", count_zeros(result.ridge[-1]), 0,
         f"of {features}"),
        ("orthonormal columns, ridge: largest difference", ridge_error, 0, "from w/(1 + λ)"),
        ("orthonormal columns, lasso: largest difference", lasso_error, 0,
         "from the soft threshold"),
    ]  # fmt: skip
    for name, weight in result.weights.items():
        small = int((weight.abs() < 1e-3).sum())
        note = f"exactly 0: {count_zeros(weight)}; accuracy {result.accuracies[name]:.1%}"
        rows.append((f"network, {name}: weights with |w| < 0.001", small, None,
                     f"of {weight.numel():,}; {note}"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw both regularization paths, and histograms of the networks' weights."""
    figure = new_figure(11, 7)
    above, below = subfigures(figure, 2, 1, height_ratios=[1.15, 1])
    left, right = above.subplots(1, 2, sharey=True)
    relative = result.lambdas / result.lambda_max[1]
    for axes, path, name in ((left, result.ridge, "ridge"), (right, result.lasso, "lasso")):
        for feature, label in enumerate(result.feature_names):
            axes.plot(relative, path[:, feature], color=COLORS[feature], linewidth=1.3,
                      label=label)  # fmt: skip
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set(xscale="log", xlabel="λ/λ_max")
        index = len(path) * 3 // 5
        axes.set_title(f"{name.capitalize()}: {count_zeros(path[index])} of {path.shape[1]} "
                       f"weights are 0 at {float(relative[index]):.2g} λ_max",
                       fontsize=10)  # fmt: skip
        axes.grid(alpha=0.25, linewidth=0.5)
    left.set_ylabel("Weight (diabetes data)")
    right.legend(frameon=False, fontsize=7, ncols=2)
    for axes, (name, weight) in zip(below.subplots(1, 3), result.weights.items(), strict=True):
        drawn_penalties = {
            f"{strength:g} |w|^{EXPONENTS[key]:g}": (strength, EXPONENTS[key])
            for key, strength in PENALTIES[name].items()
        }
        draw_weights(axes, f"Network, {name}", weight, drawn_penalties)
    return figure

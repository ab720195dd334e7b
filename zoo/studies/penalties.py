"""What L1 and L2 do: paths of ridge and lasso, weights of trained networks.

Both minimise (1/n)‖y − Xw‖² + penalty. Ridge, λ‖w‖², shrinks every weight and makes none zero;
lasso, λ‖w‖₁, sets them to exact zeros one after the other, and all from λ = 2 max_j |x_jᵀy|/n on.
Where XᵀX/n = I, both are known: w/(1 + λ), and sign(w) max(|w| − λ/2, 0). Gradient descent on a
network's loss with the same penalties draws its weights towards 0, but only a proximal step such as
FISTA's ends at 0.

Sources: Hastie, Tibshirani and Friedman, The elements of statistical learning, 3.4; Beck and
Teboulle, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Diabetes, Digits
from zoo.functional.linear import fista, solve_normal_equations
from zoo.functional.penalties import soft_threshold
from zoo.plots.style import COLORS, INK, new_figure, subfigures
from zoo.plots.weights import draw_weights
from zoo.studies.base import Table, fit, generator, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PENALTIES: dict[str, dict[str, Any]] = {
    "no penalty": {}, "L1": {"l1": 3e-4}, "L2": {"l2": 2e-3}
}  # fmt: skip
EXPONENTS = {"l1": 1.0, "l2": 2.0}


@dataclass(frozen=True)
class Result:
    """Paths (λ, features) on the diabetes data, those on orthonormal columns with their closed
    forms, and the first layers of three networks on digits."""

    names: list[str]
    lambdas: Tensor
    ridge: Tensor
    lasso: Tensor
    all_zero: tuple[float, float]  # the λ from which on no weight is left: measured, theory
    orthonormal_ridge: tuple[Tensor, Tensor]  # solved, closed form
    orthonormal_lasso: tuple[Tensor, Tensor]
    weights: dict[str, Tensor]
    accuracies: dict[str, float]


def run(steps: int = 60, epochs: int = 25, hidden: int = 128, seed: int = 0) -> Result:
    """Solves both paths and trains a network for each penalty.

    Args:
        steps: λ along a path, spaced evenly in its logarithm.
        epochs: of the networks.
        hidden: their units.
        seed: of weights, batches and the orthonormal data.
    """
    require(steps >= 2, f"steps must be at least 2, got {steps}")
    require(epochs >= 1 and hidden >= 1, "epochs and hidden must be at least 1")
    data = Diabetes()
    data.setup()
    x, y = (part.double() for part in data.split("train"))
    x, y = x - x.mean(0), y - y.mean(0)
    gram, cross = x.mT @ x / len(x), x.mT @ y / len(x)
    all_zero = last_weight(gram, cross), 2 * float(cross.abs().max())
    lambdas = all_zero[1] * torch.logspace(-4, 1, steps, dtype=x.dtype)
    weights, accuracies = {}, {}
    for name, penalty in track(PENALTIES.items(), "networks"):
        weights[name], accuracies[name] = first_layer(penalty, epochs, hidden, seed)
    ridge, lasso = paths(gram, cross, lambdas)
    return Result(
        data.feature_names, lambdas, ridge, lasso, all_zero,
        *orthonormal(seed), weights, accuracies,
    )  # fmt: skip


def paths(gram: Tensor, cross: Tensor, lambdas: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of ridge (of λ/λ_max, as its scale has no end) and lasso, (λ, features) each."""
    scale = float(cross.abs().max())
    ridge = [
        solve_normal_equations(gram, cross, float(strength) / scale)[0] for strength in lambdas
    ]
    lasso = [fista(gram, cross, float(strength))[0] for strength in lambdas]
    return torch.stack(ridge)[..., 0], torch.stack(lasso)[..., 0]


def last_weight(gram: Tensor, cross: Tensor) -> float:
    """The λ at which lasso loses its last weight, between 0 and 1,000 times ‖c‖, by halving."""
    low, high = 0.0, 1e3 * float(cross.norm())
    for _ in range(50):
        middle = (low + high) / 2
        left = int((fista(gram, cross, middle)[0] != 0).sum())
        low, high = (middle, high) if left else (low, middle)
    return high


def orthonormal(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Solutions on columns with XᵀX/n = I at λ = 0.5, beside their closed forms."""
    random = generator(seed)
    x = torch.linalg.qr(torch.randn(50, 8, dtype=torch.float64, generator=random))[0] * 50**0.5
    y = torch.randn(50, 1, dtype=torch.float64, generator=random)
    gram, cross = x.mT @ x / 50, x.mT @ y / 50
    ridge = solve_normal_equations(gram, cross, 0.5)[0], cross / 1.5
    lasso = fista(gram, cross, 0.5 * float(cross.abs().max()))[0]
    return ridge, (lasso, soft_threshold(cross, 0.25 * float(cross.abs().max())))


def first_layer(
    penalty: dict[str, Any], epochs: int, hidden: int, seed: int
) -> tuple[Tensor, float]:
    """Weights of the first layer of a network on digits, and its accuracy in test."""
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = Digits(batch_size=64, seed=seed)
    model = MLPClassifier(
        data.input_shape,
        10,
        hidden_dims=(hidden,),
        dropout=0.0,
        input_dropout=0.0,
        lr=2e-3,
        **penalty,
    )
    fit(model, data, epochs)
    x, y = data.evaluation_samples("test")
    with torch.no_grad():
        right = (model.logits(x).argmax(1) == y).double().mean()
    weight = next(p for p in model.network.parameters() if p.ndim == 2)
    return weight.detach().clone(), float(right)


def zeros(weights: Tensor) -> int:
    """How many are exactly 0."""
    return int((weights == 0).sum())


def table(result: Result) -> Table:
    features = result.lasso.shape[1]
    gaps = [
        float((solved - exact).abs().max())
        for solved, exact in (result.orthonormal_ridge, result.orthonormal_lasso)
    ]
    rows: list[tuple[str | float | None, ...]] = [
        ("lasso: λ from which on no weight is left", *result.all_zero, "2 max |xᵀy|/n"),
        ("ridge: exact zeros at the largest λ", zeros(result.ridge[-1]), 0, f"of {features}"),
        ("orthonormal columns, ridge: largest difference", gaps[0], 0, "to w/(1 + λ)"),
        ("orthonormal columns, lasso: largest difference", gaps[1], 0, "to the soft threshold"),
    ]
    for name, weight in result.weights.items():
        small = int((weight.abs() < 1e-3).sum())
        note = f"exactly 0: {zeros(weight)}; accuracy {result.accuracies[name]:.1%}"
        rows.append((f"network, {name}: weights below 0.001", small, None,
                     f"of {weight.numel():,}; {note}"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(11, 7)
    above, below = subfigures(figure, 2, 1, height_ratios=[1.15, 1])
    left, right = above.subplots(1, 2, sharey=True)
    scale = result.lambdas / result.all_zero[1]
    for axes, path, name in ((left, result.ridge, "ridge"), (right, result.lasso, "lasso")):
        for feature, label in enumerate(result.names):
            axes.plot(scale, path[:, feature], color=COLORS[feature], linewidth=1.3, label=label)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set(xscale="log", xlabel="λ (1: where lasso has no weight left)")
        count = zeros(path[len(path) * 3 // 5])
        axes.set_title(f"{name}: exact zeros at λ = {float(scale[len(path) * 3 // 5]):.2g}: "
                       f"{count} of {path.shape[1]}", fontsize=10)  # fmt: skip
        axes.grid(alpha=0.25, linewidth=0.5)
    left.set_ylabel("weight, diabetes data")
    right.legend(frameon=False, fontsize=7, ncols=2)
    for axes, (name, weight) in zip(below.subplots(1, 3), result.weights.items(), strict=True):
        shown = {
            f"{value:g} |w|^{EXPONENTS[key]:g}": (value, EXPONENTS[key])
            for key, value in PENALTIES[name].items()
        }
        draw_weights(axes, f"network, {name}", weight, shown)
    return figure

"""Stopping early: the best epoch by capacity, and why it is a weight penalty.

For least squares, gradient descent from 0 with step α has after t steps, along a direction in which
the data have the variance s, the share 1 − (1 − αs)^t of the solution; ridge with penalty λ‖w‖² has
s/(s + λ). With λ = 1/(αt) both are functions of u = αts alone, 1 − e^{−u} (for small αs) and
u/(1 + u): equal to first order where u is small, both near 1 where it is large, and never further
apart than 0.204, at u = 1.79. Networks with noisy labels have a best epoch in validation, the
earlier the larger they are; what training gains after it is noise.

Source: Goodfellow, Bengio and Courville, Deep learning, section 7.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from callbacks import EarlyStopping
from datamodules import Diabetes, Digits
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import Table, fit, generator, mislabeled, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NoisyDigits(Digits):
    """Digits; a share of the labels of training and validation is another class's.

    Args:
        noise: the share.
        **digits: see :class:`datamodules.Digits`.
    """

    def __init__(self, noise: float, **digits: Any) -> None:
        super().__init__(**digits)
        self.noise = noise

    def load(self, train: bool) -> Any:
        x, y = super().load(train)
        return x, mislabeled(y, self.noise * train, generator(0))


class Best(EarlyStopping):
    """Keeps losses and the best weights; those of the end stay, and nothing is drawn."""

    def on_train_end(self, *_: Any) -> None:
        pass

    def on_fit_end(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Result:
    """Curves by hidden units; descent and ridge by step, in the eigenvectors of the data."""

    curves: dict[int, tuple[list[float], list[float]]]
    accuracies: dict[int, tuple[float, float]]  # at the best epoch, at the end
    steps: Tensor
    descent: Tensor  # (steps, features), share of the solution
    formula: Tensor
    ridge: Tensor
    gap: tuple[float, float]  # largest difference of the shares: measured, theory
    distance: Tensor  # (steps,), of the weights, relative to the solution
    norms: tuple[Tensor, Tensor]


def run(
    hidden: tuple[int, ...] = (8, 64, 512), noise: float = 0.4, epochs: int = 30,
    rate: float = 0.05, seed: int = 0,
) -> Result:  # fmt: skip
    """Trains networks of several capacities, and compares descent with ridge.

    Args:
        hidden: units of the networks' layer.
        noise: share of wrong labels.
        epochs: of training; the best one is found with the patience of all of them.
        rate: α of the descent, in units of 1/largest variance, below 1.
        seed: of weights and batches.
    """
    require(
        min(hidden, default=0) >= 1 and epochs >= 2, "hidden must be positive, epochs at least 2"
    )
    require(0 <= noise < 0.9, f"noise must lie between 0 and 0.9, got {noise:g}")
    require(0 < rate < 1, f"rate must lie between 0 and 1, got {rate:g}")
    trained = {h: train(h, noise, epochs, seed) for h in track(hidden, "networks")}
    gram, cross = moments()
    variance, vectors = torch.linalg.eigh(gram)
    alpha = rate / float(variance.max())
    steps = torch.logspace(0, 5, 51).long().unique()
    descent = descend(variance, alpha, steps)
    formula = 1 - (1 - alpha * variance) ** steps[:, None]
    ridge = variance / (variance + 1 / (alpha * steps[:, None]))
    full = vectors.mT @ cross / variance  # the solution in the eigenvectors
    distance = ((descent - ridge) * full).norm(dim=1) / full.norm()
    gap = float((descent - ridge).abs().max()), largest_gap(rate)
    return Result(
        {h: curves for h, (curves, _) in trained.items()},
        {h: accuracies for h, (_, accuracies) in trained.items()},
        steps, descent, formula, ridge, gap, distance,
        ((descent * full).norm(dim=1), (ridge * full).norm(dim=1)),
    )  # fmt: skip


def train(
    hidden: int, noise: float, epochs: int, seed: int
) -> tuple[tuple[list[float], list[float]], tuple[float, float]]:
    """Loss by epoch in training and validation; test accuracy at the best epoch and at the end."""
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = NoisyDigits(noise, batch_size=64, val_size=0.3, seed=seed)
    model = MLPClassifier(
        data.input_shape, 10, hidden_dims=(hidden,), dropout=0.0, input_dropout=0.0, lr=5e-3
    )
    best = Best(patience=epochs)
    fit(model, data, epochs, [best], limit_val_batches=1.0)
    x, y = data.evaluation_samples("test")

    def accuracy() -> float:
        with torch.no_grad():
            return float((model.logits(x).argmax(1) == y).double().mean())

    end = accuracy()
    model.load_state_dict(best.best_weights)
    _, training, validation = zip(*best.history, strict=True)
    return (list(training), list(validation)), (accuracy(), end)


def moments() -> tuple[Tensor, Tensor]:
    """XᵀX/n and Xᵀy/n of the diabetes data, centred."""
    data = Diabetes()
    data.setup()
    x, y = (part.double() for part in data.split("train"))
    x, y = x - x.mean(0), (y - y.mean(0))[:, 0]
    return x.mT @ x / len(x), x.mT @ y / len(x)


def descend(variance: Tensor, alpha: float, steps: Tensor) -> Tensor:
    """Shares of the solution after steps of w ← w + αs(1 − w), from 0."""
    w, shares, done = torch.zeros_like(variance), [], 0
    for step in steps.tolist():
        for _ in range(step - done):
            w = w + alpha * variance * (1 - w)
        done = step
        shares.append(w)
    return torch.stack(shares)


def largest_gap(rate: float) -> float:
    """Largest of 1 − (1 − a)^{u/a} − u/(1 + u) over u, a the rate: 0.2036 for small a."""
    u = torch.linspace(0, 20, 20_001, dtype=torch.float64)
    return float((1 - (1 - rate) ** (u / rate) - u / (1 + u)).max())


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = [
        ("descent and its formula: largest difference",
         float((result.descent - result.formula).abs().max()), 0),
        ("shares of descent and of ridge: largest difference", *result.gap,
         "theory: at most"),
        ("their weights: largest distance, relative to the solution", float(result.distance.max())),
    ]  # fmt: skip
    for hidden, (_, val) in result.curves.items():
        best, (at_best, at_end) = val.index(min(val)), result.accuracies[hidden]
        rows.append((f"{hidden} units: best epoch of {len(val)}", best + 1, None,
                     f"test accuracy there {at_best:.1%}, at the end {at_end:.1%}"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 4)
    curves, shares, weights = figure.subplots(1, 3)
    for color, (hidden, (training, val)) in zip(COLORS, result.curves.items(), strict=False):
        curves.plot(training, color=color, linewidth=1, linestyle="--")
        curves.plot(val, color=color, linewidth=1.5, label=f"{hidden} units")
        best = val.index(min(val))
        curves.plot(best, val[best], "o", color=color, markeredgecolor=INK)
    curves.set(xlabel="epoch", ylabel="loss (dashed: training)", yscale="log")
    curves.set_title("Noisy digits: the best epochs", fontsize=10)
    order = [0, result.descent.shape[1] // 2, result.descent.shape[1] - 1]
    for color, i in zip(COLORS, order, strict=False):
        shares.semilogx(result.steps, result.descent[:, i], color=color, linewidth=1.5)
        shares.semilogx(result.steps, result.ridge[:, i], color=color, linewidth=1, linestyle=":")
    shares.plot([], [], color=INK, label="gradient descent")
    shares.plot([], [], color=INK, linestyle=":", label="ridge, λ = 1/(αt)")
    shares.set(xlabel="steps t", ylabel="share of the solution")
    shares.set_title("Directions of small, middle and large variance", fontsize=10)
    for values, style, label in zip(result.norms, ("-", ":"), ("gradient descent", "ridge"),
                                    strict=True):  # fmt: skip
        weights.semilogx(result.steps, values, style, color=COLORS[0], label=f"‖w‖, {label}")
    gap = weights.twinx()
    gap.semilogx(result.steps, result.distance, color=COLORS[1], linewidth=1)
    gap.set_ylabel("distance, relative to the solution", color=COLORS[1])
    gap.set_ylim(0, 1)
    weights.set(xlabel="steps t")
    weights.set_title("Weights on the diabetes data", fontsize=10)
    add_grid_and_legend(curves, shares, weights)
    return figure

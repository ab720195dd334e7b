"""Early stopping: the best epoch by capacity, and its relation to an L2 penalty.

Why does early stopping regularize? For least squares, consider a direction in which the data have
variance s. After t steps of gradient descent from 0 with step size α, the weight has reached the
fraction 1 − (1 − αs)^t of the solution; ridge with penalty λ‖w‖² reaches s/(s + λ). With λ = 1/(αt)
both depend only on u = αts: 1 − e^{−u} (for small αs) and u/(1 + u). They agree to first order for
small u, both approach 1 for large u, and never differ by more than 0.204 (at u = 1.79).

Networks trained on noisy labels have an epoch of lowest validation loss. The larger the network,
the earlier it comes; afterwards, training fits noise.

Source: Goodfellow, Bengio and Courville, Deep learning, section 7.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from callbacks import EarlyStopping
from datamodules import Diabetes, Digits
from zoo.errors import check_at_least
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import (
    Row,
    Table,
    accuracy_on_test,
    check_each_at_least,
    check_range,
    corrupt_labels,
    fit,
    make_generator,
    track,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NoisyDigits(Digits):
    """Digits with wrong labels in training and validation; test labels are correct.

    Args:
        label_noise: fraction of wrong labels.
        **digits: see :class:`datamodules.Digits`.
    """

    def __init__(self, label_noise: float, **digits: Any) -> None:
        super().__init__(**digits)
        self.label_noise = label_noise

    def load(self, train: bool) -> Any:
        x, y = super().load(train)
        return x, corrupt_labels(y, self.label_noise * train, make_generator(0))


class BestWeights(EarlyStopping):
    """Callback that records losses and the best weights, without restoring or drawing them."""

    def on_train_end(self, *_: Any) -> None:
        pass

    def on_fit_end(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Result:
    """Losses and accuracies of networks by width; fractions of the least-squares solution that
    gradient descent and ridge reach, in the eigenbasis of the data."""

    curves: dict[int, tuple[list[float], list[float]]]  # training and validation loss by epoch
    accuracies: dict[int, tuple[float, float]]  # test: at the best epoch, at the end
    steps: Tensor
    descent: Tensor  # (steps, features)
    formula: Tensor  # the same in closed form
    ridge: Tensor
    gap: tuple[float, float]  # largest difference between descent and ridge: measured, theory
    distance: Tensor  # between both weight vectors, relative to the solution, (steps,)
    norms: tuple[Tensor, Tensor]  # of the weights: descent, ridge


def run(
    widths: tuple[int, ...] = (8, 64, 512), label_noise: float = 0.4, epochs: int = 30,
    lr: float = 0.05, seed: int = 0,
) -> Result:  # fmt: skip
    """Train networks of several widths on noisy labels, and compare gradient descent with ridge.

    Args:
        widths: hidden units of the networks.
        label_noise: fraction of wrong labels, below 0.9.
        epochs: training epochs of each network, at least 2.
        lr: step size α of gradient descent times the largest variance, above 0 and below 1.
        seed: random seed of initial weights and batches.
    """
    check_each_at_least(1, widths=widths)
    check_at_least(2, epochs=epochs)
    check_range(0, 0.9, "[)", label_noise=label_noise)
    check_range(0, 1, "()", lr=lr)
    trained = {width: train(width, label_noise, epochs, seed) for width in track(widths, "widths")}
    gram, cross = diabetes_moments()
    variance, vectors = torch.linalg.eigh(gram)
    alpha = lr / float(variance.max())
    steps = torch.logspace(0, 5, 51).long().unique()
    descent = descend(variance, alpha, steps)
    formula = 1 - (1 - alpha * variance) ** steps[:, None]
    ridge = variance / (variance + 1 / (alpha * steps[:, None]))
    solution = vectors.mT @ cross / variance  # in the eigenbasis
    distance = ((descent - ridge) * solution).norm(dim=1) / solution.norm()
    gap = float((descent - ridge).abs().max()), largest_gap(lr)
    return Result(
        {width: curves for width, (curves, _) in trained.items()},
        {width: accuracies for width, (_, accuracies) in trained.items()},
        steps, descent, formula, ridge, gap, distance,
        ((descent * solution).norm(dim=1), (ridge * solution).norm(dim=1)),
    )  # fmt: skip


def train(
    width: int, label_noise: float, epochs: int, seed: int
) -> tuple[tuple[list[float], list[float]], tuple[float, float]]:
    """Train a network with one hidden layer.

    Returns:
        Training and validation loss by epoch; test accuracy at the best epoch and at the end.
    """
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = NoisyDigits(label_noise, batch_size=64, val_size=0.3, seed=seed)
    model = MLPClassifier(
        data.input_shape, 10, hidden_dims=(width,), dropout=0.0, input_dropout=0.0, lr=5e-3
    )
    best = BestWeights(patience=epochs)
    fit(model, data, epochs, [best], limit_val_batches=1.0)
    at_end = accuracy_on_test(model, data)
    model.load_state_dict(best.best_weights)
    _, training, validation = zip(*best.history, strict=True)
    return (list(training), list(validation)), (accuracy_on_test(model, data), at_end)


def diabetes_moments() -> tuple[Tensor, Tensor]:
    """Return XᵀX/n and Xᵀy/n of the diabetes data, with centered features and targets."""
    data = Diabetes()
    data.setup()
    x, y = (part.double() for part in data.split("train"))
    x, y = x - x.mean(0), (y - y.mean(0))[:, 0]
    return x.mT @ x / len(x), x.mT @ y / len(x)


def descend(variance: Tensor, alpha: float, steps: Tensor) -> Tensor:
    """Iterate w ← w + αs(1 − w) from 0; return the fraction w of the solution, (steps, features).

    Args:
        variance: s of each direction, (features,).
        alpha: step size α.
        steps: numbers of steps, rising.
    """
    w, fractions, done = torch.zeros_like(variance), [], 0
    for step in steps.tolist():
        for _ in range(step - done):
            w = w + alpha * variance * (1 - w)
        done = step
        fractions.append(w)
    return torch.stack(fractions)


def largest_gap(lr: float) -> float:
    """Return the maximum over u of 1 − (1 − a)^{u/a} − u/(1 + u), where a is ``lr``.

    For small a it is 0.2036.
    """
    u = torch.linspace(0, 20, 20_001, dtype=torch.float64)
    return float((1 - (1 - lr) ** (u / lr) - u / (1 + u)).max())


def table(result: Result) -> Table:
    """Return differences between gradient descent and ridge, and the best epochs."""
    rows: list[Row] = [
        ("gradient descent and its formula: largest difference",
         float((result.descent - result.formula).abs().max()), 0),
        ("fractions of gradient descent and ridge: largest difference", *result.gap,
         "theory: at most"),
        ("weights of gradient descent and ridge: largest relative distance",
         float(result.distance.max())),
    ]  # fmt: skip
    for width, (_, validation) in result.curves.items():
        best, (at_best, at_end) = validation.index(min(validation)), result.accuracies[width]
        rows.append((f"{width} units: best epoch of {len(validation)}", best + 1, None,
                     f"test accuracy: {at_best:.1%} there, {at_end:.1%} at the end"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw losses by epoch, fractions of the solution by step, and weights by step."""
    figure = new_figure(12, 4)
    losses, fractions, weights = figure.subplots(1, 3)
    for color, (width, (training, validation)) in zip(COLORS, result.curves.items(), strict=False):
        epochs = range(1, len(training) + 1)
        losses.plot(epochs, training, color=color, linewidth=1, linestyle="--")
        losses.plot(epochs, validation, color=color, linewidth=1.5, label=f"{width} units")
        best = validation.index(min(validation))
        losses.plot(epochs[best], validation[best], "o", color=color, markeredgecolor=INK)
    losses.set(xlabel="Epoch", ylabel="Loss (dashed: training)", yscale="log")
    losses.set_title("Noisy digits (dots: lowest validation loss)", fontsize=10)
    shown = [0, result.descent.shape[1] // 2, result.descent.shape[1] - 1]
    for color, i in zip(COLORS, shown, strict=False):
        fractions.semilogx(result.steps, result.descent[:, i], color=color, linewidth=1.5)
        fractions.semilogx(result.steps, result.ridge[:, i], color=color, linewidth=1,
                           linestyle=":")  # fmt: skip
    fractions.plot([], [], color=INK, label="gradient descent")
    fractions.plot([], [], color=INK, linestyle=":", label="ridge, λ = 1/(αt)")
    fractions.set(xlabel="Steps t", ylabel="Fraction of the solution")
    fractions.set_title("Directions of small, medium and large variance", fontsize=10)
    for values, style, label in zip(result.norms, ("-", ":"), ("gradient descent", "ridge"),
                                    strict=True):  # fmt: skip
        weights.semilogx(result.steps, values, style, color=COLORS[0], label=f"‖w‖, {label}")
    distance = weights.twinx()
    distance.semilogx(result.steps, result.distance, color=COLORS[1], linewidth=1)
    distance.set_ylabel("Relative distance", color=COLORS[1])
    distance.set_ylim(0, 1)
    weights.set(xlabel="Steps t", ylabel="Norm of the weights")
    weights.set_title("Weights on the diabetes data", fontsize=10)
    add_grid_and_legend(losses, fractions, weights)
    return figure

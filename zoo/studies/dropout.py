"""Dropout as an ensemble of subnetworks: masks, sparsity and uncertainty.

What does evaluation with scaled weights compute? A network of n units, each kept with probability
p in training, is an ensemble of 2ⁿ subnetworks that share weights. In evaluation its units are
scaled by p instead. With one hidden layer this is exact: the mean logits over all masks are the
logits of the scaled network, and the normalized geometric mean of the softmax predictions is its
softmax. With more layers it is an approximation. The mean over K sampled masks differs from the
mean over all masks by an error that falls as 1/√K.

Training with dropout makes hidden units less correlated, and their activations sparser. The
standard deviation over masks (MC dropout) is said to show where a regressor has seen no data. The
standard deviation over the members of an ensemble does show it, both in the gap and outside the
range of the data; compare the two bands.

Sources: Srivastava et al., Dropout, 2014, sections 7.1 and 7.2; Goodfellow, Bengio and Courville,
Deep learning, section 7.12; Gal and Ghahramani, 2016; Lakshminarayanan et al., 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Digits, ToyCurves
from datamodules.tables import Table as DataTable
from zoo.errors import check_at_least
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import (
    Row,
    Table,
    accuracy_on_test,
    check_range,
    fit,
    sentence_case,
    track,
)
from zoo.studies.dropout_masks import MASK_COUNTS, sampling_errors, scaling_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class GapCurve(ToyCurves):
    """Noisy samples of a sine, without any between −0.1 and 0.5."""

    def load_table(self) -> DataTable:
        whole = super().load_table()
        kept = (whole.x[:, 0] < -0.1) | (whole.x[:, 0] > 0.5)
        return replace(whole, x=whole.x[kept], y=whole.y[kept])


@dataclass(frozen=True)
class Result:
    """Differences between averages over masks and the scaled network, errors of sampling,
    activations of classifiers, and bands of two regressors."""

    differences: dict[str, float]
    predictions: dict[str, tuple[Tensor, Tensor]]  # geometric mean, scaled network
    sampling_error: Tensor  # root mean square error of the mean over K masks
    expected_error: Tensor
    active: dict[str, float]  # fraction of active hidden units
    correlation: dict[str, float]  # mean |correlation| between two hidden units
    accuracy: dict[str, float]
    activations: dict[str, Tensor]
    x: Tensor
    y: Tensor
    grid: Tensor
    bands: dict[str, tuple[Tensor, Tensor]]  # mean and standard deviation on the grid


def run(
    units: int = 10, keep_probability: float = 0.5, epochs: int = 40, members: int = 10,
    seed: int = 0,
) -> Result:  # fmt: skip
    """Average a small network over all masks, and train networks with and without dropout.

    Args:
        units: hidden units n of the small network, from 2 to 14.
        keep_probability: probability p with which each of its units is kept, above 0 and below 1.
        epochs: training epochs of the classifiers.
        members: networks of the deep ensemble, at least 2.
        seed: random seed of weights, data, batches and masks.
    """
    check_range(2, 14, units=units)
    check_range(0, 1, "()", keep_probability=keep_probability)
    check_at_least(1, epochs=epochs)
    check_at_least(2, members=members)
    sampling_error, expected_error = sampling_errors(units, keep_probability, seed)
    rates = {"without dropout": 0.0, "with dropout": 0.5}
    classifiers = {
        name: train_classifier(rate, epochs, seed)
        for name, rate in track(rates.items(), "classifiers")
    }
    data = GapCurve("sine", num_samples=150, noise=0.1, seed=seed)
    data.setup()
    x, y = data.split("train")
    grid = torch.linspace(-1.6, 1.6, 200)[:, None]
    bands = {
        name: prediction_band(name, data, grid, members, seed)
        for name in track(("MC dropout", "deep ensemble"), "regressors")
    }
    return Result(
        *scaling_differences(units, keep_probability, seed), sampling_error, expected_error,
        {name: float((h > 0).double().mean()) for name, (h, _) in classifiers.items()},
        {name: mean_correlation(h) for name, (h, _) in classifiers.items()},
        {name: accuracy for name, (_, accuracy) in classifiers.items()},
        {name: h.flatten() for name, (h, _) in classifiers.items()},
        x[:, 0], y[:, 0], grid[:, 0], bands,
    )  # fmt: skip


def train_classifier(rate: float, epochs: int, seed: int) -> tuple[Tensor, float]:
    """Train a classifier of digits with a dropout rate; return its hidden activations on the test
    digits, and its test accuracy."""
    from zoo import MLPClassifier

    torch.manual_seed(seed)
    data = Digits(batch_size=64, seed=seed)
    model = MLPClassifier(
        data.input_shape, 10, hidden_dims=(128,), dropout=rate, input_dropout=0.0, lr=3e-3
    )
    fit(model, data, epochs)
    x, _ = data.evaluation_samples("test")
    hidden_layer = torch.nn.Sequential(*list(model.network.children())[:3])  # up to the ReLU
    with torch.no_grad():
        return hidden_layer(x), accuracy_on_test(model, data)


def mean_correlation(hidden: Tensor) -> float:
    """Return the mean |correlation| between two hidden units, without constant units.

    Args:
        hidden: activations, (samples, units).
    """
    varying = hidden[:, hidden.std(0) > 1e-6]
    matrix = torch.corrcoef(varying.mT).abs()
    count = len(matrix)
    return float((matrix.sum() - count) / (count * (count - 1)))


def prediction_band(
    name: str, data: Any, grid: Tensor, members: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Train a regressor; return the mean and the standard deviation of its predictions on a grid,
    over masks of MC dropout or over members of the ensemble."""
    from zoo import DeepEnsembleRegressor, MCDropoutRegressor

    torch.manual_seed(seed)
    settings = {"hidden_dims": (64, 64), "dropout": 0.1 if name == "MC dropout" else 0.0}
    common: dict[str, Any] = {"member_settings": settings, "lr": 5e-3}
    if name == "MC dropout":
        model: Any = MCDropoutRegressor((1,), 1, num_passes=200, **common)
    else:
        model = DeepEnsembleRegressor((1,), 1, num_members=members, **common)
    fit(model, data, 300)
    with torch.no_grad():
        outputs = model.member_outputs(grid)[..., 0, 0]  # (members, grid)
    return outputs.mean(0), outputs.std(0)


def table(result: Result) -> Table:
    """Return differences of averages, errors of sampling, and effects of dropout."""
    rows: list[Row] = [
        (name, value, 0 if name.startswith("one layer") and "arithmetic" not in name else None)
        for name, value in result.differences.items()
    ]
    errors = zip(result.sampling_error.tolist(), result.expected_error.tolist(), strict=True)
    for count, (error, expected) in zip(MASK_COUNTS, errors, strict=True):
        rows.append((f"sampled masks, K = {count:,}: error of the mean", error, expected))
    for name in result.active:
        rows.append((f"{name}: fraction of active hidden units", result.active[name], None,
                     f"test accuracy {result.accuracy[name]:.1%}"))  # fmt: skip
        rows.append((f"{name}: mean |correlation| of two units", result.correlation[name]))
    outside = result.grid.abs() > 1.1
    gap = (result.grid > -0.1) & (result.grid < 0.5)
    for name, (_, std) in result.bands.items():
        near_data = std[~outside & ~gap].mean()
        for where, region in (("in the gap", gap), ("outside", outside)):
            ratio = float(std[region].mean() / near_data)
            rows.append((f"{name}: standard deviation {where} / near the data", ratio))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the averages over masks, effects of dropout, and bands of both regressors."""
    figure = new_figure(12, 7)
    (sampling, hidden, bars), (exact, mc, ensemble) = figure.subplots(2, 3)
    exact.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    for color, (name, pair) in zip(COLORS, result.predictions.items(), strict=False):
        exact.plot(*pair, "o", color=color, markersize=4, label=name)
    exact.set(xlabel="Geometric mean over all masks", ylabel="Scaled network")
    exact.set_title("Class probabilities", fontsize=10)
    sampling.loglog(MASK_COUNTS, result.expected_error, color=INK, linewidth=1, label="σ/√K")
    sampling.loglog(MASK_COUNTS, result.sampling_error, "o", color=COLORS[1], label="measured")
    sampling.set(xlabel="Number of masks K", ylabel="Root mean square error")
    sampling.set_title("Mean over K sampled masks", fontsize=10)
    limit = max(float(h.quantile(0.999)) for h in result.activations.values())
    for index, (name, h) in enumerate(result.activations.items()):
        hidden.hist(h, bins=60, range=(0, limit), color=COLORS[index], alpha=0.5, log=True,
                    label=name)  # fmt: skip
        heights = [result.active[name], result.correlation[name]]
        bars.bar([0.4 * index, 1 + 0.4 * index], heights, 0.38, color=COLORS[index], alpha=0.7,
                 label=name)  # fmt: skip
    hidden.set(xlabel="Activation of a hidden unit", ylabel="Count")
    hidden.set_title("Activations on test digits", fontsize=10)
    bars.set_xticks([0.2, 1.2], ["Fraction of active units", "|Correlation| of units"])
    bars.set_title("Sparsity and co-adaptation", fontsize=10)
    for axes, (name, (mean, std)) in zip((mc, ensemble), result.bands.items(), strict=True):
        axes.plot(result.x, result.y, "o", color=COLORS[4], markersize=3, label="data")
        axes.plot(result.grid, (torch.pi * result.grid).sin(), color=INK, linewidth=0.8,
                  linestyle="--", label="truth")  # fmt: skip
        axes.plot(result.grid, mean, color=COLORS[1], label="mean")
        axes.fill_between(result.grid, mean - 2 * std, mean + 2 * std, alpha=0.25, color=COLORS[1],
                          linewidth=0, label="± 2 standard deviations")  # fmt: skip
        axes.set(ylim=(-2.2, 2.2), xlabel="x", ylabel="y")
        axes.set_title(sentence_case(name), fontsize=10)
    add_grid_and_legend(sampling, hidden, bars, exact, mc, ensemble)
    return figure

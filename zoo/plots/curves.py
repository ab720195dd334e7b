"""Curves of metrics during training; error bands and contours for other plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.style import (
    COLORS,
    INK,
    LABEL_SIZE,
    add_grid_and_legend,
    label_panel,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLITS = {"train": "training", "val": "validation"}


def stopping_curves(
    epochs: Sequence[int],
    train: Sequence[float],
    val: Sequence[float],
    best_epoch: int,
    stopped: bool,
    metric: str,
) -> Figure:
    """Draw a metric for training and validation by epoch, with the best epoch marked.

    Args:
        epochs: epoch indices.
        train, val: metric after each epoch.
        best_epoch: epoch with the best validation value, whose weights were restored.
        stopped: whether training was stopped early, after the last of ``epochs``.
        metric: name of the metric.
    """
    ending = f"stopped after epoch {epochs[-1]}" if stopped else f"ran to epoch {epochs[-1]}"
    figure = new_figure(6, 3.8, f"{metric_label(metric)}: {ending}, best weights restored")
    axes = figure.subplots()
    axes.plot(epochs, train, color=COLORS[0], linestyle="--", label="Training")
    axes.plot(epochs, val, color=COLORS[1], label="Validation")
    best = val[list(epochs).index(best_epoch)]
    axes.axvline(best_epoch, color=INK, linewidth=0.8, linestyle=":")
    axes.plot([best_epoch], [best], "o", color=COLORS[1], markeredgecolor=INK)
    axes.annotate(
        f"best: {best:.4g}, epoch {best_epoch}",
        (best_epoch, best),
        xytext=(0, 14),
        textcoords="offset points",
        ha="right" if best_epoch > (epochs[0] + epochs[-1]) / 2 else "left",
        fontsize=LABEL_SIZE,
        color=INK,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
    )
    axes.locator_params(axis="x", integer=True)
    label_panel(axes, xlabel="Epoch", ylabel=metric_label(metric))
    add_grid_and_legend(axes, size=LABEL_SIZE)
    return figure


def learning_curves(
    epochs: Sequence[int], curves: Mapping[str, Sequence[float]], metric: str, title: str
) -> Figure:
    """Draw a metric by epoch for several splits.

    The scale is logarithmic if all values are positive and the largest is more than 30 times the
    smallest.

    Args:
        epochs: epoch indices.
        curves: label of each split → metric after each epoch; NaN where it was not measured.
        metric: name of the metric.
        title: figure title.
    """
    figure = new_figure(6, 3.8, title)
    axes = figure.subplots()
    for index, (label, values) in enumerate(curves.items()):
        known = [(e, v) for e, v in zip(epochs, values, strict=True) if math.isfinite(v)]
        style = "--" if index == 0 else "-"
        axes.plot(*zip(*known, strict=True), color=COLORS[index], linestyle=style, label=label)
    finite = [v for values in curves.values() for v in values if math.isfinite(v)]
    if finite and min(finite) > 0 and max(finite) > 30 * min(finite):
        axes.set_yscale("log")
    axes.locator_params(axis="x", integer=True)
    label_panel(axes, xlabel="Epoch", ylabel=metric_label(metric))
    add_grid_and_legend(axes, size=LABEL_SIZE)
    return figure


def metric_label(metric: str) -> str:
    """Return a metric's name as an axis label: ``val/accuracy`` as *Validation accuracy*."""
    split, _, name = metric.rpartition("/")
    words = f"{SPLITS.get(split, split)} {name.replace('_', ' ')}".strip()
    return words[:1].upper() + words[1:]


def draw_error_band(axes: Axes, x: Sequence[float], values: Tensor, color: str, label: str) -> None:
    """Draw means over repeats, with a band of one standard error on both sides.

    Args:
        axes: the panel.
        x: horizontal coordinates.
        values: measurements, (len(x), repeats).
        color: color of line and band.
        label: label for the legend.
    """
    mean, error = values.mean(1), values.std(1) / values.shape[1] ** 0.5
    axes.plot(x, mean, "o-", color=color, markersize=3, linewidth=1.3, label=label)
    axes.fill_between(x, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)


def draw_contours(
    axes: Axes, loss: Callable[[Tensor], Tensor], window: tuple[float, float, float, float]
) -> None:
    """Draw contour lines of a loss over the plane, closer together where the loss is low.

    Args:
        axes: the panel; its limits are set to the window.
        loss: the function, (…, 2) → (…).
        window: left, right, lower and upper limit.
    """
    left, right, low, high = window
    x, y = torch.linspace(left, right, 160), torch.linspace(low, high, 160)
    values = loss(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).double())
    above = float((values - values.min()).max()) * torch.linspace(0.02, 1, 14).double() ** 3
    levels = (values.min() + above).tolist()
    axes.contour(x, y, values, levels=levels, colors=INK, linewidths=0.5, alpha=0.5)
    axes.set(xlim=(left, right), ylim=(low, high))

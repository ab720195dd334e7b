"""Numbers over the course of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.style import COLORS, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def stopping_curves(
    epochs: Sequence[int],
    train: Sequence[float],
    val: Sequence[float],
    best_epoch: int,
    stopped: bool,
    ylabel: str,
) -> Figure:
    """Training and validation error by epoch, the best epoch marked.

    Args:
        epochs: numbers of the epochs.
        train, val: one value per epoch.
        best_epoch: where validation was best; its weights were restored.
        stopped: whether training was stopped early, at the last epoch.
        ylabel: what is drawn.
    """
    figure = new_figure(6, 3.8)
    axes = figure.subplots()
    axes.plot(epochs, train, color=COLORS[0], linestyle="--", label="training")
    axes.plot(epochs, val, color=COLORS[1], label="validation")
    best = val[list(epochs).index(best_epoch)]
    axes.axvline(best_epoch, color=INK, linewidth=0.8, linestyle=":")
    axes.plot([best_epoch], [best], "o", color=COLORS[1], markeredgecolor=INK)
    axes.annotate(
        f"best: {best:.4g}, epoch {best_epoch}",
        (best_epoch, best),
        xytext=(0, 14),
        textcoords="offset points",
        ha="right" if best_epoch > (epochs[0] + epochs[-1]) / 2 else "left",
        fontsize=9,
        color=INK,
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    ending = f"stopped after epoch {epochs[-1]}" if stopped else f"ran to epoch {epochs[-1]}"
    axes.set_title(f"{ylabel}: {ending}, best weights restored", fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(frameon=False)
    return figure


def learning_curves(
    epochs: Sequence[int], curves: Mapping[str, Sequence[float]], ylabel: str, title: str
) -> Figure:
    """A metric by epoch for several splits.

    Args:
        epochs: numbers of the epochs.
        curves: label → one value per epoch; nan where it was not measured.
        ylabel: what is drawn.
        title: above.
    """
    figure = new_figure(6, 3.8)
    axes = figure.subplots()
    for index, (label, values) in enumerate(curves.items()):
        known = [(e, v) for e, v in zip(epochs, values, strict=True) if math.isfinite(v)]
        style = "--" if index == 0 else "-"
        axes.plot(*zip(*known, strict=True), color=COLORS[index], linestyle=style, label=label)
    positive = [v for values in curves.values() for v in values if math.isfinite(v)]
    if min(positive) > 0 and max(positive) > 30 * min(positive):
        axes.set_yscale("log")
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(frameon=False)
    return figure


def draw_band(axes: Axes, x: Sequence[float], values: Tensor, color: str, label: str) -> None:
    """Means over repeats with a band of their standard error; values are (len(x), repeats)."""
    mean, error = values.mean(1), values.std(1) / values.shape[1] ** 0.5
    axes.plot(x, mean, "o-", color=color, markersize=3, linewidth=1.3, label=label)
    axes.fill_between(x, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)


def draw_level_sets(
    axes: Axes, loss: Callable[[Tensor], Tensor], window: tuple[float, float, float, float]
) -> None:
    """Level sets of a function of the plane, (…, 2) → (…), nearer to each other where it is low.

    Args:
        axes: to draw into.
        loss: the function.
        window: left, right, lower and upper end.
    """
    left, right, low, high = window
    x, y = torch.linspace(left, right, 160), torch.linspace(low, high, 160)
    values = loss(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).double())
    above = float((values - values.min()).max()) * torch.linspace(0.02, 1, 14).double() ** 3
    levels = (values.min() + above).tolist()
    axes.contour(x, y, values, levels=levels, colors=INK, linewidths=0.5, alpha=0.5)
    axes.set(xlim=(left, right), ylim=(low, high))

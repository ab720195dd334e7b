"""Numbers over the course of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.plots.style import COLOURS, INK, new_figure

if TYPE_CHECKING:
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
    axes.plot(epochs, train, color=COLOURS[0], linestyle="--", label="training")
    axes.plot(epochs, val, color=COLOURS[1], label="validation")
    best = val[list(epochs).index(best_epoch)]
    axes.axvline(best_epoch, color=INK, linewidth=0.8, linestyle=":")
    axes.plot([best_epoch], [best], "o", color=COLOURS[1], markeredgecolor=INK)
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
        axes.plot(*zip(*known, strict=True), color=COLOURS[index], linestyle=style, label=label)
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

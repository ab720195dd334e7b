"""Predictions against data, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from zoo.plots.style import COLORS, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fitted_curve(
    x: Tensor,
    y: Tensor,
    prediction: Tensor,
    grid: Tensor,
    curve: Tensor,
    title: str,
    band: tuple[str, Tensor] | None = None,
    truth: Tensor | None = None,
) -> Figure:
    """A fitted function of one variable with its data; the residuals below.

    Args:
        x, y, prediction: data and the function at x, (N,).
        grid, curve: the function on a fine grid, (G,).
        title: above.
        band: what a band around the curve shows, and half its width, (G,).
        truth: the true function on the grid, (G,).
    """
    figure = new_figure(6, 5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot(x, y, "o", color=COLORS[4], markersize=4, markeredgewidth=0, label="data")
    if truth is not None:
        above.plot(grid, truth, color=INK, linewidth=1, linestyle="--", label="truth")
    if band is not None:
        label, width = band
        above.fill_between(
            grid, curve - width, curve + width, color=COLORS[1], alpha=0.25, linewidth=0,
            label=label,
        )  # fmt: skip
    above.plot(grid, curve, color=COLORS[1], linewidth=1.8, label="fit")
    spread = float(y.max() - y.min()) or 1.0
    above.set_ylim(float(y.min()) - 0.25 * spread, float(y.max()) + 0.25 * spread)
    above.set_ylabel("y")
    above.set_title(title, fontsize=10)
    above.legend(frameon=False, fontsize=8)
    below.vlines(x, 0, y - prediction, color=COLORS[4], linewidth=1)
    below.plot(x, y - prediction, "o", color=COLORS[0], markersize=3, markeredgewidth=0)
    below.axhline(0, color=INK, linewidth=0.8)
    below.set_xlabel("x")
    below.set_ylabel("residual")
    for axes in (above, below):
        axes.grid(alpha=0.25, linewidth=0.5)
    return figure


def predicted_against_true(y: Tensor, prediction: Tensor, title: str) -> Figure:
    """Predictions over true values, and residuals over predictions; (N,) each."""
    figure = new_figure(8, 4)
    left, right = figure.subplots(1, 2)
    ends = [float(min(y.min(), prediction.min())), float(max(y.max(), prediction.max()))]
    left.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
    left.plot(y, prediction, "o", color=COLORS[0], markersize=4, alpha=0.7, markeredgewidth=0)
    left.set_xlabel("true")
    left.set_ylabel("predicted")
    right.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    right.plot(
        prediction, y - prediction, "o", color=COLORS[1], markersize=4, alpha=0.7,
        markeredgewidth=0,
    )  # fmt: skip
    right.set_xlabel("predicted")
    right.set_ylabel("residual")
    for axes in (left, right):
        axes.grid(alpha=0.25, linewidth=0.5)
    figure.suptitle(title, fontsize=10)
    return figure

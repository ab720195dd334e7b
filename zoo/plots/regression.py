"""Predictions of a regressor against data, and residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from zoo.plots.style import (
    COLORS,
    INK,
    TICK_SIZE,
    add_grid_and_legend,
    label_panel,
    new_figure,
    new_panels,
)

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
    """Draw a fitted function of one variable with its data and, below, the residuals.

    Args:
        x, y: data, (N,) each.
        prediction: the fitted function at ``x``, (N,).
        grid, curve: a fine grid and the fitted function on it, (G,) each.
        title: figure title.
        band: label of a band around the curve and half its height, (G,); default none.
        truth: the true function on the grid, (G,); default none.
    """
    figure = new_figure(6, 5, title)
    above, below = new_panels(figure, 2, 1, sharex=True, height_ratios=[3, 1]).flat
    above.plot(x, y, "o", color=COLORS[4], markersize=4, markeredgewidth=0, label="Data")
    if truth is not None:
        above.plot(grid, truth, color=INK, linewidth=1, linestyle="--", label="True function")
    if band is not None:
        label, half_height = band
        above.fill_between(
            grid, curve - half_height, curve + half_height, color=COLORS[1], alpha=0.25,
            linewidth=0, label=label,
        )  # fmt: skip
    above.plot(grid, curve, color=COLORS[1], linewidth=1.8, label="Fit")
    low, high = float(y.min()), float(y.max())
    margin = 0.25 * ((high - low) or 1.0)
    above.set_ylim(low - margin, high + margin)
    below.vlines(x, 0, y - prediction, color=COLORS[4], linewidth=1)
    below.plot(x, y - prediction, "o", color=COLORS[0], markersize=3, markeredgewidth=0)
    below.axhline(0, color=INK, linewidth=0.8)
    label_panel(above, ylabel="y")
    label_panel(below, xlabel="x", ylabel="Residual")
    add_grid_and_legend(above, below, size=TICK_SIZE)
    return figure


def predicted_against_true(y: Tensor, prediction: Tensor, title: str) -> Figure:
    """Draw predictions against true values, and residuals against predictions.

    Args:
        y: true values, (N,).
        prediction: predicted values, (N,).
        title: figure title.
    """
    figure = new_figure(8, 4, title)
    left, right = new_panels(figure, 1, 2).flat
    dots = {"markersize": 4, "alpha": 0.7, "markeredgewidth": 0}
    ends = [float(min(y.min(), prediction.min())), float(max(y.max(), prediction.max()))]
    left.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
    left.plot(y, prediction, "o", color=COLORS[0], **dots)
    right.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    right.plot(prediction, y - prediction, "o", color=COLORS[1], **dots)
    label_panel(left, xlabel="True value", ylabel="Predicted value")
    label_panel(right, xlabel="Predicted value", ylabel="Residual")
    add_grid_and_legend(left, right)
    return figure

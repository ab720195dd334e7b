"""Attention weights, position encodings and forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from zoo.plots.style import (
    COLORS,
    INK,
    TICK_SIZE,
    add_colorbar,
    add_figure_legend,
    label_panel,
    new_figure,
    new_panels,
)
from zoo.plots.weights import show_signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABELED = 40  # tokens up to which an axis shows their labels


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights of one layer.

    Args:
        name: name of the layer.
        weights: (heads, T, S) in [0, 1]; each row of a head sums to 1.
        queries, keys: labels of the T queries and the S keys; default their positions.
    """

    name: str
    weights: Tensor
    queries: Sequence[str] | None = None
    keys: Sequence[str] | None = None


def attention_maps(maps: Sequence[AttentionMap], title: str = "") -> Figure:
    """Draw the attention weights of every head: queries down, keys across, a row for each layer.

    Args:
        maps: the layers' attention weights.
        title: figure title, default none.
    """
    columns = max(len(layer.weights) for layer in maps)
    longest = max(max(layer.weights.shape[1:]) for layer in maps)
    size = 1.4 + 0.09 * min(longest, MAX_LABELED)
    figure = new_figure(size * columns + 1.0, size * len(maps) + 0.5, title)
    panels = new_panels(figure, len(maps), columns)
    for row, layer in enumerate(maps):
        for head, axes in enumerate(panels[row]):
            if head >= len(layer.weights):
                axes.set_visible(False)
                continue
            weights = layer.weights[head].float().cpu()
            image = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1)
            label_panel(
                axes, f"Head {head + 1}" if row == 0 else "",
                ylabel="" if head else layer.name, size=TICK_SIZE,
            )  # fmt: skip
            _label_tokens(axes, "x", layer.keys)
            _label_tokens(axes, "y", layer.queries)
    add_colorbar(figure, image, panels, "Attention weight")
    return figure


def _label_tokens(axes: Axes, which: Literal["x", "y"], labels: Sequence[str] | None) -> None:
    """Label the tokens along an axis if there are labels, and at most ``MAX_LABELED``."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if labels is None or len(labels) > MAX_LABELED:
        axis.set_tick_params(labelsize=6)
        return
    axis.set_ticks(range(len(labels)), labels, fontsize=6, rotation=90 if which == "x" else 0)
    axis.set_tick_params(length=0)


def position_similarity(vectors: Tensor, title: str = "") -> Figure:
    """Draw the cosine similarity of all pairs of position encodings.

    Args:
        vectors: vector added to the token at each position, (T, dim).
        title: figure title, default none.
    """
    from matplotlib.ticker import MaxNLocator

    unit = F.normalize(vectors.float().cpu(), dim=-1)
    figure = new_figure(4.6, 4.0, title)
    axes = figure.subplots()
    image = show_signed(axes, unit @ unit.T, limit=1.0)
    label_panel(axes, xlabel="Position", ylabel="Position")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    add_colorbar(figure, image, axes, "Cosine similarity")
    return figure


def forecasts(
    past: Tensor,
    future: Tensor,
    mean: Tensor,
    half_width: Tensor | None = None,
    series_names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw forecasts with the observed series: a row for each series, a column for each window.

    Args:
        past: observations before the forecast, (N, L, C).
        future: observations during the forecast, (N, H, C).
        mean: forecasts, (N, H, C).
        half_width: half width of the central 90% interval around the forecast, (N, H, C); default
            no interval.
        series_names: names of the C series, default none.
        title: figure title, default none.
    """
    windows, steps, series = past.shape
    figure = new_figure(3.4 * windows + 1.6, 1.5 * series + 0.8, title)
    panels = new_panels(figure, series, windows, sharex=True)
    before = range(-min(steps, 3 * future.shape[1]) + 1, 1)
    after = range(1, future.shape[1] + 1)
    for (row, window), axes in np.ndenumerate(panels):
        axes.plot(before, past[window, -len(before) :, row].cpu(), color=INK, lw=1)
        axes.plot(after, future[window, :, row].cpu(), color=INK, lw=1, label="Observed")
        line = mean[window, :, row].cpu()
        axes.plot(after, line, color=COLORS[1], lw=1.5, label="Forecast")
        if half_width is not None:
            margin = half_width[window, :, row].cpu()
            axes.fill_between(
                after, line - margin, line + margin, color=COLORS[1], alpha=0.2, lw=0,
                label="90% interval",
            )  # fmt: skip
        axes.axvline(0.5, color=INK, lw=0.5, ls=":")
        axes.spines[["top", "right"]].set_visible(False)
        label_panel(
            axes, xlabel="Step" if row == series - 1 else "",
            ylabel=series_names[row] if window == 0 and row < len(series_names) else "",
            size=TICK_SIZE,
        )  # fmt: skip
    add_figure_legend(figure, handles=panels[0, 0].get_legend_handles_labels()[0])
    return figure


def future_forecast(
    past: Tensor,
    mean: Tensor,
    interval: tuple[Tensor, Tensor],
    times: Sequence[Any] | np.ndarray[Any, Any],
    series_names: Sequence[str],
    level: float = 0.9,
    title: str = "",
    xlabel: str = "",
) -> Figure:
    """Draw the forecast of the steps after the last observation: a row for each series.

    Args:
        past: last observations, (L, C).
        mean: forecast, (N, C).
        interval: lower and upper ends of the prediction intervals, (N, C) each; NaN if unknown.
        times: times of the L + N steps, dates (``numpy.datetime64``) or numbers.
        series_names: names of the C series.
        level: probability of the intervals, default 0.9.
        title: figure title, default none.
        xlabel: label of the times, default none.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    count = len(series_names)
    figure = new_figure(8.0, 1.7 * count + 0.9, title)
    panels = new_panels(figure, count, 1, sharex=True)[:, 0]
    times = np.asarray(times)
    before, after = times[: len(past)], times[len(past) :]
    for i, axes in enumerate(panels):
        axes.plot(before, past[:, i].cpu(), color=INK, lw=1, label="Observed")
        axes.plot(after, mean[:, i].cpu(), color=COLORS[1], lw=1.5, label="Forecast",
                  marker="." if len(after) == 1 else "")  # fmt: skip
        axes.fill_between(
            after, *(end[:, i].cpu().numpy() for end in interval), color=COLORS[1], alpha=0.2,
            lw=0, label=f"{level:.0%} interval",
        )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        label_panel(
            axes, xlabel=xlabel if i == count - 1 else "", ylabel=series_names[i], size=TICK_SIZE
        )
        if np.issubdtype(times.dtype, np.datetime64):
            locator = AutoDateLocator()
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    add_figure_legend(figure, handles=panels[0].get_legend_handles_labels()[0])
    return figure

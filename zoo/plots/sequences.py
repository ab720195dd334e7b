"""Attention, positions and forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from torch import Tensor

from zoo.plots.style import COLORS, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELED = 40  # tokens up to which each has its label


@dataclass(frozen=True)
class AttentionMap:
    """The weights of one attention.

    Args:
        name: of the layer.
        weights: (heads, T, S), in [0, 1].
        queries, keys: labels of the T and S tokens; default their numbers.
    """

    name: str
    weights: Tensor
    queries: Sequence[str] | None = None
    keys: Sequence[str] | None = None


def attention_maps(maps: Sequence[AttentionMap], title: str = "") -> Figure:
    """Weights of every head, a row for each layer: from the query at the left to the key below."""
    columns = max(len(each.weights) for each in maps)
    longest = max(max(each.weights.shape[1:]) for each in maps)
    side = 1.4 + 0.09 * min(longest, LABELED)
    figure = new_figure(side * columns + 1.0, side * len(maps) + 0.5)
    grid = figure.subplots(len(maps), columns, squeeze=False)
    for row, each in enumerate(maps):
        for column in range(columns):
            axes = grid[row, column]
            if column >= len(each.weights):
                axes.set_visible(False)
                continue
            heads = each.weights[column].float().cpu()
            image = axes.imshow(heads, cmap="Blues", vmin=0, vmax=1)
            axes.set_title(f"head {column + 1}" if row == 0 else "", fontsize=8, color=INK)
            _label(axes, "x", each.keys)
            _label(axes, "y", each.queries)
        grid[row, 0].set_ylabel(each.name, fontsize=8, color=INK)
    figure.colorbar(image, ax=grid, shrink=0.6, label="weight")
    figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _label(axes: Axes, axis: Literal["x", "y"], labels: Sequence[str] | None) -> None:
    """Tokens along an axis, if they have names and are few."""
    side = axes.xaxis if axis == "x" else axes.yaxis
    if labels is None or len(labels) > LABELED:
        side.set_tick_params(labelsize=6)
        return
    side.set_ticks(range(len(labels)), labels, fontsize=6, rotation=90 if axis == "x" else 0)
    side.set_tick_params(length=0)


def position_similarity(vectors: Tensor, title: str = "") -> Figure:
    """Cosine of the angle between what any two positions add to their tokens.

    Args:
        vectors: (T, dim).
        title: of the figure.
    """
    from matplotlib.ticker import MaxNLocator

    unit = F.normalize(vectors.float().cpu(), dim=-1)
    figure = new_figure(4.6, 4.0)
    axes = figure.subplots()
    image = axes.imshow(unit @ unit.T, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set(xlabel="position", ylabel="position")
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=10, color=INK)
    figure.colorbar(image, ax=axes, label="cosine")
    return figure


def forecasts(
    past: Tensor,
    future: Tensor,
    mean: Tensor,
    spread: Tensor | None = None,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """What was, what came and what was forecast, a row for each series and a column for each
    window.

    Args:
        past: (N, L, C).
        future, mean: (N, H, C).
        spread: half width of the interval around the mean that holds 90 %, (N, H, C).
        names: of the series.
        title: of the figure.
    """
    count, steps, series = past.shape
    figure = new_figure(3.4 * count + 0.6, 1.5 * series + 0.8)
    grid = figure.subplots(series, count, squeeze=False, sharex=True)
    before = range(-min(steps, 3 * future.shape[1]) + 1, 1)
    after = range(1, future.shape[1] + 1)
    for column in range(count):
        for row in range(series):
            axes = grid[row, column]
            values = past[column, -len(before) :, row].cpu()
            axes.plot(before, values, color=INK, lw=1)
            axes.plot(after, future[column, :, row].cpu(), color=INK, lw=1, label="what came")
            line = mean[column, :, row].cpu()
            axes.plot(after, line, color=COLORS[1], lw=1.5, label="forecast")
            if spread is not None:
                width = spread[column, :, row].cpu()
                axes.fill_between(
                    after, line - width, line + width, color=COLORS[1], alpha=0.2, lw=0,
                    label="90 %",
                )  # fmt: skip
            axes.axvline(0.5, color=INK, lw=0.5, ls=":")
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
    for row, name in zip(range(series), names, strict=False):
        grid[row, 0].set_ylabel(name, fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("steps from now", fontsize=8)
    grid[0, -1].legend(fontsize=7, frameon=False, loc="upper left")
    figure.suptitle(title, fontsize=10, color=INK)
    return figure

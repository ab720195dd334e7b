"""Weights, filters, feature maps and attributions of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from zoo.plots.curves import metric_label
from zoo.plots.images import show_image, tile
from zoo.plots.style import (
    COLORS,
    INK,
    TICK_SIZE,
    add_colorbar,
    add_grid_and_legend,
    grid_shape,
    hide_ticks,
    label_panel,
    new_figure,
    new_panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MAX_FILTERS = 64  # number of units of a layer that are drawn


def weight_histograms(
    weights: Mapping[str, Tensor], penalties: Mapping[str, tuple[float, float]], title: str
) -> Figure:
    """Draw a histogram of each layer's weights, with the penalties on a second axis.

    Args:
        weights: name of each parameter → weights.
        penalties: label of each penalty λ|w|^p → (λ, p).
        title: figure title.
    """
    rows, columns = grid_shape(len(weights), 3)
    figure = new_figure(3.6 * columns, 2.7 * rows + 0.4, title)
    panels = new_panels(figure, rows, columns, len(weights)).flat
    for axes, (name, weight) in zip(panels, weights.items(), strict=False):
        draw_weights(axes, name, weight, penalties)
    return figure


def draw_weights(
    axes: Axes, name: str, weight: Tensor, penalties: Mapping[str, tuple[float, float]]
) -> None:
    """Draw a histogram of weights into a panel; see :func:`weight_histograms`.

    Args:
        axes: the panel.
        name: name of the weights, for the panel's title.
        weight: the weights, any shape.
        penalties: label of each penalty λ|w|^p → (λ, p).
    """
    values = weight.detach().float().cpu().flatten().numpy()
    limit = float(np.abs(values).max()) or 1.0
    axes.hist(values, bins=61, range=(-limit, limit), color=COLORS[4])
    axes.set_yscale("log")
    zeros = (np.abs(values) < 1e-3 * limit).mean()
    title = f"{name}: {values.size:,} weights, {zeros:.0%} near 0"
    label_panel(axes, title, "Weight", "Count", TICK_SIZE)
    if not penalties:
        return
    right = axes.twinx()
    line = np.linspace(-limit, limit, 401)
    for index, (label, (strength, p)) in enumerate(penalties.items()):
        penalty = strength * np.abs(line) ** p
        right.plot(line, penalty, color=COLORS[index + 1], linewidth=1.4, label=label)
    right.set_ylim(bottom=0)
    label_panel(right, ylabel="Penalty", size=TICK_SIZE)
    right.legend(framealpha=0.8, edgecolor="none", fontsize=7, loc="upper center")


def show_signed(axes: Axes, values: Tensor, limit: float | None = None) -> AxesImage:
    """Draw a matrix in blue (negative), white (0) and red (positive).

    Args:
        axes: the panel.
        values: (H, W).
        limit: absolute value of the strongest colors, default the largest in ``values``.
    """
    values = values.detach().float().cpu()
    if limit is None:
        limit = float(values.abs().max()) or 1.0
    return axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")


def filters(weight: Tensor, title: str) -> Figure:
    """Draw the incoming weights of a layer's units as images on one color scale.

    Args:
        weight: (units, H, W); the first 64 are drawn.
        title: figure title.
    """
    images = weight[:MAX_FILTERS]
    limit = float(images.detach().abs().max()) or 1.0
    rows, columns = grid_shape(len(images), 8)
    figure = new_figure(0.85 * columns + 1.2, 0.85 * rows + 0.5, title)
    panels = new_panels(figure, rows, columns, count=0)
    for axes, image in zip(panels.flat, images, strict=False):
        drawn = show_signed(axes, image, limit)
    add_colorbar(figure, drawn, panels, "Weight")
    return figure


def feature_maps(image: Tensor, maps: Mapping[str, Tensor], title: str, columns: int = 8) -> Figure:
    """Draw an input image and the feature maps of several layers, each map on its own gray scale.

    Args:
        image: (C, H, W) in [0, 1], C 1 or 3.
        maps: name of each layer → feature maps, (channels, H, W).
        title: figure title.
        columns: number of channels drawn for each layer, from the first on; default 8.
    """
    figure = new_figure(0.95 * (columns + 1) + 0.8, 1.05 * len(maps) + 0.5, title)
    panels = new_panels(figure, len(maps), columns + 1)
    for row, (name, layer) in enumerate(maps.items()):
        first, *others = panels[row]
        first.set_axis_off()
        if row == 0:
            show_image(first, tile(image[None], 1))
            label_panel(first, "Input", size=TICK_SIZE)
        for channel, axes in enumerate(others):
            if channel >= len(layer):
                axes.set_axis_off()
                continue
            values = layer[channel].detach().float().cpu()
            axes.imshow(values, cmap="gray", interpolation="nearest")
            hide_ticks(axes)
        height, width = layer.shape[1:]
        size = f"{name}  {len(layer)}×{height}×{width}"
        others[0].set_title(size, fontsize=TICK_SIZE, loc="left", color=INK)
    return figure


def pruning_curve(
    sparsities: Sequence[float], values: Sequence[float], metric: str, title: str
) -> Figure:
    """Draw a metric against the fraction of weights that are zero.

    Args:
        sparsities: fractions of pruned weights.
        values: metric at each sparsity.
        metric: name of the metric.
        title: figure title.
    """
    figure = new_figure(5.6, 3.8, title)
    axes = figure.subplots()
    axes.plot([100 * s for s in sparsities], values, "o-", color=COLORS[0])
    for sparsity, value in zip(sparsities, values, strict=True):
        axes.annotate(
            f"{value:.4g}", (100 * sparsity, value), xytext=(0, 7), textcoords="offset points",
            ha="center", fontsize=TICK_SIZE, color=INK,
        )  # fmt: skip
    axes.margins(y=0.15)
    label_panel(axes, xlabel="Sparsity (%)", ylabel=metric_label(metric))
    add_grid_and_legend(axes)
    return figure


def labeled_images(images: Tensor, labels: Sequence[str], title: str) -> Figure:
    """Draw images, each with its label above, at most five per row.

    Args:
        images: (N, C, H, W) in [0, 1], C 1 or 3.
        labels: one label for each image.
        title: figure title.
    """
    rows, columns = grid_shape(len(images), 5)
    figure = new_figure(1.3 * columns, 1.55 * rows + 0.5, title)
    panels = new_panels(figure, rows, columns, len(images)).flat
    for axes, image, label in zip(panels, images, labels, strict=False):
        show_image(axes, tile(image[None], 1))
        label_panel(axes, label, size=TICK_SIZE)
    return figure


def attribution_maps(
    images: Tensor, attributions: Tensor, labels: Sequence[str], title: str
) -> Figure:
    """Draw images above their attributions, each on its own symmetric color scale.

    Args:
        images: (N, C, H, W) in [0, 1], C 1 or 3.
        attributions: signed value of each pixel, (N, H, W).
        labels: one label for each image.
        title: figure title.
    """
    figure = new_figure(1.2 * len(images), 3.2, title)
    panels = new_panels(figure, 2, len(images))
    for (above, below), image, values, label in zip(
        panels.T, images, attributions, labels, strict=True
    ):
        show_image(above, tile(image[None], 1))
        label_panel(above, label, size=TICK_SIZE)
        show_signed(below, values)
        below.set_axis_off()
    return figure

"""What is inside a network: weights, filters, feature maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from zoo.plots.style import COLORS, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_MAPS = 64  # units of a layer that are drawn


def weight_histograms(
    weights: Mapping[str, Tensor], penalties: Mapping[str, tuple[float, float]], title: str
) -> Figure:
    """Distribution of each layer's weights, with the penalties drawn over it.

    Args:
        weights: by name.
        penalties: label → (strength λ, exponent p) of λ|w|^p; drawn on the right-hand scale.
        title: above.
    """
    columns = min(3, len(weights))
    rows = math.ceil(len(weights) / columns)
    figure = new_figure(3.6 * columns, 2.7 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(weights) :]:
        axes.set_visible(False)
    for axes, (name, weight) in zip(grid.flat, weights.items(), strict=False):
        draw_weights(axes, name, weight, penalties)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_weights(
    axes: Axes, name: str, weight: Tensor, penalties: Mapping[str, tuple[float, float]]
) -> None:
    """One histogram of weights, with the penalties over it; see :func:`weight_histograms`."""
    values = weight.detach().float().cpu().flatten().numpy()
    limit = float(np.abs(values).max()) or 1.0
    axes.hist(values, bins=61, range=(-limit, limit), color=COLORS[4])
    axes.set_yscale("log")
    zeros = (np.abs(values) < 1e-3 * limit).mean()
    axes.set_title(f"{name}: {values.size:,} weights, {zeros:.0%} near 0", fontsize=8)
    axes.set_xlabel("weight", fontsize=8)
    axes.set_ylabel("count", fontsize=8)
    axes.tick_params(labelsize=7)
    if not penalties:
        return
    over = axes.twinx()
    line = np.linspace(-limit, limit, 401)
    for index, (label, (strength, p)) in enumerate(penalties.items()):
        over.plot(
            line, strength * np.abs(line) ** p, color=COLORS[index + 1], linewidth=1.4, label=label
        )
    over.set_ylim(bottom=0)
    over.set_ylabel("penalty", fontsize=8)
    over.tick_params(labelsize=7)
    over.legend(frameon=False, fontsize=7, loc="upper right")


def filters(weight: Tensor, title: str) -> Figure:
    """Units' incoming weights as images on one scale: blue negative, white 0, red positive.

    Args:
        weight: (units, H, W); the first 64 are drawn.
        title: above.
    """
    images = weight[:MAX_MAPS].detach().float().cpu()
    limit = float(images.abs().max()) or 1.0
    columns = min(8, len(images))
    rows = math.ceil(len(images) / columns)
    figure = new_figure(0.85 * columns + 1.2, 0.85 * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image in zip(grid.flat, images, strict=False):
        shown = axes.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.colorbar(shown, ax=grid, shrink=0.8)
    figure.suptitle(title, fontsize=10)
    return figure


def feature_maps(image: Tensor, maps: Mapping[str, Tensor], title: str, columns: int = 8) -> Figure:
    """An input and what each chosen layer makes of it, each map on its own grey scale.

    Args:
        image: (C, H, W) in [0, 1].
        maps: layer's name → (channels, H, W); the first ``columns`` channels are drawn.
        title: above.
        columns: channels drawn, default 8.
    """
    figure = new_figure(0.95 * (columns + 1) + 0.8, 1.05 * len(maps) + 0.5)
    grid = figure.subplots(len(maps), columns + 1, squeeze=False)
    for row, (name, layer) in enumerate(maps.items()):
        first = grid[row, 0]
        if row == 0:
            _show(first, image)
            first.set_title("input", fontsize=8)
        first.set_axis_off()
        for column in range(columns):
            axes = grid[row, column + 1]
            axes.set(xticks=[], yticks=[])
            if column >= len(layer):
                axes.set_axis_off()
                continue
            axes.imshow(layer[column].detach().float().cpu(), cmap="gray", interpolation="nearest")
            if column == 0:
                height, width = layer.shape[1:]
                axes.set_title(f"{name}  {len(layer)}×{height}×{width}", fontsize=8, loc="left")
    figure.suptitle(title, fontsize=10)
    return figure


def pruning_curve(
    sparsities: Sequence[float], accuracies: Sequence[float], ylabel: str, title: str
) -> Figure:
    """A metric against the share of weights that are zero."""
    figure = new_figure(5.6, 3.8)
    axes = figure.subplots()
    axes.plot([100 * s for s in sparsities], accuracies, "o-", color=COLORS[0])
    for sparsity, value in zip(sparsities, accuracies, strict=True):
        axes.annotate(
            f"{value:.4g}", (100 * sparsity, value), xytext=(0, 7), textcoords="offset points",
            ha="center", fontsize=8, color=INK,
        )  # fmt: skip
    axes.margins(y=0.15)
    axes.set_xlabel("weights pruned, %")
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)
    return figure


def labeled_images(images: Tensor, labels: Sequence[str], title: str) -> Figure:
    """Images (N, C, H, W) in [0, 1], each with its label above."""
    columns = min(5, len(images))
    rows = math.ceil(len(images) / columns)
    figure = new_figure(1.3 * columns, 1.55 * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        _show(axes, image)
        axes.set_title(label, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def image_and_signed_rows(
    images: Tensor, values: Tensor, labels: Sequence[str], title: str
) -> Figure:
    """Images above maps of signed numbers, each map on its own symmetric scale.

    Args:
        images: (N, C, H, W) in [0, 1].
        values: (N, H, W).
        labels: one for each image.
        title: above.
    """
    count = len(images)
    figure = new_figure(1.2 * count, 3.2)
    grid = figure.subplots(2, count, squeeze=False)
    for column in range(count):
        _show(grid[0, column], images[column])
        grid[0, column].set_title(labels[column], fontsize=8)
        heat = values[column].detach().float().cpu()
        limit = float(heat.abs().max()) or 1.0
        grid[1, column].imshow(
            heat, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
        )
        for axes in grid[:, column]:
            axes.set_axis_off()
    figure.suptitle(title, fontsize=10)
    return figure


def _show(axes: Axes, image: Tensor) -> None:
    """A grey or colour image (C, H, W) in [0, 1]."""
    pixels = image.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")

"""Grids of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def tile(images: Tensor, columns: int, gap: int = 1) -> np.ndarray[Any, Any]:
    """Images side by side with white gaps, as an array for ``imshow``.

    Args:
        images: (N, C, H, W) in [0, 1], C 1 or 3; clipped to that range.
        columns: images per row.
        gap: pixels between them, default 1.

    Returns:
        (rows, columns·(W+gap)−gap) or the same with 3 channels.

    Raises:
        ValueError: not images of one or three channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"expected images (N, 1 or 3, H, W), got {tuple(images.shape)}")
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    canvas = torch.ones(channels, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for index, image in enumerate(images.detach().float().cpu().clamp(0, 1)):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    pixels = canvas.permute(1, 2, 0).numpy()
    return pixels[..., 0] if channels == 1 else pixels


def show_image(axes: Axes, pixels: np.ndarray[Any, Any]) -> None:
    """An image without axes; grey values from 0, black, to 1, white."""
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def image_grid(images: Tensor, title: str, columns: int = 8, width: float | None = None) -> Figure:
    """Images in rows of ``columns``, (N, C, H, W) in [0, 1]; ``width`` in inches, default 0.7 for
    each."""
    pixels = tile(images, columns)
    width = 0.7 * columns if width is None else width
    figure = new_figure(width, width * pixels.shape[0] / pixels.shape[1] + 0.5)
    axes = figure.subplots()
    show_image(axes, pixels)
    axes.set_title(title, fontsize=10)
    return figure


def image_rows(rows: Sequence[Tensor], labels: Sequence[str], title: str) -> Figure:
    """Rows of images, each with its label at the left.

    Args:
        rows: equally many images each, (N, C, H, W) in [0, 1].
        labels: one per row.
        title: above.
    """
    columns = len(rows[0])
    pixels = tile(torch.cat(list(rows)), columns)
    width = 0.62 * columns + 1.3
    figure = new_figure(width, 0.62 * columns * pixels.shape[0] / pixels.shape[1] + 0.55)
    axes = figure.subplots()
    show_image(axes, pixels)
    side = (pixels.shape[0] + 1) / len(rows)
    axes.set_yticks([side * (row + 0.5) - 1 for row in range(len(rows))], list(labels), fontsize=9)
    axes.tick_params(left=False)
    axes.set_title(title, fontsize=10)
    return figure


def manifold(
    images: Tensor, percentiles: Sequence[float], title: str, names: tuple[str, str]
) -> Figure:
    """A square grid of decoded images over two latent axes.

    Args:
        images: (side², C, H, W), row by row from the lowest value of the second axis.
        percentiles: the ``side`` percentiles (0 to 100) along both axes.
        title: above.
        names: of the horizontal and the vertical axis.
    """
    side = len(percentiles)
    upwards = images.unflatten(0, (side, side)).flip(0).flatten(0, 1)
    pixels = tile(upwards, side)
    figure = new_figure(6.5, 6.7)
    axes = figure.subplots()
    show_image(axes, pixels)
    height, width = (pixels.shape[0] + 1) / side, (pixels.shape[1] + 1) / side
    shown = sorted({round(i * (side - 1) / 4) for i in range(5)})
    ticks = [f"{percentiles[i]:.0f}" for i in shown]
    axes.set_xticks([width * (i + 0.5) - 1 for i in shown], ticks, fontsize=8)
    axes.set_yticks([height * (side - i - 0.5) - 1 for i in shown], ticks, fontsize=8)
    axes.set_xlabel(f"{names[0]}, percentile", fontsize=9)
    axes.set_ylabel(f"{names[1]}, percentile", fontsize=9)
    axes.set_title(title, fontsize=10)
    return figure


def equation(images: Tensor, signs: Sequence[str], names: Sequence[str], title: str) -> Figure:
    """Images in a row with signs between them, such as a − b + c = d.

    Args:
        images: (N, C, H, W) in [0, 1].
        signs: N − 1, each before the next image.
        names: one below each image.
        title: above.
    """
    figure = new_figure(1.9 * len(images), 2.3)
    row = figure.subplots(1, len(images), squeeze=False)[0]
    for index, axes in enumerate(row):
        show_image(axes, tile(images[index : index + 1], 1))
        axes.set_xlabel(names[index], fontsize=9)
        if index:
            axes.text(-0.12, 0.5, signs[index - 1], transform=axes.transAxes, fontsize=20,
                      ha="center", va="center")  # fmt: skip
    figure.suptitle(title, fontsize=10)
    return figure

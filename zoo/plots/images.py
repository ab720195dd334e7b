"""Grids of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.style import LABEL_SIZE, Array, hide_ticks, label_panel, new_figure, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def tile(images: Tensor, columns: int, gap: int = 1) -> Array:
    """Arrange images in a grid with white gaps, as one array for ``imshow``.

    Args:
        images: (N, C, H, W) in [0, 1], C 1 or 3; values outside are clipped.
        columns: images per row.
        gap: pixels between images, default 1.

    Returns:
        Pixels (rows·(H+gap)−gap, columns·(W+gap)−gap), with a third dimension of 3 channels for
        color images.

    Raises:
        ValueError: ``images`` is not a batch of images with one or three channels.
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


def show_image(axes: Axes, pixels: Array) -> None:
    """Draw an image without ticks or frame.

    Args:
        axes: the panel.
        pixels: gray values (H, W) or colors (H, W, 3) in [0, 1], such as :func:`tile` returns.
    """
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    hide_ticks(axes)


def image_grid(images: Tensor, title: str, columns: int = 8, width: float | None = None) -> Figure:
    """Draw images in rows.

    Args:
        images: (N, C, H, W) in [0, 1], C 1 or 3.
        title: figure title.
        columns: images per row, default 8.
        width: width of the figure in inches, default 0.7 per column.
    """
    pixels = tile(images, columns)
    width = 0.7 * columns if width is None else width
    figure = new_figure(width, width * pixels.shape[0] / pixels.shape[1] + 0.5, title)
    show_image(figure.subplots(), pixels)
    return figure


def image_rows(rows: Sequence[Tensor], labels: Sequence[str], title: str) -> Figure:
    """Draw rows of images, each with its label on the left.

    Args:
        rows: the images of each row, (N, C, H, W) in [0, 1]; all rows have N images.
        labels: one label per row.
        title: figure title.
    """
    columns = len(rows[0])
    pixels = tile(torch.cat(list(rows)), columns)
    height = 0.62 * columns * pixels.shape[0] / pixels.shape[1]
    figure = new_figure(0.62 * columns + 1.3, height + 0.55, title)
    axes = figure.subplots()
    show_image(axes, pixels)
    pitch = (pixels.shape[0] + 1) / len(rows)  # pixels from one row to the next
    centers = [pitch * (row + 0.5) - 1 for row in range(len(rows))]
    axes.set_yticks(centers, list(labels), fontsize=LABEL_SIZE)
    axes.tick_params(left=False)
    return figure


def latent_manifold(
    images: Tensor, percentiles: Sequence[float], title: str, axis_names: tuple[str, str]
) -> Figure:
    """Draw a square grid of decoded images over two latent dimensions.

    Args:
        images: (n², C, H, W) in [0, 1], row by row from the lowest value of the second dimension.
        percentiles: the n percentiles, 0 to 100, along both dimensions.
        title: figure title.
        axis_names: names of the horizontal and the vertical dimension.
    """
    size = len(percentiles)
    upward = images.unflatten(0, (size, size)).flip(0).flatten(0, 1)
    pixels = tile(upward, size)
    figure = new_figure(6.5, 6.7, title)
    axes = figure.subplots()
    show_image(axes, pixels)
    height, width = (pixels.shape[0] + 1) / size, (pixels.shape[1] + 1) / size
    ticked = sorted({round(i * (size - 1) / 4) for i in range(5)})
    tick_labels = [f"{percentiles[i]:.0f}" for i in ticked]
    axes.set_xticks([width * (i + 0.5) - 1 for i in ticked], tick_labels)
    axes.set_yticks([height * (size - i - 0.5) - 1 for i in ticked], tick_labels)
    horizontal, vertical = (f"{name} (percentile)" for name in axis_names)
    label_panel(axes, xlabel=horizontal, ylabel=vertical)
    return figure


def image_equation(
    images: Tensor, operators: Sequence[str], labels: Sequence[str], title: str
) -> Figure:
    """Draw images in a row with operators between them, such as a − b + c = d.

    Args:
        images: (N, C, H, W) in [0, 1].
        operators: N − 1 symbols, one before each image but the first.
        labels: one label below each image.
        title: figure title.
    """
    figure = new_figure(1.9 * len(images), 2.3, title)
    (row,) = new_panels(figure, 1, len(images))
    for index, axes in enumerate(row):
        show_image(axes, tile(images[index : index + 1], 1))
        label_panel(axes, xlabel=labels[index])
        if index:
            axes.text(-0.12, 0.5, operators[index - 1], transform=axes.transAxes, fontsize=20,
                      ha="center", va="center")  # fmt: skip
    return figure

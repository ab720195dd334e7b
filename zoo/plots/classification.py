"""Confusion matrix, calibration and decision boundary of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.plots.style import (
    COLORS,
    INK,
    MARKERS,
    TICK_SIZE,
    Array,
    add_colorbar,
    add_figure_legend,
    add_grid_and_legend,
    label_panel,
    new_figure,
    new_panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MAX_COUNTED = 20  # classes up to which each cell of a confusion matrix shows its count


def confusion_matrix(counts: Tensor, class_names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: true classes down, predicted classes across.

    The color of a cell is its fraction of the row, that is, of the true class.

    Args:
        counts: number of samples, (K, K); rows true, columns predicted.
        class_names: names of the K classes.
        title: figure title.
    """
    classes = len(class_names)
    fractions = (counts / counts.sum(1, keepdim=True).clamp(min=1)).cpu().numpy()
    texts = None
    if classes <= MAX_COUNTED:
        texts = [[str(count) if count else "" for count in row] for row in counts.long().tolist()]
    size = 1.8 + 0.45 * max(classes, 4)
    figure = new_figure(size + 0.8, size, title)
    axes = figure.subplots()
    image = draw_matrix(axes, fractions, texts)
    label_panel(axes, xlabel="Predicted class", ylabel="True class")
    upright = classes <= 10 and max(map(len, class_names)) <= 3
    axes.set_xticks(range(classes), class_names, rotation=0 if upright else 90)
    axes.set_yticks(range(classes), class_names)
    add_colorbar(figure, image, axes, "Fraction of the true class")
    return figure


def draw_matrix(
    axes: Axes, values: Array, texts: Sequence[Sequence[str]] | None = None
) -> AxesImage:
    """Draw a matrix of fractions as colored cells.

    Args:
        axes: the panel.
        values: fractions in [0, 1], (rows, columns).
        texts: text of each cell, empty for none; default no texts.
    """
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(texts or ()):
        for column, text in enumerate(line):
            color = "white" if values[row, column] > 0.5 else INK
            if text:
                axes.text(column, row, text, ha="center", va="center", size=8, color=color)
    return image


def calibration(probabilities: Tensor, labels: Tensor, title: str, bins: int = 15) -> Figure:
    """Draw a reliability diagram: accuracy against confidence, and a histogram of confidence.

    The figure title ends with the expected calibration error Σ_b (n_b / N) |acc_b − conf_b|.

    Args:
        probabilities: predicted probabilities, (N, K).
        labels: class indices, (N,).
        title: beginning of the figure title.
        bins: number of confidence bins of equal width, default 15.
    """
    confidence, predicted = probabilities.float().cpu().max(1)
    correct = (predicted == labels.cpu()).float()
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(index, minlength=bins)
    accuracy = torch.bincount(index, correct, bins) / count.clamp(min=1)
    mean = torch.bincount(index, confidence, bins) / count.clamp(min=1)
    error = float((count / count.sum() * (accuracy - mean).abs()).sum())
    figure = new_figure(4.8, 5.2, f"{title}: calibration error {error:.4f}")
    above, below = new_panels(figure, 2, 1, sharex=True, height_ratios=[3, 1]).flat
    left, used = np.arange(bins) / bins, (count > 0).numpy()
    above.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", label="Perfect calibration")
    above.bar(
        left[used], accuracy.numpy()[used], 1 / bins, align="edge", color=COLORS[4],
        edgecolor="white", label="Accuracy",
    )  # fmt: skip
    above.plot(mean.numpy()[used], accuracy.numpy()[used], "o", color=COLORS[0], markersize=4)
    above.set_ylim(0, 1.02)
    below.bar(left, count.numpy(), 1 / bins, align="edge", color=COLORS[0], edgecolor="white")
    below.set_yscale("symlog")
    below.set_xlim(0, 1)
    label_panel(above, ylabel="Accuracy")
    label_panel(below, xlabel="Confidence", ylabel="Samples")
    add_grid_and_legend(above, below, size=TICK_SIZE)
    return figure


def decision_boundary(
    horizontal: Tensor,
    vertical: Tensor,
    probabilities: Tensor,
    points: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw the predicted class of each point in the plane, with the data on top.

    The paler the color, the lower the predicted probability.

    Args:
        horizontal, vertical: coordinates of the grid, (W,) and (H,).
        probabilities: predicted probabilities on the grid, (H, W, K).
        points: data, (N, 2).
        labels: class indices of the data, (N,).
        class_names: names of the K classes.
        title: figure title.
    """
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(COLORS[k % len(COLORS)]) for k in range(len(class_names))])
    p = probabilities.float().cpu().numpy()
    winner, confidence = p.argmax(2), p.max(2)
    chance = 1 / len(class_names)
    strength = 0.1 + 0.45 * ((confidence - chance) / (1 - chance))[..., None]
    colors = 1 - strength * (1 - palette[winner])
    x, y = horizontal.cpu().numpy(), vertical.cpu().numpy()
    extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    figure = new_figure(6.2, 5.2, title)
    axes = figure.subplots()
    axes.imshow(colors, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    if winner.min() < winner.max():
        levels = np.arange(len(class_names) - 1) + 0.5
        axes.contour(x, y, winner.astype(float), levels=levels, colors=INK, linewidths=0.8)
    for k, name in enumerate(class_names):
        members = points[labels == k].cpu().numpy()
        axes.scatter(
            members[:, 0], members[:, 1], s=14, color=palette[k], edgecolors="white",
            linewidths=0.4, marker=MARKERS[k % len(MARKERS)], label=name,
        )  # fmt: skip
    axes.set(xlim=extent[:2], ylim=extent[2:])
    label_panel(axes, xlabel="x₁", ylabel="x₂")
    add_figure_legend(figure, "Class", markerscale=2)
    return figure

"""What a classifier says, and how far it can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.plots.style import COLORS, INK, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix(counts: Tensor, names: Sequence[str], title: str) -> Figure:
    """True classes down, predicted classes across; cells coloured by the share of their row.

    Args:
        counts: (K, K), rows true, columns predicted.
        names: of the classes.
        title: above.
    """
    classes = len(names)
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1)).cpu().numpy()
    side = 1.8 + 0.45 * max(classes, 4)
    figure = new_figure(side + 0.8, side)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if classes <= 20:
        for row in range(classes):
            for column in range(classes):
                count = int(counts[row, column])
                color = "white" if share[row, column] > 0.5 else INK
                if count:
                    axes.text(
                        column, row, str(count), ha="center", va="center", size=8, color=color
                    )
    upright = classes <= 10 and max(map(len, names)) <= 3
    axes.set_xticks(range(classes), names, rotation=0 if upright else 90, fontsize=8)
    axes.set_yticks(range(classes), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    return figure


def calibration(probabilities: Tensor, labels: Tensor, title: str, bins: int = 15) -> Figure:
    """Accuracy against confidence in bins of confidence, with the number of samples in each.

    Args:
        probabilities: (N, K).
        labels: (N,).
        title: above; the calibration error is added.
        bins: of equal width, default 15.
    """
    confidence, predicted = probabilities.float().cpu().max(1)
    right = (predicted == labels.cpu()).float()
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.zeros(bins).index_add(0, index, torch.ones_like(right))
    accuracy = torch.zeros(bins).index_add(0, index, right) / count.clamp(min=1)
    mean = torch.zeros(bins).index_add(0, index, confidence) / count.clamp(min=1)
    error = float((count / count.sum() * (accuracy - mean).abs()).sum())
    figure = new_figure(4.8, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    left = np.arange(bins) / bins
    shown = (count > 0).numpy()
    above.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", label="calibrated")
    above.bar(
        left[shown], accuracy.numpy()[shown], 1 / bins, align="edge", color=COLORS[4],
        edgecolor="white", label="accuracy",
    )  # fmt: skip
    above.plot(mean.numpy()[shown], accuracy.numpy()[shown], "o", color=COLORS[0], markersize=4)
    above.set_ylabel("accuracy")
    above.set_ylim(0, 1.02)
    above.legend(frameon=False, fontsize=8, loc="upper left")
    above.set_title(f"{title}: calibration error {error:.4f}", fontsize=10)
    below.bar(left, count.numpy(), 1 / bins, align="edge", color=COLORS[0], edgecolor="white")
    below.set_yscale("symlog")
    below.set_xlabel("confidence")
    below.set_ylabel("samples")
    below.set_xlim(0, 1)
    return figure


def decision_boundary(
    horizontal: Tensor,
    vertical: Tensor,
    probabilities: Tensor,
    points: Tensor,
    labels: Tensor,
    names: Sequence[str],
    title: str,
) -> Figure:
    """Classes over the plane, paler where the classifier is less sure, with points on top.

    Args:
        horizontal, vertical: coordinates of the grid, (W,) and (H,).
        probabilities: (H, W, K).
        points: (N, 2).
        labels: (N,).
        names: of the classes.
        title: above.
    """
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(COLORS[k % len(COLORS)]) for k in range(len(names))])
    p = probabilities.float().cpu().numpy()
    winner, sure = p.argmax(2), p.max(2)
    floor = 1 / len(names)
    strength = 0.1 + 0.45 * ((sure - floor) / (1 - floor))[..., None]
    colors = 1 - strength * (1 - palette[winner])
    extent = (
        float(horizontal[0]), float(horizontal[-1]), float(vertical[0]), float(vertical[-1])
    )  # fmt: skip
    figure = new_figure(6.2, 5.2)
    axes = figure.subplots()
    axes.imshow(colors, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    x, y = horizontal.cpu().numpy(), vertical.cpu().numpy()
    levels = winner.astype(float)
    boundaries = np.arange(len(names) - 1) + 0.5
    if levels.min() < levels.max():
        axes.contour(x, y, levels, levels=boundaries, colors=INK, linewidths=0.8)
    for k, name in enumerate(names):
        members = points[labels == k].cpu().numpy()
        axes.scatter(
            members[:, 0], members[:, 1], s=14, color=palette[k], edgecolors="white",
            linewidths=0.4, marker=MARKERS[k % len(MARKERS)], label=name,
        )  # fmt: skip
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_xlabel("x₁")
    axes.set_ylabel("x₂")
    axes.set_title(title, fontsize=10)
    figure.legend(title="class", loc="outside right center", fontsize=8)
    return figure

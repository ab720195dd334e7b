"""Codes as points in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.images import show_image, tile
from zoo.plots.style import COLORS, INK, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def principal_plane(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Codes on their two main axes, (N, D) → (N, 2), and the share of variance of each, (2,)."""
    centered = codes - codes.mean(0)
    u, s, _ = torch.linalg.svd(centered, full_matrices=False)
    # an eigenvector's sign is arbitrary: let the largest coordinate be positive
    points = u[:, :2] * s[:2]
    points = points * points.gather(0, points.abs().argmax(0, keepdim=True)).sign()
    return points, (s.square() / s.square().sum().clamp(min=1e-30))[:2]


def latent_scatter(codes: Tensor, labels: Tensor | None, title: str) -> Figure:
    """Codes in the plane, coloured by class, each class's name at its median.

    Two-dimensional codes are drawn as they are, longer ones on their two principal axes, scalar
    ones against the class.

    Args:
        codes: (N, D).
        labels: class indices (N,), or None.
        title: above.
    """
    figure = new_figure(6, 5.2)
    axes = figure.subplots()
    points, names = _in_plane(codes, labels)
    if scatter_classes(axes, points, labels):
        figure.legend(title="class", loc="outside right center", fontsize=8, markerscale=2)
    _finish(axes, names, title, equal=codes.shape[1] == 2)
    return figure


@dataclass(frozen=True)
class Panel:
    """One model's codes and a path among them.

    Args:
        name: of the model.
        codes: (N, D).
        path: codes along it, (S, D).
        images: the path decoded, (S, C, H, W).
    """

    name: str
    codes: Tensor
    path: Tensor
    images: Tensor


def latent_comparison(panels: Sequence[Panel], labels: Tensor | None, title: str) -> Figure:
    """Codes of the same inputs in several models, each with a path and what it decodes to.

    Args:
        panels: one for each model.
        labels: class indices (N,), or None.
        title: above.
    """
    figure = new_figure(4.6 * len(panels), 5.6)
    grid = figure.subplots(2, len(panels), squeeze=False, height_ratios=[5, 1])
    several = False
    for column, panel in enumerate(panels):
        axes, strip = grid[:, column]
        together = torch.cat([panel.codes, panel.path])
        points, names = _in_plane(together, None)
        several = scatter_classes(axes, points[: len(panel.codes)], labels)
        line = points[len(panel.codes) :]
        axes.plot(line[:, 0], line[:, 1], "-o", color=INK, linewidth=1.2, markersize=3.5)
        axes.plot(*line[0], "s", *line[-1], "D", color="white", markeredgecolor=INK, markersize=7)
        _finish(axes, names, panel.name, equal=panel.codes.shape[1] == 2)
        show_image(strip, tile(panel.images, len(panel.images)))
        strip.set_title("the path decoded, from □ to ◇", fontsize=8)
    if several:
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, names, title="class", loc="outside right center", fontsize=8, markerscale=2
        )
    figure.suptitle(title, fontsize=10)
    return figure


def _in_plane(codes: Tensor, labels: Tensor | None) -> tuple[Tensor, tuple[str, str]]:
    """Codes as points, (N, 2), and what the two axes are."""
    codes = codes.detach().float().cpu()
    if codes.shape[1] == 2:
        return codes, ("z₁", "z₂")
    if codes.shape[1] == 1:
        vertical = torch.zeros(len(codes)) if labels is None else labels.cpu().float()
        return torch.stack([codes[:, 0], vertical], dim=1), ("z", "class")
    points, share = principal_plane(codes)
    first, second = (f"principal axis {i + 1} ({share[i]:.0%} of variance)" for i in range(2))
    return points, (first, second)


def scatter_classes(axes: Axes, points: Tensor, labels: Tensor | None) -> bool:
    """Points (N, 2) by class, each class's name at its median; whether there are several."""
    everyone = torch.ones(len(points), dtype=torch.bool)
    groups: list[tuple[int | None, Tensor]] = [(None, everyone)]
    if labels is not None:
        groups = [(int(c), labels.cpu() == c) for c in labels.unique()]
    for index, (name, members) in enumerate(groups):
        chosen = points[members]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=9,
            alpha=0.75,
            linewidths=0,
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index // len(COLORS) % len(MARKERS)],
            label=None if name is None else str(name),
        )
    for name, members in groups if len(groups) > 1 else []:
        x, y = points[members].median(0).values.tolist()
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        axes.text(x, y, str(name), ha="center", va="center", fontsize=9, color=INK, bbox=box)
    return len(groups) > 1


def _finish(axes: Axes, names: tuple[str, str], title: str, equal: bool) -> None:
    if equal:
        axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)


def point_panels(
    sets: Sequence[Tensor],
    data: Tensor | None,
    labels: Sequence[str],
    title: str = "",
    like: Tensor | None = None,
) -> Figure:
    """Sets of points in the plane side by side, four in a row, on one scale.

    Args:
        sets: (N, 2) each.
        data: points drawn below each set, (M, 2), or None.
        labels: one above each.
        title: above all.
        like: points that set the scale, default the data, else the last set.
    """
    columns = min(4, len(sets))
    rows = -(-len(sets) // columns)
    side = 5.2 if columns == 1 else 2.6
    figure = new_figure(side * columns, side * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    scale = like if like is not None else sets[-1] if data is None else data
    low, high = scale.detach().float().cpu().aminmax(dim=0)
    margin = 0.15 * float((high - low).max())
    for axes, points, label in zip(grid, sets, labels, strict=False):
        if data is not None:
            axes.scatter(*data.cpu().float().T, s=4, linewidths=0, color=COLORS[4], label="data")
        chosen = points.detach().float().cpu()
        axes.scatter(*chosen.T, s=4, linewidths=0, color=COLORS[0], alpha=0.6, label="samples")
        axes.set_xlim(float(low[0]) - margin, float(high[0]) + margin)
        axes.set_ylim(float(low[1]) - margin, float(high[1]) + margin)
        axes.set_aspect("equal")
        axes.set_title(label, fontsize=9)
        axes.tick_params(labelsize=7)
        if data is not None:
            axes.legend(loc="upper right", fontsize=8, markerscale=2)
    for axes in grid[len(sets) :]:
        axes.axis("off")
    figure.suptitle(title, fontsize=10)
    return figure


def explained_variance(ratios: Tensor, title: str) -> Figure:
    """Share of variance of each principal component, and their sum, (D,)."""
    figure = new_figure(6, 3.8)
    axes = figure.subplots()
    ratios = ratios.detach().float().cpu()
    numbers = range(1, len(ratios) + 1)
    axes.bar(numbers, 100 * ratios, color=COLORS[0], label="each component")
    axes.plot(numbers, 100 * ratios.cumsum(0), "o-", color=COLORS[1], ms=4, label="all up to it")
    axes.locator_params(axis="x", integer=True)
    axes.set_ylim(0, 100)
    axes.set_xlabel("principal component")
    axes.set_ylabel("share of variance, %")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(frameon=False, loc="upper left")
    return figure

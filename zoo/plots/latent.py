"""Latent codes, and other points in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.images import show_image, tile
from zoo.plots.style import (
    COLORS,
    INK,
    LABEL_SIZE,
    TICK_SIZE,
    add_figure_legend,
    add_grid_and_legend,
    class_style,
    grid_shape,
    label_panel,
    new_figure,
    new_panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def principal_plane(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Project codes onto their first two principal axes.

    Args:
        codes: (N, D).

    Returns:
        The projections, (N, 2), and the fraction of variance along each axis, (2,).
    """
    centered = codes - codes.mean(0)
    u, s, _ = torch.linalg.svd(centered, full_matrices=False)
    # the sign of a singular vector is arbitrary: make the largest coordinate positive
    points = u[:, :2] * s[:2]
    points = points * points.gather(0, points.abs().argmax(0, keepdim=True)).sign()
    return points, (s.square() / s.square().sum().clamp(min=1e-30))[:2]


def latent_scatter(codes: Tensor, labels: Tensor | None, title: str) -> Figure:
    """Draw codes in the plane, colored by class, with each class's index at its median.

    Two-dimensional codes are drawn unchanged; codes with more dimensions are projected onto their
    first two principal axes; one-dimensional codes are drawn against the class index, or at height
    0 without labels.

    Args:
        codes: (N, D).
        labels: class indices, (N,), or None.
        title: figure title.
    """
    figure = new_figure(6, 5.2, title)
    axes = figure.subplots()
    points, axis_labels = _to_plane(codes, labels)
    if scatter_classes(axes, points, labels):
        add_figure_legend(figure, "Class", markerscale=2)
    _finish_plane(axes, axis_labels, equal=codes.shape[1] == 2)
    return figure


@dataclass(frozen=True)
class LatentPanel:
    """One panel of :func:`latent_comparison`: a model's codes and a path between two of them.

    Args:
        name: name of the model.
        codes: codes of the inputs, (N, D).
        path: codes along the path, (S, D).
        images: the path decoded, (S, C, H, W) in [0, 1].
    """

    name: str
    codes: Tensor
    path: Tensor
    images: Tensor


def latent_comparison(panels: Sequence[LatentPanel], labels: Tensor | None, title: str) -> Figure:
    """Draw several models' codes of the same inputs, each with a path and its decoded images.

    Args:
        panels: one for each model.
        labels: class indices of the inputs, (N,), or None.
        title: figure title.
    """
    figure = new_figure(4.6 * len(panels), 5.6, title)
    grid = new_panels(figure, 2, len(panels), height_ratios=[5, 1])
    has_classes = False
    for (axes, strip), panel in zip(grid.T, panels, strict=True):
        points, axis_labels = _to_plane(torch.cat([panel.codes, panel.path]), None)
        has_classes = scatter_classes(axes, points[: len(panel.codes)], labels)
        path = points[len(panel.codes) :]
        axes.plot(path[:, 0], path[:, 1], "-o", color=INK, linewidth=1.2, markersize=3.5)
        axes.plot(*path[0], "s", *path[-1], "D", color="white", markeredgecolor=INK, markersize=7)
        _finish_plane(axes, axis_labels, panel.name, equal=panel.codes.shape[1] == 2)
        show_image(strip, tile(panel.images, len(panel.images)))
        label_panel(strip, "Path decoded, from □ to ◇")
    if has_classes:  # all panels have the same classes
        handles, _ = grid[0, 0].get_legend_handles_labels()
        add_figure_legend(figure, "Class", handles=handles, markerscale=2)
    return figure


def _to_plane(codes: Tensor, labels: Tensor | None) -> tuple[Tensor, tuple[str, str]]:
    """Return codes as points in the plane, (N, 2), and the labels of the two axes."""
    codes = codes.detach().float().cpu()
    if codes.shape[1] == 2:
        return codes, ("z₁", "z₂")
    if codes.shape[1] == 1:
        vertical = torch.zeros(len(codes)) if labels is None else labels.cpu().float()
        axis_label = "" if labels is None else "Class"
        return torch.stack([codes[:, 0], vertical], dim=1), ("z", axis_label)
    points, fractions = principal_plane(codes)
    first, second = (f"Principal axis {i + 1} ({fractions[i]:.0%} of variance)" for i in range(2))
    return points, (first, second)


def scatter_classes(axes: Axes, points: Tensor, labels: Tensor | None) -> bool:
    """Draw points colored by class, with each class's index at its median.

    Args:
        axes: the panel.
        points: (N, 2).
        labels: class indices, (N,), or None.

    Returns:
        Whether there are several classes.
    """
    everything = torch.ones(len(points), dtype=torch.bool)
    groups: list[tuple[int | None, Tensor]] = [(None, everything)]
    if labels is not None:
        labels = labels.cpu()
        groups = [(int(c), labels == c) for c in labels.unique()]
    for index, (name, members) in enumerate(groups):
        x, y = points[members].T
        label = None if name is None else str(name)
        axes.scatter(x, y, s=9, alpha=0.75, linewidths=0, label=label, **class_style(index))
    for name, members in groups if len(groups) > 1 else []:
        x_median, y_median = points[members].median(0).values.tolist()
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        axes.text(x_median, y_median, str(name), ha="center", va="center", fontsize=LABEL_SIZE,
                  color=INK, bbox=box)  # fmt: skip
    return len(groups) > 1


def _finish_plane(axes: Axes, labels: tuple[str, str], title: str = "", *, equal: bool) -> None:
    """Label a panel of codes, with equal scales on both axes where they are comparable."""
    if equal:
        axes.set_aspect("equal", adjustable="datalim")
    label_panel(axes, title, *labels)
    axes.grid(alpha=0.25, linewidth=0.5)


def scatter_panels(
    point_sets: Sequence[Tensor],
    data: Tensor | None,
    panel_titles: Sequence[str],
    title: str = "",
    scale_like: Tensor | None = None,
) -> Figure:
    """Draw sets of points in the plane side by side on one scale, at most four per row.

    Args:
        point_sets: points of each panel, (N, 2).
        data: points drawn underneath those of each panel, (M, 2), or None.
        panel_titles: one title for each panel.
        title: figure title, default none.
        scale_like: points that set the limits of the axes; default the data, or without data the
            last of ``point_sets``.
    """
    rows, columns = grid_shape(len(point_sets), 4)
    size = 5.2 if columns == 1 else 2.6
    figure = new_figure(size * columns, size * rows + 0.3, title)
    panels = new_panels(figure, rows, columns, len(point_sets)).flat
    if scale_like is None:
        scale_like = point_sets[-1] if data is None else data
    low, high = scale_like.detach().float().cpu().aminmax(dim=0)
    margin = 0.15 * float((high - low).max())
    for axes, points, panel_title in zip(panels, point_sets, panel_titles, strict=False):
        if data is not None:
            axes.scatter(*data.cpu().float().T, s=4, linewidths=0, color=COLORS[4], label="Data")
        points = points.detach().float().cpu()
        axes.scatter(*points.T, s=4, linewidths=0, color=COLORS[0], alpha=0.6, label="Samples")
        axes.set_xlim(float(low[0]) - margin, float(high[0]) + margin)
        axes.set_ylim(float(low[1]) - margin, float(high[1]) + margin)
        axes.set_aspect("equal")
        label_panel(axes, panel_title, size=TICK_SIZE)
        if data is not None:
            axes.legend(loc="upper right", fontsize=TICK_SIZE, markerscale=2)
    return figure


def explained_variance(ratios: Tensor, title: str) -> Figure:
    """Draw the explained variance of each principal component, and the cumulative sum.

    Args:
        ratios: fraction of the variance that each component explains, (D,).
        title: figure title.
    """
    figure = new_figure(6, 3.8, title)
    axes = figure.subplots()
    percent = 100 * ratios.detach().float().cpu()
    components = range(1, len(percent) + 1)
    axes.bar(components, percent, color=COLORS[0], label="Per component")
    axes.plot(components, percent.cumsum(0), "o-", color=COLORS[1], ms=4, label="Cumulative")
    axes.locator_params(axis="x", integer=True)
    axes.set_ylim(0, 100)
    label_panel(axes, xlabel="Principal component", ylabel="Explained variance (%)")
    add_grid_and_legend(axes, size=LABEL_SIZE, loc="upper left")
    return figure

"""Codes as points in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.style import COLOURS, INK, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def principal_plane(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Codes on their two main axes, (N, D) → (N, 2), and the share of variance of each, (2,)."""
    centred = codes - codes.mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
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
    codes = codes.detach().float().cpu()
    if codes.shape[1] == 2:
        points, names = codes, ("z₁", "z₂")
    elif codes.shape[1] == 1:
        vertical = torch.zeros(len(codes)) if labels is None else labels.cpu().float()
        points, names = torch.stack([codes[:, 0], vertical], dim=1), ("z", "class")
    else:
        points, share = principal_plane(codes)
        first, second = (f"principal axis {i + 1} ({share[i]:.0%} of variance)" for i in range(2))
        names = (first, second)
    figure = new_figure(6, 5.2)
    axes = figure.subplots()
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
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index // len(COLOURS) % len(MARKERS)],
            label=None if name is None else str(name),
        )
    for name, members in groups if len(groups) > 1 else []:
        x, y = points[members].median(0).values.tolist()
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        axes.text(x, y, str(name), ha="center", va="center", fontsize=9, color=INK, bbox=box)
    if codes.shape[1] == 2:
        axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.5)
    if len(groups) > 1:
        figure.legend(title="class", loc="outside right center", fontsize=8, markerscale=2)
    return figure

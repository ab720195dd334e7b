"""Clouds of points in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from zoo.plots.style import COLORS, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def point_clouds(
    clouds: Tensor,
    labels: Tensor | None,
    titles: Sequence[str],
    names: Sequence[str],
    title: str,
    wrong: Sequence[bool] | None = None,
) -> Figure:
    """Clouds side by side, each point in the colour of its class, paler behind.

    Args:
        clouds: (B, N, 3), the third axis upwards.
        labels: of the points, (B, N); None draws height in their place.
        titles: above each cloud.
        names: of the classes of points, for the legend.
        title: above.
        wrong: which clouds' titles are red, default none.
    """
    columns = min(5, len(clouds))
    rows = math.ceil(len(clouds) / columns)
    figure = new_figure(2.1 * columns + (1.6 if labels is not None else 0), 2.2 * rows + 0.4)
    points = clouds.float().cpu().numpy()
    palette = np.array([COLORS[k % len(COLORS)] for k in range(max(len(names), 1))])
    for i, cloud in enumerate(points):
        axes = figure.add_subplot(rows, columns, i + 1, projection="3d", computed_zorder=False)
        if labels is None:
            axes.scatter(*cloud.T, s=4, c=cloud[:, 2], cmap="viridis", linewidths=0)
        else:
            for k in np.unique(labels[i].cpu().numpy()):
                members = cloud[labels[i].cpu().numpy() == k]
                axes.scatter(
                    *members.T, s=6, color=palette[k], marker=MARKERS[k // len(COLORS)],
                    linewidths=0,
                )  # fmt: skip
        reach = float(np.abs(cloud).max())
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
        axes.set_box_aspect((1, 1, 1), zoom=1.2)
        axes.view_init(elev=20, azim=-60)
        axes.set_axis_off()
        red = wrong is not None and wrong[i]
        axes.set_title(titles[i], fontsize=8, color="#CC0000" if red else "black")
    if labels is not None:
        for k in sorted(set(labels.flatten().tolist())):
            axes.scatter([], [], [], s=30, color=palette[k], label=names[k],
                         marker=MARKERS[k // len(COLORS)])  # fmt: skip
        figure.legend(loc="outside right center", fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure

"""Point clouds in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from zoo.plots.style import (
    TICK_SIZE,
    add_figure_legend,
    class_style,
    grid_shape,
    label_panel,
    new_figure,
    new_panels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def point_clouds(
    clouds: Tensor,
    labels: Tensor | None,
    panel_titles: Sequence[str],
    class_names: Sequence[str],
    title: str,
    wrong: Sequence[bool] | None = None,
) -> Figure:
    """Draw point clouds side by side, each point in the color of its class.

    Points farther from the viewer are paler.

    Args:
        clouds: coordinates, (B, N, 3), the third axis upward.
        labels: class of each point, (B, N); None colors the points by height.
        panel_titles: one title for each point cloud.
        class_names: names of the point classes, for the legend.
        title: figure title.
        wrong: whether the prediction of each point cloud is wrong, which makes its title red;
            default none.
    """
    rows, columns = grid_shape(len(clouds), 5)
    width = 2.1 * columns + (1.6 if labels is not None else 0)
    figure = new_figure(width, 2.2 * rows + 0.4, title)
    projection = {"projection": "3d", "computed_zorder": False}
    panels = new_panels(figure, rows, columns, len(clouds), subplot_kw=projection).flat
    for i, (axes, cloud) in enumerate(zip(panels, clouds.float().cpu().numpy(), strict=False)):
        if labels is None:
            axes.scatter(*cloud.T, s=4, c=cloud[:, 2], cmap="viridis", linewidths=0)
        else:
            point_labels = labels[i].cpu().numpy()
            for k in np.unique(point_labels):
                axes.scatter(*cloud[point_labels == k].T, s=6, linewidths=0, **class_style(k))
        frame_point_cloud(axes, float(np.abs(cloud).max()))
        is_error = wrong is not None and wrong[i]
        label_panel(axes, panel_titles[i], size=TICK_SIZE, is_error=is_error)
    if labels is not None:
        for k in sorted(set(labels.flatten().tolist())):
            panels[0].scatter([], [], [], s=30, label=class_names[k], **class_style(k))
        add_figure_legend(figure)
    return figure


def frame_point_cloud(axes: Any, half_width: float) -> None:
    """Show the cube from −half_width to half_width in three-dimensional axes, without ticks."""
    limits = (-half_width, half_width)
    axes.set(xlim=limits, ylim=limits, zlim=limits)
    axes.set_box_aspect((1, 1, 1), zoom=1.2)
    axes.view_init(elev=20, azim=-60)
    axes.set_axis_off()

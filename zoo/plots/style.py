"""Colors, text sizes and panel layout shared by all figures.

A figure has one title (:func:`new_figure`); each of its panels has its own title and axis labels
(:func:`label_panel`). All plots lay out their panels with the helpers of this module.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure, SubFigure

Array = np.ndarray[Any, Any]

#: ten colors that readers with common forms of color blindness can distinguish, strongest first:
#: Paul Tol's "muted" scheme and black
COLORS = (
    "#332288",
    "#CC6677",
    "#117733",
    "#DDCC77",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#AA4499",
    "#999933",
    "#000000",
)
MARKERS = "osD^v"
INK = "#222222"  # text and reference lines
ERROR_COLOR = "#CC0000"  # wrong predictions
TITLE_SIZE = 10  # points
LABEL_SIZE = 9
TICK_SIZE = 8


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Create an empty figure with constrained layout, independent of pyplot's global state.

    Args:
        width, height: size in inches.
        title: title above all panels, default none.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=TITLE_SIZE, color=INK)
    return figure


def subfigures(figure: Figure, rows: int, columns: int, **ratios: Any) -> list[SubFigure]:
    """Split a figure into subfigures, row by row; each lays out its own panels.

    Args:
        figure: the figure to split.
        rows, columns: number of subfigures down and across.
        **ratios: ``height_ratios`` or ``width_ratios``.
    """
    return list(np.atleast_1d(figure.subfigures(rows, columns, **ratios)).flat)


def grid_shape(count: int, max_columns: int) -> tuple[int, int]:
    """Return the rows and columns of a grid of ``count`` panels, at most ``max_columns`` wide."""
    columns = max(1, min(count, max_columns))
    return max(1, math.ceil(count / columns)), columns


def new_panels(
    figure: Figure | SubFigure, rows: int, columns: int, count: int | None = None, **options: Any
) -> Array:
    """Create the axes of a grid of panels.

    Args:
        figure: the figure or subfigure to divide.
        rows, columns: size of the grid.
        count: number of panels in use, row by row, default all; the other axes are hidden.
        **options: further arguments of :meth:`matplotlib.figure.Figure.subplots`.

    Returns:
        The axes, (rows, columns).
    """
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in panels.flat[rows * columns if count is None else count :]:
        axes.set_axis_off()
    return panels


def label_panel(
    axes: Axes,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    size: float = LABEL_SIZE,
    is_error: bool = False,
) -> None:
    """Set a panel's title, axis labels and font size.

    Args:
        axes: the panel.
        title: title of the panel, default none.
        xlabel, ylabel: quantity and unit of each axis, default none.
        size: font size of title and labels in points, default 9; ticks are one point smaller.
        is_error: whether the title names a wrong prediction and is red, default no.
    """
    axes.set_title(title, fontsize=size, color=ERROR_COLOR if is_error else INK)
    axes.set_xlabel(xlabel, fontsize=size, color=INK)
    axes.set_ylabel(ylabel, fontsize=size, color=INK)
    axes.tick_params(labelsize=size - 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set_fontsize(size - 1)  # such as 1e−6; tick_params leaves it out


def add_grid_and_legend(*panels: Axes, size: float = 7, loc: Any = "best") -> None:
    """Add a faint grid to each panel, and a legend where something in it is labeled.

    Args:
        *panels: the panels' axes.
        size: font size of the legends in points, default 7.
        loc: position of the legends, default the one that covers the least data.
    """
    for axes in panels:
        axes.grid(alpha=0.25, linewidth=0.5)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=size, loc=loc)


def add_figure_legend(figure: Figure, title: str = "", **options: Any) -> None:
    """Add one legend for all panels, to their right.

    Args:
        figure: the figure.
        title: title of the legend, default none.
        **options: further arguments of :meth:`matplotlib.figure.Figure.legend`, such as
            ``handles``.
    """
    figure.legend(
        title=title or None, loc="outside right center", fontsize=TICK_SIZE,
        title_fontsize=LABEL_SIZE, **options,
    )  # fmt: skip


def add_colorbar(
    figure: Figure | SubFigure, mappable: ScalarMappable, panels: Axes | Array, label: str = ""
) -> None:
    """Add a labeled color bar to the right of one or several panels.

    Args:
        figure: the figure.
        mappable: the image that was drawn, or a norm and color map.
        panels: axes that the color bar belongs to.
        label: the quantity and its unit.
    """
    bar = figure.colorbar(mappable, ax=np.ravel(np.asarray(panels, dtype=object)), shrink=0.8)
    bar.set_label(label, fontsize=LABEL_SIZE, color=INK)
    bar.ax.tick_params(labelsize=TICK_SIZE)


def hide_ticks(axes: Axes) -> None:
    """Hide ticks and frame, but keep the axis labels."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def class_style(index: int) -> dict[str, Any]:
    """Return the color and marker of a class: ten colors, and a new marker every ten classes."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index // len(COLORS) % len(MARKERS)],
    }

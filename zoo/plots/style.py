"""Colours and figures that all plots share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: ten colours that readers with any common colour blindness can tell apart, strongest first:
#: Paul Tol's "muted" scheme and black; markers change with every ten classes
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
INK = "#222222"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, apart from pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def parts(figure: Figure, rows: int, columns: int, **ratios: Any) -> list[SubFigure]:
    """A figure cut into parts with axes of their own, row by row."""
    return list(np.atleast_1d(figure.subfigures(rows, columns, **ratios)).flat)


def finish(*panels: Axes, size: float = 7) -> None:
    """A faint grid and a legend of that font size in each of several panels."""
    for axes in panels:
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.legend(frameon=False, fontsize=size)


def write_gif(pictures: Iterable[Figure], path: Path) -> None:
    """Writes figures of one size as an animation: an eighth of a second each, two for the last."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    images = []
    for picture in pictures:
        picture.set_dpi(80)
        canvas = FigureCanvasAgg(picture)
        canvas.draw()
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("P"))
    times = [125] * (len(images) - 1) + [2_000]  # milliseconds
    images[0].save(path, save_all=True, append_images=images[1:], duration=times, loop=0)

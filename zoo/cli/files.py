"""Figures that commands write; a failure is a one-line error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.files import replacing
from zoo.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure; the same figure always gives the same file.

    Args:
        figure: figure to write.
        path: file to write, whose suffix is the format.
        **options: arguments of ``Figure.savefig``.

    Raises:
        InputError: the file cannot be written, or its format is unknown.
    """
    import matplotlib

    from zoo.plots.files import write_figure

    # without a date and with fixed ids, an SVG file depends only on the figure
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    try:
        with replacing(path) as partial, matplotlib.rc_context({"svg.hashsalt": "zoo"}):
            write_figure(figure, partial, metadata=metadata, **options)
    except InputError:
        raise
    except ValueError as error:  # an unknown format
        raise InputError(f"cannot write {path}: {error}") from error

"""Figures as files, with any characters in their labels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING_GLYPH = re.compile(r"Glyph (\d+) .* missing from")


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure to a file.

    Dollar signs are drawn as such, not as the ends of a formula, and one warning counts the
    characters that the font lacks.

    Args:
        figure: figure to write.
        path: file to write, whose suffix is the format.
        **options: arguments of ``Figure.savefig``.
    """
    keep_dollar_signs(figure)
    with count_missing_glyphs(path):
        figure.savefig(path, **options)


def write_gif(frames: Iterable[Figure], path: Path) -> None:
    """Write figures of equal size as a GIF: 1/8 second per frame, 2 seconds for the last one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    images = []
    with count_missing_glyphs(path):
        for frame in frames:
            keep_dollar_signs(frame)
            frame.set_dpi(80)
            canvas = FigureCanvasAgg(frame)
            canvas.draw()
            images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("P"))
    durations = [125] * (len(images) - 1) + [2_000]  # milliseconds
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)


def keep_dollar_signs(figure: Figure) -> None:
    """Draw the dollar signs in a figure's texts as such: names and words are not formulas.

    The labels of numbers that matplotlib makes itself, such as powers of ten, remain formulas.
    """
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    for axis in figure.findobj(Axis):
        if isinstance(axis.get_major_formatter(), FixedFormatter):
            for tick in axis.get_major_ticks(len(axis.get_majorticklocs())):
                tick.label1.set_parse_math(False)
                tick.label2.set_parse_math(False)
    for text in figure.findobj(Text):
        if "$" in text.get_text() and "\\mathdefault" not in text.get_text():
            text.set_parse_math(False)


@contextmanager
def count_missing_glyphs(path: Path) -> Iterator[None]:
    """Replace matplotlib's warnings, one for each character that the font lacks, by one."""
    missing: dict[str, None] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if found := MISSING_GLYPH.match(str(warning.message)):
            missing[chr(int(found[1]))] = None
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if missing:
        names = ", ".join(map(repr, list(missing)[:3])) + (", …" if len(missing) > 3 else "")
        count = "1 character" if len(missing) == 1 else f"{len(missing):,} characters"
        warnings.warn(
            f"{path.name}: the font lacks {count} ({names}); name one that has them as font.family "
            "in matplotlibrc",
            stacklevel=4,
        )

"""Figures as files: dollar signs, and characters that the font lacks."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from matplotlib.text import Text

from zoo.plots.files import write_figure, write_gif
from zoo.plots.style import new_figure, new_panels

NAMES = ["$$", "$a_$", "costs $5 or $6", r"$\frac$"]


def test_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    figure = new_figure(4, 3, title="$x_$")
    axes = new_panels(figure, 1, 1)[0, 0]
    axes.plot([1, 2, 3, 4], [1, 10, 100, 1000], label="$label^$")
    axes.set_yscale("log")
    axes.set_xticks([1, 2, 3, 4], NAMES)
    axes.legend()
    write_figure(figure, tmp_path / "f.svg")
    write_gif([figure, figure], tmp_path / "f.gif")
    texts = {t.get_text(): t.get_parse_math() for t in figure.findobj(Text) if t.get_text()}
    assert {name: texts[name] for name in [*NAMES, "$x_$", "$label^$"]} == dict.fromkeys(
        [*NAMES, "$x_$", "$label^$"], False
    )
    assert texts[r"$\mathdefault{10^{2}}$"]


def test_characters_that_the_font_lacks_are_counted_in_one_warning(tmp_path: Path) -> None:
    figure = new_figure(4, 3, title="你好")
    new_panels(figure, 1, 1)[0, 0].set_title("你好")
    message = r"f\.png: the font lacks 2 characters \('你', '好'\); name one that has them"
    with pytest.warns(UserWarning, match=message) as warned:
        write_figure(figure, tmp_path / "f.png")
    assert len(warned) == 1


def test_other_warnings_are_passed_on(tmp_path: Path) -> None:
    class Figure:
        def savefig(self, path: Path) -> None:
            warnings.warn("something else", DeprecationWarning, stacklevel=1)

        def findobj(self, _: type) -> list[object]:
            return []

    with pytest.warns(DeprecationWarning, match="something else"):
        write_figure(Figure(), tmp_path / "f.png")  # type: ignore[arg-type]

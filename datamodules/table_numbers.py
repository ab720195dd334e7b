"""Numbers in the cells of a table."""

from __future__ import annotations

import math

import pandas as pd

from datamodules.files import parse_number


def parse_numbers(cells: pd.Series[str]) -> pd.Series[float]:
    """Return the finite numbers in cells; a cell that does not contain one becomes NaN."""
    numbers = map(parse_number, cells)
    finite = [n if n is not None and math.isfinite(n) else math.nan for n in numbers]
    return pd.Series(finite, index=cells.index, dtype="float64")

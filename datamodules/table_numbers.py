"""Placeholder until the shared table reader is there."""

from __future__ import annotations

import numpy as np
import pandas as pd

from datamodules.files import parse_number


def parse_numbers(cells: pd.Series[str]) -> pd.Series[float]:
    numbers = cells.map(lambda cell: np.nan if (n := parse_number(cell)) is None else n)
    return numbers.where(np.isfinite(numbers)).astype(float)

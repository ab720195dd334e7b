"""Equal statistics, different data: Anscombe's quartet and the Datasaurus Dozen.

Can summary statistics replace a plot? Within each of these two collections, all data sets have the
same means, standard deviations, correlation and regression slope: to two decimals in Anscombe's
quartet, to within 0.015 in the Datasaurus Dozen. A plot shows at once what the statistics hide: a
curve, an outlier, a dinosaur. Each panel shows one data set and its least-squares line.

Sources: Anscombe, Graphs in statistical analysis, 1973; Matejka and Fitzmaurice, Same stats,
different graphs, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datamodules import Anscombe, Datasaurus
from zoo.plots.style import COLORS, INK, new_figure
from zoo.studies.base import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATISTICS = ("mean x", "mean y", "sd x", "sd y", "correlation", "slope", "intercept")
COLLECTIONS = {"Anscombe": Anscombe, "Datasaurus": Datasaurus}


@dataclass(frozen=True)
class Result:
    """Points (N, 2) and the seven statistics of every data set, by collection and name."""

    points: dict[str, dict[str, np.ndarray]]
    statistics: dict[str, dict[str, tuple[float, ...]]]

    def ranges(self, collection: str) -> list[float]:
        """Return the range (maximum − minimum) of each statistic within a collection."""
        values = np.array(list(self.statistics[collection].values()))
        return (values.max(0) - values.min(0)).tolist()


def run() -> Result:
    """Compute the statistics of all 17 data sets; there are no settings."""
    points = {name: dict(cls.point_sets) for name, cls in COLLECTIONS.items()}
    statistics = {
        collection: {name: describe(values) for name, values in sets.items()}
        for collection, sets in points.items()
    }
    return Result(points, statistics)


def describe(points: np.ndarray) -> tuple[float, ...]:
    """Return the statistics of a data set in the order of ``STATISTICS``.

    Standard deviations are those of a sample, with N − 1 in the denominator.

    Args:
        points: x and y, (N, 2).
    """
    x, y = points.T
    correlation = np.corrcoef(x, y)[0, 1]
    slope = correlation * y.std() / x.std()
    values = (x.mean(), y.mean(), x.std(ddof=1), y.std(ddof=1), correlation, slope)
    return tuple(map(float, (*values, y.mean() - slope * x.mean())))


def table(result: Result) -> Table:
    """Return the statistics of every data set, and their range within each collection."""
    rows: list[Row] = []
    for collection, sets in result.statistics.items():
        for name, values in sets.items():
            rows.append((f"{collection} {name}", *(f"{v:.2f}" for v in values)))
        rows.append((f"range, {collection}", *(f"{v:.3f}" for v in result.ranges(collection))))
    return Table(rows, ("", *STATISTICS))


def plot(result: Result) -> Figure:
    """Draw every data set with its regression line."""
    figure = new_figure(11, 6.6)
    panels = iter(figure.subplots(3, 6).flat)
    for collection, color in zip(COLLECTIONS, COLORS, strict=False):
        is_anscombe = collection == "Anscombe"
        for name, points in result.points[collection].items():
            axes = next(panels)
            ends = np.array([points[:, 0].min(), points[:, 0].max()])
            slope, intercept = result.statistics[collection][name][5:]
            axes.plot(*points.T, "o", color=color, markersize=3, markeredgewidth=0, alpha=0.8)
            axes.plot(ends, intercept + slope * ends, color=INK, linewidth=1)
            axes.set_title(f"Anscombe {name}" if is_anscombe else name, fontsize=9)
            axes.tick_params(labelsize=6)
            limits = ((2, 20), (2, 14)) if is_anscombe else ((0, 105), (-5, 105))
            axes.set(xlim=limits[0], ylim=limits[1])
    for axes in panels:
        axes.set_axis_off()
    figure.suptitle("Equal means, standard deviations, correlations and regression lines")
    return figure

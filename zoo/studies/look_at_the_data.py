"""Equal statistics, different pictures: Anscombe's quartet and the Datasaurus.

Within each of the two collections all means, standard deviations, correlations and slopes agree,
those of the first to two decimals, those of the second within 0.015. A picture shows at once what
they hide: a curve, an outlier, a dinosaur. The points of a panel are a whole set, the line is its
least-squares fit.

Sources: Anscombe, Graphs in statistical analysis, 1973; Matejka and Fitzmaurice, Same stats,
different graphs, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datamodules import Anscombe, Datasaurus
from zoo.plots.style import COLORS, INK, new_figure
from zoo.studies.base import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATISTICS = ("mean x", "mean y", "sd x", "sd y", "correlation", "slope", "intercept")
COLLECTIONS = {"Anscombe": Anscombe, "Datasaurus": Datasaurus}


@dataclass(frozen=True)
class Result:
    """Points (N, 2) and the seven statistics of each set, by collection and name."""

    points: dict[str, dict[str, np.ndarray]]
    statistics: dict[str, dict[str, tuple[float, ...]]]

    def spread(self, collection: str) -> list[float]:
        """Largest difference between two sets of a collection, by statistic."""
        values = np.array(list(self.statistics[collection].values()))
        return (values.max(0) - values.min(0)).tolist()


def run() -> Result:
    """Computes the statistics of all 17 sets; there is nothing to set."""
    points = {kind: dict(cls.point_sets) for kind, cls in COLLECTIONS.items()}
    statistics = {
        kind: {name: describe(values) for name, values in sets.items()}
        for kind, sets in points.items()
    }
    return Result(points, statistics)


def describe(points: np.ndarray) -> tuple[float, ...]:
    """The statistics of a set of points (N, 2), in the order of ``STATISTICS``; deviations are
    those of a sample (N − 1)."""
    x, y = points.T
    correlation = np.corrcoef(x, y)[0, 1]
    slope = correlation * y.std() / x.std()
    values = (x.mean(), y.mean(), x.std(ddof=1), y.std(ddof=1), correlation, slope)
    return tuple(map(float, (*values, y.mean() - slope * x.mean())))


def table(result: Result) -> Table:
    rows: list[tuple[str, ...]] = []
    for kind, sets in result.statistics.items():
        rows += [(f"{kind} {name}", *(f"{v:.2f}" for v in values)) for name, values in sets.items()]
        rows.append((f"largest difference, {kind}", *(f"{v:.3f}" for v in result.spread(kind))))
    return Table(rows, ("", *STATISTICS))


def plot(result: Result) -> Figure:
    figure = new_figure(11, 6.6)
    panels = iter(figure.subplots(3, 6).flat)
    for kind, color in zip(COLLECTIONS, COLORS, strict=False):
        for name, points in result.points[kind].items():
            axes = next(panels)
            low, high = points[:, 0].min(), points[:, 0].max()
            slope, intercept = result.statistics[kind][name][5:]
            ends = np.array([low, high])
            axes.plot(*points.T, "o", color=color, markersize=3, markeredgewidth=0, alpha=0.8)
            axes.plot(ends, intercept + slope * ends, color=INK, linewidth=1)
            axes.set_title(f"Anscombe {name}" if kind == "Anscombe" else name, fontsize=9)
            axes.tick_params(labelsize=6)
            limits = ((2, 20), (2, 14)) if kind == "Anscombe" else ((0, 105), (-5, 105))
            axes.set(xlim=limits[0], ylim=limits[1])
    for axes in panels:
        axes.set_axis_off()
    figure.suptitle("Equal means, deviations, correlations and regression lines", fontsize=12)
    return figure

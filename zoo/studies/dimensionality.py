"""Distances, angles and volumes in high-dimensional space.

How does geometry change with the dimension d?

Directions become orthogonal: the cosine of the angle between two random directions has mean 0 and
standard deviation 1/√d. Distances become equal: for two uniform points in the unit cube, the
squared distance D² has mean d/6 and variance 7d/180, so D ≈ √(d/6) ± √(7/120) for large d: the mean
grows, the spread does not. The nearest of n points is then hardly nearer than the farthest. Space
becomes empty: on the torus [0, 1)^d a ball of radius r has volume V = π^{d/2} r^d / Γ(d/2 + 1), and
it takes ln(0.05) / ln(1 − V) randomly placed balls to cover 95% of the torus.

Sources: Blum, Hopcroft and Kannan, Foundations of data science, chapter 2; Beyer et al., When is
"nearest neighbor" meaningful?, 1999.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import check_at_least
from zoo.plots.style import COLORS, INK, new_figure
from zoo.studies.base import (
    Row,
    Table,
    check_each_at_least,
    check_range,
    make_generator,
    track,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Result:
    """Cosines and distances of random pairs, nearest over farthest distance, and balls that cover
    the torus, by dimension."""

    dims: tuple[int, ...]
    points: int
    radius: float
    cosines: Tensor  # (len(dims), points)
    distances: Tensor  # (len(dims), points)
    ratios: Tensor  # nearest / farthest, (len(dims),)
    cover_dims: tuple[int, ...]
    cover: Tensor  # number of random balls until 95% of the torus is covered


def run(
    dims: tuple[int, ...] = (1, 2, 3, 10, 30, 100, 300, 1000, 3000),
    points: int = 2000,
    radius: float = 0.3,
    seed: int = 0,
) -> Result:
    """Sample points in spaces of several dimensions, and measure angles, distances and coverage.

    Args:
        dims: dimensions d, each at least 1.
        points: number of random pairs, and of points among which the nearest and the farthest are
            determined, at least 100.
        radius: radius r of the balls that cover the torus, above 0 and below 0.5.
        seed: random seed of all samples.
    """
    check_each_at_least(1, dims=dims)
    check_at_least(100, points=points)
    check_range(0, 0.5, "()", radius=radius)
    rng = make_generator(seed)
    cosines, distances, ratios = [], [], []
    for d in track(dims, "angles and distances"):
        first, second = torch.randn(2, points, d, dtype=torch.float64, generator=rng)
        cosines.append(torch.cosine_similarity(first, second))
        first, second = torch.rand(2, points, d, dtype=torch.float64, generator=rng)
        distances.append((first - second).norm(dim=1))
        to_all = torch.cdist(second[:100], first)
        ratios.append((to_all.min(1).values / to_all.max(1).values).mean())
    cover_dims = tuple(d for d in range(1, 9) if ball_volume(d, radius) > 2e-5)
    cover = [measured_cover(d, radius, rng) for d in track(cover_dims, "covering")]
    return Result(
        tuple(dims), points, radius, torch.stack(cosines), torch.stack(distances),
        torch.stack(ratios), cover_dims, torch.tensor(cover, dtype=torch.float64),
    )  # fmt: skip


def ball_volume(d: int, radius: float) -> float:
    """Return the volume of a ball, V = π^{d/2} r^d / Γ(d/2 + 1)."""
    return math.exp(d / 2 * math.log(math.pi) + d * math.log(radius) - math.lgamma(d / 2 + 1))


def expected_cover(d: int, radius: float, fraction: float = 0.95) -> float:
    """Return the number n of random balls that cover a fraction of the torus on average.

    A given point is missed by all n balls with probability (1 − V)^n.
    """
    return math.log(1 - fraction) / math.log1p(-ball_volume(d, radius))


def measured_cover(d: int, radius: float, rng: torch.Generator, probes: int = 2000) -> int:
    """Return the number of random balls after which 95% of random probe points are covered."""
    points = torch.rand(probes, d, generator=rng)
    first_cover = torch.zeros(probes, dtype=torch.long)  # number of the ball, 0: not yet covered
    count = 0
    while bool((first_cover == 0).double().mean() > 0.05):
        centers = torch.rand(500, d, generator=rng)
        squared_distances = torch.zeros(probes, 500)
        for axis in range(d):
            gap = (points[:, None, axis] - centers[None, :, axis]).abs()
            squared_distances += torch.minimum(gap, 1 - gap).square()
        inside = squared_distances <= radius**2  # (probes, 500)
        new = (first_cover == 0) & inside.any(1)
        first_cover[new] = count + 1 + inside[new].int().argmax(1)
        count += 500
    first_cover[first_cover == 0] = count + 1
    return int(first_cover.sort().values[math.ceil(0.95 * probes) - 1])


def table(result: Result) -> Table:
    """Return statistics by dimension, measured and in theory."""
    rows: list[Row] = []
    for i, d in enumerate(result.dims):
        rows.append((f"sd of the cosine, d = {d}", float(result.cosines[i].std()), d**-0.5))
    for i, d in enumerate(result.dims):
        mean_square = float(result.distances[i].square().mean())
        rows.append((f"mean squared distance in the cube, d = {d}", mean_square, d / 6))
    for d, ratio in zip(result.dims, result.ratios.tolist(), strict=True):
        rows.append((f"nearest / farthest of {result.points:,} points, d = {d}", ratio))
    for d, count in zip(result.cover_dims, result.cover.tolist(), strict=True):
        theory = round(expected_cover(d, result.radius))
        rows.append((f"balls of radius {result.radius:g} that cover 95%, d = {d}", count, theory))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the distribution of angles, and the other quantities against the dimension."""
    figure = new_figure(10, 7)
    (angles, concentration), (ratio, cover) = figure.subplots(2, 2)
    shown = [i for i, d in enumerate(result.dims) if d >= 2]
    for color, i in zip(COLORS, shown[:: max(1, len(shown) // 4)], strict=False):
        degrees = result.cosines[i].clamp(-1, 1).acos().rad2deg()
        angles.hist(degrees, bins=60, range=(0, 180), density=True, histtype="stepfilled",
                    alpha=0.5, color=color, label=f"d = {result.dims[i]}")  # fmt: skip
    angles.set(xlabel="Angle between two random directions (degrees)", yticks=[])
    angles.set_title("Directions become orthogonal", fontsize=10)
    angles.legend(frameon=False, fontsize=8)
    dims = torch.tensor(result.dims, dtype=torch.float64)
    concentration.loglog(dims, dims**-0.5, color=INK, linewidth=1, label="1/√d")
    concentration.loglog(dims, result.cosines.std(1), "o", color=COLORS[1],
                         label="sd of the cosine")  # fmt: skip
    relative = result.distances.std(1) / result.distances.mean(1)
    concentration.loglog(dims, (7 / 20 / dims).sqrt(), color=INK, linewidth=1, linestyle="--",
                         label="√(7/20)/√d")  # fmt: skip
    concentration.loglog(dims, relative, "s", color=COLORS[0], label="sd / mean of the distance")
    concentration.set(xlabel="Dimension d")
    concentration.set_title("Angles and distances concentrate", fontsize=10)
    ratio.semilogx(dims, result.ratios, "o-", color=COLORS[2])
    ratio.set(xlabel="Dimension d", ylabel="Nearest / farthest distance", ylim=(0, 1))
    ratio.set_title(f"Distances to {result.points:,} points become equal", fontsize=10)
    theory = [expected_cover(d, result.radius) for d in result.cover_dims]
    cover.semilogy(result.cover_dims, theory, color=INK, linewidth=1, label="ln 0.05 / ln(1 − V)")
    cover.semilogy(result.cover_dims, result.cover, "o", color=COLORS[1], label="measured")
    cover.set(xlabel="Dimension d", ylabel="Number of balls")
    cover.set_title(f"Random balls of radius {result.radius:g} that cover 95%", fontsize=10)
    for axes in (concentration, ratio, cover):
        axes.grid(alpha=0.25, linewidth=0.5)
    for axes in (concentration, cover):
        axes.legend(frameon=False, fontsize=8)
    return figure

"""What high dimension does to distances, angles and volumes.

Directions become orthogonal: the cosine of two random ones has mean 0 and standard deviation
1/√d. Distances become equal: between uniform points of the unit cube D² has mean d/6 and variance
7d/180, so that D ≈ √(d/6) ± √(7/120) whatever d, and the nearest of n points is hardly nearer than
the farthest. Space becomes empty: on the torus [0, 1)^d a ball of radius r has the volume
V = π^{d/2} r^d / Γ(d/2 + 1), and ln(0.05) / ln(1 − V) random balls cover 95 % of it.

Source: Blum, Hopcroft and Kannan, Foundations of data science, chapter 2; Beyer et al., When is
nearest neighbour meaningful?, 1999.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.plots.style import COLORS, INK, new_figure
from zoo.studies.base import Table, generator, require, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Result:
    """By dimension: cosines and distances of pairs, nearest over farthest, points that cover."""

    dims: tuple[int, ...]
    points: int
    radius: float
    cosines: Tensor  # (len(dims), points)
    distances: Tensor  # (len(dims), points)
    ratios: Tensor  # (len(dims),)
    cover_dims: tuple[int, ...]
    cover: Tensor  # random balls until 95 % is covered


def run(
    dims: tuple[int, ...] = (1, 2, 3, 10, 30, 100, 300, 1000, 3000),
    points: int = 2000,
    radius: float = 0.3,
    seed: int = 0,
) -> Result:
    """Draws points and measures.

    Args:
        dims: dimensions d, each at least 1.
        points: of a cloud, and pairs that angles and distances are taken of.
        radius: of the balls that cover the torus, below 0.5.
        seed: of the draws.
    """
    require(min(dims, default=0) >= 1, "dims must be positive numbers")
    require(points >= 100, f"points must be at least 100, got {points}")
    require(0 < radius < 0.5, f"radius must lie between 0 and 0.5, got {radius}")
    random = generator(seed)
    cosines, distances, ratios = [], [], []
    for d in track(dims, "angles and distances"):
        first, second = torch.randn(2, points, d, dtype=torch.float64, generator=random)
        cosines.append(torch.cosine_similarity(first, second))
        cloud, other = torch.rand(2, points, d, dtype=torch.float64, generator=random)
        distances.append((cloud - other).norm(dim=1))
        ways = torch.cdist(other[:100], cloud)
        ratios.append((ways.min(1).values / ways.max(1).values).mean())
    cover_dims = tuple(d for d in range(1, 9) if ball_volume(d, radius) > 2e-5)
    cover = [cover_count(d, radius, random) for d in track(cover_dims, "covering")]
    return Result(
        tuple(dims), points, radius, torch.stack(cosines), torch.stack(distances),
        torch.stack(ratios), cover_dims, torch.tensor(cover, dtype=torch.float64),
    )  # fmt: skip


def ball_volume(d: int, radius: float) -> float:
    """V = π^{d/2} r^d / Γ(d/2 + 1)."""
    return math.exp(d / 2 * math.log(math.pi) + d * math.log(radius) - math.lgamma(d / 2 + 1))


def cover_theory(d: int, radius: float, share: float = 0.95) -> float:
    """Balls at random places of the torus until that share of it is covered: a place is missed by
    n balls with probability (1 − V)^n."""
    return math.log(1 - share) / math.log1p(-ball_volume(d, radius))


def cover_count(d: int, radius: float, random: torch.Generator, probes: int = 2000) -> int:
    """The same, measured at random places: their 95 % quantile of the first ball that has them."""
    places = torch.rand(probes, d, generator=random)
    first = torch.zeros(probes, dtype=torch.long)
    count = 0
    while bool((first == 0).double().mean() > 0.05):
        centers = torch.rand(500, d, generator=random)
        ways = torch.zeros(probes, 500)
        for axis in range(d):
            gap = (places[:, None, axis] - centers[None, :, axis]).abs()
            ways += torch.minimum(gap, 1 - gap).square()
        hit = ways <= radius**2  # (probes, 500)
        new = (first == 0) & hit.any(1)
        first[new] = count + 1 + hit[new].int().argmax(1)
        count += 500
    first[first == 0] = count + 1
    return int(first.sort().values[math.ceil(0.95 * probes) - 1])


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for i, d in enumerate(result.dims):
        rows.append((f"sd of the cosine, d = {d}", float(result.cosines[i].std()), d**-0.5))
    for i, d in enumerate(result.dims):
        square = float(result.distances[i].square().mean())
        rows.append((f"mean squared distance in the cube, d = {d}", square, d / 6))
    for d, ratio in zip(result.dims, result.ratios.tolist(), strict=True):
        rows.append((f"nearest / farthest of {result.points:,} points, d = {d}", ratio))
    for d, count in zip(result.cover_dims, result.cover.tolist(), strict=True):
        theory = round(cover_theory(d, result.radius))
        rows.append((f"balls of {result.radius:g} that cover 95 %, d = {d}", count, theory))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(10, 7)
    (angles, spread), (ratio, cover) = figure.subplots(2, 2)
    shown = [i for i, d in enumerate(result.dims) if d >= 2]
    for color, i in zip(COLORS, shown[:: max(1, len(shown) // 4)], strict=False):
        degrees = result.cosines[i].clamp(-1, 1).acos().rad2deg()
        angles.hist(degrees, bins=60, range=(0, 180), density=True, histtype="stepfilled",
                    alpha=0.5, color=color, label=f"d = {result.dims[i]}")  # fmt: skip
    angles.set(xlabel="angle between two random directions, degrees", yticks=[])
    angles.set_title("Directions become orthogonal", fontsize=10)
    angles.legend(frameon=False, fontsize=8)
    dims = torch.tensor(result.dims, dtype=torch.float64)
    spread.loglog(dims, dims**-0.5, color=INK, linewidth=1, label="1/√d")
    spread.loglog(dims, result.cosines.std(1), "o", color=COLORS[1], label="sd of the cosine")
    relative = result.distances.std(1) / result.distances.mean(1)
    spread.loglog(dims, (7 / 20 / dims).sqrt(), color=INK, linewidth=1, linestyle="--",
                  label="√(7/20)/√d")  # fmt: skip
    spread.loglog(dims, relative, "s", color=COLORS[0], label="sd / mean of the distance")
    spread.set(xlabel="dimension d")
    spread.set_title("Angles and distances concentrate", fontsize=10)
    ratio.semilogx(dims, result.ratios, "o-", color=COLORS[2])
    ratio.set(xlabel="dimension d", ylim=(0, 1))
    ratio.set_title(f"Nearest over farthest of {result.points:,} points", fontsize=10)
    theory = [cover_theory(d, result.radius) for d in result.cover_dims]
    cover.semilogy(result.cover_dims, theory, color=INK, linewidth=1, label="ln 0.05 / ln(1 − V)")
    cover.semilogy(result.cover_dims, result.cover, "o", color=COLORS[1], label="measured")
    cover.set(xlabel="dimension d")
    cover.set_title(f"Random balls of radius {result.radius:g} that cover 95 %", fontsize=10)
    for axes in (spread, ratio, cover):
        axes.grid(alpha=0.25, linewidth=0.5)
    for axes in (spread, cover):
        axes.legend(frameon=False, fontsize=8)
    return figure

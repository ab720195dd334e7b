"""One hidden layer of ReLUs fits any continuous function, in linear pieces.

With n units whose kinks lie h = 2/n apart on [−1, 1] a network can join the points of f by straight
lines; where f'' exists, the largest error is at most h² max|f''|/8: it falls with n². Training
finds such networks without being told, if less exactly. In the plane each unit's kink is a line,
and n lines in general position cut it into 1 + n + n(n − 1)/2 regions, on each of which the network
is linear; a second layer folds further lines into them.

Sources: Cybenko, 1989; Hornik, Stinchcombe and White, 1989; Zaslavsky, 1975, and Montúfar et al.,
On the number of linear regions of deep neural networks, 2014.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.core.optim import make_optimizer, make_schedule
from zoo.networks import MLP
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import Table, generator, require, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVATURE = math.pi**2  # largest |f''| of f = sin πx
REACH = 3.0  # of the window in which regions are drawn


@dataclass(frozen=True)
class Result:
    """Errors by width of built and trained networks, some fits, and regions of the plane."""

    widths: tuple[int, ...]
    built: Tensor
    trained: Tensor
    pieces: list[int]  # linear pieces of the trained networks
    x: Tensor
    fits: dict[int, tuple[Tensor, Tensor]]  # width → built, trained
    counts: dict[int, int]  # units → regions of the plane
    shallow: Tensor  # number of the region by pixel
    deep: Tensor


def run(
    widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64), steps: int = 3000,
    units: tuple[int, ...] = (2, 4, 6, 8, 10, 12), seed: int = 0,
) -> Result:  # fmt: skip
    """Builds and trains networks of one hidden layer, and counts regions.

    Args:
        widths: hidden units of the networks that fit sin πx.
        steps: of training each.
        units: of the networks of two variables whose regions are counted, each at least 2.
        seed: of first weights.
    """
    require(min(widths, default=0) >= 1, "widths must be positive numbers")
    require(min(units, default=0) >= 2, "units must be numbers from 2 on")
    require(steps >= 1, f"steps must be at least 1, got {steps}")
    x = torch.linspace(-1, 1, 1025, dtype=torch.float64)[:, None]
    truth = target(x)
    built, trained, pieces, fits = [], [], [], {}
    for width in track(widths, "widths"):
        network, learned = interpolant(width), train(width, steps, seed)
        with torch.no_grad():
            both = network(x), learned(x)
        built.append(float((both[0] - truth).abs().max()))
        trained.append(float((both[1] - truth).abs().max()))
        pieces.append(linear_pieces(learned))
        fits[width] = both[0][:, 0], both[1][:, 0]
    planes = {n: MLP([2, n, 1]).double() for n in units}
    counts = {}
    for n, network in planes.items():
        scatter(network, generator(seed + n))
        counts[n] = len(regions(network))
    largest = max(units)
    folded = scatter(MLP([2, largest, largest, 1]).double(), generator(seed + largest))
    return Result(
        tuple(widths), torch.tensor(built), torch.tensor(trained), pieces, x[:, 0], fits, counts,
        numbered(patterns(planes[largest], window())), numbered(patterns(folded, window())),
    )  # fmt: skip


def target(x: Tensor) -> Tensor:
    """sin πx."""
    return (math.pi * x).sin()


def interpolant(width: int) -> MLP:
    """A network whose values at −1, −1 + h, …, 1, h = 2/width, are those of the target: the k-th
    unit's output weight is the change of slope at its kink."""
    network = MLP([1, width, 1]).double()
    knots = torch.linspace(-1, 1, width + 1, dtype=torch.float64)
    values = target(knots)
    slopes = values.diff() / knots.diff()
    hidden: Any = network[1]
    output: Any = network[3]
    with torch.no_grad():
        hidden.weight.fill_(1)
        hidden.bias.copy_(-knots[:-1])
        output.weight.copy_(torch.cat([slopes[:1], slopes.diff()])[None])
        output.bias.copy_(values[:1])
    return network


def train(width: int, steps: int, seed: int) -> MLP:
    """The same network, trained on 256 points by Adam."""
    torch.manual_seed(seed)
    network = MLP([1, width, 1]).double()
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)[:, None]
    layer: Any = network[1]
    with torch.no_grad():  # kinks spread over the interval
        layer.weight.copy_(torch.randn(width, 1).sign() * 2)
        layer.bias.copy_(2 * (2 * torch.rand(width) - 1))
    rule = make_optimizer("adam", [{"params": list(network.parameters())}], 0.01)
    decay = make_schedule("cosine", rule, steps)

    for _ in range(steps):
        rule.zero_grad()
        (network(x) - target(x)).square().mean().backward()
        rule.step()
        decay.step()  # type: ignore[union-attr]
    return network


def linear_pieces(network: MLP) -> int:
    """Straight pieces on [−1, 1]: one more than the kinks inside it."""
    layer: Any = network[1]
    kinks = (-layer.bias / layer.weight[:, 0]).detach()
    return 1 + int((kinks.abs() < 1).sum())


def scatter(network: MLP, random: torch.Generator) -> MLP:
    """Normal weights and biases in place of those that layers begin with."""
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=random, dtype=p.dtype))
    return network


def regions(network: MLP) -> set[tuple[bool, ...]]:
    """Activation patterns of all regions that the first layer's lines w·x + b = 0 make of a plane.

    Lines in general position: every region has a corner, so that the four sectors around every
    crossing of two lines meet all of them.
    """
    layer: Any = network[1]
    weight, bias = layer.weight.detach(), layer.bias.detach()
    found = set()
    for i, j in itertools.combinations(range(len(bias)), 2):
        corner = torch.linalg.solve(weight[[i, j]], -bias[[i, j]])
        pattern = weight @ corner + bias > 0
        for sides in itertools.product((False, True), repeat=2):
            pattern[i], pattern[j] = sides
            found.add(tuple(pattern.tolist()))
    return found


def window(side: int = 300) -> Tensor:
    """Pixels of the drawn window, (side², 2)."""
    line = torch.linspace(-REACH, REACH, side, dtype=torch.float64)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).flatten(0, 1)


def patterns(network: MLP, x: Tensor) -> Tensor:
    """Which units of all hidden layers are on, (B, units)."""
    on = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, torch.nn.ReLU):
            on.append(x > 0)
    return torch.cat(on, dim=1)


def numbered(patterns: Tensor) -> Tensor:
    """The number of each pixel's region, (side, side)."""
    side = math.isqrt(len(patterns))
    return patterns.unique(dim=0, return_inverse=True)[1].view(side, side)


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for i, width in enumerate(result.widths):
        bound = CURVATURE * (2 / width) ** 2 / 8
        rows.append((f"built, {width} units: largest error", float(result.built[i]), bound,
                     "theory: at most"))  # fmt: skip
    for i, width in enumerate(result.widths):
        rows.append((f"trained, {width} units: largest error", float(result.trained[i]), None,
                     f"{result.pieces[i]} straight pieces of at most {width + 1}"))  # fmt: skip
    for n, count in result.counts.items():
        rows.append((f"regions of the plane, {n} units", count, 1 + n + n * (n - 1) // 2))
    n = max(result.counts)
    rows.append((f"regions in the window, {n} units", int(result.shallow.max()) + 1))
    rows.append((f"regions in the window, two layers of {n}", int(result.deep.max()) + 1))
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(10, 8)
    (fits, errors), (shallow, deep) = figure.subplots(2, 2)
    fits.plot(result.x, target(result.x), color=INK, linewidth=1, linestyle="--", label="sin πx")
    for color, (width, (built, trained)) in zip(COLORS, list(result.fits.items())[1:3],
                                                 strict=False):  # fmt: skip
        fits.plot(result.x, built, color=color, linewidth=1, label=f"{width} units, built")
        fits.plot(result.x, trained, color=color, linewidth=1.3, linestyle=":",
                  label=f"{width} units, trained")  # fmt: skip
    fits.set_title("Fits", fontsize=10)
    bound = [CURVATURE / 2 / width**2 for width in result.widths]
    errors.loglog(result.widths, bound, color=INK, linewidth=1, label="h² max|f''|/8")
    errors.loglog(result.widths, result.built, "o", color=COLORS[0], label="built")
    errors.loglog(result.widths, result.trained, "s-", color=COLORS[1], label="trained")
    errors.set_xticks(result.widths, [str(w) for w in result.widths])
    errors.minorticks_off()
    errors.set(xlabel="hidden units")
    errors.set_title("Largest error", fontsize=10)
    add_grid_and_legend(fits, errors, size=8)
    n = max(result.counts)
    _regions(shallow, result.shallow, f"one layer of {n}")
    _regions(deep, result.deep, f"two layers of {n}")
    return figure


def _regions(axes: Axes, numbers: Tensor, title: str) -> None:
    shuffled = torch.randperm(int(numbers.max()) + 1, generator=generator(0))
    extent = (-REACH, REACH, -REACH, REACH)
    axes.imshow(shuffled[numbers], cmap="Spectral", extent=extent, origin="lower",
                interpolation="nearest")  # fmt: skip
    axes.set_title(f"{title}: {int(numbers.max()) + 1} linear regions here", fontsize=10)

"""Universal approximation: one hidden ReLU layer fits any continuous function.

How does the error fall with the width? On [−1, 1], a network of n ReLU units whose kinks are
h = 2/n apart can interpolate f by straight lines. Where f'' exists, the largest error is at most
h² max|f''|/8, which falls as 1/n². Training from random weights finds similar networks, but less
accurate ones.

Into how many linear regions does a network divide the plane? The kink of each unit is a line, and
n lines in general position divide the plane into 1 + n + n(n − 1)/2 regions. On each region the
network is linear. A second layer adds lines that bend wherever they cross one of the first.

Sources: Cybenko, 1989; Hornik, Stinchcombe and White, 1989; Zaslavsky, 1975; Montúfar et al., On
the number of linear regions of deep neural networks, 2014.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.core.optim import make_optimizer, make_schedule
from zoo.errors import check_at_least
from zoo.networks import MLP
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies.base import Row, Table, check_each_at_least, make_generator, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CURVATURE = math.pi**2  # largest |f''| of f = sin πx
WINDOW = 3.0  # regions are drawn on [−WINDOW, WINDOW]²


@dataclass(frozen=True)
class Result:
    """Errors of constructed and trained networks by width, their fits, and linear regions."""

    widths: tuple[int, ...]
    constructed: Tensor  # largest errors
    trained: Tensor
    pieces: list[int]  # linear pieces of the trained networks
    x: Tensor
    fits: dict[int, tuple[Tensor, Tensor]]  # width → constructed, trained
    region_counts: dict[int, int]  # units → regions of the plane
    shallow: Tensor  # index of each pixel's region
    deep: Tensor


def run(
    widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64), steps: int = 3000,
    units: tuple[int, ...] = (2, 4, 6, 8, 10, 12), seed: int = 0,
) -> Result:  # fmt: skip
    """Construct and train networks with one hidden layer, and count linear regions.

    Args:
        widths: numbers of hidden units of the networks that fit sin πx.
        steps: training steps of each network.
        units: numbers of hidden units, each at least 2, of the networks on the plane whose linear
            regions are counted.
        seed: random seed of initial weights.
    """
    check_each_at_least(1, widths=widths)
    check_each_at_least(2, units=units)
    check_at_least(1, steps=steps)
    x = torch.linspace(-1, 1, 1025, dtype=torch.float64)[:, None]
    truth = target(x)
    constructed, trained, pieces, fits = [], [], [], {}
    for width in track(widths, "widths"):
        interpolant, learned = construct(width), train(width, steps, seed)
        with torch.no_grad():
            outputs = interpolant(x), learned(x)
        constructed.append(float((outputs[0] - truth).abs().max()))
        trained.append(float((outputs[1] - truth).abs().max()))
        pieces.append(linear_pieces(learned))
        fits[width] = outputs[0][:, 0], outputs[1][:, 0]
    shallow = {
        n: with_normal_weights(MLP([2, n, 1]).double(), make_generator(seed + n)) for n in units
    }
    largest = max(units)
    deep = with_normal_weights(
        MLP([2, largest, largest, 1]).double(), make_generator(seed + largest)
    )
    return Result(
        tuple(widths), torch.tensor(constructed), torch.tensor(trained), pieces, x[:, 0], fits,
        {n: len(plane_regions(network)) for n, network in shallow.items()},
        region_indices(shallow[largest]), region_indices(deep),
    )  # fmt: skip


def target(x: Tensor) -> Tensor:
    """Return sin πx, the function to fit."""
    return (math.pi * x).sin()


def construct(width: int) -> MLP:
    """Return a network that interpolates the target at −1, −1 + h, …, 1 with h = 2/width.

    The output weight of each unit is the change of slope at its kink.
    """
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
    """Train a network of the same shape with Adam on 256 points of the target."""
    torch.manual_seed(seed)
    network = MLP([1, width, 1]).double()
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)[:, None]
    layer: Any = network[1]
    with torch.no_grad():  # kinks uniform over the interval
        layer.weight.copy_(torch.randn(width, 1).sign() * 2)
        layer.bias.copy_(2 * (2 * torch.rand(width) - 1))
    optimizer = make_optimizer("adam", [{"params": list(network.parameters())}], 0.01)
    schedule = make_schedule("cosine", optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (network(x) - target(x)).square().mean().backward()
        optimizer.step()
        schedule.step()  # type: ignore[union-attr]
    return network


def linear_pieces(network: MLP) -> int:
    """Return the number of linear pieces on [−1, 1]: one more than the kinks inside."""
    layer: Any = network[1]
    kinks = (-layer.bias / layer.weight[:, 0]).detach()
    return 1 + int((kinks.abs() < 1).sum())


def with_normal_weights(network: MLP, rng: torch.Generator) -> MLP:
    """Replace all weights and biases by samples from N(0, 1); return the network."""
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=rng, dtype=p.dtype))
    return network


def plane_regions(network: MLP) -> set[tuple[bool, ...]]:
    """Return the activation patterns of all regions into which the lines w·x + b = 0 of the first
    layer divide the plane.

    For lines in general position every region has a corner, where two lines cross. The four sectors
    around all crossings therefore include every region.
    """
    layer: Any = network[1]
    weight, bias = layer.weight.detach(), layer.bias.detach()
    patterns = set()
    for i, j in itertools.combinations(range(len(bias)), 2):
        corner = torch.linalg.solve(weight[[i, j]], -bias[[i, j]])
        pattern = weight @ corner + bias > 0
        for sides in itertools.product((False, True), repeat=2):
            pattern[i], pattern[j] = sides
            patterns.add(tuple(pattern.tolist()))
    return patterns


def region_indices(network: MLP, side: int = 300) -> Tensor:
    """Return the index of the linear region of each pixel of the window, (side, side)."""
    line = torch.linspace(-WINDOW, WINDOW, side, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).flatten(0, 1)
    active = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, torch.nn.ReLU):
            active.append(x > 0)
    patterns = torch.cat(active, dim=1)  # (side², units of all hidden layers)
    return patterns.unique(dim=0, return_inverse=True)[1].view(side, side)


def table(result: Result) -> Table:
    """Return the largest errors next to their bound, and numbers of linear regions."""
    rows: list[Row] = []
    for width, error in zip(result.widths, result.constructed.tolist(), strict=True):
        bound = MAX_CURVATURE * (2 / width) ** 2 / 8
        rows.append((f"constructed, {width} units: largest error", error, bound,
                     "theory: at most"))  # fmt: skip
    for width, error, pieces in zip(
        result.widths, result.trained.tolist(), result.pieces, strict=True
    ):
        rows.append((f"trained, {width} units: largest error", error, None,
                     f"{pieces} linear pieces of at most {width + 1}"))  # fmt: skip
    for n, count in result.region_counts.items():
        rows.append((f"regions of the plane, {n} units", count, 1 + n + n * (n - 1) // 2))
    n = max(result.region_counts)
    rows.append((f"regions in the window, {n} units", int(result.shallow.max()) + 1))
    rows.append((f"regions in the window, two layers of {n} units", int(result.deep.max()) + 1))
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw fits and their errors, and the linear regions of a shallow and of a deep network."""
    figure = new_figure(10, 8)
    (fits, errors), (shallow, deep) = figure.subplots(2, 2)
    fits.plot(result.x, target(result.x), color=INK, linewidth=1, linestyle="--", label="sin πx")
    shown = list(result.fits.items())[1:3]
    for color, (width, (constructed, trained)) in zip(COLORS, shown, strict=False):
        fits.plot(result.x, constructed, color=color, linewidth=1,
                  label=f"{width} units, constructed")  # fmt: skip
        fits.plot(result.x, trained, color=color, linewidth=1.3, linestyle=":",
                  label=f"{width} units, trained")  # fmt: skip
    fits.set(xlabel="x", ylabel="f(x)")
    fits.set_title("Piecewise linear fits", fontsize=10)
    bound = [MAX_CURVATURE / 2 / width**2 for width in result.widths]
    errors.loglog(result.widths, bound, color=INK, linewidth=1, label="h² max|f''|/8")
    errors.loglog(result.widths, result.constructed, "o", color=COLORS[0], label="constructed")
    errors.loglog(result.widths, result.trained, "s-", color=COLORS[1], label="trained")
    errors.set_xticks(result.widths, [str(w) for w in result.widths])
    errors.minorticks_off()
    errors.set(xlabel="Hidden units", ylabel="Largest error")
    errors.set_title("Error by width", fontsize=10)
    add_grid_and_legend(fits, errors, size=8)
    n = max(result.region_counts)
    _draw_regions(shallow, result.shallow, f"One layer of {n} units")
    _draw_regions(deep, result.deep, f"Two layers of {n} units")
    return figure


def _draw_regions(axes: Axes, indices: Tensor, title: str) -> None:
    count = int(indices.max()) + 1
    shuffled = torch.randperm(count, generator=make_generator(0))  # neighbors get unlike colors
    axes.imshow(shuffled[indices], cmap="Spectral", extent=(-WINDOW, WINDOW, -WINDOW, WINDOW),
                origin="lower", interpolation="nearest")  # fmt: skip
    axes.set(xlabel="x₁", ylabel="x₂")
    axes.set_title(f"{title}: {count} linear regions in the window", fontsize=10)

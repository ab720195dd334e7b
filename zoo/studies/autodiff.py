"""Derivatives of a program: its graph, forward and reverse mode, their costs.

A program is a graph of elementary steps v_i = φ(v_j, …) with known derivatives. Forward mode
carries ∂v_i/∂x along the graph, one pass for each input; reverse mode carries ∂y/∂v_i back, one
pass for each output: the Jacobian of f: ℝⁿ → ℝᵐ costs n passes or m. Finite differences,
(f(x + h) − f(x))/h, cost n + 1 evaluations and are wrong by about h|f''|/2 + 2ε|f|/h, smallest near
h = √ε.

Source: Griewank and Walther, Evaluating derivatives, 2008, chapters 2 to 4; Baydin et al.,
Automatic differentiation in machine learning, 2018.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure, subfigures
from zoo.studies.base import Table, generator, require, track
from zoo.studies.tape import Node, Tape, evaluate, parse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WAYS = ("forward mode", "reverse mode", "finite differences")


@dataclass(frozen=True)
class Result:
    """The graph with its adjoints, gradients by every way, errors of differences, and costs."""

    expression: str
    nodes: list[Node]
    adjoints: list[float]
    inputs: dict[str, float]
    gradients: dict[str, list[float]]
    steps: Tensor  # h
    errors: Tensor  # of forward differences
    sizes: tuple[int, ...]
    passes: dict[str, dict[str, list[int]]]  # case → way → passes of f
    seconds: dict[str, dict[str, list[float]]]


def run(
    expression: str = "x * y + sin(x) * exp(y / 2)", at: tuple[float, ...] = (2.0, 1.0),
    sizes: tuple[int, ...] = (1, 4, 16, 64, 256), repeats: int = 5, seed: int = 0,
) -> Result:  # fmt: skip
    """Differentiates an expression, and functions of many inputs or outputs.

    Args:
        expression: of x, y and z, with + - * / ** and sin, cos, exp, log, sqrt, tanh.
        at: values of x, y, z, as many as there are.
        sizes: numbers of inputs or outputs whose cost is measured.
        repeats: of each timing, of which the median counts.
        seed: of the weights of the functions that are timed.
    """
    require(1 <= len(at) <= 3, f"at must have one to three numbers, got {len(at)}")
    require(min(sizes, default=0) >= 1, "sizes must be positive numbers")
    require(repeats >= 1, f"repeats must be at least 1, got {repeats}")
    inputs = dict(zip("xyz", at, strict=False))
    tree = parse(expression)
    tape = Tape(inputs)
    end = tape.run(tree)
    adjoints = tape.reverse(end)
    point = torch.tensor(at, dtype=torch.float64)

    def f(x: Tensor) -> Tensor:
        return evaluate(tree, dict(zip(inputs, x, strict=True)))

    gradients = {
        "tape, forward": [tape.forward(place)[end] for place in range(len(at))],
        "tape, reverse": adjoints[: len(at)],
        "torch.func.jacfwd": torch.func.jacfwd(f)(point).tolist(),
        "torch.func.jacrev": torch.func.jacrev(f)(point).tolist(),
    }
    steps = torch.logspace(-14, 0, 57, dtype=torch.float64)
    exact = adjoints[0]
    ahead = torch.stack([f(point + h * (torch.arange(len(at)) == 0)) for h in steps])
    errors = ((ahead - f(point)) / steps - exact).abs()
    passes, seconds = costs(sizes, repeats, seed)
    return Result(
        expression, tape.nodes, adjoints, inputs, gradients, steps, errors, tuple(sizes), passes,
        seconds,
    )  # fmt: skip


def costs(sizes: tuple[int, ...], repeats: int, seed: int) -> tuple[Any, Any]:
    """Passes and seconds of whole Jacobians, inputs or outputs growing, the others being one."""
    passes: dict[str, dict[str, list[int]]] = {}
    seconds: dict[str, dict[str, list[float]]] = {}
    for case in ("inputs", "outputs"):
        passes[case] = {way: [] for way in WAYS}
        seconds[case] = {way: [] for way in WAYS}
        for size in track(sizes, f"many {case}"):
            n, m = (size, 1) if case == "inputs" else (1, size)
            f, x = layers(n, m, seed)
            for way in WAYS:
                count, duration = jacobian_cost(f, x, m, way, repeats)
                passes[case][way].append(count)
                seconds[case][way].append(duration)
    return passes, seconds


def layers(n: int, m: int, seed: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A function ℝⁿ → ℝᵐ through 256 tanh units, and a place."""
    random = generator(seed)
    into = torch.randn(256, n, generator=random, dtype=torch.float64) / n**0.5
    out = torch.randn(m, 256, generator=random, dtype=torch.float64) / 16
    return lambda x: out @ torch.tanh(into @ x), torch.randn(n, generator=random, dtype=into.dtype)


def jacobian_cost(
    f: Callable[[Tensor], Tensor], x: Tensor, outputs: int, way: str, repeats: int
) -> tuple[int, float]:
    """How often f ran, forward or back, for the Jacobian, one pass after the other; and seconds."""
    durations = []
    for _ in range(repeats):
        started = time.perf_counter()
        _, count = jacobian(f, x, outputs, way)
        durations.append(time.perf_counter() - started)
    return count, statistics.median(durations)


def jacobian(
    f: Callable[[Tensor], Tensor], x: Tensor, outputs: int, way: str
) -> tuple[Tensor, int]:
    """The Jacobian (m, n) and the passes that it took."""
    directions = torch.eye(len(x), dtype=x.dtype)
    if way == "forward mode":
        columns = [torch.func.jvp(f, (x,), (d,))[1] for d in directions]
        return torch.stack(columns, dim=1), len(columns)
    if way == "reverse mode":
        pull: Callable[..., Any] = torch.func.vjp(f, x)[1]
        rows = [pull(d)[0] for d in torch.eye(outputs, dtype=x.dtype)]
        return torch.stack(rows), len(rows)
    h = torch.finfo(x.dtype).eps ** 0.5
    here = f(x)
    return torch.stack([(f(x + h * d) - here) / h for d in directions], dim=1), len(x) + 1


def table(result: Result) -> Table:
    exact = result.gradients["torch.func.jacrev"]
    rows: list[tuple[str | float | None, ...]] = [
        (f"∂f/∂{name}, {way}", values[i], exact[i])
        for way, values in result.gradients.items() if way != "torch.func.jacrev"
        for i, name in enumerate(result.inputs)
    ]  # fmt: skip
    best = int(result.errors.argmin())
    root = torch.finfo(torch.float64).eps ** 0.5
    rows.append(("step h with the smallest error of differences", float(result.steps[best]), root,
                 "theory: of that order"))  # fmt: skip
    theory = {"inputs": (lambda k: k, lambda k: 1), "outputs": (lambda k: 1, lambda k: k)}
    for case, ways in result.passes.items():
        largest = result.sizes[-1]
        for way, expected in zip(WAYS, theory[case], strict=False):
            seconds = result.seconds[case][way][-1]
            rows.append((f"{largest} {case}, {way}: passes", ways[way][-1], expected(largest),
                         f"{1000 * seconds:.2g} ms"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(11, 7.4)
    above, below = subfigures(figure, 2, 1)
    _graph(above.subplots(), result)
    error, inputs, outputs = below.subplots(1, 3)
    h, slope = result.steps, float(result.errors[-9] / result.steps[-9])
    floor = float(result.errors[:8].median() * result.steps[4])
    error.loglog(h, result.errors.clamp(min=1e-17), "o", color=COLORS[1], markersize=3)
    error.loglog(h, slope * h, color=INK, linewidth=0.8, label="∝ h")
    error.loglog(h, floor / h, color=INK, linewidth=0.8, linestyle=":", label="∝ 1/h")
    error.set(xlabel="step h", ylim=(1e-12, 10))
    error.set_title("Error of finite differences", fontsize=10)
    for axes, case in ((inputs, "inputs"), (outputs, "outputs")):
        for color, way in zip(COLORS, WAYS, strict=False):
            milliseconds = [1000 * s for s in result.seconds[case][way]]
            axes.loglog(result.sizes, milliseconds, "o-", color=color, markersize=4, label=way)
        axes.set(xlabel=case, ylabel="ms")
        axes.set_title(f"Whole gradient, many {case}", fontsize=10)
    add_grid_and_legend(error, inputs, outputs)
    return figure


def _graph(axes: Axes, result: Result) -> None:
    """Nodes by the longest way from an input, with values above and adjoints below."""
    depth: list[int] = []
    for node in result.nodes:
        depth.append(1 + max((depth[p] for p, _ in node.parents), default=-1))
    rank: list[float] = []
    for place, d in enumerate(depth):
        members = [i for i, other in enumerate(depth) if other == d]
        rank.append(members.index(place) - (len(members) - 1) / 2)
    for place, node in enumerate(result.nodes):
        for parent, derivative in node.parents:
            ends = (depth[parent], rank[parent]), (depth[place], rank[place])
            bend = 0.12 if depth[place] - depth[parent] > 1 else 0.0  # around what lies between
            axes.annotate("", ends[1], ends[0], arrowprops={
                "arrowstyle": "-|>", "color": "#888888", "shrinkA": 15, "shrinkB": 15,
                "connectionstyle": f"arc3,rad={bend}",
            })  # fmt: skip
            across, up = (0.65 * a + 0.35 * b for a, b in zip(*ends, strict=True))
            where = across, up - 0.45 * bend * (depth[place] - depth[parent])
            axes.text(*where, f"{derivative:.3g}", fontsize=7, color="#666666", ha="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
        color = COLORS[4] if node.parents else COLORS[3]
        axes.plot(depth[place], rank[place], "o", color=color, markersize=24)
        axes.text(depth[place], rank[place], node.name, ha="center", va="center", fontsize=9)
        axes.text(depth[place], rank[place] + 0.3, f"{node.value:.4g}", ha="center", fontsize=8)
        axes.text(depth[place], rank[place] - 0.42, f"{result.adjoints[place]:.4g}", ha="center",
                  fontsize=8, color=COLORS[1])  # fmt: skip
    axes.set(xlim=(-0.5, max(depth) + 0.5), ylim=(min(rank) - 0.7, max(rank) + 0.6))
    axes.set_axis_off()
    axes.set_title(f"{result.expression}: values above, ∂f/∂ each in red below, local derivatives "
                   "on the arrows", fontsize=10)  # fmt: skip

"""Automatic differentiation: forward and reverse mode on the graph of a program.

How can a computer differentiate a program exactly, and at what cost? A program is a graph of
elementary operations v_i = φ(v_j, …) with known derivatives. Forward mode propagates ∂v_i/∂x
through the graph from the inputs, with one pass per input. Reverse mode propagates ∂y/∂v_i back
from the outputs, with one pass per output. The Jacobian of f: ℝⁿ → ℝᵐ therefore takes n passes in
forward mode and m in reverse mode.

Finite differences, (f(x + h) − f(x))/h, take n + 1 evaluations. With machine precision ε, their
error is about h|f''|/2 + 2ε|f|/h, which is smallest near h = √ε.

Sources: Griewank and Walther, Evaluating derivatives, 2008, chapters 2 to 4; Baydin et al.,
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

from zoo.errors import InputError, check_at_least, check_finite
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure, subfigures
from zoo.studies.autodiff_tape import Node, Tape, evaluate_with_torch, parse
from zoo.studies.base import Row, Table, check_each_at_least, make_generator, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHODS = ("forward mode", "reverse mode", "finite differences")


@dataclass(frozen=True)
class Result:
    """The graph with its adjoints, gradients by several methods, errors of finite differences, and
    costs."""

    expression: str
    nodes: list[Node]
    adjoints: list[float]
    inputs: dict[str, float]
    gradients: dict[str, list[float]]
    step_sizes: Tensor  # h
    errors: Tensor  # of forward differences
    sizes: tuple[int, ...]
    passes: dict[str, dict[str, list[int]]]  # "inputs" or "outputs" → method → passes by size
    seconds: dict[str, dict[str, list[float]]]


def run(
    expression: str = "x * y + sin(x) * exp(y / 2)", at: tuple[float, ...] = (2.0, 1.0),
    sizes: tuple[int, ...] = (1, 4, 16, 64, 256), repeats: int = 5, seed: int = 0,
) -> Result:  # fmt: skip
    """Differentiate an expression, and measure the cost of Jacobians.

    Args:
        expression: expression in x, y and z with + - * / ** and sin, cos, exp, log, sqrt, tanh.
        at: values of x, y and z, one for each variable of the expression.
        sizes: numbers of inputs or outputs for which the cost is measured.
        repeats: number of timings; the median is reported.
        seed: random seed of the functions whose Jacobians are timed.
    """
    if not 1 <= len(at) <= 3:
        raise InputError(f"at must have one to three values (x, y, z), got {len(at)}")
    check_finite(at=at)
    check_each_at_least(1, sizes=sizes)
    check_at_least(1, repeats=repeats)
    inputs = dict(zip("xyz", at, strict=False))
    tree = parse(expression)
    tape = Tape(inputs)
    output = tape.record(tree)
    adjoints = tape.reverse_mode(output)
    point = torch.tensor(at, dtype=torch.float64)

    def f(x: Tensor) -> Tensor:
        return evaluate_with_torch(tree, dict(zip(inputs, x, strict=True)))

    gradients = {
        "tape, forward": [tape.forward_mode(index)[output] for index in range(len(at))],
        "tape, reverse": adjoints[: len(at)],
        "torch.func.jacfwd": torch.func.jacfwd(f)(point).tolist(),
        "torch.func.jacrev": torch.func.jacrev(f)(point).tolist(),
    }
    step_sizes = torch.logspace(-14, 0, 57, dtype=torch.float64)
    ahead = torch.stack([f(point + h * (torch.arange(len(at)) == 0)) for h in step_sizes])
    errors = ((ahead - f(point)) / step_sizes - adjoints[0]).abs()
    passes, seconds = measure_costs(sizes, repeats, seed)
    return Result(
        expression, tape.nodes, adjoints, inputs, gradients, step_sizes, errors, tuple(sizes),
        passes, seconds,
    )  # fmt: skip


def measure_costs(sizes: tuple[int, ...], repeats: int, seed: int) -> tuple[Any, Any]:
    """Return the numbers of passes and the seconds for Jacobians of functions with many inputs and
    one output, and with one input and many outputs."""
    passes: dict[str, dict[str, list[int]]] = {}
    seconds: dict[str, dict[str, list[float]]] = {}
    for case in ("inputs", "outputs"):
        passes[case] = {method: [] for method in METHODS}
        seconds[case] = {method: [] for method in METHODS}
        for size in track(sizes, f"many {case}"):
            n, m = (size, 1) if case == "inputs" else (1, size)
            f, x = random_function(n, m, seed)
            for method in METHODS:
                count, duration = jacobian_cost(f, x, m, method, repeats)
                passes[case][method].append(count)
                seconds[case][method].append(duration)
    return passes, seconds


def random_function(n: int, m: int, seed: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return a random function ℝⁿ → ℝᵐ through 256 tanh units, and a random point."""
    rng = make_generator(seed)
    w1 = torch.randn(256, n, generator=rng, dtype=torch.float64) / n**0.5
    w2 = torch.randn(m, 256, generator=rng, dtype=torch.float64) / 16
    return lambda x: w2 @ torch.tanh(w1 @ x), torch.randn(n, generator=rng, dtype=w1.dtype)


def jacobian_cost(
    f: Callable[[Tensor], Tensor], x: Tensor, outputs: int, method: str, repeats: int
) -> tuple[int, float]:
    """Return the number of passes for the Jacobian of f, and the median time in seconds."""
    durations = []
    for _ in range(repeats):
        started = time.perf_counter()
        _, count = jacobian(f, x, outputs, method)
        durations.append(time.perf_counter() - started)
    return count, statistics.median(durations)


def jacobian(
    f: Callable[[Tensor], Tensor], x: Tensor, outputs: int, method: str
) -> tuple[Tensor, int]:
    """Return the Jacobian (m, n), computed one pass after another, and the number of passes."""
    directions = torch.eye(len(x), dtype=x.dtype)
    if method == "forward mode":
        columns = [torch.func.jvp(f, (x,), (d,))[1] for d in directions]
        return torch.stack(columns, dim=1), len(columns)
    if method == "reverse mode":
        pull_back: Callable[..., Any] = torch.func.vjp(f, x)[1]
        rows = [pull_back(d)[0] for d in torch.eye(outputs, dtype=x.dtype)]
        return torch.stack(rows), len(rows)
    h = torch.finfo(x.dtype).eps ** 0.5
    value = f(x)
    return torch.stack([(f(x + h * d) - value) / h for d in directions], dim=1), len(x) + 1


def table(result: Result) -> Table:
    """Return gradients by method, the best step size, and numbers of passes for Jacobians."""
    exact = result.gradients["torch.func.jacrev"]
    rows: list[Row] = [
        (f"∂f/∂{name}, {method}", values[i], exact[i])
        for method, values in result.gradients.items() if method != "torch.func.jacrev"
        for i, name in enumerate(result.inputs)
    ]  # fmt: skip
    best = int(result.errors.argmin())
    root = torch.finfo(torch.float64).eps ** 0.5
    rows.append(("finite differences: step size h with the smallest error",
                 float(result.step_sizes[best]), root, "theory: order of magnitude"))  # fmt: skip
    largest = result.sizes[-1]
    theory = {"inputs": (largest, 1), "outputs": (1, largest)}
    for case, passes in result.passes.items():
        for method, expected in zip(METHODS, theory[case], strict=False):
            milliseconds = 1000 * result.seconds[case][method][-1]
            rows.append((f"{largest} {case}, {method}: passes", passes[method][-1], expected,
                         f"{milliseconds:.3g} ms"))  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the graph, the error of finite differences, and the time that Jacobians take."""
    figure = new_figure(11, 7.4)
    above, below = subfigures(figure, 2, 1)
    _draw_graph(above.subplots(), result)
    error, inputs, outputs = below.subplots(1, 3)
    h, slope = result.step_sizes, float(result.errors[-9] / result.step_sizes[-9])
    floor = float(result.errors[:8].median() * result.step_sizes[4])
    error.loglog(h, result.errors.clamp(min=1e-17), "o", color=COLORS[1], markersize=3)
    error.loglog(h, slope * h, color=INK, linewidth=0.8, label="∝ h")
    error.loglog(h, floor / h, color=INK, linewidth=0.8, linestyle=":", label="∝ 1/h")
    error.set(xlabel="Step size h", ylabel="Absolute error", ylim=(1e-12, 10),
              xticks=[1e-13, 1e-9, 1e-5, 1e-1])  # fmt: skip
    error.set_title("Error of finite differences", fontsize=10)
    for axes, case in ((inputs, "inputs"), (outputs, "outputs")):
        for color, method in zip(COLORS, METHODS, strict=False):
            milliseconds = [1000 * s for s in result.seconds[case][method]]
            axes.loglog(result.sizes, milliseconds, "o-", color=color, markersize=4, label=method)
        axes.set(xlabel=f"Number of {case}", ylabel="Time (ms)")
        axes.set_title(f"Jacobian of a function with many {case}", fontsize=10)
    add_grid_and_legend(error, inputs, outputs)
    return figure


def _draw_graph(axes: Axes, result: Result) -> None:
    """Draw the nodes in columns by their longest path from an input."""
    depth: list[int] = []
    for node in result.nodes:
        depth.append(1 + max((depth[parent] for parent, _ in node.parents), default=-1))
    height: list[float] = []
    for index, d in enumerate(depth):
        column = [i for i, other in enumerate(depth) if other == d]
        height.append(column.index(index) - (len(column) - 1) / 2)
    for index, node in enumerate(result.nodes):
        x, y = depth[index], height[index]
        for parent, derivative in node.parents:
            start, end = (depth[parent], height[parent]), (x, y)
            span = x - depth[parent]
            bend = 0.12 if span > 1 else 0.0  # around the nodes in between
            axes.annotate("", end, start, arrowprops={
                "arrowstyle": "-|>", "color": "#888888", "shrinkA": 15, "shrinkB": 15,
                "connectionstyle": f"arc3,rad={bend}",
            })  # fmt: skip
            label_x, label_y = (0.65 * a + 0.35 * b for a, b in zip(start, end, strict=True))
            axes.text(label_x, label_y - 0.45 * bend * span, f"{derivative:.3g}", fontsize=7,
                      color="#666666", ha="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
        axes.plot(x, y, "o", color=COLORS[4] if node.parents else COLORS[3], markersize=24)
        axes.text(x, y, node.name, ha="center", va="center", fontsize=9)
        axes.text(x, y + 0.3, f"{node.value:.4g}", ha="center", fontsize=8)
        axes.text(x, y - 0.42, f"{result.adjoints[index]:.4g}", ha="center", fontsize=8,
                  color=COLORS[1])  # fmt: skip
    axes.set(xlim=(-0.5, max(depth) + 0.5), ylim=(min(height) - 0.7, max(height) + 0.6))
    axes.set_axis_off()
    axes.set_title(f"{result.expression} (above: value, below: adjoint ∂f/∂v, on the arrows: "
                   "local derivative)", fontsize=10)  # fmt: skip

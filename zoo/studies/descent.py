"""Optimization paths: gradient descent, momentum, Nesterov, Adam, line search.

How fast do first-order methods descend, and which paths do they take? The gradient is orthogonal to
the level set through a point. On a quadratic with curvatures from μ to L and condition number
κ = L/μ, each step with step size α and momentum β multiplies the error by

    gradient descent, α = 2/(μ + L):                           (κ − 1)/(κ + 1)
    momentum, α = 4/(√μ + √L)², β = ((√κ − 1)/(√κ + 1))²:      √β
    Nesterov, α = 1/L, β = (√κ − 1)/(√κ + 1):                  1 − 1/√κ

On a constant slope g, momentum accelerates until its steps have norm α‖g‖/(1 − β). With noisy
gradients, as in mini-batch training, a constant step size α does not converge: on ½λx² with noise
of standard deviation s, the mean loss levels off at αs²/(2(2 − αλ)). With a decaying step size it
keeps falling.

Sources: Polyak, 1964; Nesterov, 1983; Kingma and Ba, Adam, 2015; Goodfellow, Bengio and Courville,
Deep learning, chapter 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.core.optim import make_optimizer, make_schedule
from zoo.errors import InputError, check_at_least
from zoo.plots.curves import draw_contours
from zoo.plots.style import COLORS, INK, add_grid_and_legend, new_figure
from zoo.studies import objectives
from zoo.studies.base import Row, Table, make_generator, sentence_case, track
from zoo.studies.objectives import Objective, descend, logistic_loss, two_blobs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEDULES = ("constant", "linear", "inverse", "exponential")
NOISE, CURVATURE, NOISY_LR = 1.0, 1.0, 0.2  # s, λ and α of the noisy quadratic


@dataclass(frozen=True)
class Problem:
    """An objective, the start of all descents, the learning rate of each method, the number of
    steps, the window of the plot, and the condition number that determines the momentum."""

    loss: Objective
    start: tuple[float, float]
    lrs: dict[str, float]
    steps: int
    window: tuple[float, float, float, float]  # left, right, bottom, top
    kappa: float = 20.0


def make_problems(kappa: float) -> dict[str, Problem]:
    """Return the four problems by name.

    Learning rates on the ravine are the optimal ones, except for Adam. 2508 is the condition number
    of Rosenbrock's function at its minimum.
    """
    root = math.sqrt(kappa)
    optimal = {
        "gradient descent": 2 / (1 + kappa), "momentum": 4 / (1 + root) ** 2,
        "Nesterov": 1 / kappa, "Adam": 0.3,
    }  # fmt: skip
    low = {"gradient descent": 1e-3, "momentum": 5e-4, "Nesterov": 5e-4, "Adam": 0.05}
    medium = {"gradient descent": 0.1, "momentum": 0.05, "Nesterov": 0.05, "Adam": 0.1}
    high = {"gradient descent": 2.0, "momentum": 0.6, "Nesterov": 0.6, "Adam": 0.15}
    return {
        "ravine": Problem(
            objectives.ravine(kappa), (-4.0, 1.0), optimal, 60, (-4.6, 2.4, -1.6, 1.6), kappa
        ),
        "Rosenbrock": Problem(
            objectives.rosenbrock, (-1.2, 1.0), low, 400, (-1.6, 1.4, -0.6, 1.6), 2508
        ),
        "saddle": Problem(objectives.saddle, (1.0, 1e-3), medium, 120, (-0.6, 1.3, -0.6, 1.6)),
        "logistic loss": Problem(
            logistic_loss(two_blobs()), (3.0, -2.0), high, 60, (-3.6, 3.6, -2.4, 2.4)
        ),
    }


@dataclass(frozen=True)
class Result:
    """Paths and losses by problem and method, and measured rates next to their theory."""

    kappa: float
    paths: dict[str, dict[str, Tensor]]
    losses: dict[str, dict[str, Tensor]]
    rates: dict[str, tuple[float, float]]  # measured, theory
    cosines: dict[str, float]  # largest |cos| between gradient and level set
    terminal_step: tuple[float, float]  # measured, theory
    noisy: dict[str, Tensor]  # schedule → mean loss by step
    plateau: tuple[float, float]  # measured, theory


def run(kappa: float = 20.0, trials: int = 2000, seed: int = 0) -> Result:
    """Minimize every objective with every method, and measure rates of convergence.

    Args:
        kappa: condition number of the ravine, above 1.
        trials: number of noisy descents whose losses are averaged.
        seed: random seed of the noise, the mini-batches and the points on level sets.
    """
    if not 1 < kappa < math.inf:
        raise InputError(f"kappa must be above 1 and finite, got {kappa:g}")
    check_at_least(1, trials=trials)
    torch.manual_seed(seed)
    paths: dict[str, dict[str, Tensor]] = {}
    problems = make_problems(kappa)
    for name, problem in track(problems.items(), "problems"):
        paths[name] = {method: optimize(problem, method, problem.steps) for method in problem.lrs}
        start = torch.tensor(problem.start, dtype=torch.float64)
        paths[name]["line search"] = objectives.line_search(problem.loss, start, problem.steps)
    logistic = problems["logistic loss"]
    paths["logistic loss"]["mini-batches of 8"] = mini_batch_descent(logistic, seed)
    losses = {
        name: {method: problems[name].loss(path) for method, path in by_method.items()}
        for name, by_method in paths.items()
    }
    noisy = {schedule: noisy_descent(schedule, trials) for schedule in track(SCHEDULES, "noise")}
    plateau = float(noisy["constant"][-100:].mean())
    return Result(
        kappa, paths, losses, convergence_rates(kappa),
        {name: largest_cosine(problem, make_generator(seed)) for name, problem in problems.items()},
        terminal_step_norm(), noisy,
        (plateau, NOISY_LR * NOISE**2 / 2 / (2 - NOISY_LR * CURVATURE)),
    )  # fmt: skip


def optimize(problem: Problem, method: str, steps: int) -> Tensor:
    """Return the path of a method with constant learning rate, (steps + 1, 2)."""
    w = torch.tensor(problem.start, dtype=torch.float64, requires_grad=True)
    root = math.sqrt(problem.kappa)
    beta = (root - 1) / (root + 1)
    momentum = {"momentum": beta**2, "Nesterov": beta}.get(method, 0.0)
    options: dict[str, Any] = {"momentum": momentum, "nesterov": method == "Nesterov"}
    name, options = ("adam", {}) if method == "Adam" else ("sgd", options)
    optimizer = make_optimizer(name, [{"params": [w]}], problem.lrs[method], options)
    return descend(w, optimizer, [problem.loss] * steps)


def mini_batch_descent(problem: Problem, seed: int) -> Tensor:
    """Return the path of gradient descent on 8 points per step, with linear decay to 0."""
    points, rng = two_blobs(), make_generator(seed)
    w = torch.tensor(problem.start, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer("sgd", [{"params": [w]}], 2.0, {"momentum": 0.0})
    batches = torch.randint(len(points), (problem.steps, 8), generator=rng)
    losses = [logistic_loss(points[batch]) for batch in batches]
    return descend(w, optimizer, losses, make_schedule("linear", optimizer, problem.steps))


def convergence_rates(kappa: float, steps: int = 700) -> dict[str, tuple[float, float]]:
    """Return the factor per step by which the error on the ravine shrinks, measured over the second
    half of a descent, and according to theory."""
    problem = make_problems(kappa)["ravine"]
    root = math.sqrt(kappa)
    theory = {
        "gradient descent": (kappa - 1) / (kappa + 1), "momentum": (root - 1) / (root + 1),
        "Nesterov": 1 - 1 / root,
    }  # fmt: skip
    rates = {}
    for method, expected in theory.items():
        path = optimize(problem, method, steps)
        early, late = path[steps // 2].norm(), path[steps].norm()
        rates[method] = (float((late / early) ** (2 / steps)), expected)
    return rates


def largest_cosine(problem: Problem, rng: torch.Generator) -> float:
    """Return the largest |cos| between gradient and level set at 200 random points."""
    low = torch.tensor(problem.window[::2], dtype=torch.float64)
    high = torch.tensor(problem.window[1::2], dtype=torch.float64)
    w = low + (high - low) * torch.rand(200, 2, dtype=torch.float64, generator=rng)
    g = torch.func.grad(lambda v: problem.loss(v).sum())(w)
    return float(torch.cosine_similarity(objectives.level_chords(problem.loss, w), g).abs().max())


def terminal_step_norm(lr: float = 0.1, momentum: float = 0.9) -> tuple[float, float]:
    """Return the norm of the 500th step of momentum on a constant slope with ‖g‖ = 5, and its limit
    α‖g‖/(1 − β)."""
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer("sgd", [{"params": [w]}], lr, {"momentum": momentum})
    for _ in range(500):
        before = w.detach().clone()
        w.grad = slope
        optimizer.step()
    return float((w.detach() - before).norm()), lr * 5 / (1 - momentum)


def noisy_descent(schedule: str, trials: int, steps: int = 400) -> Tensor:
    """Return the loss ½λx² by step, averaged over descents with gradient noise of standard
    deviation s."""
    x = torch.full((trials,), 3.0, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer("sgd", [{"params": [x]}], NOISY_LR, {"momentum": 0.0})
    decay = make_schedule(schedule, optimizer, steps)
    losses = []
    for _ in range(steps):
        losses.append(0.5 * CURVATURE * x.detach().square().mean())
        x.grad = CURVATURE * x.detach() + NOISE * torch.randn_like(x)
        optimizer.step()
        if decay:
            decay.step()
    return torch.stack(losses)


def table(result: Result) -> Table:
    """Return convergence rates, orthogonality, the step of momentum, and losses under noise."""
    rows: list[Row] = [
        (f"{method}: error after / before a step, κ = {result.kappa:g}", measured, theory)
        for method, (measured, theory) in result.rates.items()
    ]
    rows += [
        (f"gradient and level set, {name}: largest |cos|", cosine, 0.0, "200 points")
        for name, cosine in result.cosines.items()
    ]
    rows.append(("momentum on a constant slope: norm of the last step", *result.terminal_step))
    rows.append(("noisy gradients, constant step size: mean loss at the end", *result.plateau))
    rows += [
        (f"noisy gradients, {schedule} decay: mean loss at the end", float(losses[-1]))
        for schedule, losses in result.noisy.items() if schedule != "constant"
    ]  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    """Draw the paths on each problem, losses on the ravine, and losses under noise."""
    figure = new_figure(12, 7)
    panels = figure.subplots(2, 3)
    problems = make_problems(result.kappa)
    for axes, (name, paths) in zip(panels[:, :2].flat, result.paths.items(), strict=True):
        draw_contours(axes, problems[name].loss, problems[name].window)
        for color, (method, path) in zip(COLORS, paths.items(), strict=False):
            axes.plot(*path.T, color=color, linewidth=0.9, marker="o", markersize=1.5, label=method)
        axes.plot(*paths["Adam"][0], "*", color=INK, markersize=9)
        axes.set_title(f"{sentence_case(name)}, {problems[name].steps} steps", fontsize=10)
    panels[0, 0].legend(frameon=True, fontsize=7, loc="upper right")
    # this legend has only the mini-batches; all other methods are in that of the first panel
    panels[1, 1].legend(*(part[-1:] for part in panels[1, 1].get_legend_handles_labels()),
                        frameon=True, fontsize=7, loc="upper right")  # fmt: skip
    speed, noise = panels[:, 2]
    for color, (method, losses) in zip(COLORS, result.losses["ravine"].items(), strict=False):
        speed.semilogy(losses.clamp(min=1e-16), color=color, linewidth=1.3, label=method)
        if method in result.rates:
            steps = torch.arange(len(losses))
            theory = losses[0] * result.rates[method][1] ** (2 * steps)
            speed.semilogy(steps, theory, color=color, linewidth=0.8, linestyle=":")
    speed.set(xlabel="Step", ylabel="Loss", ylim=(1e-16, 1e3))
    speed.set_title("Loss on the ravine (dotted: theoretical rate)", fontsize=10)
    for color, (schedule, losses) in zip(COLORS, result.noisy.items(), strict=False):
        noise.semilogy(losses, color=color, linewidth=1.3, label=schedule)
    noise.axhline(result.plateau[1], color=INK, linewidth=0.8, linestyle=":", label="αs²/2(2 − αλ)")
    noise.set(xlabel="Step", ylabel="Mean loss")
    noise.set_title("Noisy gradients: loss by schedule", fontsize=10)
    add_grid_and_legend(speed, noise)
    return figure

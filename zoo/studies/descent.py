"""Ways downhill: gradient descent, momentum, Nesterov, Adam, line search.

The gradient is orthogonal to the level set that passes through a point. On a quadratic with
curvatures from μ to L, κ = L/μ, the error shrinks in each step by

    gradient descent, step 2/(μ + L):                (κ − 1)/(κ + 1)
    momentum, 4/(√μ + √L)² and β = ((√κ − 1)/(√κ + 1))²:   √β
    Nesterov, 1/L and β = (√κ − 1)/(√κ + 1):         1 − 1/√κ

On a slope that does not change, momentum's steps grow until they are α‖g‖/(1 − β). With noisy
gradients, as in mini-batches, a fixed step α ends in a cloud around the minimum: on ½λx² with noise
of deviation s the loss stays at αs²/(2(2 − αλ)); steps that decay go on.

Sources: Polyak, 1964; Nesterov, 1983; Kingma and Ba, Adam, 2015; Goodfellow, Bengio and Courville,
Deep learning, chapter 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules import Toy2D
from zoo.core.optim import make_optimizer, make_schedule
from zoo.plots.curves import draw_level_sets
from zoo.plots.style import COLORS, INK, finish, new_figure
from zoo.studies import surfaces
from zoo.studies.base import Table, generator, require, track
from zoo.studies.surfaces import Loss, descend, logistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEDULES = ("constant", "linear", "inverse", "exponential")
NOISE, CURVATURE, RATE = 1.0, 1.0, 0.2  # s, λ and α of the noisy quadratic


def clouds() -> Tensor:
    """y x of two stretched clouds of points, y = ±1, (140, 2)."""
    data = Toy2D("blobs", num_classes=2, noise=0.6, num_samples=200)
    data.setup()
    x, y = data.split("train")
    return (2 * y - 1)[:, None] * x.double() * torch.tensor([1.0, 4.0])


@dataclass(frozen=True)
class Terrain:
    """A loss, a start, learning rates by method, what is drawn, and the κ momentum is made for."""

    loss: Loss
    start: tuple[float, float]
    rates: dict[str, float]
    steps: int
    window: tuple[float, float, float, float]
    kappa: float = 20.0


def terrains(kappa: float) -> dict[str, Terrain]:
    """The four landscapes; rates on the ravine are theory's, 2508 is κ at Rosenbrock's minimum."""
    root = math.sqrt(kappa)
    best = {
        "gradient descent": 2 / (1 + kappa), "momentum": 4 / (1 + root) ** 2,
        "Nesterov": 1 / kappa, "Adam": 0.3,
    }  # fmt: skip
    slow = {"gradient descent": 1e-3, "momentum": 5e-4, "Nesterov": 5e-4, "Adam": 0.05}
    fair = {"gradient descent": 0.1, "momentum": 0.05, "Nesterov": 0.05, "Adam": 0.1}
    fast = {"gradient descent": 2.0, "momentum": 0.6, "Nesterov": 0.6, "Adam": 0.15}
    return {
        "ravine": Terrain(
            surfaces.ravine(kappa), (-4.0, 1.0), best, 60, (-4.6, 2.4, -1.6, 1.6), kappa
        ),
        "Rosenbrock": Terrain(
            surfaces.rosenbrock, (-1.2, 1.0), slow, 400, (-1.6, 1.4, -0.6, 1.6), 2508
        ),
        "saddle": Terrain(surfaces.saddle, (1.0, 1e-3), fair, 120, (-0.6, 1.3, -0.6, 1.6)),
        "logistic loss": Terrain(logistic(clouds()), (3.0, -2.0), fast, 60, (-3.6, 3.6, -2.4, 2.4)),
    }


@dataclass(frozen=True)
class Result:
    """Paths by landscape and method; rates and other figures beside their theory."""

    kappa: float
    paths: dict[str, dict[str, Tensor]]
    losses: dict[str, dict[str, Tensor]]
    rates: dict[str, tuple[float, float]]  # measured, theory
    cosines: dict[str, float]  # largest between gradient and level set
    terminal: tuple[float, float]
    noisy: dict[str, Tensor]  # schedule → mean loss by step
    plateau: tuple[float, float]


def run(kappa: float = 20.0, walkers: int = 2000, seed: int = 0) -> Result:
    """Descends with every method everywhere.

    Args:
        kappa: condition number of the ravine, above 1.
        walkers: noisy descents that are averaged.
        seed: of noise and of points on level sets.
    """
    require(kappa > 1, f"kappa must be above 1, got {kappa:g}")
    require(walkers >= 1, f"walkers must be at least 1, got {walkers}")
    torch.manual_seed(seed)
    paths: dict[str, dict[str, Tensor]] = {}
    grounds = terrains(kappa)
    for name, ground in track(grounds.items(), "landscapes"):
        paths[name] = {
            method: walk(ground, method, rate, ground.steps)
            for method, rate in ground.rates.items()
        }
        start = torch.tensor(ground.start, dtype=torch.float64)
        paths[name]["line search"] = surfaces.line_search(ground.loss, start, ground.steps)
    paths["logistic loss"]["mini-batches of 8"] = mini_batches(grounds["logistic loss"], seed)
    losses = {
        name: {method: grounds[name].loss(path) for method, path in by.items()}
        for name, by in paths.items()
    }
    noisy = {name: noisy_descent(name, walkers) for name in track(SCHEDULES, "noise")}
    plateau = float(noisy["constant"][-100:].mean())
    return Result(
        kappa, paths, losses, convergence(kappa),
        {name: orthogonality(ground, generator(seed)) for name, ground in grounds.items()},
        terminal_step(), noisy, (plateau, RATE * NOISE**2 / 2 / (2 - RATE * CURVATURE)),
    )  # fmt: skip


def optimizer(method: str, w: Tensor, rate: float, kappa: float) -> torch.optim.Optimizer:
    """A method as one of the zoo's optimisers, with the momentum that suits κ."""
    root = math.sqrt(kappa)
    factor = (root - 1) / (root + 1)
    momentum = {"momentum": factor**2, "Nesterov": factor}.get(method, 0.0)
    if method == "Adam":
        return make_optimizer("adam", [{"params": [w]}], rate)
    options: dict[str, Any] = {"momentum": momentum, "nesterov": method == "Nesterov"}
    return make_optimizer("sgd", [{"params": [w]}], rate, options)


def walk(ground: Terrain, method: str, rate: float, steps: int) -> Tensor:
    """Places from the start on, (steps + 1, 2)."""
    w = torch.tensor(ground.start, dtype=torch.float64, requires_grad=True)
    return descend(w, optimizer(method, w, rate, ground.kappa), [ground.loss] * steps)


def mini_batches(ground: Terrain, seed: int) -> Tensor:
    """Gradient descent on 8 points at a time, its rate falling to 0."""
    points, random = clouds(), generator(seed)
    w = torch.tensor(ground.start, dtype=torch.float64, requires_grad=True)
    rule = make_optimizer("sgd", [{"params": [w]}], 2.0, {"momentum": 0.0})
    chosen = torch.randint(len(points), (ground.steps, 8), generator=random)
    losses = [logistic(points[batch]) for batch in chosen]
    return descend(w, rule, losses, make_schedule("linear", rule, ground.steps))


def convergence(kappa: float, steps: int = 700) -> dict[str, tuple[float, float]]:
    """Factor by which the error on the ravine shrinks in each of the last steps, and theory's."""
    ground = terrains(kappa)["ravine"]
    root = math.sqrt(kappa)
    factor = (root - 1) / (root + 1)
    theory = {
        "gradient descent": (kappa - 1) / (kappa + 1), "momentum": factor, "Nesterov": 1 - 1 / root
    }  # fmt: skip
    rates = {}
    for method, expected in theory.items():
        path = walk(ground, method, ground.rates[method], steps)
        early, late = path[steps // 2].norm(), path[steps].norm()
        rates[method] = (float((late / early) ** (2 / steps)), expected)
    return rates


def orthogonality(ground: Terrain, random: torch.Generator) -> float:
    """Largest |cos| between the gradient at a point and the chord of its level set around it."""
    low = torch.tensor(ground.window[::2], dtype=torch.float64)
    high = torch.tensor(ground.window[1::2], dtype=torch.float64)
    w = low + (high - low) * torch.rand(200, 2, dtype=torch.float64, generator=random)
    g = torch.func.grad(lambda v: ground.loss(v).sum())(w)
    return float(torch.cosine_similarity(surfaces.level_chords(ground.loss, w), g).abs().max())


def terminal_step(rate: float = 0.1, momentum: float = 0.9) -> tuple[float, float]:
    """Length of momentum's step after 500 steps down an even slope of ‖g‖ = 5, and α‖g‖/(1 − β)."""
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    rule = make_optimizer("sgd", [{"params": [w]}], rate, {"momentum": momentum})
    for _ in range(500):
        before = w.detach().clone()
        w.grad = slope
        rule.step()
    return float((w.detach() - before).norm()), rate * 5 / (1 - momentum)


def noisy_descent(schedule: str, walkers: int, steps: int = 400) -> Tensor:
    """Mean of ½λx² over many descents whose gradients have noise of deviation s, by step."""
    x = torch.full((walkers,), 3.0, dtype=torch.float64, requires_grad=True)
    rule = make_optimizer("sgd", [{"params": [x]}], RATE, {"momentum": 0.0})
    decay = make_schedule(schedule, rule, steps)
    losses = []
    for _ in range(steps):
        losses.append(0.5 * CURVATURE * x.detach().square().mean())
        x.grad = CURVATURE * x.detach() + NOISE * torch.randn_like(x)
        rule.step()
        if decay:
            decay.step()
    return torch.stack(losses)


def table(result: Result) -> Table:
    rows: list[tuple[str | float | None, ...]] = [
        (f"{method}: error after / before a step, κ = {result.kappa:g}", measured, theory)
        for method, (measured, theory) in result.rates.items()
    ]
    rows += [
        (f"gradient and level set, {name}: largest |cos|", cosine, 0.0, "200 points")
        for name, cosine in result.cosines.items()
    ]
    rows.append(("momentum's last step down an even slope", *result.terminal))
    rows.append(("noisy gradients, fixed step: loss that stays", *result.plateau))
    rows += [
        (f"noisy gradients, {name} decay: loss at the end", float(losses[-1]))
        for name, losses in result.noisy.items() if name != "constant"
    ]  # fmt: skip
    return Table(rows)


def plot(result: Result) -> Figure:
    figure = new_figure(12, 7)
    panels = figure.subplots(2, 3)
    grounds = terrains(result.kappa)
    for axes, (name, paths) in zip(panels[:, :2].flat, result.paths.items(), strict=True):
        draw_level_sets(axes, grounds[name].loss, grounds[name].window)
        for color, (method, path) in zip(COLORS, paths.items(), strict=False):
            axes.plot(*path.T, color=color, linewidth=0.9, marker="o", markersize=1.5, label=method)
        axes.plot(*paths["Adam"][0], "*", color=INK, markersize=9)
        axes.set_title(f"{name}, {grounds[name].steps} steps", fontsize=10)
    panels[0, 0].legend(frameon=True, fontsize=7, loc="upper right")
    panels[1, 1].legend(*(part[-1:] for part in panels[1, 1].get_legend_handles_labels()),
                        frameon=True, fontsize=7, loc="upper right")  # fmt: skip
    speed, noise = panels[:, 2]
    for color, (method, losses) in zip(COLORS, result.losses["ravine"].items(), strict=False):
        speed.semilogy(losses.clamp(min=1e-16), color=color, linewidth=1.3, label=method)
        if method in result.rates:
            steps = torch.arange(len(losses))
            theory = losses[0] * result.rates[method][1] ** (2 * steps)
            speed.semilogy(steps, theory, color=color, linewidth=0.8, linestyle=":")
    speed.set(xlabel="step", ylim=(1e-16, 1e3))
    speed.set_title("Loss in the ravine (dotted: theory's rate)", fontsize=10)
    for color, (name, losses) in zip(COLORS, result.noisy.items(), strict=False):
        noise.semilogy(losses, color=color, linewidth=1.3, label=name)
    noise.axhline(result.plateau[1], color=INK, linewidth=0.8, linestyle=":", label="αs²/2(2 − αλ)")
    noise.set(xlabel="step")
    noise.set_title("Noisy gradients: mean loss by schedule", fontsize=10)
    finish(speed, noise)
    return figure

"""Objective functions of two variables, descent on them, and chords of their level sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from datamodules import Toy2D

#: (…, 2) → (…)
Objective = Callable[[Tensor], Tensor]


def ravine(kappa: float) -> Objective:
    """Return the quadratic ½(x² + κ y²), which has condition number κ."""
    curvature = torch.tensor([1.0, kappa], dtype=torch.float64)
    return lambda w: 0.5 * (curvature * w.square()).sum(-1)


def rosenbrock(w: Tensor) -> Tensor:
    """Rosenbrock's function (1 − x)² + 100 (y − x²)², with its minimum at (1, 1)."""
    x, y = w.unbind(-1)
    return (1 - x).square() + 100 * (y - x.square()).square()


def saddle(w: Tensor) -> Tensor:
    """The function ½x² − ½y² + ¼y⁴: a saddle point at 0 between minima at y = ±1."""
    x, y = w.unbind(-1)
    return 0.5 * x.square() - 0.5 * y.square() + 0.25 * y**4


def logistic_loss(signed_points: Tensor) -> Objective:
    """Return the logistic loss of linear classifiers, mean of log(1 + exp(−y w·x)) + 0.005‖w‖².

    Args:
        signed_points: y x for points x with labels y = ±1, (N, 2).
    """
    return lambda w: (
        torch.nn.functional.softplus(-w @ signed_points.mT).mean(-1)
        + 0.005 * w.square().sum(-1)
    )  # fmt: skip


def two_blobs() -> Tensor:
    """Return y x for the points of two elongated point clouds with labels y = ±1, (140, 2)."""
    data = Toy2D("blobs", num_classes=2, noise=0.6, num_samples=200)
    data.setup()
    x, y = data.split("train")
    return (2 * y - 1)[:, None] * x.double() * torch.tensor([1.0, 4.0])


def descend(
    w: Tensor,
    optimizer: Optimizer,
    losses: Iterable[Objective],
    schedule: LRScheduler | None = None,
) -> Tensor:
    """Take one optimizer step on each of the losses; return the path, (steps + 1, 2).

    Args:
        w: the starting point, which is moved.
        optimizer: optimizer of ``w``.
        losses: one objective per step.
        schedule: schedule of the learning rate, stepped with the optimizer; default none.
    """
    path = [w.detach().clone()]
    for loss in losses:
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()
        if schedule:
            schedule.step()
        path.append(w.detach().clone())
    return torch.stack(path)


def line_search(loss: Objective, w: Tensor, steps: int, slope: float = 1e-4) -> Tensor:
    """Descend along gradients with a backtracking line search; return the path, (steps + 1, 2).

    Every search starts at twice the last step size α, and halves it until Armijo's condition holds:
    the loss falls by at least c α‖g‖².

    Args:
        loss: the objective.
        w: the starting point, (2,).
        steps: number of steps.
        slope: c, default 10⁻⁴.
    """
    path, alpha = [w], 1.0
    for _ in range(steps):
        g = torch.func.grad(loss)(w)
        alpha *= 2
        while loss(w - alpha * g) > loss(w) - slope * alpha * g.square().sum() and alpha > 1e-12:
            alpha /= 2
        w = w - alpha * g
        path.append(w)
    return torch.stack(path)


def level_chords(loss: Objective, w: Tensor, radius: float = 1e-4) -> Tensor:
    """Return chords of the level sets through points, as vectors from end to end, (N, 2).

    A chord ends where a small circle around its point meets the level set. Both ends are found by
    bisection of the angle between the uphill and the downhill direction.

    Args:
        loss: the objective.
        w: the points, (N, 2).
        radius: radius of the circles, default 10⁻⁴.
    """
    g = torch.func.grad(lambda v: loss(v).sum())(w)
    level, uphill = loss(w), torch.atan2(g[:, 1], g[:, 0])
    ends = []
    for side in (1.0, -1.0):
        above, below = torch.zeros_like(level), torch.full_like(level, math.pi)
        for _ in range(45):
            middle = (above + below) / 2
            angle = uphill + side * middle
            end = w + radius * torch.stack([angle.cos(), angle.sin()], dim=1)
            higher = loss(end) > level
            above, below = torch.where(higher, middle, above), torch.where(higher, below, middle)
        ends.append(end)
    return ends[0] - ends[1]

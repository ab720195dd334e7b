"""Functions of two variables, ways down from a point of them, and their level sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

#: (…, 2) → (…)
Loss = Callable[[Tensor], Tensor]


def ravine(kappa: float) -> Loss:
    """½(x² + κ y²)."""
    scale = torch.tensor([1.0, kappa], dtype=torch.float64)
    return lambda w: 0.5 * (scale * w.square()).sum(-1)


def rosenbrock(w: Tensor) -> Tensor:
    """(1 − x)² + 100 (y − x²)²."""
    x, y = w.unbind(-1)
    return (1 - x).square() + 100 * (y - x.square()).square()


def saddle(w: Tensor) -> Tensor:
    """½x² − ½y² + ¼y⁴: a saddle at 0 between minima at y = ±1."""
    x, y = w.unbind(-1)
    return 0.5 * x.square() - 0.5 * y.square() + 0.25 * y**4


def logistic(signed: Tensor) -> Loss:
    """Mean of log(1 + exp(−y w·x)) + 0.005‖w‖² over points y x."""
    return lambda w: (
        torch.nn.functional.softplus(-w @ signed.mT).mean(-1) + 0.005 * w.square().sum(-1)
    )


def descend(
    w: Tensor, rule: Optimizer, losses: Iterable[Loss], decay: LRScheduler | None = None
) -> Tensor:
    """Places of w, the start included, after a step of an optimiser on each of the losses."""
    places = [w.detach().clone()]
    for loss in losses:
        rule.zero_grad()
        loss(w).backward()
        rule.step()
        if decay:
            decay.step()
        places.append(w.detach().clone())
    return torch.stack(places)


def line_search(loss: Loss, w: Tensor, steps: int, slope: float = 1e-4) -> Tensor:
    """Steepest descent with Armijo's rule: α is halved from twice the last one until f falls by
    10⁻⁴ α‖g‖²."""
    places, alpha = [w], 1.0
    for _ in range(steps):
        g = torch.func.grad(loss)(w)
        alpha *= 2
        while loss(w - alpha * g) > loss(w) - slope * alpha * g.square().sum() and alpha > 1e-12:
            alpha /= 2
        w = w - alpha * g
        places.append(w)
    return torch.stack(places)


def level_chords(loss: Loss, w: Tensor, radius: float = 1e-4) -> Tensor:
    """Chords of the level sets through points, (N, 2), each from end to end.

    A chord ends where a small circle around its point meets the level set, found by halving the
    angle between uphill and downhill on both sides.

    Args:
        loss: (…, 2) → (…).
        w: the points, (N, 2).
        radius: of the circles.
    """
    g = torch.func.grad(lambda v: loss(v).sum())(w)
    level, uphill = loss(w), torch.atan2(g[:, 1], g[:, 0])
    ends = []
    for side in (1.0, -1.0):
        above, below = torch.zeros_like(level), torch.full_like(level, math.pi)
        for _ in range(45):
            middle = (above + below) / 2
            angle = uphill + side * middle
            there = w + radius * torch.stack([angle.cos(), angle.sin()], dim=1)
            higher = loss(there) > level
            above, below = torch.where(higher, middle, above), torch.where(higher, below, middle)
        ends.append(there)
    return ends[0] - ends[1]

"""Auto-PGD: gradient ascent that sets its own step size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.attacks.base import ScoreFunction
from zoo.attacks.goals import Goal, PerSample
from zoo.attacks.gradient import PGD, FeasibleSet
from zoo.functional.norm_balls import broadcast_per_sample

MOMENTUM = 0.75  # weight of the new step against the last way
RISES = 0.75  # share of steps that must go up, or the step is halved


@dataclass
class Ascent(PerSample):
    """Where the samples of a batch are, one row each.

    ``step`` is (B,); ``rises`` counts steps upwards since the last look, ``best_before`` and
    ``halved`` are the best loss and whether the step was halved at that look.
    """

    ball: FeasibleSet
    now: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    step: Tensor
    rises: Tensor
    best_before: Tensor
    halved: Tensor


@dataclass(frozen=True, kw_only=True)
class APGD(PGD):
    """PGD with momentum, whose step starts at 2 ε and is halved where progress stalls.

    z = Π(x_k + η steepest(∇L));  x_{k+1} = Π(x_k + ¾ (z − x_k) + ¼ (x_k − x_{k−1})). At looks that
    come ever more often, η is halved and the ascent goes on from the best point so far, if fewer
    than ¾ of the steps went up, or if neither η nor the best loss has changed since the last look.

    Args:
        steps: default 100.
        loss: default ``cross_entropy``.
        **pgd: see :class:`~zoo.attacks.gradient.PGD`; there is no ``step_size``.

    Returns the point of the highest loss for a sample that was not broken.

    Raises:
        ValueError: a step size.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, 2020, algorithm 1.
    """

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size is not None:
            raise ValueError("APGD sets its own step size: leave step_size out, or choose PGD")

    def climb(self, model: ScoreFunction, ball: FeasibleSet, start: Tensor, goal: Goal) -> Tensor:
        found = start.clone()
        if not self.steps or not len(start):
            return found
        rows = torch.arange(len(start), device=start.device)
        loss, gradient, broken = self._evaluate(model, ball, start, goal)
        path = Ascent(
            ball, start, start, gradient, loss, start, gradient, loss,
            torch.full_like(loss, 2 * self.eps), torch.zeros_like(loss), loss,
            torch.ones_like(broken),
        )  # fmt: skip
        looks = look_points(self.steps)
        last = 0
        for k in range(self.steps + 1):
            # before a look, which may take a sample back to a point that is not broken
            if self.early_stop and bool(broken.any()):
                found[rows[broken]] = path.now[broken]
                rows, path, goal = rows[~broken], path.rows(~broken), goal.rows(~broken)
            if not len(rows) or k == self.steps:
                break
            if k in looks:
                look(path, k - last)
                last = k
            broken = self._step(model, path, goal, 1.0 if k == 0 else MOMENTUM)
        found[rows] = path.best
        return found

    def _step(self, model: ScoreFunction, path: Ascent, goal: Goal, momentum: float) -> Tensor:
        """One step of all samples, in place; which of them have reached their goal."""
        ball, now = path.ball, path.now
        ahead = ball.inside(now + broadcast_per_sample(path.step, now) * ball.uphill(path.gradient))
        way = momentum * (ahead - now) + (1 - momentum) * (now - path.before)
        path.before, path.now = now, ball.inside(now + way)
        loss, path.gradient, broken = self._evaluate(model, ball, path.now, goal)
        path.rises += loss > path.loss
        path.loss = loss
        better = broadcast_per_sample(loss > path.best_loss, path.now)
        path.best_loss = torch.maximum(loss, path.best_loss)
        path.best = torch.where(better, path.now, path.best)
        path.best_gradient = torch.where(better, path.gradient, path.best_gradient)
        return broken

    def _evaluate(
        self, model: ScoreFunction, ball: FeasibleSet, point: Tensor, goal: Goal
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, its gradient, and whether the goal is reached."""
        inputs = point.detach().requires_grad_()
        scores = model(ball.samples(inputs))
        loss = goal.loss(scores, self.loss)
        gradient = torch.autograd.grad(loss.sum(), inputs)[0]
        return loss.detach(), gradient, goal.reached(scores.detach())


def look(path: Ascent, steps: int) -> None:
    """Halves the step where progress has stalled in the last ``steps``, and goes back to the best
    point there."""
    few = path.rises < RISES * steps
    idle = ~path.halved & (path.best_loss <= path.best_before)
    stalled = few | idle
    path.step = torch.where(stalled, path.step / 2, path.step)
    back = broadcast_per_sample(stalled, path.now)
    path.now = torch.where(back, path.best, path.now)
    path.before = torch.where(back, path.best, path.before)
    path.gradient = torch.where(back, path.best_gradient, path.gradient)
    path.loss = torch.where(stalled, path.best_loss, path.loss)
    path.best_before, path.halved = path.best_loss, stalled
    path.rises = torch.zeros_like(path.rises)


def look_points(steps: int) -> set[int]:
    """Steps after which progress is looked at: fractions 0.22, 0.41, 0.57, … of all, section 3."""
    fractions = [0.0, 0.22]
    while fractions[-1] < 1:
        fractions.append(fractions[-1] + max(fractions[-1] - fractions[-2] - 0.03, 0.06))
    return {math.ceil(fraction * steps) for fraction in fractions[1:]}

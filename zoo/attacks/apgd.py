"""Auto-PGD: projected gradient ascent with an adaptive step size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.attacks.base import ScoreFunction
from zoo.attacks.goals import Goal, PerSample
from zoo.attacks.gradient import PGD, FeasibleSet
from zoo.errors import InputError
from zoo.functional.norm_balls import broadcast_per_sample, per_sample

MOMENTUM = 0.75  # weight of the new step; the previous displacement has the remainder
MIN_SUCCESS_RATE = 0.75  # fraction of steps that must increase the loss to keep the step size


@dataclass
class APGDState(PerSample):
    """Optimizer state of the active samples, one row per sample.

    Args:
        feasible: set that the points are projected onto.
        point: current points, (B, ...).
        previous: points before the last step, (B, ...).
        gradient: loss gradient at the current points, (B, ...).
        loss: loss at the current points, (B,).
        best: points of the highest loss so far, (B, ...).
        best_gradient: loss gradient at the best points, (B, ...).
        best_loss: highest loss so far, (B,).
        step_size: η, (B,).
        increases: number of steps since the last checkpoint that increased the loss, (B,).
        checkpoint_loss: best loss at the last checkpoint, (B,).
        was_halved: whether η was halved at the last checkpoint, (B,).
    """

    feasible: FeasibleSet
    point: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    step_size: Tensor
    increases: Tensor
    checkpoint_loss: Tensor
    was_halved: Tensor


@dataclass(frozen=True, kw_only=True)
class APGD(PGD):
    """PGD with momentum and a step size that starts at 2 ε and is halved when progress stalls.

    z = Π(x_k + η steepest(∇L));  x_{k+1} = Π(x_k + ¾ (z − x_k) + ¼ (x_k − x_{k−1})). At checkpoints
    at decreasing intervals, η is halved and the ascent continues from the best point so far, if
    fewer than ¾ of the steps since the last checkpoint increased the loss, or if neither η nor the
    best loss has changed since then. For samples that do not reach the goal, the result is the
    point of the highest loss.

    Args:
        steps: number of gradient steps, default 100.
        loss: loss to maximize, default ``cross_entropy``.
        **pgd: see :class:`~zoo.attacks.gradient.PGD`; ``step_size`` cannot be set.

    Raises:
        InputError: ``step_size`` is given.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, 2020, algorithm 1.
    """

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size is not None:
            raise InputError("APGD adapts its step size: leave step_size out, or choose PGD")

    def ascend(
        self, model: ScoreFunction, feasible: FeasibleSet, start: Tensor, goal: Goal
    ) -> Tensor:
        result = start.clone()
        if not self.steps or not len(start):
            return result
        active = torch.arange(len(start), device=start.device)
        loss, gradient, is_reached = self._evaluate(model, feasible, start, goal)
        step_size = torch.zeros_like(loss) + 2 * per_sample(self.eps, loss)
        state = APGDState(
            feasible=feasible, point=start, previous=start, gradient=gradient, loss=loss,
            best=start, best_gradient=gradient, best_loss=loss, step_size=step_size,
            increases=torch.zeros_like(loss), checkpoint_loss=loss,
            was_halved=torch.ones_like(is_reached),
        )  # fmt: skip
        checkpoints = step_size_checkpoints(self.steps)
        last = 0
        for k in range(self.steps + 1):
            # before the checkpoint, which may move a sample from an adversarial point back to its
            # point of highest loss
            if self.early_stop and bool(is_reached.any()):
                result[active[is_reached]] = state.point[is_reached]
                keep = ~is_reached
                active, state, goal = active[keep], state.select(keep), goal.select(keep)
            if not len(active) or k == self.steps:
                break
            if k in checkpoints:
                update_step_size(state, k - last)
                last = k
            is_reached = self._step(model, state, goal, 1.0 if k == 0 else MOMENTUM)
        result[active] = state.best
        return result

    def _step(self, model: ScoreFunction, state: APGDState, goal: Goal, momentum: float) -> Tensor:
        """Take one step with all samples in place; return which of them reach the goal."""
        feasible, point = state.feasible, state.point
        direction = feasible.ascent_direction(state.gradient)
        ahead = feasible.project(point + broadcast_per_sample(state.step_size, point) * direction)
        displacement = momentum * (ahead - point) + (1 - momentum) * (point - state.previous)
        state.previous, state.point = point, feasible.project(point + displacement)
        loss, state.gradient, is_reached = self._evaluate(model, feasible, state.point, goal)
        state.increases += loss > state.loss
        state.loss = loss
        improved = broadcast_per_sample(loss > state.best_loss, state.point)
        state.best_loss = torch.maximum(loss, state.best_loss)
        state.best = torch.where(improved, state.point, state.best)
        state.best_gradient = torch.where(improved, state.gradient, state.best_gradient)
        return is_reached

    def _evaluate(
        self, model: ScoreFunction, feasible: FeasibleSet, point: Tensor, goal: Goal
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, its gradient, and whether the goal is reached."""
        inputs = point.detach().requires_grad_()
        scores = model(feasible.to_samples(inputs))
        loss = goal.loss(scores, self.loss)
        gradient = torch.autograd.grad(loss.sum(), inputs)[0]
        return loss.detach(), gradient, goal.is_reached(scores.detach())


def update_step_size(state: APGDState, steps: int) -> None:
    """Halve the step size, and return to the best point, where progress has stalled.

    Args:
        state: state of the active samples, changed in place.
        steps: number of steps since the last checkpoint.
    """
    rarely_increased = state.increases < MIN_SUCCESS_RATE * steps
    unchanged = ~state.was_halved & (state.best_loss <= state.checkpoint_loss)
    stalled = rarely_increased | unchanged
    state.step_size = torch.where(stalled, state.step_size / 2, state.step_size)
    mask = broadcast_per_sample(stalled, state.point)
    state.point = torch.where(mask, state.best, state.point)
    state.previous = torch.where(mask, state.best, state.previous)
    state.gradient = torch.where(mask, state.best_gradient, state.gradient)
    state.loss = torch.where(stalled, state.best_loss, state.loss)
    state.checkpoint_loss, state.was_halved = state.best_loss, stalled
    state.increases = torch.zeros_like(state.increases)


def step_size_checkpoints(steps: int) -> set[int]:
    """Return the steps at which η may be halved: fractions 0.22, 0.41, 0.57, … of all steps.

    Source: Croce and Hein, 2020, section 3.
    """
    fractions = [0.0, 0.22]
    while fractions[-1] < 1:
        fractions.append(fractions[-1] + max(fractions[-1] - fractions[-2] - 0.03, 0.06))
    # rounded first: 0.22 + 0.19 + 0.16 is slightly more than 0.57
    return {math.ceil(round(fraction * steps, 6)) for fraction in fractions[1:]}

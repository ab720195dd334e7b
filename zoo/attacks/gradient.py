"""Attacks that follow the gradient within a ball: one step, several, and with a random start."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.attacks.base import EpsilonAttack, ScoreFunction
from zoo.attacks.goals import Goal, PerSample, check_loss
from zoo.errors import InputError
from zoo.functional.norm_balls import steepest_direction, uniform_in_ball
from zoo.functional.rng import SampleRNG


@dataclass(frozen=True)
class FeasibleSet(PerSample):
    """Where an attack may go: the ball around each sample, within the bounds.

    A subclass may have points of another kind, that stand for samples.

    Args:
        x: samples, (B, ...).
        attack: whose ε, norm and bounds hold.
    """

    x: Tensor
    attack: EpsilonAttack

    def samples(self, point: Tensor) -> Tensor:
        """The samples that points stand for."""
        return point

    def uphill(self, gradient: Tensor) -> Tensor:
        """The step of size 1 that goes up fastest."""
        return steepest_direction(gradient, self.attack.norm)

    def inside(self, point: Tensor) -> Tensor:
        """Points, put back to where they may be."""
        return self.attack.inside(self.x, point)


@dataclass(frozen=True, kw_only=True)
class PGD(EpsilonAttack):
    """x ← Π(x + α · steepest(∇L)): projected gradient ascent from a random point of the ball.

    Π is the projection onto the ball of radius ε, then onto the bounds; ``steepest_direction`` is the sign of
    the gradient for ``linf`` and the gradient's direction for ``l2``. Several starts are
    ``Restarts(PGD(...), n)``.

    Args:
        eps: radius ε, in the units of x.
        norm: ``linf`` (default), ``l2`` or ``point``; see :mod:`zoo.functional.norm_balls`.
        steps: default 40.
        step_size: α, default 2.5 ε / steps.
        loss: L, ``cross_entropy`` (default), ``margin`` or ``dlr``; see
            :class:`~zoo.attacks.goals.Goal`.
        random_start: default yes.
        early_stop: whether a sample that has reached its goal is left as it is (default) and no
            longer computed.
        seed: of the start, default 0.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: a negative ε or number of steps.
        ValueError: unknown norm or loss.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, 2018,
    section 2.1.
    """

    steps: int = 40
    step_size: float | None = None
    loss: str = "cross_entropy"
    random_start: bool = True
    early_stop: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_loss(self.loss)
        if self.steps < 0:
            raise InputError(f"{type(self).__name__}: steps must not be negative, got {self.steps}")

    @property
    def alpha(self) -> float:
        """Length of a step."""
        if self.step_size is not None:
            return self.step_size
        return 2.5 * self.eps / max(1, self.steps)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        start = self.start(x) if self.random_start and self.steps else x
        return self.climb(model, FeasibleSet(x, self), start, goal)

    def start(self, x: Tensor) -> Tensor:
        """A random point of the ball, inside the bounds."""
        noise = uniform_in_ball(SampleRNG(x, self.seed), x, self.eps, self.norm)
        return self.clip(x + noise)

    def climb(self, model: ScoreFunction, ball: FeasibleSet, start: Tensor, goal: Goal) -> Tensor:
        """All steps from ``start``; rows whose goal is reached leave the batch."""
        found = start.clone()
        rows = torch.arange(len(start), device=start.device)  # those still under way
        now = start
        for _ in range(self.steps):
            if not len(rows):
                break
            keep, gradient = self._gradient(model, ball, now, goal)
            if keep is not None:
                found[rows[~keep]] = now[~keep]
                rows, now, gradient = rows[keep], now[keep], gradient[keep]
                ball, goal = ball.rows(keep), goal.rows(keep)
            now = ball.inside(now + self.alpha * ball.uphill(gradient))
        found[rows] = now
        return found

    def _gradient(
        self, model: ScoreFunction, ball: FeasibleSet, point: Tensor, goal: Goal
    ) -> tuple[Tensor | None, Tensor]:
        """Which rows go on (None: all), and the gradient of all losses at these points."""
        inputs = point.detach().requires_grad_()
        scores = model(ball.samples(inputs))
        keep = ~goal.reached(scores.detach()) if self.early_stop else None
        if keep is not None and bool(keep.all()):
            keep = None
        losses = goal.loss(scores, self.loss)
        total = losses.sum() if keep is None else losses[keep].sum()
        return keep, torch.autograd.grad(total, inputs)[0]


@dataclass(frozen=True, kw_only=True)
class BIM(PGD):
    """The basic iterative method: PGD that starts at x itself.

    Args:
        steps: default 10.
        **pgd: see :class:`PGD`.

    Source: Kurakin et al., Adversarial examples in the physical world, 2017, section 2.2.
    """

    steps: int = 10
    random_start: bool = False


@dataclass(frozen=True, kw_only=True)
class FGSM(PGD):
    """The fast gradient sign method: x + ε · sign(∇L), or − for a target; one step of length ε.

    With ``l2``, x + ε ∇L / ‖∇L‖ (the fast gradient method).

    Args:
        steps: 1; more of them would be :class:`BIM`.
        **pgd: see :class:`PGD`.

    Source: Goodfellow et al., Explaining and harnessing adversarial examples, 2015, section 4.
    """

    steps: int = 1
    random_start: bool = False

    @property
    def alpha(self) -> float:
        return self.eps if self.step_size is None else self.step_size


@dataclass(frozen=True, kw_only=True)
class RandomFGSM(PGD):
    """FGSM from a random point of the ball, which may lie outside the bounds: cheap training.

    x + Π(u + α sign(∇L(x + u))), then inside the bounds. Where most pixels are 0 or 1, a start that
    was put inside the bounds first would hold half of them still, and all samples would differ in
    the same way.

    Args:
        steps: default 1.
        step_size: α, default 1.25 ε.
        early_stop: default no.
        **pgd: see :class:`PGD`.

    Source: Wong et al., Fast is better than free, 2020, algorithm 3.
    """

    steps: int = 1
    early_stop: bool = False

    @property
    def alpha(self) -> float:
        return 1.25 * self.eps if self.step_size is None else self.step_size

    def start(self, x: Tensor) -> Tensor:
        return x + uniform_in_ball(SampleRNG(x, self.seed), x, self.eps, self.norm)

"""Gradient attacks within a norm ball: FGSM, BIM, PGD, and FGSM with a random start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from zoo.attacks.base import Attack, EpsilonAttack, ScoreFunction
from zoo.attacks.goals import LOSSES, Goal, PerSample
from zoo.errors import check_at_least, check_choice, check_integer, check_non_negative
from zoo.functional.norm_balls import per_sample, steepest_direction, uniform_in_ball
from zoo.functional.rng import SampleRNG

Feasible = TypeVar("Feasible", bound="FeasibleSet")


@dataclass(frozen=True)
class FeasibleSet(PerSample):
    """Points that an attack may reach: the ball around each sample, intersected with the bounds.

    A subclass may search over other variables, such as latent codes, that map to samples.

    Args:
        x: samples, (B, ...).
        attack: attack whose ε, norm and bounds define the set.
        model: model under attack, which determines the type of the samples.
    """

    x: Tensor
    attack: Any
    model: ScoreFunction

    def select(self: Feasible, index: Tensor) -> Feasible:
        selected = super().select(index)
        return replace(selected, attack=self.attack.select(index))

    def to_samples(self, point: Tensor) -> Tensor:
        """Return the samples that the points represent, in the type of the samples."""
        return self.model.round(self.x, point)

    def ascent_direction(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent, of norm 1."""
        return steepest_direction(gradient, self.attack.norm)

    def project(self, point: Tensor) -> Tensor:
        """Project points onto the feasible set."""
        return self.attack.project(self.x, point)


@dataclass(frozen=True, kw_only=True)
class PGD(EpsilonAttack):
    """Projected gradient ascent from a random point: x ← Π(x + α · steepest(∇L)).

    Π is the projection onto the ball of radius ε, then onto the bounds; ``steepest`` is the sign of
    the gradient for ``linf`` and the normalized gradient for ``l2``. For several random starts, use
    ``Restarts(PGD(...), n)``.

    Args:
        eps: radius ε of the ball, in the units of x; one number, or one per sample, (B,).
        norm: ``linf`` (default), ``l2`` or ``point``; see :mod:`zoo.functional.norm_balls`.
        steps: number of gradient steps, default 40.
        step_size: α, default 2.5 ε / steps.
        loss: loss to maximize, ``cross_entropy`` (default), ``margin`` or ``dlr``; see
            :class:`~zoo.attacks.goals.Goal`.
        random_start: whether to start at a random point of the ball (default) or at x.
        early_stop: whether samples stop moving, and leave the batch, once they reach the goal,
            default True.
        seed: random seed of the starting points, default 0.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: unknown norm or loss; negative ``eps`` or ``steps``.

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
        check_choice("loss", self.loss, LOSSES)
        check_at_least(0, steps=self.steps)
        check_integer(seed=self.seed)
        check_non_negative(step_size=self.step_size)

    @property
    def alpha(self) -> float | Tensor:
        """Step size α, one number or one per sample."""
        if self.step_size is not None:
            return self.step_size
        return 2.5 * self.eps / max(1, self.steps)

    def without_early_stop(self) -> Attack:
        return replace(self, early_stop=False)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        start = self.starting_point(x) if self.random_start and self.steps else x
        feasible = FeasibleSet(x, self, model)
        return feasible.to_samples(self.ascend(model, feasible, start, goal))

    def starting_point(self, x: Tensor) -> Tensor:
        """Sample a random point of the ball, clipped to the bounds."""
        noise = uniform_in_ball(SampleRNG(x, self.seed), x, self.eps, self.norm)
        return self.clip(x + noise)

    def ascend(
        self, model: ScoreFunction, feasible: FeasibleSet, start: Tensor, goal: Goal
    ) -> Tensor:
        """Take all gradient steps from ``start``; samples that reach the goal leave the batch."""
        result = start.clone()
        active = torch.arange(len(start), device=start.device)  # indices of samples in the batch
        point = start
        for _ in range(self.steps):
            if not len(active):
                break
            keep, gradient = self._gradient(model, feasible, point, goal)
            if keep is not None:
                result[active[~keep]] = point[~keep]
                active, point, gradient = active[keep], point[keep], gradient[keep]
                feasible, goal = feasible.select(keep), goal.select(keep)
            step = per_sample(feasible.attack.alpha, point) * feasible.ascent_direction(gradient)
            point = feasible.project(point + step)
        result[active] = point
        return result

    def _gradient(
        self, model: ScoreFunction, feasible: FeasibleSet, point: Tensor, goal: Goal
    ) -> tuple[Tensor | None, Tensor]:
        """Return a mask of the samples that continue (None for all) and the loss gradient."""
        inputs = point.detach().requires_grad_()
        scores = model(feasible.to_samples(inputs))
        keep = ~goal.is_reached(scores.detach()) if self.early_stop else None
        if keep is not None and bool(keep.all()):
            keep = None
        losses = goal.loss(scores, self.loss)
        total = losses.sum() if keep is None else losses[keep].sum()
        return keep, torch.autograd.grad(total, inputs)[0]


@dataclass(frozen=True, kw_only=True)
class BIM(PGD):
    """Basic iterative method: PGD that starts at x.

    Args:
        steps: number of gradient steps, default 10.
        **pgd: see :class:`PGD`.

    Source: Kurakin et al., Adversarial examples in the physical world, 2017, section 2.2.
    """

    steps: int = 10
    random_start: bool = False


@dataclass(frozen=True, kw_only=True)
class FGSM(PGD):
    """Fast gradient sign method: one step of size ε, x + ε · sign(∇L).

    With a target, L is the negated loss of the target. With the norm ``l2`` this is the fast
    gradient method, x + ε ∇L / ‖∇L‖.

    Args:
        steps: number of steps, default 1; use :class:`BIM` for several.
        **pgd: see :class:`PGD`.

    Source: Goodfellow et al., Explaining and harnessing adversarial examples, 2015, section 4.
    """

    steps: int = 1
    random_start: bool = False

    @property
    def alpha(self) -> float | Tensor:
        return self.eps if self.step_size is None else self.step_size


@dataclass(frozen=True, kw_only=True)
class RandomFGSM(PGD):
    """FGSM with a random start, as used in fast adversarial training.

    x + Π(u + α sign(∇L(x + u))), clipped to the bounds, with u uniform in the ball. The starting
    point x + u is not clipped: where most pixels are 0 or 1, clipping would undo half of the noise
    and make the perturbations of all samples similar.

    Args:
        steps: number of gradient steps, default 1.
        step_size: α, default 1.25 ε.
        early_stop: see :class:`PGD`, default False.
        **pgd: see :class:`PGD`.

    Source: Wong et al., Fast is better than free, 2020, algorithm 3.
    """

    steps: int = 1
    early_stop: bool = False

    @property
    def alpha(self) -> float | Tensor:
        return 1.25 * self.eps if self.step_size is None else self.step_size

    def starting_point(self, x: Tensor) -> Tensor:
        return x + uniform_in_ball(SampleRNG(x, self.seed), x, self.eps, self.norm)

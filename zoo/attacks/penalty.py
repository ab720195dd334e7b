"""The first attack of all: a sample near x, by L-BFGS on a penalty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.attacks.base import ScoreFunction
from zoo.attacks.goals import Goal
from zoo.attacks.minimal import MinimumNormAttack
from zoo.errors import InputError
from zoo.functional.lbfgs import minimize_in_box


@dataclass(frozen=True, kw_only=True)
class PenaltyAttack(MinimumNormAttack):
    """min ‖x − x′‖² + c · CE(x′, t) inside the bounds, for the smallest c that gives the class t.

    Without a target, CE is −log(1 − p_y), the cross-entropy of "any other class". Each minimisation
    is batched L-BFGS on the gradients of autograd, from where the last one ended; c is searched for
    each sample by itself, ×10 until there is an adversarial sample, then by bisection of log c. The
    nearest of all that were adversarial is kept.

    Args:
        search_steps: values of c for each sample, default 10.
        steps: of L-BFGS for each c, default 20.
        initial_c: default 0.1.
        shrink: see :class:`~zoo.attacks.minimal.MinimumNormAttack`.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: a c that is not positive.

    Source: Szegedy et al., Intriguing properties of neural networks, 2014, section 4.1.
    """

    search_steps: int = 10
    steps: int = 20
    initial_c: float = 0.1

    def __post_init__(self) -> None:
        if self.initial_c <= 0:
            raise InputError(f"PenaltyAttack: initial_c must be positive, got {self.initial_c}")

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        if not len(x):
            return x
        best = x.clone()
        distance = torch.full((len(x),), torch.inf).to(x)
        with torch.no_grad():
            right = goal.reached(model(x))
        distance[right] = 0.0
        c = torch.full_like(distance, self.initial_c)
        low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
        point = x
        for _ in range(self.search_steps):
            point = self._minimize(model, x, point, goal, c)
            with torch.no_grad():
                reached = goal.reached(model(point))
            far = (point - x).flatten(1).norm(dim=1)
            better = reached & (far < distance)
            best[better], distance[better] = point[better], far[better]
            high, low = torch.where(reached, c, high), torch.where(reached, low, c)
            between = torch.where(low > 0, (low * high).sqrt(), high / 10)
            c = torch.where(high.isinf(), c * 10, between)
        return self.toward(model, x, best, goal) if self.shrink else best

    def _minimize(
        self, model: ScoreFunction, x: Tensor, point: Tensor, goal: Goal, c: Tensor
    ) -> Tensor:
        shape = x.shape[1:]
        flat = x.flatten(1)

        def objective(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                inputs = points.detach().view(-1, *shape).requires_grad_()
                entropy = F.softplus(-goal.rows(rows).loss(model(inputs), "cross_entropy"))
                penalty = c[rows] * entropy
                gradient = torch.autograd.grad(penalty.sum(), inputs)[0].flatten(1)
            delta = points - flat[rows]
            return delta.square().sum(1) + penalty.detach(), gradient + 2 * delta

        low, high = self.bounds or (-torch.inf, torch.inf)
        return minimize_in_box(objective, point.flatten(1), low, high, self.steps).view_as(x)

"""The L-BFGS attack of Szegedy et al."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.attacks.base import ScoreFunction
from zoo.attacks.goals import Goal
from zoo.attacks.minimum_norm import MinimumNormAttack
from zoo.errors import check_at_least, check_positive
from zoo.functional.lbfgs import minimize_in_box


@dataclass(frozen=True, kw_only=True)
class LBFGSAttack(MinimumNormAttack):
    """L-BFGS attack: min ‖x − x′‖² + c · CE(x′, t) within the bounds for the smallest c.

    Without a target t, CE is −log(1 − p_y), the cross-entropy of "any other class". Each
    minimization is batched L-BFGS that starts from the solution for the previous c. The smallest c
    that yields an adversarial sample is searched for each sample independently: ×10 until there is
    one, then by bisection of log c. The result is the nearest adversarial sample of all
    minimizations.

    Args:
        search_steps: number of values of c for each sample, default 10.
        steps: number of L-BFGS steps for each c, default 20.
        initial_c: first value of c, default 0.1.
        line_search_steps: see :class:`~zoo.attacks.minimum_norm.MinimumNormAttack`.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: a number out of range.

    Source: Szegedy et al., Intriguing properties of neural networks, 2014, section 4.1.
    """

    search_steps: int = 10
    steps: int = 20
    initial_c: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(initial_c=self.initial_c)
        check_at_least(0, search_steps=self.search_steps, steps=self.steps)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        if not len(x):
            return x
        best = x.clone()
        distance = torch.full((len(x),), torch.inf).to(x)
        with torch.no_grad():
            is_adversarial = goal.is_reached(model(x))
        distance[is_adversarial] = 0.0
        c = torch.full_like(distance, self.initial_c)
        low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
        point = x
        for _ in range(self.search_steps):
            point = self._minimize(model, x, point, goal, c)
            with torch.no_grad():
                is_adversarial = goal.is_reached(model(point))
            norm = (point - x).flatten(1).norm(dim=1)
            is_nearer = is_adversarial & (norm < distance)
            best[is_nearer], distance[is_nearer] = point[is_nearer], norm[is_nearer]
            high = torch.where(is_adversarial, c, high)
            low = torch.where(is_adversarial, low, c)
            middle = torch.where(low > 0, (low * high).sqrt(), high / 10)
            c = torch.where(high.isinf(), c * 10, middle)
        return self.line_search(model, x, best, goal) if self.line_search_steps else best

    def _minimize(
        self, model: ScoreFunction, x: Tensor, point: Tensor, goal: Goal, c: Tensor
    ) -> Tensor:
        """Minimize the objective from ``point``; the solver works on flat rows, (B, n)."""
        shape = x.shape[1:]
        flat = x.flatten(1)

        def objective(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                inputs = points.detach().view(-1, *shape).requires_grad_()
                entropy = F.softplus(-goal.select(rows).loss(model(inputs), "cross_entropy"))
                penalty = c[rows] * entropy
                gradient = torch.autograd.grad(penalty.sum(), inputs)[0].flatten(1)
            delta = points - flat[rows]
            return delta.square().sum(1) + penalty.detach(), gradient + 2 * delta

        low, high = self.bounds or (-torch.inf, torch.inf)
        return minimize_in_box(objective, point.flatten(1), low, high, self.steps).view_as(x)

"""Attacks that change a few whole parts of a sample, those whose gradients promise most."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction
from zoo.attacks.goals import Goal, check_loss
from zoo.errors import InputError
from zoo.functional.points import replace_dropped_points


@dataclass(frozen=True, kw_only=True)
class GreedyAttack(Attack):
    """Rounds of changes; in each, those parts change that promise the highest loss.

    A subclass says how many parts may change, what a change promises, and makes it.

    Args:
        eps: parts that may change, as a share.
        rounds: gradients that are taken, default 10; each is followed by its share of the changes.
        loss: default ``margin``; see :class:`~zoo.attacks.goals.Goal`.

    Raises:
        InputError: a negative ε, fewer than one round.
        ValueError: unknown loss.
    """

    eps: float
    rounds: int = 10
    loss: str = "margin"

    def __post_init__(self) -> None:
        check_loss(self.loss)
        if not self.eps >= 0 or self.rounds < 1:
            raise InputError(
                f"{type(self).__name__}: eps must not be negative and rounds at least 1, got "
                f"{self.eps} and {self.rounds}"
            )

    def with_eps(self, eps: float) -> Attack:
        return replace(self, eps=eps)

    def limit(self, x: Tensor) -> Tensor:
        """How many parts of each sample may change, int64 (B,)."""
        raise NotImplementedError(f"{self.name} has no limit(x)")

    def gains(self, x: Tensor, gradient: Tensor) -> Tensor:
        """What a change of each part promises, (B, P)."""
        raise NotImplementedError(f"{self.name} has no gains(x, gradient)")

    def change(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Samples with the chosen parts, boolean (B, P), changed."""
        raise NotImplementedError(f"{self.name} has no change(x, chosen)")

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        limit = self.limit(x)
        found = x.clone()
        rows = torch.arange(len(x), device=x.device)
        now, chosen = x, None
        for number in range(self.rounds):
            inputs = now.detach().requires_grad_()
            scores = model(inputs)
            gradient = torch.autograd.grad(goal.loss(scores, self.loss).sum(), inputs)[0]
            gains = self.gains(now, gradient)
            chosen = torch.zeros_like(gains, dtype=torch.bool) if chosen is None else chosen
            found[rows] = now
            on = ~goal.reached(scores.detach())
            rows, x, limit, goal = rows[on], x[on], limit[on], goal.rows(on)
            gains, chosen = gains[on], chosen[on]
            if not len(rows):
                return found
            count = limit * (number + 1) // self.rounds - chosen.sum(1)
            chosen = chosen | highest(gains.masked_fill(chosen, -torch.inf), count)
            now = self.change(x, chosen)
        found[rows] = now
        return found


def highest(values: Tensor, count: Tensor) -> Tensor:
    """Which values are among the ``count`` largest of their row and above 0.

    Shapes: (B, P), (B,) → boolean (B, P).
    """
    order = values.argsort(1, descending=True)
    ranks = torch.arange(values.shape[1], device=values.device)
    chosen = torch.zeros_like(values, dtype=torch.bool)
    return chosen.scatter(1, order, ranks < count[:, None]) & (values > 0)


class VoxelFlips(GreedyAttack):
    """Fills empty voxels and empties full ones.

    Flipping voxel x_i, 0 or 1, changes the loss by about (1 − 2 x_i) ∂L/∂x_i.

    Args:
        eps: flips at most, as a share of the voxels that are full.
        **greedy: see :class:`GreedyAttack`.

    Raises:
        InputError: voxels that are neither 0 nor 1.
    """

    def limit(self, x: Tensor) -> Tensor:
        other = (x != 0) & (x != 1)
        if bool(other.any()):
            raise InputError(f"VoxelFlips: voxels are 0 or 1, one is {float(x[other][0]):.4g}")
        return (self.eps * x.flatten(1).sum(1)).long()

    def gains(self, x: Tensor, gradient: Tensor) -> Tensor:
        return ((1 - 2 * x) * gradient).flatten(1)

    def change(self, x: Tensor, chosen: Tensor) -> Tensor:
        return torch.where(chosen.view_as(x), 1 - x, x)


class PointDropping(GreedyAttack):
    """Takes points away from a cloud.

    A point that is gone is nearly as good as one in the middle m of the cloud: dropping x_n changes
    the loss by about −∂L/∂x_n · (x_n − m), which is weighted by ‖x_n − m‖. Clouds keep their size:
    a dropped point lies where the nearest one is that stays, which to a network that takes maxima
    is the same.

    Args:
        eps: points that may be dropped, as a share of all.
        **greedy: see :class:`GreedyAttack`.

    Raises:
        InputError: ε of 1 or more, samples that are no clouds (B, N, 3).

    Source: Zheng et al., PointCloud saliency maps, 2019, equation 5 and algorithm 1 (α = 1).
    """

    def limit(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[2] != 3:
            raise InputError(f"PointDropping needs clouds (B, N, 3), got {tuple(x.shape)}")
        if self.eps >= 1:
            raise InputError(f"PointDropping: eps must be below 1, got {self.eps}: a point stays")
        return torch.full((len(x),), int(self.eps * x.shape[1]), device=x.device)

    def gains(self, x: Tensor, gradient: Tensor) -> Tensor:
        away = x - x.median(1, keepdim=True).values
        return -(gradient * away).sum(2) * away.norm(dim=2)

    def change(self, x: Tensor, chosen: Tensor) -> Tensor:
        return replace_dropped_points(x, chosen)

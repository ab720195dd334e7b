"""Greedy attacks on discrete parts of a sample: voxel flips and point dropping."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction
from zoo.attacks.goals import LOSSES, Goal
from zoo.errors import InputError, check_at_least, check_choice, check_non_negative
from zoo.functional.points import replace_dropped_points


@dataclass(frozen=True, kw_only=True)
class GreedyAttack(Attack):
    """Base class of attacks that change the parts of a sample with the largest first-order gain.

    Each round computes one gradient and then changes its portion of the parts. A subclass defines
    how many parts may change (:meth:`max_changes`), the gain of each change (:meth:`gains`) and the
    change itself (:meth:`apply`).

    Args:
        eps: largest fraction of parts that may change.
        rounds: number of rounds, default 10.
        loss: loss to maximize, default ``margin``; see :class:`~zoo.attacks.goals.Goal`.

    Raises:
        InputError: negative ``eps``; fewer than one round; unknown loss.
    """

    eps: float
    rounds: int = 10
    loss: str = "margin"

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, LOSSES)
        check_non_negative(eps=self.eps)
        check_at_least(1, rounds=self.rounds)

    def with_eps(self, eps: float) -> Attack:
        return replace(self, eps=eps)

    def max_changes(self, x: Tensor) -> Tensor:
        """Return the largest number of parts of each sample that may change, int64 (B,)."""
        raise NotImplementedError(f"{self.name} has no max_changes(x)")

    def gains(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Estimate the increase of the loss from changing each part, (B, P)."""
        raise NotImplementedError(f"{self.name} has no gains(x, gradient)")

    def apply(self, x: Tensor, mask: Tensor) -> Tensor:
        """Change the parts in the mask, boolean (B, P), and return the new samples."""
        raise NotImplementedError(f"{self.name} has no apply(x, mask)")

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        max_changes = self.max_changes(x)
        result = x.clone()
        active = torch.arange(len(x), device=x.device)
        point, changed = x, None
        for step in range(self.rounds):
            inputs = point.detach().requires_grad_()
            scores = model(inputs)
            gradient = torch.autograd.grad(goal.loss(scores, self.loss).sum(), inputs)[0]
            gains = self.gains(point, gradient)
            changed = torch.zeros_like(gains, dtype=torch.bool) if changed is None else changed
            result[active] = point
            keep = ~goal.is_reached(scores.detach())
            active, x, max_changes = active[keep], x[keep], max_changes[keep]
            goal, gains, changed = goal.select(keep), gains[keep], changed[keep]
            if not len(active):
                return result
            count = max_changes * (step + 1) // self.rounds - changed.sum(1)
            changed = changed | top_positive(gains.masked_fill(changed, -torch.inf), count)
            point = self.apply(x, changed)
        result[active] = point
        return result


def top_positive(values: Tensor, count: Tensor) -> Tensor:
    """Select the positive values among the ``count`` largest of each row.

    Shapes: (B, P), (B,) → boolean (B, P).
    """
    order = values.argsort(1, descending=True)
    ranks = torch.arange(values.shape[1], device=values.device)
    selected = torch.zeros_like(values, dtype=torch.bool)
    return selected.scatter(1, order, ranks < count[:, None]) & (values > 0)


class VoxelFlips(GreedyAttack):
    """Greedy attack on voxel grids that fills empty voxels and empties occupied ones.

    Flipping voxel x_i, 0 or 1, changes the loss by approximately (1 − 2 x_i) ∂L/∂x_i.

    Args:
        eps: largest number of flips, as a fraction of the occupied voxels.
        **greedy: see :class:`GreedyAttack`.

    Raises:
        InputError: voxels other than 0 and 1.
    """

    def max_changes(self, x: Tensor) -> Tensor:
        is_invalid = (x != 0) & (x != 1)
        if bool(is_invalid.any()):
            raise InputError(
                f"VoxelFlips needs voxels that are 0 or 1, got {float(x[is_invalid][0]):.4g}"
            )
        return (self.eps * x.flatten(1).sum(1)).long()

    def gains(self, x: Tensor, gradient: Tensor) -> Tensor:
        return ((1 - 2 * x) * gradient).flatten(1)

    def apply(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask.view_as(x), 1 - x, x)


class PointDropping(GreedyAttack):
    """Greedy attack on point clouds that drops the points with the largest saliency.

    Dropping a point is approximated by moving it to the center m of the cloud, the median of each
    coordinate: dropping x_n changes the loss by about −∂L/∂x_n · (x_n − m), which is weighted by
    ‖x_n − m‖. A dropped point is replaced by a copy of the nearest point that is kept: clouds keep
    their size, and a network with max pooling ignores duplicates.

    Args:
        eps: largest fraction of the points that may be dropped, below 1.
        **greedy: see :class:`GreedyAttack`.

    Raises:
        InputError: ``eps`` of 1 or more; samples that are not point clouds (B, N, 3).

    Source: Zheng et al., PointCloud saliency maps, 2019, equation 5 and algorithm 1 (α = 1).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps >= 1:
            raise InputError(
                f"PointDropping: eps must be below 1, to keep at least one point, got {self.eps}"
            )

    def max_changes(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[2] != 3:
            raise InputError(f"PointDropping needs point clouds (B, N, 3), got {tuple(x.shape)}")
        return torch.full((len(x),), int(self.eps * x.shape[1]), device=x.device)

    def gains(self, x: Tensor, gradient: Tensor) -> Tensor:
        offset = x - x.median(1, keepdim=True).values
        return -(gradient * offset).sum(2) * offset.norm(dim=2)

    def apply(self, x: Tensor, mask: Tensor) -> Tensor:
        return replace_dropped_points(x, mask)

"""Square attack: score-based random search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import EpsilonAttack, ScoreFunction
from zoo.attacks.goals import LOSSES, Goal
from zoo.errors import (
    InputError,
    check_at_least,
    check_choice,
    check_fraction,
    check_integer,
    check_positive,
)
from zoo.functional.norm_balls import MIN_NORM, broadcast_per_sample, per_sample
from zoo.functional.rng import SampleRNG

# fractions of the query budget after which the area of the squares is halved
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True)
class Square(EpsilonAttack):
    """Square attack: random square perturbations, kept where they increase the loss.

    It is score-based: it queries scores and needs no gradients. ``linf`` starts from vertical
    stripes of ±ε and sets one square of every channel to ±ε at a time. ``l2`` starts from a grid of
    bumps; each step moves the energy of one square, and the unused budget, into a bump of random
    orientation in another square. The side of a square is √(p H W), with p halved on a schedule.

    Args:
        eps: radius ε of the ball, in the units of x.
        norm: ``linf`` (default) or ``l2``.
        queries: largest number of model queries per sample, default 5,000;
            :attr:`zoo.attacks.base.ScoreFunction.queries` counts those actually used.
        initial_fraction: first value of p, the fraction of the image covered by a square, default
            0.8.
        loss: loss to maximize, default ``margin``; see :class:`~zoo.attacks.goals.Goal`.
        seed: random seed of the squares, default 0.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: unknown norm or loss; negative ``eps``; ``initial_fraction`` outside (0, 1];
            samples that are not images (C, H, W).

    Source: Andriushchenko et al., Square attack, 2020, algorithms 1 to 3.
    """

    queries: int = 5_000
    initial_fraction: float = 0.8
    loss: str = "margin"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, ("linf", "l2"))
        super().__post_init__()
        check_choice("loss", self.loss, LOSSES)
        check_at_least(0, queries=self.queries)
        check_integer(seed=self.seed)
        check_positive(initial_fraction=self.initial_fraction)
        check_fraction(initial_fraction=self.initial_fraction)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        if x.ndim != 4:
            raise InputError(f"Square needs images (B, C, H, W), got {tuple(x.shape)}")
        if self.queries < 1 or not len(x):
            return x
        with torch.no_grad():
            return self._search(model, x, goal)

    def _search(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        attack: Any = self  # with the radii of the active samples
        rng = SampleRNG(x, self.seed)
        result = x.clone()
        best = model.round(x, self.project(x, self._starting_point(x, rng)))
        loss, is_reached = self._evaluate(model, best, goal)
        active = torch.arange(len(x), device=x.device)
        for query in range(1, self.queries):
            if bool(is_reached.any()):
                keep = ~is_reached
                result[active[is_reached]] = best[is_reached]
                active, x, best, loss = active[keep], x[keep], best[keep], loss[keep]
                goal, rng, attack = goal.select(keep), rng.select(keep), attack.select(keep)
            if not len(active):
                return result
            proposal = attack._propose(x, best, rng, self._side(x, query))
            candidate = model.round(x, attack.project(x, proposal))
            candidate_loss, is_reached = self._evaluate(model, candidate, goal)
            accept = (candidate_loss > loss) | is_reached
            best = torch.where(broadcast_per_sample(accept, x), candidate, best)
            loss = torch.where(accept, candidate_loss, loss)
        result[active] = best
        return result

    def _evaluate(self, model: ScoreFunction, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return the loss, and whether the goal is reached."""
        scores = model(x)
        return goal.loss(scores, self.loss), goal.is_reached(scores)

    def _side(self, x: Tensor, query: int) -> int:
        """Return the side of the squares at a query, in pixels."""
        halvings = sum(query > fraction * self.queries for fraction in HALVINGS)
        height, width = x.shape[-2:]
        side = round(math.sqrt(self.initial_fraction * 0.5**halvings * height * width))
        if self.norm == "l2":  # odd, so that the bump has a center
            return min(max(3, side + 1 - side % 2), height, width)
        return min(max(1, side), height - 1, width - 1)

    def _starting_point(self, x: Tensor, rng: SampleRNG) -> Tensor:
        """Return x with stripes (``linf``) or a grid of bumps (``l2``)."""
        channels, height, width = x.shape[1:]
        if self.norm == "linf":
            return x + per_sample(self.eps, x) * rng.signs(channels, 1, width, dtype=x.dtype)
        side = max(3, min(height, width) // 5)
        signs = rng.signs(channels, height // side, width // side, dtype=x.dtype)
        delta = torch.zeros_like(x)
        grid = torch.einsum("bcij,hw->bcihjw", signs, bump(side, x)).flatten(4).flatten(2, 3)
        delta[..., : grid.shape[2], : grid.shape[3]] = grid
        norms = broadcast_per_sample(delta.flatten(1).norm(dim=1), delta)
        return x + per_sample(self.eps, x) * delta / norms

    def _propose(self, x: Tensor, best: Tensor, rng: SampleRNG, side: int) -> Tensor:
        """Return the best points with one square changed at random."""
        target = random_square(x, rng, side)
        signs = rng.signs(x.shape[1], 1, 1, dtype=x.dtype)
        if self.norm == "linf":
            return torch.where(target, x + per_sample(self.eps, x) * signs, best)
        return self._move_energy(x, best, rng, side, target, signs)

    def _move_energy(
        self, x: Tensor, best: Tensor, rng: SampleRNG, side: int, target: Tensor, signs: Tensor
    ) -> Tensor:
        """Empty a second square, and add its energy and the unused budget to the target square."""
        source = random_square(x, rng, side)
        delta = best - x
        energies = delta.flatten(1).square().sum(1)
        unused = per_sample(self.eps, energies) ** 2 - energies
        either = (target | source).to(x)
        energy = (delta.square() * either).sum((2, 3), keepdim=True)  # of each channel
        energy = energy + (unused.clamp(min=0) / x.shape[1]).view(-1, 1, 1, 1)
        shape = bump(side, x)
        is_transposed = (rng.integers(1) & 1).bool().view(-1, 1, 1)
        shape = torch.where(is_transposed, shape.mT, shape)[:, None]  # (B, 1, side, side)
        new = signs * shape + _normalize(crop(delta, target, side))
        new = _normalize(new) * energy.sqrt()
        delta = torch.where(target | source, 0.0, delta)
        return x + paste(delta, target, new)


def _normalize(patch: Tensor) -> Tensor:
    """Scale each channel of a patch to Euclidean norm 1, (B, C, side, side)."""
    return patch / patch.flatten(2).norm(dim=2)[..., None, None].clamp(min=MIN_NORM)


def random_square(x: Tensor, rng: SampleRNG, side: int) -> Tensor:
    """Sample the mask of a random square in each image, bool (B, 1, H, W)."""
    height, width = x.shape[-2:]
    top = rng.integers(1) % (height - side + 1)
    left = rng.integers(1) % (width - side + 1)
    rows, columns = (torch.arange(n, device=x.device) for n in (height, width))
    vertical = (rows >= top) & (rows < top + side)
    horizontal = (columns >= left) & (columns < left + side)
    return vertical[:, None, :, None] & horizontal[:, None, None, :]


def crop(values: Tensor, mask: Tensor, side: int) -> Tensor:
    """Return the values in the masked square of each image, (B, C, side, side)."""
    channels = values.shape[1]
    return values[mask.expand_as(values)].view(-1, channels, side, side)


def paste(values: Tensor, mask: Tensor, patch: Tensor) -> Tensor:
    """Replace the values in the masked square of each image; the inverse of :func:`crop`."""
    return values.masked_scatter(mask.expand_as(values), patch)


def bump(side: int, like: Tensor) -> Tensor:
    """Return η of algorithm 3, a positive and a negative hill of norm 1 together, (side, side)."""
    half = side // 2
    hills = torch.zeros(side, side).to(like)
    hills[:half] = _hill(half, side, like)
    hills[half:] = -_hill(side - half, side, like)
    return hills / hills.norm()


def _hill(height: int, width: int, like: Tensor) -> Tensor:
    """Return a sum of concentric rectangles of growing size, the k-th with weight 1/(k+1)²."""
    hill = torch.zeros(height, width).to(like)
    top, left = (height - 1) // 2, (width - 1) // 2
    bottom, right = height // 2, width // 2
    for k in range(max(top, left) + 1):
        rows = slice(max(0, top - k), bottom + k + 1)
        columns = slice(max(0, left - k), right + k + 1)
        hill[rows, columns] += 1 / (k + 1) ** 2
    return hill

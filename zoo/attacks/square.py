"""Random search: an attack that sees scores alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.attacks.base import EpsilonAttack, ScoreFunction
from zoo.attacks.goals import Goal, check_loss
from zoo.errors import InputError
from zoo.functional.norm_balls import MIN_NORM, broadcast_per_sample
from zoo.functional.rng import SampleRNG

# fractions of the budget of queries after which squares get half as large
HALVES = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True)
class Square(EpsilonAttack):
    """Random squares, kept where they raise the loss. Black box: it asks for scores, no gradient.

    ``linf`` starts from vertical stripes of ±ε and sets a square of each channel to ±ε at a time.
    ``l2`` starts from a grid of bumps and moves the energy of one square, and what is left of the
    budget, into a bump of random orientation in another. The side of a square is √(p H W) with p
    halved on a schedule.

    Args:
        eps: radius ε, in the units of x.
        norm: ``linf`` (default) or ``l2``.
        queries: of the model for each sample at most, default 5,000. How many there were is
            counted by :class:`~zoo.attacks.base.ScoreFunction`: ``Scores(model).queries``.
        fraction: p at first, default 0.8.
        loss: default ``margin``; see :class:`~zoo.attacks.goals.Goal`.
        seed: of all squares, default 0.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        ValueError: unknown norm; a fraction not in (0, 1].
        InputError: a negative ε; samples that are no images (C, H, W).

    Source: Andriushchenko et al., Square attack, 2020, algorithms 1 to 3.
    """

    queries: int = 5_000
    fraction: float = 0.8
    loss: str = "margin"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"unknown norm {self.norm!r}; choose from linf, l2")
        super().__post_init__()
        check_loss(self.loss)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        if x.ndim != 4:
            raise InputError(f"Square needs images (B, C, H, W), got {tuple(x.shape)}")
        if self.queries < 1 or not len(x):
            return x
        with torch.no_grad():
            return self._search(model, x, goal)

    def _search(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        streams = SampleRNG(x, self.seed)
        found = x.clone()
        best = self.inside(x, self._start(x, streams))
        loss, broken = self._evaluate(model, best, goal)
        rows = torch.arange(len(x), device=x.device)
        for query in range(1, self.queries):
            if bool(broken.any()):
                on = ~broken
                found[rows[broken]] = best[broken]
                rows, x, best, loss = rows[on], x[on], best[on], loss[on]
                goal, streams = goal.rows(on), streams.select(on)
            if not len(rows):
                return found
            new = self.inside(x, self._propose(x, best, streams, self._side(x, query)))
            new_loss, reached = self._evaluate(model, new, goal)
            better = (new_loss > loss) | reached
            best = torch.where(broadcast_per_sample(better, x), new, best)
            loss, broken = torch.where(better, new_loss, loss), reached
        found[rows] = best
        return found

    def _evaluate(self, model: ScoreFunction, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        scores = model(x)
        return goal.loss(scores, self.loss), goal.reached(scores)

    def _side(self, x: Tensor, query: int) -> int:
        """Of a square, in pixels."""
        halvings = sum(query > fraction * self.queries for fraction in HALVES)
        height, width = x.shape[-2:]
        side = round(math.sqrt(self.fraction * 0.5**halvings * height * width))
        if self.norm == "l2":  # an odd side has a middle
            return min(max(3, side + 1 - side % 2), height, width)
        return min(max(1, side), height - 1, width - 1)

    def _start(self, x: Tensor, streams: SampleRNG) -> Tensor:
        channels, height, width = x.shape[1:]
        if self.norm == "linf":
            return x + self.eps * streams.signs(channels, 1, width, dtype=x.dtype)
        side = max(3, min(height, width) // 5)
        bumps = bump(side, x)
        signs = streams.signs(channels, height // side, width // side, dtype=x.dtype)
        delta = torch.zeros_like(x)
        grid = torch.einsum("bcij,hw->bcihjw", signs, bumps).flatten(4).flatten(2, 3)
        delta[..., : grid.shape[2], : grid.shape[3]] = grid
        return x + self.eps * delta / broadcast_per_sample(delta.flatten(1).norm(dim=1), delta)

    def _propose(self, x: Tensor, best: Tensor, streams: SampleRNG, side: int) -> Tensor:
        channels = x.shape[1]
        here = square(x, streams, side)
        signs = streams.signs(channels, 1, 1, dtype=x.dtype)
        if self.norm == "linf":
            return torch.where(here, x + self.eps * signs, best)
        return self._moved(x, best, streams, side, here, signs)

    def _moved(
        self, x: Tensor, best: Tensor, streams: SampleRNG, side: int, here: Tensor, signs: Tensor
    ) -> Tensor:
        """A bump takes the energy of its square, of another that is emptied, and what is left."""
        there = square(x, streams, side)
        delta = best - x
        left = self.eps**2 - delta.flatten(1).square().sum(1)
        either = (here | there).to(x)
        energy = (delta.square() * either).sum((2, 3), keepdim=True)  # of each channel
        energy = energy + (left.clamp(min=0) / x.shape[1]).view(-1, 1, 1, 1)
        shape = bump(side, x)
        turned = (streams.integers(1) & 1).bool().view(-1, 1, 1)
        shape = torch.where(turned, shape.mT, shape)[:, None]  # (B, 1, side, side)
        old = window(delta, here, side)
        new = signs * shape + old / old.flatten(2).norm(dim=2)[..., None, None].clamp(min=MIN_NORM)
        length = new.flatten(2).norm(dim=2)[..., None, None].clamp(min=MIN_NORM)
        new = new / length * energy.sqrt()
        delta = torch.where(here | there, 0.0, delta)
        return x + put(delta, here, new)


def square(x: Tensor, streams: SampleRNG, side: int) -> Tensor:
    """Where a random square of each image lies, bool (B, 1, H, W)."""
    height, width = x.shape[-2:]
    top = streams.integers(1) % (height - side + 1)
    left = streams.integers(1) % (width - side + 1)
    rows, columns = (torch.arange(n, device=x.device) for n in (height, width))
    vertical = (rows >= top) & (rows < top + side)
    horizontal = (columns >= left) & (columns < left + side)
    return vertical[:, None, :, None] & horizontal[:, None, None, :]


def window(values: Tensor, here: Tensor, side: int) -> Tensor:
    """What lies in the square of each image, (B, C, side, side)."""
    channels = values.shape[1]
    return values[here.expand_as(values)].view(-1, channels, side, side)


def put(values: Tensor, here: Tensor, content: Tensor) -> Tensor:
    """The inverse of :func:`window`."""
    return values.masked_scatter(here.expand_as(values), content)


def bump(side: int, like: Tensor) -> Tensor:
    """Two hills, one up and one down, of Euclidean length 1, (side, side); algorithm 3's η."""
    half = side // 2
    hills = torch.zeros(side, side).to(like)
    hills[:half] = _hill(half, side, like)
    hills[half:] = -_hill(side - half, side, like)
    return hills / hills.norm()


def _hill(height: int, width: int, like: Tensor) -> Tensor:
    """Σ_k of ever smaller rectangles around the middle, each weighing 1/(k+1)²."""
    hill = torch.zeros(height, width).to(like)
    top, left = (height - 1) // 2, (width - 1) // 2
    bottom, right = height // 2, width // 2
    for k in range(max(top, left) + 1):
        rows = slice(max(0, top - k), bottom + k + 1)
        columns = slice(max(0, left - k), right + k + 1)
        hill[rows, columns] += 1 / (k + 1) ** 2
    return hill

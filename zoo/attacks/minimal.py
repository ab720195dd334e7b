"""The nearest sample of another class: Carlini and Wagner's attack, and DeepFool."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.attacks.base import BoundedAttack, ScoreFunction
from zoo.attacks.goals import Goal, PerSample
from zoo.errors import InputError
from zoo.functional.norm_balls import NORMS, broadcast_per_sample, delta_norm, steepest_direction

BETAS = (0.9, 0.999)  # Adam's
PLATEAU = 1e-3  # share of the objective that counts as progress


@dataclass(frozen=True, kw_only=True)
class MinimumNormAttack(BoundedAttack):
    """An attack without a budget, that looks for a sample as near as it can find.

    A sample for which it finds none comes back as it was. What it finds is moved back along the
    straight way to x for as long as it stays adversarial.

    Args:
        shrink: halvings of the interval in that search, default 8; 0 leaves it out.
    """

    shrink: int = 8

    def toward(self, model: ScoreFunction, x: Tensor, found: Tensor, goal: Goal) -> Tensor:
        """The nearest adversarial point between x and what was found, by bisection."""
        low, high = torch.zeros(len(x)).to(x), torch.ones(len(x)).to(x)
        with torch.no_grad():
            for _ in range(self.shrink):
                middle = (low + high) / 2
                reached = goal.reached(model(torch.lerp(x, found, broadcast_per_sample(middle, x))))
                low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
            return torch.lerp(x, found, broadcast_per_sample(high, x))


@dataclass
class Search(PerSample):
    """Samples under way in one minimisation, one row each."""

    row: Tensor
    x: Tensor
    delta: Tensor
    weight: Tensor
    mean: Tensor
    square: Tensor
    radius: Tensor
    least: Tensor


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(MinimumNormAttack):
    """min D(δ) + c · (max_{i≠t} z_i − z_t + κ)⁺ over δ with x + δ inside the bounds, smallest c.

    D(δ) is Σ δ_i² for ``l2``, Σ |δ_i| for ``l1``, and for ``linf`` Σ (|δ_i| − τ)⁺ with τ nine
    tenths of the largest coordinate of the last adversarial δ; for ``point``, of points (B, N, D),
    the same with the ways ‖δ_n‖ of the points in place of coordinates. Without a target the second
    term is (z_y − max_{i≠y} z_i + κ)⁺. Each minimisation is Adam's on δ itself, put back inside the
    bounds after every step: through x = (tanh w + 1)/2, as in the paper, pixels that are exactly 0
    or 1 would start where they cannot move. c is searched for each sample by itself: ×10 until
    there is an adversarial sample, then by bisection; the nearest adversarial iterate of all is
    kept.

    Args:
        norm: ``l2`` (default), ``l1``, ``linf`` or ``point``.
        confidence: κ, the margin by which the wrong class must lead, default 0.
        search_steps: values of c for each sample, default 6.
        steps: of Adam for each c, default 300.
        lr: of Adam, in the units of x, default 0.01.
        initial_c: default 1.
        patience: steps without progress after which a sample is done with a c, default a fifteenth
            of ``steps``.
        shrink: see :class:`MinimumNormAttack`; left out where κ > 0.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        ValueError: unknown norm.
        InputError: a negative κ or c.

    Source: Carlini and Wagner, Towards evaluating the robustness of neural networks, 2017,
    sections V and VI.
    """

    norm: str = "l2"
    confidence: float = 0.0
    search_steps: int = 6
    steps: int = 300
    lr: float = 0.01
    initial_c: float = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.norm not in ("l1", *NORMS):
            raise ValueError(f"unknown norm {self.norm!r}; choose from l1, {', '.join(NORMS)}")
        if self.confidence < 0 or self.initial_c <= 0:
            raise InputError(
                "CarliniWagner: confidence must not be negative and initial_c must be positive, "
                f"got {self.confidence} and {self.initial_c}"
            )

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        best = x.clone()
        distance = torch.full((len(x),), torch.inf).to(x)
        low, high = torch.zeros_like(distance), torch.full_like(distance, torch.inf)
        weight = torch.full_like(distance, self.initial_c)
        if not self.steps:
            return best
        for _ in range(self.search_steps):
            reached = self._minimize(model, x, goal, weight, best, distance)
            high = torch.where(reached, torch.minimum(high, weight), high)
            low = torch.where(reached, low, torch.maximum(low, weight))
            weight = torch.where(high.isinf(), weight * 10, (low + high) / 2)
        if self.shrink and not self.confidence:
            best = self.toward(model, x, best, goal)
        return best

    def _minimize(
        self, model: ScoreFunction, x: Tensor, goal: Goal, c: Tensor, best: Tensor, distance: Tensor
    ) -> Tensor:
        """One minimisation from δ = 0, for ``best`` and ``distance``; who became adversarial."""
        reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if not len(x):
            return reached
        zeros = torch.zeros_like(x)
        infinite = torch.full_like(c, torch.inf)
        going = Search(
            torch.arange(len(x), device=x.device), x, zeros, c, zeros, zeros,
            torch.full_like(c, torch.inf), infinite,
        )  # fmt: skip
        patience = self.patience or max(1, self.steps // 15)
        before = going.least
        for step in range(1, self.steps + 1):
            objective, gradient, adversarial = self._objective(model, going, goal)
            length = self.size(going.delta)
            better = adversarial & (length < distance[going.row])
            rows = going.row[better]
            best[rows], distance[rows] = (going.x + going.delta)[better], length[better]
            reached[going.row[adversarial]] = True
            if self.norm in ("linf", "point"):
                shrunk = torch.minimum(going.radius, 0.9 * length)
                going.radius = torch.where(adversarial, shrunk, going.radius)
            going.least = torch.minimum(going.least, objective)
            self._adam(going, gradient, step)
            if step % patience:
                continue
            on = (going.least < before * (1 - PLATEAU)) | before.isinf()
            if not bool(on.all()):
                going, goal = going.rows(on), goal.rows(on)
                if not len(going.row):
                    break
            before = going.least
        return reached

    def _objective(
        self, model: ScoreFunction, going: Search, goal: Goal
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D + c (κ − margin)⁺, its gradient, and whether the margin is there."""
        inputs = (going.x + going.delta).requires_grad_()
        margin = goal.loss(model(inputs), "margin")
        lack = (self.confidence - margin).clamp(min=0)
        gradient = torch.autograd.grad((going.weight * lack).sum(), inputs)[0]
        distance, slope = self._distance(going)
        objective = distance + going.weight * lack.detach()
        adversarial = (margin > 0) & (margin >= self.confidence)
        return objective, gradient + slope, adversarial

    def _distance(self, going: Search) -> tuple[Tensor, Tensor]:
        """D(δ) and its gradient."""
        delta = going.delta
        if self.norm == "l2":
            return delta.flatten(1).square().sum(1), 2 * delta
        if self.norm == "l1":
            return delta.flatten(1).abs().sum(1), delta.sign()
        lengths = delta.abs() if self.norm == "linf" else delta.norm(dim=-1, keepdim=True)
        radius = torch.where(going.radius.isinf(), 0.0, going.radius)
        over = (lengths - broadcast_per_sample(radius, delta)).clamp(min=0)
        return over.flatten(1).sum(1), steepest_direction(delta, self.norm) * (over > 0)

    def size(self, delta: Tensor) -> Tensor:
        """How long δ is, (B, ...) → (B,)."""
        return (
            delta.flatten(1).norm(p=1, dim=1) if self.norm == "l1" else delta_norm(delta, self.norm)
        )

    def _adam(self, going: Search, gradient: Tensor, step: int) -> None:
        going.mean = torch.lerp(gradient, going.mean, BETAS[0])
        going.square = torch.lerp(gradient.square(), going.square, BETAS[1])
        mean, square = going.mean / (1 - BETAS[0] ** step), going.square / (1 - BETAS[1] ** step)
        moved = going.delta - self.lr * mean / (square.sqrt() + 1e-8)
        going.delta = self.clip(going.x + moved) - going.x


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimumNormAttack):
    """x ← x + r, r the shortest way to the nearest class if the scores were linear.

    With f_k = z_k − z_y and w_k = ∇f_k, the nearest class is l = argmin |f_k| / ‖w_k‖ and
    r = |f_l| w_l / ‖w_l‖² (``l2``) or |f_l| sign(w_l) / ‖w_l‖₁ (``linf``). The sum of all ways is
    lengthened by the overshoot.

    Args:
        norm: ``l2`` (default) or ``linf``.
        steps: at most, default 50.
        candidates: the likeliest wrong classes that are looked at, default 10.
        overshoot: default 0.02.
        shrink: see :class:`MinimumNormAttack`, default 0, as in the paper.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        ValueError: unknown norm.

    Source: Moosavi-Dezfooli et al., DeepFool, 2016, section 3.
    """

    norm: str = "l2"
    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02
    shrink: int = 0

    def __post_init__(self) -> None:
        if self.norm not in ("l2", "linf"):
            raise ValueError(f"unknown norm {self.norm!r}; choose from l2, linf")

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        found, done = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        way, now, start, asked = torch.zeros_like(x), x, x, goal
        for _ in range(self.steps + 1):
            if not len(rows):
                break
            inputs = now.detach().requires_grad_()
            scores = model(inputs)
            on = ~asked.reached(scores.detach())
            found[rows[~on]], done[rows[~on]] = now[~on], True
            if not bool(on.any()):
                break
            step = self._step(inputs, scores, asked)[on]
            rows, start, way, asked = rows[on], start[on], way[on] + step, asked.rows(on)
            now = self.clip(start + (1 + self.overshoot) * way)
        if self.shrink:
            found = self.toward(model, x, found, goal)
        return torch.where(broadcast_per_sample(done, x), found, x)

    def _step(self, inputs: Tensor, scores: Tensor, goal: Goal) -> Tensor:
        """r of each sample, in the shape of the inputs."""
        chosen = (goal.y if goal.target is None else goal.target)[:, None]
        others = scores.detach().scatter(1, chosen, -torch.inf)
        if goal.target is None:
            own, classes = chosen, others.topk(min(self.candidates, scores.shape[1] - 1)).indices
        else:  # there is one class to go to, from the likeliest other
            own, classes = others.argmax(1, keepdim=True), chosen
        gaps = scores.gather(1, classes) - scores.gather(1, own)  # (B, candidates)
        slopes = torch.stack(
            [
                torch.autograd.grad(gap.sum(), inputs, retain_graph=True)[0]
                for gap in gaps.unbind(1)
            ],
            1,
        )  # (B, candidates, ...)
        flat = slopes.flatten(2)
        dual = flat.norm(dim=2, p=2 if self.norm == "l2" else 1).clamp(min=1e-12)
        # a way of no length would never cross the boundary where two scores are equal
        lengths = gaps.detach().abs() / dual + 1e-6
        nearest = lengths.argmin(1)
        rows = torch.arange(len(nearest), device=nearest.device)
        slope = slopes[rows, nearest]
        unit = (
            slope.sign()
            if self.norm == "linf"
            else slope / broadcast_per_sample(dual[rows, nearest], slope)
        )
        return broadcast_per_sample(lengths[rows, nearest], slope) * unit

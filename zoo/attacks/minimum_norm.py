"""Minimum-norm attacks, which search for the nearest adversarial sample: C&W and DeepFool."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.attacks.base import BoundedAttack, ScoreFunction
from zoo.attacks.goals import Goal, PerSample
from zoo.errors import check_at_least, check_choice, check_non_negative, check_positive
from zoo.functional.norm_balls import NORMS, broadcast_per_sample, delta_norm, steepest_direction

BETAS = (0.9, 0.999)  # decay rates of Adam's moments
MIN_DECREASE = 1e-3  # relative decrease of the objective that counts as progress
TAU_DECAY = 0.9  # τ as a fraction of the smallest norm of an adversarial perturbation


@dataclass(frozen=True, kw_only=True)
class MinimumNormAttack(BoundedAttack):
    """Base class of attacks that minimize the norm of the perturbation instead of bounding it.

    A sample for which no adversarial sample is found is returned unchanged. Finally, an adversarial
    sample is moved toward x on a straight line, to the nearest point that is still adversarial.

    Args:
        line_search_steps: number of bisections on this line, default 8; 0 for no line search.
    """

    line_search_steps: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, line_search_steps=self.line_search_steps)

    def line_search(self, model: ScoreFunction, x: Tensor, x_adv: Tensor, goal: Goal) -> Tensor:
        """Return the adversarial point nearest to x on the line to x_adv, by bisection."""
        low, high = torch.zeros(len(x)).to(x), torch.ones(len(x)).to(x)
        with torch.no_grad():
            for _ in range(self.line_search_steps):
                middle = (low + high) / 2
                point = torch.lerp(x, x_adv, broadcast_per_sample(middle, x))
                is_reached = goal.is_reached(model(point))
                low = torch.where(is_reached, low, middle)
                high = torch.where(is_reached, middle, high)
            return torch.lerp(x, x_adv, broadcast_per_sample(high, x))


@dataclass
class CarliniWagnerState(PerSample):
    """Optimizer state of the active samples for one value of c, one row per sample.

    Args:
        index: index of each sample in the batch, (B,).
        x: samples, (B, ...).
        delta: perturbations δ, (B, ...).
        c: weight of the margin term, (B,).
        mean: Adam's first moment, (B, ...).
        square: Adam's second moment, (B, ...).
        tau: threshold τ of the norms ``linf`` and ``point``, (B,); infinite before the first
            adversarial perturbation.
        lowest: lowest objective so far, (B,).
    """

    index: Tensor
    x: Tensor
    delta: Tensor
    c: Tensor
    mean: Tensor
    square: Tensor
    tau: Tensor
    lowest: Tensor


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(MinimumNormAttack):
    """Carlini and Wagner's attack: min D(δ) + c · (max_{i≠t} z_i − z_t + κ)⁺ for the smallest c.

    The sample x + δ stays within the bounds. D(δ) is Σ δ_i² for ``l2``, Σ |δ_i| for ``l1``, and for
    ``linf`` Σ (|δ_i| − τ)⁺ with τ nine tenths of the smallest norm of an adversarial δ so far; for
    ``point``, on points (B, N, D), the norms ‖δ_n‖ of the points replace the coordinates. Without a
    target the second term is (z_y − max_{i≠y} z_i + κ)⁺.

    Adam minimizes over δ itself, and each step is projected onto the bounds. With the paper's
    substitution x = (tanh w + 1)/2, pixels that are exactly 0 or 1 would have zero gradient at the
    start. The smallest c that yields an adversarial sample is searched for each sample
    independently: ×10 until there is one, then by bisection. The result is the nearest
    adversarial iterate of all minimizations.

    Args:
        norm: ``l2`` (default), ``l1``, ``linf`` or ``point``.
        confidence: κ, margin by which the wrong class must lead, default 0.
        search_steps: number of values of c for each sample, default 6.
        steps: number of Adam steps for each c, default 300.
        lr: learning rate of Adam, in the units of x, default 0.01.
        initial_c: first value of c, default 1.
        patience: number of steps without progress after which a sample stops for this c, default
            ``steps`` / 15.
        line_search_steps: see :class:`MinimumNormAttack`; no line search if κ > 0.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: unknown norm; a number out of range.

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
        super().__post_init__()
        check_choice("norm", self.norm, ("l1", *NORMS))
        check_non_negative(confidence=self.confidence)
        check_positive(initial_c=self.initial_c, lr=self.lr)
        check_at_least(0, search_steps=self.search_steps, steps=self.steps)
        check_at_least(1, patience=self.patience)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        best = x.clone()
        distance = torch.full((len(x),), torch.inf).to(x)
        low, high = torch.zeros_like(distance), torch.full_like(distance, torch.inf)
        c = torch.full_like(distance, self.initial_c)
        if not self.steps:
            return best
        for _ in range(self.search_steps):
            is_reached = self._minimize(model, x, goal, c, best, distance)
            high = torch.where(is_reached, torch.minimum(high, c), high)
            low = torch.where(is_reached, low, torch.maximum(low, c))
            c = torch.where(high.isinf(), c * 10, (low + high) / 2)
        if self.line_search_steps and not self.confidence:
            best = self.line_search(model, x, best, goal)
        return best

    def _minimize(
        self, model: ScoreFunction, x: Tensor, goal: Goal, c: Tensor, best: Tensor, distance: Tensor
    ) -> Tensor:
        """Minimize from δ = 0, updating ``best`` and ``distance`` in place.

        Returns:
            Which samples became adversarial, boolean (B,).
        """
        is_reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if not len(x):
            return is_reached
        zeros, infinite = torch.zeros_like(x), torch.full_like(c, torch.inf)
        state = CarliniWagnerState(
            index=torch.arange(len(x), device=x.device), x=x, delta=zeros, c=c, mean=zeros,
            square=zeros, tau=infinite, lowest=infinite,
        )  # fmt: skip
        patience = self.patience or max(1, self.steps // 15)
        before = state.lowest
        for step in range(1, self.steps + 1):
            objective, gradient, is_adversarial = self._objective(model, state, goal)
            norm = self._norm(state.delta)
            is_nearer = is_adversarial & (norm < distance[state.index])
            index = state.index[is_nearer]
            best[index], distance[index] = (state.x + state.delta)[is_nearer], norm[is_nearer]
            is_reached[state.index[is_adversarial]] = True
            if self.norm in ("linf", "point"):
                smaller = torch.minimum(state.tau, TAU_DECAY * norm)
                state.tau = torch.where(is_adversarial, smaller, state.tau)
            state.lowest = torch.minimum(state.lowest, objective)
            self._adam_step(state, gradient, step)
            if step % patience:
                continue
            keep = (state.lowest < before * (1 - MIN_DECREASE)) | before.isinf()
            if not bool(keep.all()):
                state, goal = state.select(keep), goal.select(keep)
                if not len(state.index):
                    break
            before = state.lowest
        return is_reached

    def _objective(
        self, model: ScoreFunction, state: CarliniWagnerState, goal: Goal
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return D + c (κ − margin)⁺, its gradient, and whether the margin is positive and ≥ κ."""
        inputs = (state.x + state.delta).requires_grad_()
        margin = goal.loss(model(inputs), "margin")
        hinge = (self.confidence - margin).clamp(min=0)
        margin_gradient = torch.autograd.grad((state.c * hinge).sum(), inputs)[0]
        distance, distance_gradient = self._distance(state)
        objective = distance + state.c * hinge.detach()
        is_adversarial = (margin > 0) & (margin >= self.confidence)
        return objective, margin_gradient + distance_gradient, is_adversarial

    def _distance(self, state: CarliniWagnerState) -> tuple[Tensor, Tensor]:
        """Return D(δ) and its gradient."""
        delta = state.delta
        if self.norm == "l2":
            return delta.flatten(1).square().sum(1), 2 * delta
        if self.norm == "l1":
            return delta.flatten(1).abs().sum(1), delta.sign()
        norms = delta.abs() if self.norm == "linf" else delta.norm(dim=-1, keepdim=True)
        tau = torch.where(state.tau.isinf(), 0.0, state.tau)
        excess = (norms - broadcast_per_sample(tau, delta)).clamp(min=0)
        return excess.flatten(1).sum(1), steepest_direction(delta, self.norm) * (excess > 0)

    def _norm(self, delta: Tensor) -> Tensor:
        """Compute the norm of each δ, (B, ...) → (B,)."""
        if self.norm == "l1":
            return delta.flatten(1).norm(p=1, dim=1)
        return delta_norm(delta, self.norm)

    def _adam_step(self, state: CarliniWagnerState, gradient: Tensor, step: int) -> None:
        # not torch.optim.Adam, whose state cannot drop the samples that leave the batch
        state.mean = torch.lerp(gradient, state.mean, BETAS[0])
        state.square = torch.lerp(gradient.square(), state.square, BETAS[1])
        mean, square = state.mean / (1 - BETAS[0] ** step), state.square / (1 - BETAS[1] ** step)
        delta = state.delta - self.lr * mean / (square.sqrt() + 1e-8)
        state.delta = self.clip(state.x + delta) - state.x


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimumNormAttack):
    """DeepFool: repeated steps r to the nearest class boundary of the linearized model, x ← x + r.

    With f_k = z_k − z_y and w_k = ∇f_k, the nearest class is l = argmin |f_k| / ‖w_k‖, with the
    dual norm, and r = |f_l| w_l / ‖w_l‖² (``l2``) or |f_l| sign(w_l) / ‖w_l‖₁ (``linf``). The
    result is x + (1 + overshoot) Σ r.

    Args:
        norm: ``l2`` (default) or ``linf``.
        steps: largest number of steps, default 50.
        candidates: number of most likely wrong classes to consider, default 10.
        overshoot: relative overshoot beyond the boundary, default 0.02.
        line_search_steps: see :class:`MinimumNormAttack`, default 0, as in the paper.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: unknown norm; a number out of range.

    Source: Moosavi-Dezfooli et al., DeepFool, 2016, section 3.
    """

    norm: str = "l2"
    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02
    line_search_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("norm", self.norm, ("l2", "linf"))
        check_at_least(0, steps=self.steps)
        check_at_least(1, candidates=self.candidates)
        check_non_negative(overshoot=self.overshoot)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        self.check_bounds(x)
        result, is_done = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        active, point, origin, active_goal = torch.arange(len(x), device=x.device), x, x, goal
        total = torch.zeros_like(x)  # Σ r
        for _ in range(self.steps + 1):
            if not len(active):
                break
            inputs = point.detach().requires_grad_()
            scores = model(inputs)
            keep = ~active_goal.is_reached(scores.detach())
            result[active[~keep]], is_done[active[~keep]] = point[~keep], True
            if not bool(keep.any()):
                break
            step = self._step(inputs, scores, active_goal, model.rounding_error)[keep]
            active, origin, total = active[keep], origin[keep], total[keep] + step
            active_goal = active_goal.select(keep)
            point = self.clip(origin + (1 + self.overshoot) * total)
        if self.line_search_steps:
            result = self.line_search(model, x, result, goal)
        return torch.where(broadcast_per_sample(is_done, x), result, x)

    def _step(self, inputs: Tensor, scores: Tensor, goal: Goal, rounding_error: float) -> Tensor:
        """Return r of each sample, in the shape of the inputs."""
        excluded = (goal.y if goal.target is None else goal.target)[:, None]
        others = scores.detach().scatter(1, excluded, -torch.inf)
        if goal.target is None:
            own = excluded
            classes = others.topk(min(self.candidates, scores.shape[1] - 1)).indices
        else:  # the only boundary is the one between the most likely other class and the target
            own, classes = others.argmax(1, keepdim=True), excluded
        gaps = scores.gather(1, classes) - scores.gather(1, own)  # (B, candidates)
        gradients = torch.stack(
            [
                torch.autograd.grad(gap.sum(), inputs, retain_graph=True)[0]
                for gap in gaps.unbind(1)
            ],
            1,
        )  # (B, candidates, ...)
        p = 2 if self.norm == "l2" else 1
        dual_norms = gradients.flatten(2).norm(dim=2, p=p).clamp(min=1e-12)
        # a step of length 0 would never cross a boundary on which two scores are equal
        error = rounding_error * scores.detach().abs().amax(1, keepdim=True)
        distances = (gaps.detach().abs() + error) / dual_norms + 1e-6
        nearest = distances.argmin(1)
        rows = torch.arange(len(nearest), device=nearest.device)
        gradient = gradients[rows, nearest]
        if self.norm == "linf":
            direction = gradient.sign()
        else:
            direction = gradient / broadcast_per_sample(dual_norms[rows, nearest], gradient)
        return broadcast_per_sample(distances[rows, nearest], gradient) * direction

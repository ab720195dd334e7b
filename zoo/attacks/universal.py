"""One perturbation for a whole data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import (
    Attack,
    BoundedAttack,
    EpsilonAttack,
    ScoreFunction,
    as_normal_tensor,
    frozen_eval,
)
from zoo.attacks.goals import Goal
from zoo.errors import InputError
from zoo.functional.norm_balls import project_to_ball, steepest_direction


@dataclass(frozen=True, kw_only=True)
class UniversalPerturbation(EpsilonAttack):
    """max over one δ with ‖δ‖ ≤ ε of the mean of σ(L(x + δ) / τ), the smooth share that it breaks.

    L is the margin (:class:`~zoo.attacks.goals.Goal`): samples that are long broken, and those that
    are far from it, hardly count, where the sum of losses would be won by pushing a few ever
    further. ``fit(model, loader)`` finds δ by projected gradient steps over batches, with momentum,
    and gives an attack that adds it to any sample, unseen ones too.

    Args:
        eps: radius ε, in the units of x.
        norm: ``linf`` (default) or ``l2``.
        epochs: passes over the loader, default 10.
        step_size: default ε; it falls to 0 linearly.
        momentum: of the gradients' directions, default 0.9.
        smoothing: τ, in units of the mean |L| of the first batch without δ, default 0.3.
        target: the class that all samples shall be taken for; default any wrong one. Samples of
            that class are left out.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: a negative ε; no sample to learn from.

    Sources: Moosavi-Dezfooli et al., Universal adversarial perturbations, 2017; Shafahi et al.,
    Universal adversarial training, 2020, section 3 (stochastic gradients on a bounded loss).
    """

    epochs: int = 10
    step_size: float | None = None
    momentum: float = 0.9
    smoothing: float = 0.3
    target: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smoothing <= 0:
            raise ValueError(f"smoothing must be positive, got {self.smoothing}")

    def fit(self, model: Any, loader: Iterable[Any]) -> AddedPerturbation:
        """Learns δ on batches (x, y) of a loader that can be gone through several times."""
        delta: Tensor | None = None
        with frozen_eval(model):
            velocity: Tensor | float = 0.0
            tau = 1.0
            for epoch in range(self.epochs):
                for x, y in loader:
                    x, y = self._samples(as_normal_tensor(x), as_normal_tensor(y))
                    if not len(x):
                        continue
                    self.check_bounds(x)
                    scores = ScoreFunction(model, y)
                    if delta is None:
                        delta = torch.zeros_like(x[:1])
                        tau = self.smoothing * float(self._margins(scores, x, y).abs().mean())
                    gradient = self._gradient(scores, x, y, delta, tau)
                    velocity = self.momentum * velocity + steepest_direction(gradient, "l2")
                    rate = (self.step_size or self.eps) * (1 - epoch / self.epochs)
                    moved = delta + rate * steepest_direction(velocity, self.norm)
                    delta = project_to_ball(moved, self.eps, self.norm)
        if delta is None:
            raise InputError("UniversalPerturbation: the loader has no sample to learn from")
        return AddedPerturbation(delta.detach(), self.target, self.bounds, self.name)

    def _samples(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.target is None:
            return x, y
        return x[y != self.target], y[y != self.target]

    def _margins(self, model: ScoreFunction, x: Tensor, y: Tensor) -> Tensor:
        target = None if self.target is None else torch.full_like(y, self.target)
        return Goal(y, target).loss(model(x), "margin")

    def _gradient(
        self, model: ScoreFunction, x: Tensor, y: Tensor, delta: Tensor, tau: float
    ) -> Tensor:
        inputs = delta.detach().requires_grad_()
        margins = self._margins(model, self.clip(x + inputs), y)
        return torch.autograd.grad((margins / max(tau, 1e-12)).sigmoid().sum(), inputs)[0]

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        raise InputError(
            "UniversalPerturbation is learned on many samples first: "
            "attack = UniversalPerturbation(...).fit(model, loader)"
        )


class AddedPerturbation(Attack):
    """x + δ inside the bounds, with the same δ for all samples.

    Args:
        delta: δ, (1, ...).
        target: the class that it was learned for; default none.
        bounds: of samples, default (0, 1).
        name: for tables.
    """

    def __init__(
        self,
        delta: Tensor,
        target: int | None = None,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        name: str = "AddedPerturbation",
    ) -> None:
        self.delta, self.target, self._name = delta, target, name
        self._bounds = BoundedAttack(bounds=bounds)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        if x.shape[1:] != self.delta.shape[1:]:
            raise InputError(
                f"the perturbation is for samples {tuple(self.delta.shape[1:])}, not "
                f"{tuple(x.shape[1:])}"
            )
        self._bounds.check_bounds(x)
        return self._bounds.clip(x + self.delta.to(x))

    @property
    def name(self) -> str:
        return self._name

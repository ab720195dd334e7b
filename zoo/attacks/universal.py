"""Universal perturbations: one perturbation for a whole data set."""

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
    has_several,
)
from zoo.attacks.goals import Goal
from zoo.errors import (
    InputError,
    check_at_least,
    check_non_negative,
    check_positive,
    check_probability,
)
from zoo.functional.norm_balls import project_to_ball, steepest_direction


@dataclass(frozen=True, kw_only=True)
class UniversalPerturbation(EpsilonAttack):
    """Learn one perturbation for all samples: max over ‖δ‖ ≤ ε of the mean of σ(L(x + δ) / τ).

    L is the margin (:class:`~zoo.attacks.goals.Goal`), so the objective is a smooth fooling rate.
    Samples far on either side of the boundary have little influence, whereas a sum of losses could
    be maximized by pushing a few samples ever further. ``fit(model, loader)`` finds δ by projected
    gradient steps over batches, with momentum, and returns an attack that adds it to any sample,
    including unseen ones.

    Args:
        eps: radius ε of the ball, in the units of x.
        norm: ``linf`` (default) or ``l2``.
        epochs: number of passes over the loader, default 10.
        step_size: initial step size, default ε; it decreases linearly to 0.
        momentum: momentum of the normalized gradients, default 0.9.
        temperature: τ as a fraction of the mean |L| on the first batch at δ = 0, default 0.3.
        target: target class of all samples, default None, any wrong class. Samples of the target
            class are left out.
        bounds: see :class:`~zoo.attacks.base.BoundedAttack`.

    Raises:
        InputError: negative ``eps``; ``temperature`` that is not positive; no samples to learn
            from.

    Sources: Moosavi-Dezfooli et al., Universal adversarial perturbations, 2017; Shafahi et al.,
    Universal adversarial training, 2020, section 3 (stochastic gradients on a bounded loss).
    """

    epochs: int = 10
    step_size: float | None = None
    momentum: float = 0.9
    temperature: float = 0.3
    target: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if has_several(self.eps):
            raise InputError("UniversalPerturbation has one eps for all samples: give one number")
        check_positive(temperature=self.temperature)
        check_at_least(1, epochs=self.epochs)
        check_at_least(0, target=self.target)
        check_non_negative(step_size=self.step_size)
        check_probability(momentum=self.momentum)

    def fit(self, model: Any, loader: Iterable[Any]) -> FixedPerturbation:
        """Learn δ.

        Args:
            model: see :class:`~zoo.attacks.base.Attack`.
            loader: batches (x, y); it is iterated over once per epoch.
        """
        delta: Tensor | None = None
        with frozen_eval(model):
            velocity: Tensor | float = 0.0
            tau = 1.0
            for epoch in range(self.epochs):
                for x, y in loader:
                    x, y = self._training_samples(as_normal_tensor(x), as_normal_tensor(y))
                    if not len(x):
                        continue
                    self.check_bounds(x)
                    scores = ScoreFunction(model, y)
                    if delta is None:
                        delta = torch.zeros_like(x[:1])
                        tau = self.temperature * float(self._margins(scores, x, y).abs().mean())
                    gradient = self._gradient(scores, x, y, delta, tau)
                    velocity = self.momentum * velocity + steepest_direction(gradient, "l2")
                    step_size = (self.step_size or self.eps) * (1 - epoch / self.epochs)
                    delta = delta + step_size * steepest_direction(velocity, self.norm)
                    delta = project_to_ball(delta, self.eps, self.norm)
        if delta is None:
            raise InputError("UniversalPerturbation needs at least one sample to learn from")
        return FixedPerturbation(delta.detach(), self.target, self.bounds, self.name)

    def _training_samples(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Leave out the samples of the target class."""
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
            "UniversalPerturbation must be fitted first: "
            "attack = UniversalPerturbation(...).fit(model, loader)"
        )


class FixedPerturbation(Attack):
    """Add the same perturbation δ to all samples, then clip them to the bounds.

    Args:
        delta: δ, (1, ...).
        target: target class that δ was learned for, default None.
        bounds: bounds of the samples, default (0, 1); None for no bounds.
        name: name of the attack in tables and figures, default ``FixedPerturbation``.

    Raises:
        InputError: samples of another shape than δ, or outside the bounds.
    """

    def __init__(
        self,
        delta: Tensor,
        target: int | None = None,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        name: str = "FixedPerturbation",
    ) -> None:
        self.delta, self.target, self._name = delta, target, name
        self._bounds = BoundedAttack(bounds=bounds)

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        if x.shape[1:] != self.delta.shape[1:]:
            raise InputError(
                f"the perturbation needs samples of shape {tuple(self.delta.shape[1:])}, got "
                f"{tuple(x.shape[1:])}"
            )
        self._bounds.check_bounds(x)
        return model.round(x, self._bounds.clip(x + self.delta.to(x)))

    @property
    def name(self) -> str:
        return self._name

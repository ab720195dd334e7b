"""What all attacks share: how they are called, and a model that is as it was when they are done."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.attacks.goals import Goal
from zoo.errors import InputError
from zoo.functional.norm_balls import check_norm, project_to_ball

TOLERANCE = 1e-6  # of bounds and budgets, for rounding


class Attack:
    """``attack(model, x, y)`` → x_adv: a sample near x that the model takes for another class.

    An immutable object of settings. The model's parameters, gradients, buffers and flags are
    afterwards as they were; it is in evaluation mode meanwhile, without autocast, and parameters
    get no gradient. It works in inference mode too. What is found for a sample depends on nothing
    but the sample, its label and the seed, up to rounding.

    A subclass provides ``perturb``.

    Args of the call:
        model: what gives scores before the softmax: a model with ``logits``, or any function
            (B, ...) → (B, K).
        x: samples, (B, ...).
        y: true classes, int64 (B,).

    Raises:
        InputError: no labels, or labels that are no classes of the model; samples outside the
            bounds; scores that are not finite or not (B, K).
    """

    def __call__(self, model: Any, x: Tensor, y: Tensor | None) -> Tensor:
        if y is None:
            raise InputError(
                f"{type(self).__name__} needs the true classes y: the data has no labels"
            )
        with frozen_eval(model):
            x, y = as_normal_tensor(x), as_normal_tensor(y)
            return self.perturb(ScoreFunction(model, y), x, Goal(y)).detach()

    def on_batch(self, model: Any, batch: Any) -> Any:
        """The same on a batch as data modules give it: (x, y) → (x_adv, y)."""
        x, y = unpack_batch(batch, self.name)
        return self(model, x, y), y

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        """The attack itself, with gradients enabled and the model in evaluation mode."""
        raise NotImplementedError(f"{type(self).__name__} has no perturb(model, x, goal)")

    def with_eps(self, eps: float) -> Attack:
        """The same attack within another ε; those without one raise InputError."""
        raise InputError(f"{type(self).__name__} has no eps: it looks for the nearest sample")

    def with_faces(self, faces: Tensor) -> Attack:
        """The same attack on shapes with these faces, (F, 3), where it asks for them."""
        return self

    @property
    def name(self) -> str:
        """For tables and figures."""
        return type(self).__name__


class AttackWrapper(Attack):
    """An attack around another one.

    Args:
        attack: the other.
    """

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    def around(self, attack: Attack) -> Attack:
        """The same around another attack."""
        raise NotImplementedError(f"{type(self).__name__} has no around(attack)")

    def with_eps(self, eps: float) -> Attack:
        return self.around(self.attack.with_eps(eps))

    def with_faces(self, faces: Tensor) -> Attack:
        return self.around(self.attack.with_faces(faces))

    @property
    def name(self) -> str:
        return self.attack.name


@dataclass(frozen=True, kw_only=True)
class BoundedAttack(Attack):
    """An attack whose samples stay between bounds.

    Args:
        bounds: smallest and largest number of a sample, default (0, 1), pixels; None where there
            are none.
    """

    bounds: tuple[float, float] | None = (0.0, 1.0)

    def check_bounds(self, x: Tensor) -> None:
        """Raises InputError where a sample is outside, or no number."""
        low, high = self.bounds or (-math.inf, math.inf)
        fits = (x >= low - TOLERANCE) & (x <= high + TOLERANCE)
        if bool(fits.all()):
            return
        sample = int((~fits.flatten(1).all(1)).nonzero()[0])
        worst = x[sample][~fits[sample]][0]
        raise InputError(
            f"{type(self).__name__}: sample {sample} has the value {float(worst):.4g}, outside the "
            f"bounds {low:g} to {high:g}: scale the data, or give other bounds"
        )

    def clip(self, x: Tensor) -> Tensor:
        """Within the bounds."""
        return x if self.bounds is None else x.clamp(*self.bounds)


@dataclass(frozen=True, kw_only=True)
class EpsilonAttack(BoundedAttack):
    """An attack within a ball around each sample.

    Args:
        eps: radius ε, in the units of x.
        norm: default ``linf``; see :mod:`zoo.functional.norm_balls`.
    """

    eps: float
    norm: str = "linf"

    def __post_init__(self) -> None:
        check_norm(self.norm)
        if not self.eps >= 0:
            raise InputError(f"{type(self).__name__}: eps must not be negative, got {self.eps}")

    def with_eps(self, eps: float) -> Attack:
        return replace(self, eps=eps)

    def inside(self, x: Tensor, point: Tensor) -> Tensor:
        """Each point in the ball around its sample, then within the bounds."""
        return self.clip(x + project_to_ball(point - x, self.eps, self.norm))


def unpack_batch(batch: Any, who: str) -> tuple[Tensor, Tensor]:
    """x and y of a batch of tensors.

    Raises:
        InputError: a batch of another kind, for which ``who`` has no use.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    raise InputError(
        f"{who} takes batches (x, y), not {type(batch).__name__}: choose OnMeshes(attack) for "
        "meshes, an attack of zoo.attacks.graphs for the nodes of a graph"
    )


class ScoreFunction:
    """A model as attacks see it: scores of classes, looked at once, and queries counted.

    Args:
        model: one with ``logits``, or any function.
        y: true classes; scores must have a column for each.
    """

    def __init__(self, model: Any, y: Tensor | None = None) -> None:
        self.function: Callable[[Tensor], Tensor] = getattr(model, "logits", model)
        self.queries = 0
        self._y = y
        self._known = False

    def __call__(self, x: Tensor) -> Tensor:
        scores = self.function(x)
        self.queries += len(x)
        if not self._known and len(x):
            self._known = True
            self._look(scores, len(x))
        return scores

    def _look(self, scores: Tensor, samples: int) -> None:
        if scores.ndim != 2 or len(scores) != samples or scores.shape[1] < 2:
            raise InputError(
                f"an attack needs scores of shape ({samples}, classes), the model gives "
                f"{tuple(scores.shape)}"
            )
        found = scores.detach()
        if not bool(found.isfinite().all()):
            raise InputError("the model gives scores that are nan or infinite: nothing to attack")
        if self._y is not None and self._y.numel():
            _check_labels(self._y, scores.shape[1])
        if bool((found >= 0).all()) and bool(((found.sum(1) - 1).abs() < 1e-4).all()):
            warnings.warn(
                "the model gives probabilities, not scores before the softmax: their gradients "
                "vanish where it is sure, and attacks look weaker than they are; take the softmax "
                "off, or give its logarithm",
                stacklevel=2,
            )


def _check_labels(y: Tensor, classes: int) -> None:
    if y.ndim != 1 or y.is_floating_point():
        raise InputError(f"labels must be int64 (B,), got {y.dtype} {tuple(y.shape)}")
    low, high = (int(v) for v in y.aminmax())
    if low < 0 or high >= classes:
        raise InputError(
            f"labels go from {low} to {high}, the model has classes 0 to {classes - 1}"
        )


def as_normal_tensor(x: Tensor) -> Tensor:
    """The same values as a tensor that gradients can flow through."""
    x = x.detach()
    return x.clone() if x.is_inference() else x


@contextmanager
def frozen_eval(model: Any) -> Iterator[None]:
    """Evaluation mode, gradients for inputs alone, full precision; afterwards all as it was."""
    owner = getattr(model, "__self__", model)  # of a bound method
    modules = list(owner.modules()) if isinstance(owner, nn.Module) else []
    training = [module for module in modules if module.training]
    wanted = [p for module in modules for p in module.parameters(False) if p.requires_grad]
    kinds = {p.device.type for module in modules for p in module.parameters(False)} or {"cpu"}
    try:
        for module in training:  # not by eval(), which a module may have changed
            module.training = False
        for p in wanted:
            p.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), _full_precision(kinds):
            yield
    finally:
        for module in training:
            module.training = True
        for p in wanted:
            p.requires_grad_(True)


@contextmanager
def _full_precision(kinds: set[str]) -> Iterator[None]:
    """Without autocast: in float16 small gradients would be 0, which looks like robustness."""
    cast = [kind for kind in kinds if torch.is_autocast_enabled(kind)]
    if not cast:
        yield
        return
    with torch.autocast(cast[0], enabled=False):
        yield

"""Base classes of adversarial attacks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

from zoo.attacks.goals import Goal
from zoo.attacks.target import ScoreFunction, as_normal_tensor, frozen_eval
from zoo.errors import InputError, check_choice, check_interval, check_non_negative
from zoo.functional.norm_balls import NORMS, project_to_ball
from zoo.functional.precision import widen

TOLERANCE = 1e-6  # rounding error by which values may exceed the bounds


class Attack:
    """Base class of adversarial attacks: ``x_adv = attack(model, x, y)``.

    An adversarial sample x_adv is close to x, but the model assigns it to another class. An attack
    holds only its settings, which do not change. While it runs, the model is in evaluation mode
    without autocast, and its parameters require no gradient; afterwards its parameters, gradients,
    buffers and flags are as before. Attacks also work in inference mode. The result for a sample
    does not depend on the other samples of the batch, up to rounding errors.

    The search runs in float32 also on samples and models in half precision, whose scores are those
    of the rounded samples.

    Subclasses implement :meth:`perturb`.
    """

    def __call__(self, model: Any, x: Tensor, y: Tensor | None) -> Tensor:
        """Attack a batch of samples.

        Args:
            model: a model with a ``logits`` method, or any function that maps samples (B, ...) to
                scores before the softmax, (B, K).
            x: samples of a floating-point type, (B, ...).
            y: true class indices, integers (B,).

        Returns:
            Adversarial samples, in the shape and type of x.

        Raises:
            InputError: labels are missing, of another number than the samples, or not classes of
                the model; samples are integers or outside the bounds; scores are not finite or not
                of shape (B, K).
        """
        if y is None:
            raise InputError(
                f"{type(self).__name__} needs the true classes y: the data has no labels"
            )
        check_samples(x, type(self).__name__)
        return self.run(model, x, Goal(class_indices(y, x)))

    def run(self, model: Any, x: Tensor, goal: Goal) -> Tensor:
        """Attack a batch of samples with a goal of any kind; see :meth:`__call__`."""
        with frozen_eval(model):
            x = as_normal_tensor(x)
            goal = goal.select(torch.arange(len(x), device=x.device))  # not inference tensors
            scores = ScoreFunction(model, goal.y, x.dtype)
            return self.perturb(scores, widen(x), goal).detach().to(x.dtype)

    def perturb_batch(self, model: Any, batch: Any) -> Any:
        """Attack a batch from a data loader, (x, y) → (x_adv, y)."""
        x, y = unpack_batch(batch, self.name)
        return self(model, x, y), y

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        """Return adversarial samples; called with gradients enabled and the model frozen."""
        raise NotImplementedError(f"{type(self).__name__} has no perturb(model, x, goal)")

    def with_eps(self, eps: Any) -> Attack:
        """Return the same attack with another radius ε.

        Raises:
            InputError: the attack has no ε.
        """
        raise InputError(
            f"{type(self).__name__} has no eps: choose an attack with a bounded perturbation"
        )

    def select(self, index: Tensor) -> Attack:
        """Return the attack on a part of the batch, for settings with one value per sample.

        Args:
            index: a boolean mask, or indices of the samples.
        """
        return self

    def with_faces(self, faces: Tensor) -> Attack:
        """Return the same attack for shapes with these faces, (F, 3), if it uses faces."""
        return self

    def without_early_stop(self) -> Attack:
        """Return the same attack with all steps for every sample, if it has early stopping."""
        return self

    @property
    def name(self) -> str:
        """Name of the attack in tables and figures."""
        return type(self).__name__


@dataclass(frozen=True, kw_only=True)
class BoundedAttack(Attack):
    """Base class of attacks that keep samples within bounds.

    Args:
        bounds: smallest and largest value of a sample, default (0, 1), the range of pixels; None
            for no bounds.
    """

    bounds: tuple[float, float] | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_interval(bounds=self.bounds)

    def check_bounds(self, x: Tensor) -> None:
        """Raise :class:`InputError` if a value is outside the bounds or not finite."""
        low, high = self.bounds or (-math.inf, math.inf)
        is_valid = x.isfinite() & (x >= low - TOLERANCE) & (x <= high + TOLERANCE)
        if bool(is_valid.all()):
            return
        sample = int((~is_valid.flatten(1).all(1)).nonzero()[0])
        value = float(x[sample][~is_valid[sample]][0])
        found = f"{type(self).__name__}: sample {sample} has the value {value:.4g}"
        if not math.isfinite(value):
            raise InputError(f"{found}, which is not finite")
        raise InputError(
            f"{found}, outside the bounds {low:g} to {high:g}: scale the data, or set other bounds"
        )

    def clip(self, x: Tensor) -> Tensor:
        """Clip samples to the bounds."""
        return x if self.bounds is None else x.clamp(*self.bounds)


@dataclass(frozen=True, kw_only=True)
class EpsilonAttack(BoundedAttack):
    """Base class of attacks within a norm ball around each sample.

    Args:
        eps: radius ε of the ball, in the units of x; one number, or a tensor with one radius per
            sample, (B,).
        norm: norm of the ball, default ``linf``; see :mod:`zoo.functional.norm_balls`.
    """

    eps: float | Tensor
    norm: str = "linf"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("norm", self.norm, NORMS)
        check_non_negative(eps=self.eps.tolist() if isinstance(self.eps, Tensor) else self.eps)

    def with_eps(self, eps: float | Tensor) -> Attack:
        return replace(self, eps=eps)

    def select(self, index: Tensor) -> Attack:
        return replace(self, eps=self.eps[index]) if has_several(self.eps) else self

    def check_bounds(self, x: Tensor) -> None:
        super().check_bounds(x)
        if has_several(self.eps) and self.eps.shape != x.shape[:1]:
            raise InputError(
                f"{type(self).__name__}: eps must be one number or one per sample, got "
                f"{tuple(self.eps.shape)} for {len(x)} samples"
            )

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        """Project points onto the ball around x, then onto the bounds."""
        return self.clip(x + project_to_ball(point - x, self.eps, self.norm))


def has_several(eps: Any) -> TypeGuard[Tensor]:
    """Return whether ε is a tensor of several radii, one per sample."""
    return isinstance(eps, Tensor) and eps.ndim > 0


def check_samples(x: Any, owner: str) -> None:
    """Raise :class:`InputError` unless x is a tensor of a floating-point type."""
    if not isinstance(x, Tensor):
        raise InputError(
            f"{owner} needs samples as a tensor, got {type(x).__name__}: convert them with "
            "torch.as_tensor(x)"
        )
    if not x.is_floating_point():
        raise InputError(
            f"{owner} needs samples of a floating-point type, got {x.dtype}: convert images with "
            "x.float() / 255"
        )


def class_indices(y: Any, x: Tensor) -> Tensor:
    """Return labels as int64 on the device of the samples, (B,).

    Raises:
        InputError: labels that are not integers, or not one per sample.
    """
    y = torch.as_tensor(y, device=x.device)
    if y.is_floating_point() or y.is_complex() or y.shape != x.shape[:1]:
        raise InputError(
            f"labels must be one integer per sample, ({len(x)},), got {y.dtype} {tuple(y.shape)}"
        )
    return as_normal_tensor(y).long()


def unpack_batch(batch: Any, owner: str) -> tuple[Tensor, Tensor]:
    """Return x and y of a batch of tensors.

    Args:
        batch: a batch from a data loader.
        owner: name of the attack or callback, for the error message.

    Raises:
        InputError: the batch is not a pair.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    raise InputError(
        f"{owner} takes batches (x, y), got {type(batch).__name__}: use MeshAttack(attack) for "
        "meshes, or an attack of zoo.attacks.graphs for the nodes of a graph"
    )

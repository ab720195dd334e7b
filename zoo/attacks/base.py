"""Base classes of adversarial attacks, and the guarantee that the model is left unchanged."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.attacks.goals import Goal
from zoo.errors import InputError, check_choice, check_non_negative
from zoo.functional.norm_balls import NORMS, project_to_ball

TOLERANCE = 1e-6  # rounding error by which values may exceed the bounds


class Attack:
    """Base class of adversarial attacks: ``x_adv = attack(model, x, y)``.

    An adversarial sample x_adv is close to x, but the model assigns it to another class. An attack
    holds only its settings, which do not change. While it runs, the model is in evaluation mode
    without autocast, and its parameters require no gradient; afterwards its parameters, gradients,
    buffers and flags are as before. Attacks also work in inference mode. The result for a sample
    does not depend on the other samples of the batch, up to rounding errors.

    Subclasses implement :meth:`perturb`.
    """

    def __call__(self, model: Any, x: Tensor, y: Tensor | None) -> Tensor:
        """Attack a batch of samples.

        Args:
            model: a model with a ``logits`` method, or any function that maps samples (B, ...) to
                scores before the softmax, (B, K).
            x: samples, (B, ...).
            y: true class indices, int64 (B,).

        Returns:
            Adversarial samples, in the shape of x.

        Raises:
            InputError: labels are missing or are not classes of the model; samples are outside the
                bounds; scores are not finite or not of shape (B, K).
        """
        if y is None:
            raise InputError(
                f"{type(self).__name__} needs the true classes y: the data has no labels"
            )
        with frozen_eval(model):
            x, y = as_normal_tensor(x), as_normal_tensor(y)
            return self.perturb(ScoreFunction(model, y), x, Goal(y)).detach()

    def perturb_batch(self, model: Any, batch: Any) -> Any:
        """Attack a batch from a data loader, (x, y) → (x_adv, y)."""
        x, y = unpack_batch(batch, self.name)
        return self(model, x, y), y

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        """Return adversarial samples; called with gradients enabled and the model frozen."""
        raise NotImplementedError(f"{type(self).__name__} has no perturb(model, x, goal)")

    def with_eps(self, eps: float) -> Attack:
        """Return the same attack with another radius ε.

        Raises:
            InputError: the attack has no ε.
        """
        raise InputError(
            f"{type(self).__name__} has no eps: choose an attack with a bounded perturbation"
        )

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
        eps: radius ε of the ball, in the units of x.
        norm: norm of the ball, default ``linf``; see :mod:`zoo.functional.norm_balls`.
    """

    eps: float
    norm: str = "linf"

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        check_non_negative(eps=self.eps)

    def with_eps(self, eps: float) -> Attack:
        return replace(self, eps=eps)

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        """Project points onto the ball around x, then onto the bounds."""
        return self.clip(x + project_to_ball(point - x, self.eps, self.norm))


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


class ScoreFunction:
    """Scores of a model, validated on the first call, with a count of the queries.

    Args:
        model: a model with a ``logits`` method, or any function.
        y: true class indices, which must be classes of the model; None skips this check.

    Attributes:
        queries: number of samples that the model has been evaluated on.
    """

    def __init__(self, model: Any, y: Tensor | None = None) -> None:
        self.function: Callable[[Tensor], Tensor] = getattr(model, "logits", model)
        self.queries = 0
        self._y = y
        self._is_checked = False

    def __call__(self, x: Tensor) -> Tensor:
        scores = self.function(x)
        self.queries += len(x)
        if not self._is_checked and len(x):
            self._is_checked = True
            self._check(scores, len(x))
        return scores

    def _check(self, scores: Tensor, batch_size: int) -> None:
        if scores.ndim != 2 or len(scores) != batch_size or scores.shape[1] < 2:
            raise InputError(
                f"attacks need scores of shape ({batch_size}, classes), got "
                f"{tuple(scores.shape)} from the model"
            )
        scores = scores.detach()
        if not bool(scores.isfinite().all()):
            raise InputError("the model returns scores that are nan or infinite: check its weights")
        if self._y is not None and self._y.numel():
            _check_labels(self._y, scores.shape[1])
        if bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-4).all()):
            warnings.warn(
                "the model returns probabilities instead of scores before the softmax: their "
                "gradients vanish where the model is confident, so attacks appear weaker than they "
                "are; remove the softmax, or return its logarithm",
                stacklevel=2,
            )


def _check_labels(y: Tensor, num_classes: int) -> None:
    if y.ndim != 1 or y.is_floating_point():
        raise InputError(f"labels must be int64 (B,), got {y.dtype} {tuple(y.shape)}")
    low, high = (int(v) for v in y.aminmax())
    if low < 0 or high >= num_classes:
        raise InputError(
            f"labels range from {low} to {high}, the model has classes 0 to {num_classes - 1}"
        )


def as_normal_tensor(x: Tensor) -> Tensor:
    """Return a detached tensor that can require gradients; inference tensors are copied."""
    x = x.detach()
    return x.clone() if x.is_inference() else x


@contextmanager
def frozen_eval(model: Any) -> Iterator[None]:
    """Hold a model in evaluation mode with frozen parameters and full precision, then restore it.

    Gradients with respect to inputs stay available. The mode and parameters of a model inside a
    function, such as a lambda, are not changed: pass the module itself, or one of its methods.
    """
    owner = getattr(model, "__self__", model)  # a bound method's model
    modules = list(owner.modules()) if isinstance(owner, nn.Module) else []
    training = [module for module in modules if module.training]
    trainable = [p for module in modules for p in module.parameters(False) if p.requires_grad]
    devices = {p.device.type for module in modules for p in module.parameters(False)}
    try:
        for module in training:  # set directly, as a module may override eval()
            module.training = False
        for p in trainable:
            p.requires_grad_(False)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            _full_precision({"cpu", "cuda", *devices}),
        ):
            yield
    finally:
        for module in training:
            module.training = True
        for p in trainable:
            p.requires_grad_(True)


@contextmanager
def _full_precision(devices: set[str]) -> Iterator[None]:
    """Disable autocast: small gradients underflow in float16, which would look like robustness."""
    with ExitStack() as stack:
        for device in devices:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield

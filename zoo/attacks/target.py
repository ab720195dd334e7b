"""The model under attack: its scores, and the guarantee that it is left unchanged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import getclosurevars, isfunction
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.functional.precision import HALF, without_autocast

MAX_DEPTH = 3  # functions inside functions in which models are searched for


class ScoreFunction:
    """Scores of a model, validated on the first call, with a count of the queries.

    Args:
        model: a model with a ``logits`` method, or any function.
        y: true class indices, which must be classes of the model; None skips this check.
        dtype: type of the adversarial samples, default that of the inputs. In half precision,
            scores are those of the rounded inputs.

    Attributes:
        queries: number of samples that the model has been evaluated on.
        rounding_error: relative rounding error of the scores of a model in half precision; 0 for
            other models.
    """

    def __init__(
        self, model: Any, y: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> None:
        self.function: Callable[[Tensor], Any] = getattr(model, "logits", model)
        self.queries = 0
        self.dtype = dtype if dtype in HALF else None
        self.rounding_error = 0.0
        self._input_dtype = _parameter_dtype(model) or self.dtype
        self._y = y
        self._is_checked = False

    def __call__(self, x: Tensor) -> Tensor:
        samples = x if self.dtype is None else x.to(self.dtype)
        scores = self.function(samples.to(self._input_dtype or samples.dtype))
        scores = _score_tensor(scores)
        self.queries += len(x)
        if not self._is_checked and len(x):
            self._is_checked = True
            self._check(scores, len(x))
        if scores.dtype in HALF:
            self.rounding_error = torch.finfo(scores.dtype).eps
            return scores.float()
        return scores

    def round(self, x: Tensor, point: Tensor) -> Tensor:
        """Round points to values of the samples' type that are not farther from x.

        The values stay in the type of the points, and gradients pass through.

        Args:
            x: samples around which the points are, values of the samples' type, (B, ...).
            point: points, (B, ...).
        """
        if self.dtype is None:
            return point
        near = point.detach().to(self.dtype)
        origin = x.to(self.dtype)
        is_farther = (near.to(point) - x).abs() > (point.detach() - x).abs()
        near = torch.where(is_farther, torch.nextafter(near, origin), near)
        return point + (near.to(point) - point).detach()

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

    Gradients with respect to inputs stay available. A function, such as a lambda or a partial, is
    searched for the models that it uses.
    """
    modules = [module for owner in models_in(model) for module in owner.modules()]
    training = [module for module in modules if module.training]
    trainable = [p for module in modules for p in module.parameters(False) if p.requires_grad]
    devices = {p.device.type for module in modules for p in module.parameters(False)}
    try:
        for module in training:  # set directly, as a module may override eval()
            module.training = False
        for p in trainable:
            p.requires_grad_(False)
        # small gradients underflow in float16, which would look like robustness
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            without_autocast({"cpu", "cuda", *devices}),
        ):
            yield
    finally:
        for module in training:
            module.training = True
        for p in trainable:
            p.requires_grad_(True)


def models_in(function: Any, depth: int = 0) -> list[nn.Module]:
    """Return the modules that a function uses: its owner, arguments, closure and global names.

    Args:
        function: a module, a bound method, a partial, a function, or a list of them.
        depth: number of functions that this one is inside of, default 0; the search ends at 3.
    """
    if isinstance(function, nn.Module):
        return [function]
    if depth > MAX_DEPTH:
        return []
    if isinstance(function, list | tuple | dict):
        parts = list(function.values() if isinstance(function, dict) else function)
    elif isinstance(function, partial):
        parts = [function.func, *function.args, *function.keywords.values()]
    elif hasattr(function, "__self__"):
        parts = [function.__self__]
    elif isfunction(function):
        names = getclosurevars(function)
        parts = [*names.nonlocals.values(), *names.globals.values()]
    else:
        parts = list(getattr(function, "__dict__", {}).values()) if callable(function) else []
    found = [module for part in parts for module in models_in(part, depth + 1)]
    return list({id(module): module for module in found}.values())


def _parameter_dtype(model: Any) -> torch.dtype | None:
    """Return the type of all floating-point parameters of a model, or None if they differ."""
    owner = getattr(model, "__self__", model)
    if not isinstance(owner, nn.Module):
        return None
    dtypes = {p.dtype for p in owner.parameters() if p.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def _score_tensor(output: Any) -> Tensor:
    """Return a model's scores, also from an output object with ``logits``."""
    scores = getattr(output, "logits", output)
    if isinstance(scores, Tensor):
        return scores
    raise InputError(
        f"attacks need a tensor of scores from the model, got {type(output).__name__}: pass a "
        "function that returns the scores, such as lambda x: model(x)[0]"
    )

"""Goals of an adversary, untargeted or targeted, and the losses that attacks maximize."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError

Rows = TypeVar("Rows", bound="PerSample")
LOSSES = ("cross_entropy", "margin", "dlr")


class PerSample:
    """Base class of dataclasses whose tensors have one row per sample.

    Fields that are not tensors are shared by all samples.
    """

    def select(self: Rows, index: Tensor) -> Rows:
        """Return the rows at ``index``, a boolean mask or row indices."""
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return type(self)(*(_select(value, index) for value in values))


def _select(value: Any, index: Tensor) -> Any:
    if isinstance(value, PerSample):
        return value.select(index)
    return value[index] if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class Goal(PerSample):
    """Goal of an attack: any class but the true one, or a target class.

    Args:
        y: true class indices, int64 (B,).
        target: target class indices, int64 (B,); default None, an untargeted attack.
    """

    y: Tensor
    target: Tensor | None = None

    def is_reached(self, scores: Tensor) -> Tensor:
        """Return whether each predicted class meets the goal, (B, K) → bool (B,)."""
        predicted = scores.argmax(1)
        return predicted != self.y if self.target is None else predicted == self.target

    def loss(self, scores: Tensor, name: str) -> Tensor:
        """Compute the loss that an attack maximizes, (B, K) → (B,).

        ``cross_entropy``: L = log Σ_{j≠y} exp z_j − z_y. The cross-entropy is log(1 + exp L): it
        increases with L and has the same direction of steepest ascent, but its own gradient is
        (1 − p_y) ∂L, which is 0 in floating point where the model is confident.

        ``margin``: max_{j≠y} z_j − z_y (Carlini and Wagner, 2017, section V.A), positive where the
        predicted class is wrong.

        ``dlr``, difference of logits ratio: the margin divided by z_(1) − z_(3), the gap between
        the largest and the third largest score, which makes it invariant to the scale of the scores
        (Croce and Hein, 2020, section 5). With a target,
        (z_t − z_y) / (z_(1) − (z_(3) + z_(4)) / 2).

        With a target t, the first two losses are computed for t instead of y, and negated.

        Args:
            scores: scores before the softmax, (B, K).
            name: ``cross_entropy``, ``margin`` or ``dlr``.

        Raises:
            InputError: ``dlr`` with fewer than three classes, or fewer than four with a target.
        """
        if name == "dlr":
            return self._dlr(scores)
        classes = self.y if self.target is None else self.target
        own = _take(scores, classes)
        others = scores.scatter(1, classes[:, None], -torch.inf)
        best = others.logsumexp(1) if name == "cross_entropy" else others.amax(1)
        return best - own if self.target is None else own - best

    def _dlr(self, scores: Tensor) -> Tensor:
        minimum = 3 if self.target is None else 4
        if scores.shape[1] < minimum:
            raise InputError(
                f"the loss 'dlr' needs at least {minimum} classes, the model has "
                f"{scores.shape[1]}: choose loss='margin'"
            )
        ordered = scores.sort(1, descending=True).values
        own = _take(scores, self.y)
        if self.target is None:
            best = scores.scatter(1, self.y[:, None], -torch.inf).amax(1)
            return (best - own) / (ordered[:, 0] - ordered[:, 2] + 1e-12)
        gap = ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2
        return (_take(scores, self.target) - own) / (gap + 1e-12)


@dataclass(frozen=True)
class Divergence(Goal):
    """Goal of TRADES: maximize KL(p(x) ‖ p(x′)), the divergence from the clean prediction.

    It has no threshold, so it is never reached.

    Args:
        clean: log p(x), (B, K).
    """

    clean: Tensor | None = None

    def is_reached(self, scores: Tensor) -> Tensor:
        return torch.zeros(len(scores), dtype=torch.bool, device=scores.device)

    def loss(self, scores: Tensor, name: str) -> Tensor:
        return kl_divergence(self.clean, scores)


def kl_divergence(log_p: Any, scores: Tensor) -> Tensor:
    """Compute KL(p ‖ softmax(scores)) of each sample in nats, (B, K), (B, K) → (B,)."""
    return F.kl_div(scores.log_softmax(1), log_p, reduction="none", log_target=True).sum(1)


def _take(scores: Tensor, classes: Tensor) -> Tensor:
    """Return each sample's score of one class, (B, K), (B,) → (B,)."""
    return scores.gather(1, classes[:, None])[:, 0]

"""What an attack wants of a sample, and losses that grow as it gets there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from zoo.errors import InputError

Kind = TypeVar("Kind", bound="PerSample")
LOSSES = ("cross_entropy", "margin", "dlr")


class PerSample:
    """A dataclass whose tensors have a row for each sample; what is no tensor is for all."""

    def rows(self: Kind, chosen: Tensor) -> Kind:
        """The same of some samples, by their numbers or a mask."""
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return type(self)(*(_rows_of(value, chosen) for value in values))


def _rows_of(value: Any, chosen: Tensor) -> Any:
    if isinstance(value, PerSample):
        return value.rows(chosen)
    return value[chosen] if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class Goal(PerSample):
    """Any class but the true one, or one chosen class.

    Args:
        y: true classes, int64 (B,).
        target: chosen classes, int64 (B,); default none: any other will do.
    """

    y: Tensor
    target: Tensor | None = None

    def reached(self, scores: Tensor) -> Tensor:
        """Whether the class that the model gives is what is wanted, (B, K) → bool (B,)."""
        found = scores.argmax(1)
        return found != self.y if self.target is None else found == self.target

    def loss(self, scores: Tensor, name: str) -> Tensor:
        """What an attack raises, (B, K) → (B,).

        ``cross_entropy``: L = log Σ_{j≠y} exp z_j − z_y. The cross-entropy is log(1 + exp L): it
        rises with L and has the same direction of steepest ascent, but its own gradient is
        (1 − p_y) ∂L, which is 0 in floating point where a model is sure of itself.

        ``margin``: max_{j≠y} z_j − z_y (Carlini and Wagner, 2017, section V.A), above 0 where the
        class is wrong.

        ``dlr``: the margin over z_(1) − z_(3), the distance of the best score from the third, which
        no scale of the scores changes (Croce and Hein, 2020, section 5); with a target,
        (z_t − z_y) / (z_(1) − (z_(3) + z_(4)) / 2).

        With a target t the first two are those of t, negated: z_t against all others.

        Raises:
            InputError: ``dlr`` of fewer than three classes, or than four with a target.
        """
        if name == "dlr":
            return self._dlr(scores)
        chosen = self.y if self.target is None else self.target
        own = _take(scores, chosen)
        others = scores.scatter(1, chosen[:, None], -torch.inf)
        best = others.logsumexp(1) if name == "cross_entropy" else others.amax(1)
        return best - own if self.target is None else own - best

    def _dlr(self, scores: Tensor) -> Tensor:
        least = 3 if self.target is None else 4
        if scores.shape[1] < least:
            raise InputError(
                f"the loss 'dlr' needs at least {least} classes, the model has {scores.shape[1]}: "
                "choose loss='margin'"
            )
        order = scores.sort(1, descending=True).values
        own = _take(scores, self.y)
        if self.target is None:
            others = scores.scatter(1, self.y[:, None], -torch.inf).amax(1)
            return (others - own) / (order[:, 0] - order[:, 2] + 1e-12)
        spread = order[:, 0] - (order[:, 2] + order[:, 3]) / 2
        return (_take(scores, self.target) - own) / (spread + 1e-12)


def check_loss(name: str) -> None:
    """Raises ValueError unless ``name`` is a loss."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; choose from {', '.join(LOSSES)}")


def _take(scores: Tensor, classes: Tensor) -> Tensor:
    return scores.gather(1, classes[:, None])[:, 0]

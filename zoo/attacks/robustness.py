"""Robust accuracy: accuracy of a model under attack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction, frozen_eval
from zoo.errors import InputError


@dataclass(frozen=True)
class RobustnessReport:
    """Result of :func:`evaluate_robustness`.

    Attributes:
        num_samples: number of samples evaluated.
        clean_accuracy: accuracy without an attack.
        eps: radii ε.
        robust_accuracy: accuracy under each attack, by its name, one value for each ε.
    """

    num_samples: int
    clean_accuracy: float
    eps: tuple[float, ...]
    robust_accuracy: dict[str, tuple[float, ...]]


def evaluate_robustness(
    model: Any,
    loader: Iterable[Any],
    attacks: Attack | Sequence[Attack],
    eps: Sequence[float],
) -> RobustnessReport:
    """Compute the accuracy under each attack for each radius ε, over all samples of a loader.

    A sample counts as correct if it is classified correctly both without and under the attack: an
    adversary may always leave it unchanged. For a graph, the nodes in its ``mask`` are evaluated;
    for a batch of meshes, each mesh.

    Args:
        model: see :class:`~zoo.attacks.base.Attack`.
        loader: batches (x, y), or PyG batches with labels y.
        attacks: one or several attacks; their own ε is replaced by each of ``eps``.
        eps: radii ε, in the units of x.

    Raises:
        InputError: the loader is empty; two attacks have the same name.
    """
    attacks = [attacks] if isinstance(attacks, Attack) else list(attacks)
    names = [attack.name for attack in attacks]
    if len(set(names)) < len(names):
        raise InputError(f"attacks must have different names, got {', '.join(names)}")
    num_samples = num_clean = 0
    num_robust = {name: [0] * len(eps) for name in names}
    for batch in loader:
        correct = is_correct_on_batch(model, batch)
        num_samples, num_clean = num_samples + len(correct), num_clean + int(correct.sum())
        if isinstance(batch, tuple | list):  # samples that are misclassified need no attack
            batch = tuple(part[correct] for part in batch)
            correct = correct[correct]
        for attack, name in zip(attacks, names, strict=True):
            for i, radius in enumerate(eps):
                attacked = attack.with_eps(radius).perturb_batch(model, batch)
                num_robust[name][i] += int((is_correct_on_batch(model, attacked) & correct).sum())
    if not num_samples:
        raise InputError("the loader is empty: robustness needs at least one sample")
    return RobustnessReport(
        num_samples=num_samples,
        clean_accuracy=num_clean / num_samples,
        eps=tuple(eps),
        robust_accuracy={
            name: tuple(count / num_samples for count in counts)
            for name, counts in num_robust.items()
        },
    )


def is_correct_on_batch(model: Any, batch: Any) -> Tensor:
    """Return whether each label of a batch is predicted correctly, boolean (B,).

    Args:
        model: see :class:`~zoo.attacks.base.Attack`; it may take PyG batches.
        batch: (x, y), or a PyG batch with labels y; if it has a ``mask``, only the labels in it.
    """
    if isinstance(batch, tuple | list):
        return is_correct(model, *batch)
    with frozen_eval(model), torch.no_grad():
        correct = getattr(model, "logits", model)(batch).argmax(1) == batch.y
    return correct[batch.mask] if "mask" in batch else correct


def is_correct(model: Any, x: Tensor, y: Tensor) -> Tensor:
    """Return whether each sample is classified correctly in evaluation mode, boolean (B,)."""
    if not len(x):
        return torch.zeros_like(y, dtype=torch.bool)
    with frozen_eval(model), torch.no_grad():
        return ScoreFunction(model)(x).argmax(1) == y

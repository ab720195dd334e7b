"""How often a model is right under attack."""

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
    """What :func:`evaluate_robustness` found.

    Attributes:
        samples: how many were judged.
        clean: accuracy without an attack.
        eps: the budgets.
        accuracy: by the name of an attack, one for each budget.
    """

    samples: int
    clean: float
    eps: tuple[float, ...]
    accuracy: dict[str, tuple[float, ...]]


def evaluate_robustness(
    model: Any,
    loader: Iterable[Any],
    attacks: Attack | Sequence[Attack],
    eps: Sequence[float],
) -> RobustnessReport:
    """Accuracy under each attack with each budget, over all samples of a loader.

    Of a graph, the nodes of its ``mask`` are judged; of meshes, each mesh.

    A sample counts as right if the model is right about it without the attack and with it: an
    attacker may always leave it alone.

    Args:
        model: see :class:`~zoo.attacks.base.Attack`.
        loader: of batches (x, y), or PyG's with y.
        attacks: one or several; their own ε is replaced by each of ``eps``.
        eps: budgets, in the units of x.

    Raises:
        InputError: an empty loader; two attacks of the same name.
    """
    attacks = [attacks] if isinstance(attacks, Attack) else list(attacks)
    names = [attack.name for attack in attacks]
    if len(set(names)) < len(names):
        raise InputError(f"attacks are told apart by their names, got {', '.join(names)}")
    samples = clean = 0
    right = {name: [0] * len(eps) for name in names}
    for batch in loader:
        held = is_correct_on_batch(model, batch)
        samples, clean = samples + len(held), clean + int(held.sum())
        if isinstance(batch, tuple | list):  # samples that are wrong anyway need no attack
            batch = tuple(part[held] for part in batch)
            held = held[held]
        for attack, name in zip(attacks, names, strict=True):
            for i, radius in enumerate(eps):
                found = attack.with_eps(radius).on_batch(model, batch)
                right[name][i] += int((is_correct_on_batch(model, found) & held).sum())
    if not samples:
        raise InputError("the loader has no samples to judge robustness on")
    accuracy = {name: tuple(n / samples for n in counts) for name, counts in right.items()}
    return RobustnessReport(samples, clean / samples, tuple(eps), accuracy)


def is_correct_on_batch(model: Any, batch: Any) -> Tensor:
    """Which samples of a batch the model is right about: of tensors each, (B,); of a graph with a
    ``mask`` the nodes there; of other PyG batches whatever ``y`` says something of."""
    if isinstance(batch, tuple | list):
        return is_correct(model, *batch)
    with frozen_eval(model), torch.no_grad():
        right = getattr(model, "logits", model)(batch).argmax(1) == batch.y
    return right[batch.mask] if "mask" in batch else right


def is_correct(model: Any, x: Tensor, y: Tensor) -> Tensor:
    """Which samples the model is right about, in evaluation mode, (B,)."""
    with frozen_eval(model), torch.no_grad():
        return (
            ScoreFunction(model)(x).argmax(1) == y
            if len(x)
            else torch.zeros_like(y, dtype=torch.bool)
        )

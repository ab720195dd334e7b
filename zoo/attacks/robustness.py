"""How often a model is right under attack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, Scores, undisturbed
from zoo.errors import InputError


@dataclass(frozen=True)
class Robustness:
    """What :func:`evaluate` found.

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


def evaluate(
    model: Any,
    loader: Iterable[Any],
    attacks: Attack | Sequence[Attack],
    eps: Sequence[float],
) -> Robustness:
    """Accuracy under each attack with each budget, over all samples of a loader.

    A sample counts as right if the model is right about it without the attack and with it: an
    attacker may always leave it alone.

    Args:
        model: see :class:`~zoo.attacks.base.Attack`.
        loader: of batches (x, y).
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
    for x, y in loader:
        held = correct(model, x, y)
        samples, clean = samples + len(x), clean + int(held.sum())
        for attack, name in zip(attacks, names, strict=True):
            for i, radius in enumerate(eps):
                found = attack.with_budget(radius)(model, x[held], y[held])
                right[name][i] += int(correct(model, found, y[held]).sum())
    if not samples:
        raise InputError("the loader has no samples to judge robustness on")
    accuracy = {name: tuple(n / samples for n in counts) for name, counts in right.items()}
    return Robustness(samples, clean / samples, tuple(eps), accuracy)


def correct(model: Any, x: Tensor, y: Tensor) -> Tensor:
    """Which samples the model is right about, in evaluation mode, (B,)."""
    with undisturbed(model), torch.no_grad():
        return Scores(model)(x).argmax(1) == y if len(x) else torch.zeros_like(y, dtype=torch.bool)

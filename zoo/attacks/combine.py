"""Attacks made of attacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, AttackWrapper, ScoreFunction
from zoo.attacks.goals import Goal
from zoo.errors import InputError
from zoo.functional.rng import SampleRNG

CHOICES = ("next", "random", "runner_up", "least_likely")


class Targeted(AttackWrapper):
    """Another attack, that wants one class and not just any wrong one.

    Args:
        attack: any attack that does not choose a target itself.
        target: a class for all samples, a tensor of one for each, or ``next`` ((y + 1) mod K),
            ``random``, ``runner_up`` (the likeliest wrong class of x) or ``least_likely`` (of x).
        seed: of ``random``, default 0.

    Raises:
        ValueError: an unknown name.
        InputError: a target that is the sample's own class, or no class.
    """

    def __init__(self, attack: Attack, target: int | str | Tensor, seed: int = 0) -> None:
        if isinstance(target, str) and target not in CHOICES:
            raise ValueError(f"unknown target {target!r}; choose from {', '.join(CHOICES)}")
        super().__init__(attack)
        self.target, self.seed = target, seed

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        if not len(x):
            return x
        with torch.no_grad():
            scores = model(x)
        target = self._targets(scores, x, goal.y)
        if not isinstance(self.target, str):
            self._check(target, goal.y, scores.shape[1])
        return self.attack.perturb(model, x, Goal(goal.y, target))

    def _targets(self, scores: Tensor, x: Tensor, y: Tensor) -> Tensor:
        classes = scores.shape[1]
        if isinstance(self.target, Tensor):
            return self.target.to(y)
        if isinstance(self.target, int):
            return torch.full_like(y, self.target)
        if self.target == "next":
            return (y + 1) % classes
        if self.target == "random":
            return (y + 1 + SampleRNG(x, self.seed).integers() % (classes - 1)) % classes
        last = torch.inf if self.target == "least_likely" else -torch.inf
        others = scores.scatter(1, y[:, None], last)
        return others.argmin(1) if self.target == "least_likely" else others.argmax(1)

    @staticmethod
    def _check(target: Tensor, y: Tensor, classes: int) -> None:
        if target.shape != y.shape:
            raise InputError(f"{len(target)} targets for {len(y)} samples")
        if bool(((target < 0) | (target >= classes)).any()):
            raise InputError(
                f"targets go from {int(target.min())} to {int(target.max())}, the model has "
                f"classes 0 to {classes - 1}"
            )
        if bool((same := target == y).any()):
            sample = int(same.nonzero()[0])
            raise InputError(
                f"the target of sample {sample} is its own class, {int(y[sample])}: leave such "
                "samples out, or choose target='next'"
            )

    def around(self, attack: Attack) -> Attack:
        return Targeted(attack, self.target, self.seed)

    @property
    def name(self) -> str:
        return f"{self.attack.name}→{self.target if not isinstance(self.target, Tensor) else 't'}"


class WorstOf(Attack):
    """Several attacks one after the other; each sees the samples that none before it has broken.

    A sample that all leave unbroken is that of the last attack.

    Args:
        *attacks: at least one.

    Raises:
        ValueError: none.
    """

    def __init__(self, *attacks: Attack) -> None:
        if not attacks:
            raise ValueError("WorstOf needs at least one attack")
        self.attacks = attacks

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        found = x.clone()
        rows = torch.arange(len(x), device=x.device)
        for attack in self.attacks:
            if not len(rows):
                break
            part = attack.perturb(model, x[rows], goal.rows(rows)).detach()
            found[rows] = part
            with torch.no_grad():
                rows = rows[~goal.rows(rows).reached(model(part))]
        return found

    def with_eps(self, eps: float) -> Attack:
        return WorstOf(*(attack.with_eps(eps) for attack in self.attacks))

    def with_faces(self, faces: Tensor) -> Attack:
        return WorstOf(*(attack.with_faces(faces) for attack in self.attacks))

    @property
    def name(self) -> str:
        return "+".join(attack.name for attack in self.attacks)


class Restarts(WorstOf):
    """An attack several times, each with other random numbers, on the samples that hold out.

    Args:
        attack: one that draws random numbers.
        count: n, at least 1.

    Raises:
        ValueError: a count below 1; an attack that draws nothing, which would only be repeated.
    """

    def __init__(self, attack: Attack, count: int) -> None:
        if count < 1:
            raise ValueError(f"Restarts needs a count of at least 1, got {count}")
        if not is_randomized(attack):
            raise ValueError(f"{attack.name} draws nothing at random: restarts would repeat it")
        super().__init__(*(with_new_seed(attack, number) for number in range(count)))
        self.attack, self.count = attack, count

    def with_eps(self, eps: float) -> Attack:
        return Restarts(self.attack.with_eps(eps), self.count)

    def with_faces(self, faces: Tensor) -> Attack:
        return Restarts(self.attack.with_faces(faces), self.count)

    @property
    def name(self) -> str:
        return f"{self.attack.name}×{self.count}"


def with_new_seed(attack: Attack, number: int) -> Attack:
    """The same attack with the ``number``-th seed after its own; itself if it draws nothing."""
    if not number:
        return attack
    if isinstance(attack, AttackWrapper):
        return attack.around(with_new_seed(attack.attack, number))
    if isinstance(attack, WorstOf):
        return WorstOf(*(with_new_seed(part, number) for part in attack.attacks))
    settings: Any = attack
    return replace(settings, seed=settings.seed + number) if is_randomized(attack) else attack


def is_randomized(attack: Attack) -> bool:
    """Whether an attack draws random numbers."""
    if isinstance(attack, WorstOf):
        return any(is_randomized(part) for part in attack.attacks)
    if isinstance(attack, AttackWrapper):
        return is_randomized(attack.attack)
    return hasattr(attack, "seed") and getattr(attack, "random_start", True)

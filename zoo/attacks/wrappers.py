"""Attacks composed of other attacks: targeted attacks, ensembles and random restarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction
from zoo.attacks.goals import Goal
from zoo.errors import InputError, check_at_least, check_choice, check_integer
from zoo.functional.rng import SampleRNG

TARGETS = ("next", "random", "runner_up", "least_likely")


class AttackWrapper(Attack):
    """Base class of attacks that wrap one other attack.

    Args:
        attack: the wrapped attack.
    """

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    def with_attack(self, attack: Attack) -> Attack:
        """Return the same wrapper around another attack."""
        raise NotImplementedError(f"{type(self).__name__} has no with_attack(attack)")

    def with_eps(self, eps: float | Tensor) -> Attack:
        return self.with_attack(self.attack.with_eps(eps))

    def select(self, index: Tensor) -> Attack:
        return self.with_attack(self.attack.select(index))

    def with_faces(self, faces: Tensor) -> Attack:
        return self.with_attack(self.attack.with_faces(faces))

    def without_early_stop(self) -> Attack:
        return self.with_attack(self.attack.without_early_stop())

    @property
    def name(self) -> str:
        return self.attack.name


class Targeted(AttackWrapper):
    """Targeted version of an attack: the model must predict the target class.

    Args:
        attack: any attack that does not choose a target itself.
        target: target class of all samples, a tensor with the target class of each sample, or
            ``next`` ((y + 1) mod K), ``random`` (a wrong class), ``runner_up`` (the most likely
            wrong class of x) or ``least_likely`` (the least likely class of x).
        seed: random seed of the target ``random``, default 0.

    Raises:
        InputError: unknown name of a target; a target that is the true class of its sample or is
            not a class of the model.
    """

    def __init__(self, attack: Attack, target: int | str | Tensor, seed: int = 0) -> None:
        if isinstance(target, str):
            check_choice("target", target, TARGETS)
        elif not isinstance(target, Tensor):
            check_at_least(0, target=target)
        check_integer(seed=seed)
        super().__init__(attack)
        self.target, self.seed = target, seed

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        if not len(x):
            return x
        with torch.no_grad():
            scores = model(x)
        target = self._targets(scores, x, goal.y)
        if not isinstance(self.target, str):
            self._check_targets(target, goal.y, scores.shape[1])
        return self.attack.perturb(model, x, Goal(goal.y, target))

    def _targets(self, scores: Tensor, x: Tensor, y: Tensor) -> Tensor:
        num_classes = scores.shape[1]
        if isinstance(self.target, Tensor):
            return self.target.to(y)
        if isinstance(self.target, int):
            return torch.full_like(y, self.target)
        if self.target == "next":
            return (y + 1) % num_classes
        if self.target == "random":
            offset = SampleRNG(x, self.seed).integers() % (num_classes - 1)
            return (y + 1 + offset) % num_classes
        if self.target == "least_likely":
            return scores.scatter(1, y[:, None], torch.inf).argmin(1)
        return scores.scatter(1, y[:, None], -torch.inf).argmax(1)

    @staticmethod
    def _check_targets(target: Tensor, y: Tensor, num_classes: int) -> None:
        if target.shape != y.shape:
            raise InputError(
                f"Targeted needs one target per sample, got targets of shape {tuple(target.shape)} "
                f"for {len(y)} samples"
            )
        if bool(((target < 0) | (target >= num_classes)).any()):
            raise InputError(
                f"targets range from {int(target.min())} to {int(target.max())}, the model has "
                f"classes 0 to {num_classes - 1}"
            )
        if bool((is_own := target == y).any()):
            sample = int(is_own.nonzero()[0])
            raise InputError(
                f"the target of sample {sample} is its true class, {int(y[sample])}: leave such "
                "samples out, or choose target='next'"
            )

    def with_attack(self, attack: Attack) -> Attack:
        return Targeted(attack, self.target, self.seed)

    def select(self, index: Tensor) -> Attack:
        target = self.target[index] if isinstance(self.target, Tensor) else self.target
        return Targeted(self.attack.select(index), target, self.seed)

    @property
    def name(self) -> str:
        return f"{self.attack.name}→{self.target if not isinstance(self.target, Tensor) else 't'}"


class AttackEnsemble(Attack):
    """Worst case over several attacks, which run one after the other.

    Each attack runs on the samples for which no earlier one has reached the goal. Where all fail,
    the result is that of the last attack.

    Args:
        *attacks: at least one attack.

    Raises:
        InputError: no attack is given.
    """

    def __init__(self, *attacks: Attack) -> None:
        if not attacks:
            raise InputError(f"{type(self).__name__} needs at least one attack")
        self.attacks = attacks

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        result = x.clone()
        active = torch.arange(len(x), device=x.device)
        for attack in self.attacks:
            if not len(active):
                break
            part = attack.select(active)
            x_adv = part.perturb(model, x[active], goal.select(active)).detach()
            result[active] = x_adv
            with torch.no_grad():
                active = active[~goal.select(active).is_reached(model(x_adv))]
        return result

    def with_eps(self, eps: float | Tensor) -> Attack:
        return AttackEnsemble(*(attack.with_eps(eps) for attack in self.attacks))

    def select(self, index: Tensor) -> Attack:
        return AttackEnsemble(*(attack.select(index) for attack in self.attacks))

    def with_faces(self, faces: Tensor) -> Attack:
        return AttackEnsemble(*(attack.with_faces(faces) for attack in self.attacks))

    def without_early_stop(self) -> Attack:
        return AttackEnsemble(*(attack.without_early_stop() for attack in self.attacks))

    @property
    def name(self) -> str:
        return "+".join(attack.name for attack in self.attacks)


class Restarts(AttackEnsemble):
    """Random restarts: the same attack with several seeds, on the samples that are still robust.

    Args:
        attack: an attack that uses random numbers.
        restarts: number of runs, at least 1.

    Raises:
        InputError: fewer than one run; an attack that is deterministic, so that all runs would be
            equal.
    """

    def __init__(self, attack: Attack, restarts: int) -> None:
        check_at_least(1, restarts=restarts)
        if not is_randomized(attack):
            raise InputError(f"{attack.name} is deterministic: restarts would repeat the same run")
        super().__init__(*(with_new_seed(attack, offset) for offset in range(restarts)))
        self.attack, self.restarts = attack, restarts

    def with_eps(self, eps: float | Tensor) -> Attack:
        return Restarts(self.attack.with_eps(eps), self.restarts)

    def with_faces(self, faces: Tensor) -> Attack:
        return Restarts(self.attack.with_faces(faces), self.restarts)

    def without_early_stop(self) -> Attack:
        return Restarts(self.attack.without_early_stop(), self.restarts)

    @property
    def name(self) -> str:
        return f"{self.attack.name}×{self.restarts}"


def with_new_seed(attack: Attack, offset: int) -> Attack:
    """Return the same attack with ``offset`` added to its seed, or a deterministic one itself."""
    if not offset:
        return attack
    if isinstance(attack, AttackWrapper):
        return attack.with_attack(with_new_seed(attack.attack, offset))
    if isinstance(attack, AttackEnsemble):
        return AttackEnsemble(*(with_new_seed(part, offset) for part in attack.attacks))
    settings: Any = attack
    return replace(settings, seed=settings.seed + offset) if is_randomized(attack) else attack


def is_randomized(attack: Attack) -> bool:
    """Return whether an attack uses random numbers."""
    if isinstance(attack, AttackEnsemble):
        return any(is_randomized(part) for part in attack.attacks)
    if isinstance(attack, AttackWrapper):
        return is_randomized(attack.attack)
    return hasattr(attack, "seed") and getattr(attack, "random_start", True)

"""What the attack command knows of a model and the samples that it is attacked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor

from zoo.attacks import Restarts, Targeted
from zoo.attacks.base import Attack
from zoo.core.classification import Classifier
from zoo.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RobustnessRow:
    """A line of the table: an attack with its budget, and what it left."""

    attack: str
    eps: float | None
    accuracy: float
    distance: float
    sight: str


@dataclass(frozen=True)
class AttackSpec:
    """An attack that the command knows.

    Args:
        make: the attack, by its settings; among them ``eps`` where it has a budget.
        budget: whether it stays within ε, or looks for the nearest sample.
        settings: what else it has: of ``norm``, ``steps``, ``seed``, ``target``.
        fixed: settings that the command does not change.
        steps: what ``--steps`` is called there.
        sight: what it sees.
        unit: of ε, where that is not the norm's.
    """

    make: Callable[..., Any]
    budget: bool = True
    settings: tuple[str, ...] = ("norm", "steps", "seed", "target")
    fixed: dict[str, Any] = field(default_factory=dict)
    steps: str = "steps"
    sight: str = "white box"
    unit: str = ""


class AttackOutcome(NamedTuple):
    """What an attack left.

    Attributes:
        accuracy: share that the model is right about without the attack and under it.
        distance: mean, of the samples that broke the model; nan where none did.
        draw: makes a figure of some samples, or None.
    """

    accuracy: float
    distance: float
    draw: Callable[[], Figure | None]


class TargetModel:
    """A classifier with the test samples that it is attacked on.

    Args:
        path: of the checkpoint.
        model: in evaluation mode.
        data: its data module.
        options: of the command.

    Attributes:
        clean: accuracy without an attack.
        count: how many samples.
    """

    #: what the command may be asked for, the default first
    catalog: ClassVar[dict[str, AttackSpec]] = {}
    #: budgets and norms, the default first
    budgets: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.3)
    norms: ClassVar[tuple[str, ...]] = ("linf",)
    #: what is attacked, what ε is measured in, and how the mean distance is headed
    what: ClassVar[str] = "samples"
    units: ClassVar[dict[str, str]] = {}
    distance: ClassVar[str] = "mean L2"

    clean: float
    count: int

    def __init__(self, path: str, model: Classifier, data: Any, options: Any) -> None:
        self.path, self.model, self.data, self.options = path, model, data, options

    def entries(self) -> dict[str, AttackSpec]:
        """The catalogue for this model and data."""
        return self.catalog

    @property
    def title(self) -> str:
        return f"{type(self.model).__name__} on {type(self.data).__name__}"

    @property
    def class_names(self) -> list[str]:
        names = getattr(self.data, "class_names", None)
        return list(names) if names else [str(k) for k in range(self.model.num_classes)]

    def said(self, scores: Tensor) -> tuple[Tensor, list[str]]:
        """The classes that scores say, (B, K) → (B,), and the same as text, with how sure."""
        sure, predicted = scores.softmax(1).max(1)
        pairs = zip(predicted.tolist(), sure.tolist(), strict=True)
        return predicted, [f"{self.class_names[k]} {p:.0%}" for k, p in pairs]

    def judge(self, name: str) -> Iterator[tuple[RobustnessRow, Callable[[], Figure | None]]]:
        """A row for each budget, with what draws some samples."""
        entry = self.entries()[name]
        budgets = self.options.eps if entry.budget else [None]
        for eps, attack in zip(budgets, self.ready(name, budgets), strict=True):
            found = self.under(attack, eps)
            yield (
                RobustnessRow(attack.name, eps, found.accuracy, found.distance, entry.sight),
                found.draw,
            )

    def ready(self, name: str, budgets: list[Any]) -> Iterator[Attack]:
        """The attack for each budget."""
        entry, options = self.entries()[name], self.options
        for eps in budgets:
            made = entry.make(**self.settings(entry, eps))
            if options.restarts > 1:
                made = Restarts(made, options.restarts)
            yield made if options.target is None else Targeted(made, options.target)

    def settings(self, entry: AttackSpec, eps: float | None) -> dict[str, Any]:
        """What the options make of an attack."""
        options, found = self.options, dict(entry.fixed)
        if eps is not None:
            found["eps"] = eps
        if "norm" in entry.settings:
            found["norm"] = options.norm
        if "steps" in entry.settings and options.steps is not None:
            found[entry.steps] = options.steps
        if "seed" in entry.settings:
            found["seed"] = options.seed
        return found

    @property
    def unit(self) -> str:
        """What ε is measured in."""
        entries = (self.entries()[name] for name in self.options.attack)
        found = {entry.unit or self.units[self.options.norm] for entry in entries if entry.budget}
        return found.pop() if len(found) == 1 else "each attack's own unit"

    def under(self, attack: Attack, eps: float | None) -> AttackOutcome:
        """What is left under an attack."""
        raise NotImplementedError(f"{type(self).__name__} has no under(attack, eps)")

    def check(self) -> None:
        """Makes sure that the options fit, and fills in the norm.

        Raises:
            InputError: names the option.
        """
        options, known = self.options, self.entries()
        if options.others and "pgd" not in known:
            raise InputError(f"--others compares models by PGD, which {self.what} do not have")
        chosen = [known[name] for name in options.attack]
        for option in ("norm", "steps"):
            used = any(option in entry.settings for entry in chosen)
            if getattr(options, option) is not None and not used:
                raise InputError(f"--{option}: nothing to set in {' and '.join(options.attack)}")
        options.norm = options.norm or self.norms[0]
        for name in options.attack:
            entry = known[name]
            if options.restarts > 1 and "seed" not in entry.settings:
                raise InputError(
                    f"--restarts: {name} draws nothing at random that could be drawn anew"
                )
            if options.target is not None and "target" not in entry.settings:
                raise InputError(f"--target: {name} cannot choose the class")
        if options.norm not in self.norms:
            raise InputError(
                f"--norm {options.norm}: {self.what} have the norm {' or '.join(self.norms)}"
            )


def model_name(path: str) -> str:
    """The recipe of a run, which names the folder above that of its time."""
    parents = Path(path).absolute().parents
    return parents[2].name if len(parents) > 2 else Path(path).stem

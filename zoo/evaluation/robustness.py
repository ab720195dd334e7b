"""Base classes of the report of ``zoo attack``: attacks, their outcomes and the target model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor

from zoo.attacks import Restarts, Targeted
from zoo.attacks.base import Attack
from zoo.core.classification import Classifier
from zoo.errors import InputError, unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RobustnessRow:
    """A row of the robustness table: one attack at one ε.

    Args:
        attack: name of the attack.
        eps: radius ε; None for minimum-norm attacks.
        accuracy: accuracy under the attack.
        distance: mean size of the perturbations that changed a prediction, nan if none did; for
            graphs, the number of flips.
        threat_model: information that the attack uses.
    """

    attack: str
    eps: float | None
    accuracy: float
    distance: float
    threat_model: str


@dataclass(frozen=True)
class AttackSpec:
    """An attack that ``zoo attack`` offers, and the options that it supports.

    Args:
        make: constructor of the attack; if it is bounded, one of its arguments is ``eps``.
        is_bounded: whether the attack bounds the perturbation by ε (default) or minimizes its norm.
        options: options that the attack supports, out of ``norm``, ``steps``, ``seed`` and
            ``target``, default all.
        fixed: constructor arguments that no option changes, default none.
        steps_argument: constructor argument that ``--steps`` sets, default ``steps``.
        threat_model: information that the attack uses, default ``white-box``; see
            :mod:`zoo.attacks`.
        eps_unit: unit of ε, default that of the norm.
    """

    make: Callable[..., Any]
    is_bounded: bool = True
    options: tuple[str, ...] = ("norm", "steps", "seed", "target")
    fixed: dict[str, Any] = field(default_factory=dict)
    steps_argument: str = "steps"
    threat_model: str = "white-box"
    eps_unit: str = ""


class AttackOutcome(NamedTuple):
    """Result of one attack.

    Attributes:
        accuracy: fraction of samples classified correctly both without and under the attack.
        distance: mean size of the perturbations that changed a prediction, nan if none did; for
            graphs, the number of flips.
        make_figure: function that returns a figure of a few samples, or None.
    """

    accuracy: float
    distance: float
    make_figure: Callable[[], Figure | None]


class TargetModel:
    """A classifier under attack, with its test samples.

    Args:
        path: path of the checkpoint.
        model: the classifier, in evaluation mode.
        data: its data module.
        options: parsed options of ``zoo attack``.

    Attributes:
        clean_accuracy: accuracy without an attack.
        num_samples: number of test samples.
    """

    #: attacks by their name on the command line, the default first
    attack_specs: ClassVar[dict[str, AttackSpec]] = {}
    #: default radii ε
    default_eps: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.3)
    #: norms, the default first
    norms: ClassVar[tuple[str, ...]] = ("linf",)
    #: plural noun for the samples
    sample_noun: ClassVar[str] = "samples"
    #: unit of ε for each norm
    eps_units: ClassVar[dict[str, str]] = {}
    #: heading of the mean distance
    distance_name: ClassVar[str] = "mean L2"

    clean_accuracy: float
    num_samples: int

    def __init__(self, path: str, model: Classifier, data: Any, options: Any) -> None:
        self.path, self.model, self.data, self.options = path, model, data, options

    def available_attacks(self) -> dict[str, AttackSpec]:
        """Return the attacks that this model and its data support."""
        return self.attack_specs

    @property
    def title(self) -> str:
        """Model and data, such as ``CNN on Digits``."""
        return f"{type(self.model).__name__} on {type(self.data).__name__}"

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, or their indices."""
        names = getattr(self.data, "class_names", None) or getattr(self.data, "classes", None)
        return list(names) if names else [str(k) for k in range(self.model.num_classes)]

    def predictions(self, scores: Tensor) -> tuple[Tensor, list[str]]:
        """Return predicted classes, (B,), and captions such as ``cat 90%``, from scores (B, K)."""
        confidence, predicted = scores.softmax(1).max(1)
        pairs = zip(predicted.tolist(), confidence.tolist(), strict=True)
        return predicted, [f"{self.class_names[k]} {p:.0%}" for k, p in pairs]

    def evaluate(self, name: str) -> Iterator[tuple[RobustnessRow, Callable[[], Figure | None]]]:
        """Run an attack at each ε; yield rows of the table, each with a function for its figure."""
        spec = self.available_attacks()[name]
        radii = self.options.eps if spec.is_bounded else [None]
        for eps, attack in zip(radii, self.make_attacks(name, radii), strict=True):
            accuracy, distance, make_figure = self.run_attack(attack, eps)
            row = RobustnessRow(attack.name, eps, accuracy, distance, spec.threat_model)
            yield row, make_figure

    def make_attacks(self, name: str, radii: list[Any]) -> Iterator[Attack]:
        """Yield the attack for each ε."""
        spec, options = self.available_attacks()[name], self.options
        for eps in radii:
            attack = spec.make(**self.attack_settings(spec, eps))
            if options.restarts > 1:
                attack = Restarts(attack, options.restarts)
            yield attack if options.target is None else Targeted(attack, options.target)

    def attack_settings(self, spec: AttackSpec, eps: float | None) -> dict[str, Any]:
        """Return the constructor arguments of an attack for the given options."""
        options, settings = self.options, dict(spec.fixed)
        if eps is not None:
            settings["eps"] = eps
        if "norm" in spec.options:
            settings["norm"] = options.norm
        if "steps" in spec.options and options.steps is not None:
            settings[spec.steps_argument] = options.steps
        if "seed" in spec.options:
            settings["seed"] = options.seed
        return settings

    @property
    def eps_unit(self) -> str:
        """Unit of ε, if the chosen attacks have a common one."""
        specs = (self.available_attacks()[name] for name in self.options.attack)
        default = self.eps_units[self.options.norm]
        units = {spec.eps_unit or default for spec in specs if spec.is_bounded}
        return units.pop() if len(units) == 1 else "in the unit of each attack"

    def run_attack(self, attack: Attack, eps: float | None) -> AttackOutcome:
        """Attack the test samples."""
        raise NotImplementedError(f"{type(self).__name__} has no run_attack(attack, eps)")

    def complete_options(self) -> None:
        """Fill in the default attack, ε and norm, and check that the options fit the model.

        Raises:
            InputError: an option does not fit; the message names it.
        """
        options, known = self.options, self.available_attacks()
        options.attack = options.attack or list(known)[:1]
        options.eps = sorted(set(options.eps or self.default_eps))
        for name in options.attack:
            if name not in known:
                raise unknown("attack", name, known)
        if options.other_models and "pgd" not in known:
            raise InputError(
                f"--other_models compares models under PGD, which {self.sample_noun} do not support"
            )
        for option in ("norm", "steps"):
            is_used = any(option in known[name].options for name in options.attack)
            if getattr(options, option) is not None and not is_used:
                raise InputError(
                    f"--{option} is not supported by {' or '.join(options.attack)}: leave it out"
                )
        options.norm = options.norm or self.norms[0]
        for name in options.attack:
            if options.restarts > 1 and "seed" not in known[name].options:
                raise InputError(f"--restarts is not supported by {name}: leave it out")
            if options.target is not None and "target" not in known[name].options:
                raise InputError(f"--target is not supported by {name}: leave it out")
        if options.norm not in self.norms:
            raise InputError(
                f"--norm {options.norm} is not available for {self.sample_noun}: choose from "
                f"{', '.join(self.norms)}"
            )


def model_name(path: str) -> str:
    """Return RECIPE of a checkpoint runs/RECIPE/TIME/checkpoints/FILE, or else the file's name."""
    file = Path(path).absolute()
    is_of_run = file.parent.name == "checkpoints" and len(file.parents) > 3
    return file.parents[2].name if is_of_run else file.stem

"""Numbers out of range are refused by every data module, callback, attack and study.

Every numeric argument is tried, with values that make no sense for any of its kind: not a number,
infinite, half an integer where an integer is expected, and negative. Those for which a negative
number does make sense are listed below. The models are tested in ``test_models``.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import callbacks
import datamodules
import zoo.attacks
import zoo.studies
from zoo.attacks import PGD, Attack, graphs
from zoo.attacks.transfer import SubstituteAttack
from zoo.core.registry import import_class
from zoo.errors import InputError, check_count_or_fraction, check_finite, check_interval

#: arguments that may be negative
MAY_BE_NEGATIVE = {"seed", "units", "num_neighbors", "at"}
#: required arguments
REQUIRED: dict[str, Any] = {
    "path": "missing", "edges": "missing", "root": "missing",
    "eps": 0.1, "autoencoder": None, "target": "next", "restarts": 2, "filename": "best",
}  # fmt: skip
#: arguments that have no fixed range, or that Lightning checks itself
UNCHECKED = {
    ("CSV", "missing_values"),
    ("GraphCSV", "missing_values"),
    ("Checkpoint", "every_n_train_steps"),
    # negative layers count from the last, and any seed of a generator will do
    ("ActivationMaximization", "units"),
}
#: classes that users do not create, or that need tensors
NOT_CREATED = {
    "FigureCallback", "TensorLoader", "RobustnessReport", "FixedPerturbation",
    "SpectralShiftAttack", "PurifiedModel",
}  # fmt: skip


def classes(module: Any) -> Iterator[type]:
    for name in module.__all__ if hasattr(module, "__all__") else dir(module):
        value = getattr(module, name)
        if inspect.isclass(value):
            yield value


def has_own_range(cls: type) -> bool:
    """Return whether a class is one that users create, and not an exception or a result."""
    if issubclass(cls, BaseException) or cls.__name__.startswith("Distributed"):
        return False
    return cls.__name__ not in NOT_CREATED


def required(cls: type) -> dict[str, Any]:
    """Return values of the arguments of a class that have no default."""
    given = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name == "attack":
            given[name] = PGD(eps=0.1)
        elif parameter.default is parameter.empty and name in REQUIRED:
            given[name] = REQUIRED[name]
    return given


def bad_values(parameter: inspect.Parameter) -> list[Any]:
    """Return values that are out of range for a numeric argument; none for another argument."""
    kinds, default = str(parameter.annotation), parameter.default
    if isinstance(default, bool) or "Callable" in kinds or parameter.kind == parameter.VAR_KEYWORD:
        return []
    is_integer, is_float = (re.search(rf"\b{kind}\b", kinds) for kind in ("int", "float"))
    if not is_integer and not is_float:
        return []
    values: list[Any] = [math.nan, math.inf]
    if is_integer and not is_float:
        values.append(1.5)
    if parameter.name not in MAY_BE_NEGATIVE:
        values.append(-1 if is_integer else -1.0)
    if kinds.startswith(("tuple", "list", "Sequence")):
        return [(value,) if "..." in kinds or "list" in kinds or "Seq" in kinds else (0, value)
                for value in values]  # fmt: skip
    return values


def numeric_arguments(owners: list[type]) -> list[Any]:
    """Return one test case for each numeric argument of each class."""
    cases = []
    for cls in owners:
        for parameter in inspect.signature(cls).parameters.values():
            values = bad_values(parameter)
            if values and (cls.__name__, parameter.name) not in UNCHECKED:
                cases.append(pytest.param(cls, parameter.name, values,
                                          id=f"{cls.__name__}-{parameter.name}"))  # fmt: skip
    return cases


OWNERS = [
    *filter(has_own_range, classes(callbacks)),
    *(cls for cls in classes(datamodules) if has_own_range(cls)),
    *(cls for cls in classes(zoo.attacks) if has_own_range(cls)),
    *(cls for cls in classes(graphs) if issubclass(cls, Attack) and cls is not Attack),
]


@pytest.mark.parametrize(("cls", "argument", "values"), numeric_arguments(OWNERS))
def test_numbers_out_of_range(cls: type, argument: str, values: list[Any]) -> None:
    settings = required(cls)
    for value in values:
        with pytest.raises(InputError, match=argument):
            cls(**{**settings, argument: value})


def test_the_arguments_tried_are_many() -> None:
    """A change of annotations must not empty the test above."""
    assert len(numeric_arguments(OWNERS)) > 250
    assert SubstituteAttack in OWNERS
    assert import_class("datamodules.SBM") in OWNERS


def study_arguments() -> list[Any]:
    cases = []
    for name in zoo.studies.NAMES:
        run = getattr(zoo.studies, zoo.studies.module_name(name)).run
        for parameter in inspect.signature(run).parameters.values():
            if parameter.name != "seed" and bad_values(parameter):
                cases.append(pytest.param(run, parameter, id=f"{name}-{parameter.name}"))
    return cases


@pytest.mark.parametrize(("run", "parameter"), study_arguments())
def test_settings_of_studies_out_of_range(
    run: Callable[..., Any], parameter: inspect.Parameter
) -> None:
    for value in bad_values(parameter):
        with pytest.raises(InputError, match=parameter.name):
            run(**{parameter.name: value})


@pytest.mark.parametrize(
    ("check", "good", "bad", "message"),
    [
        (check_count_or_fraction, (0, 0.3, 1, 25, 3.0), (1.5,), "a whole number"),
        (check_finite, (-1, 0.5, (1, 2)), (math.nan, (0.0, math.nan)), "must be a number"),
        (check_interval, ((0, 1), (-1.5, 2), None), ((1, 0), (0, 0), (0,), 3), "two ascending"),
    ],
)
def test_checks(check: Any, good: tuple[Any, ...], bad: tuple[Any, ...], message: str) -> None:
    for value in good:
        check(x=value)
    for value in bad:
        with pytest.raises(InputError, match=rf"^x must be .*{message.split()[-1]}"):
            check(x=value)
    with pytest.raises(InputError, match="x must be finite, got"):
        check(x=(0, math.inf))

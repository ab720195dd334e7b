"""Random options of every model: exit code 0 or 2, and never a traceback.

The values are drawn from the types of the options, within their bounds and just outside.
"""

from __future__ import annotations

import inspect
import os
import random
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.cli.main import main
from zoo.core import registry
from zoo.core.signature import full_signature

NUM_INPUTS = int(os.environ.get("ZOO_FUZZ_INPUTS", "5"))  # per model
SEED = int(os.environ.get("ZOO_FUZZ_SEED", "0"))

VALUES: dict[Any, tuple[str, ...]] = {
    bool: ("true", "false", "2", "maybe"),
    int: ("-3", "-1", "0", "1", "2", "3", "7", "1.5", "x", "null"),
    float: ("-1", "-1e-9", "0", "1e-6", "0.3", "1", "1.5", "nan", "inf", "-inf", "x", "null"),
    str: ("", "foo", "none", "mean", "../x", "[a, b]", "0", "null"),
    tuple: ("[]", "[2]", "[2, 3]", "[0]", "[-1, 2]", "[1.5]", "[[2]]", "x", "null"),
    dict: ("{}", "{a: 1}", "[1]", "x", "null"),
}
TRAINER = {
    "max_epochs": ("-2", "0", "1", "1.5", "x"),
    "max_steps": ("-3", "-1", "0", "1"),
    "limit_train_batches": ("-1", "0", "0.1", "1", "1.5"),
    "limit_val_batches": ("-1", "0", "1"),
    "accumulate_grad_batches": ("-1", "0", "1", "3"),
    "gradient_clip_val": ("-1", "0", "0.5", "nan"),
    "val_check_interval": ("-1", "0", "0.5", "1", "10000"),
    "check_val_every_n_epoch": ("-1", "0", "1", "2"),
    "overfit_batches": ("-1", "0", "1", "0.5"),
    "precision": ("bf16-mixed", "16-mixed", "64-true", "8"),
    "devices": ("0", "1", "-2", "x"),
    "deterministic": ("true", "warn", "2"),
}
SMALL = {"num_samples": "40", "num_points": "32", "num_steps": "600"}  # generated data


def draw_options(model: str, rng: random.Random) -> list[str]:
    """Return up to four random options for a model, its data, the Trainer and the run."""
    recipe = registry.read_recipe(model)
    known = {
        f"--{section}.{name}": parameter.annotation
        for section in ("model", "data")
        for name, parameter in _parameters(recipe[section]["class_path"])
    }
    options = {
        name: rng.choice(_values(known[name]))
        for name in rng.sample(sorted(known), rng.randint(1, 3))
    }
    if rng.random() < 0.4:
        name = rng.choice(sorted(TRAINER))
        options[f"--trainer.{name}"] = rng.choice(TRAINER[name])
    if rng.random() < 0.1:
        options["--seed"] = rng.choice(("-1", "3", "1.5", "99999999999"))
    small = {f"--data.{name}": value for name, value in SMALL.items() if f"--data.{name}" in known}
    return [f"{name}={value}" for name, value in (small | options).items()]


def _parameters(class_path: str) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the parameters of a class that can be set on the command line."""
    for name, parameter in full_signature(registry.import_class(class_path)).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD and name not in registry.PROPERTIES:
            yield name, parameter


def _values(annotation: Any) -> tuple[str, ...]:
    """Return values for a type; those of all its members for a union."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, getattr(__import__("types"), "UnionType", None)):
        values = [_values(argument) for argument in typing.get_args(annotation)]
        return tuple(dict.fromkeys(value for group in values for value in group))
    for kind in (annotation, origin):
        if kind in VALUES:
            return VALUES[kind]
        if kind is list:
            return VALUES[tuple]
    return ("null", "x")


@pytest.mark.parametrize("model", registry.list_models())
def test_random_options(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(f"{SEED} {model}")
    for _ in range(NUM_INPUTS):
        args = ["fit", f"--model={model}", *draw_options(model, rng)]
        args += [
            "--trainer.fast_dev_run=1",
            "--trainer.accelerator=cpu",
            "--trainer.callbacks=null",
        ]
        status: Any = 0
        try:
            main(args)
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            pytest.fail(f"zoo {' '.join(args)}: {type(error).__name__}: {error}")
        errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert status in (0, 2), f"zoo {' '.join(args)}: exit code {status}: {errors}"
        assert len(errors) == (status == 2), f"zoo {' '.join(args)}: {errors}"

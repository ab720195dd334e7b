"""From ``--model vae --data mnist`` to what LightningCLI reads.

A name is replaced by its recipe, as the first ``--config``; whatever else stands on the command
line comes after it and therefore overrides it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from zoo.core import registry
from zoo.errors import InputError, suggest

SUBCOMMANDS = ("fit", "validate", "test", "predict")
OWN_COMMANDS = (
    "list", "reproduce", "evaluate", "attack", "interpolate", "traverse", "arithmetic", "compare",
    "generate", "translate", "study",
)  # fmt: skip
LOGGERS = ("csv", "tensorboard", "wandb")
CHECKPOINT_WORDS = ("best", "last", "hpc", "registry")


class Parser(argparse.ArgumentParser):
    """Arguments of a command of the zoo's own; what is wrong with them is one line.

    Args:
        command: its name.
        description: for ``--help``.
    """

    def __init__(self, command: str, description: str | None) -> None:
        self.command = command
        # options are written out: --data would otherwise stand for --data.root
        super().__init__(
            f"python -m zoo {command}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.command}: {message}")


@dataclass
class Invocation:
    """A command line, understood.

    Args:
        subcommand: of LightningCLI.
        test_after_fit: whether this is the plain ``--model …`` form: fit, then test.
        args: what LightningCLI gets, the subcommand first.
        given: options that the user wrote, such as ``--model.latent_dim``.
        classes: paths of the model's and the data's class, as far as they are known before parsing.
    """

    subcommand: str
    test_after_fit: bool
    args: list[str]
    given: set[str] = field(default_factory=set)
    classes: dict[str, str] = field(default_factory=dict)


def expand(args: list[str]) -> Invocation:
    """Understands a command line.

    Raises:
        InputError: unknown subcommand, model, data set or logger (with the nearest names); a model
            class that cannot be imported; no model at all.
    """
    subcommand, rest = _subcommand(list(args))
    given = {arg.split("=")[0] for arg in rest if arg.startswith("--")}
    model, rest = _take(rest, "--model")
    data, rest = _take(rest, "--data")
    loggers, rest = _take_all(rest, "--logger")
    checkpoint, _ = _take(rest, "--ckpt_path")
    configs, rest = _take_all(rest, "--config", "-c", many=False)
    for name in registry.PROPERTIES:
        if given & {f"--model.{name}", f"--model.init_args.{name}"}:
            raise InputError(f"--model.{name} comes from the data: choose other --data instead")
    front = []
    classes: dict[str, str] = {}
    if model:
        recipe = _recipe(model, data)
        classes = {k: recipe[k]["class_path"] for k in ("model", "data") if k in recipe}
        front.append(f"--config={json.dumps(recipe)}")
    elif not configs and not given & {"--model.help", "--data.help"}:
        front.append(f"--config={_config_beside(checkpoint)}")
    front += [f"--config={path}" for path in configs]
    if data and not model:
        front.append(f"--data={registry.data_class(data)}")
    if loggers:
        front.append(f"--logger={json.dumps(_check_loggers(loggers))}")
    return Invocation(
        subcommand=subcommand or "fit",
        test_after_fit=subcommand is None,
        args=[subcommand or "fit", *front, *rest],
        given=given,
        classes=classes,
    )


def _subcommand(args: list[str]) -> tuple[str | None, list[str]]:
    if args and args[0] in SUBCOMMANDS:
        return args[0], args[1:]
    if args and not args[0].startswith("-"):
        hint = suggest(args[0], [*SUBCOMMANDS, *OWN_COMMANDS])
        raise InputError(
            f"unknown command {args[0]!r}{hint or '; known: ' + ', '.join(SUBCOMMANDS)}"
        )
    return None, args


def _take(args: list[str], *flags: str) -> tuple[str | None, list[str]]:
    """The last value of a flag, and the arguments without it."""
    values, rest = _take_all(args, *flags, many=False)
    return (values[-1] if values else None), rest


def _take_all(args: list[str], *flags: str, many: bool = True) -> tuple[list[str], list[str]]:
    """All values of a flag (``--x a b``, ``--x=a,b``), and the arguments without it."""
    values: list[str] = []
    rest: list[str] = []
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        flag, equals, value = arg.partition("=")
        if flag not in flags:
            rest.append(arg)
            continue
        if equals:
            values.append(value)
            continue
        if not queue or queue[0].startswith("--"):
            raise InputError(f"{flag} needs a value")
        values.append(queue.pop(0))
        while many and queue and not queue[0].startswith("-"):
            values.append(queue.pop(0))
    return values, rest


def _check_loggers(values: list[str]) -> list[str]:
    names = [name for value in values for name in value.strip("[]").replace(",", " ").split()]
    for name in names:
        if name not in LOGGERS:
            raise InputError(f"unknown logger {name!r}; choose from {', '.join(LOGGERS)}")
    return list(dict.fromkeys(names))


def _recipe(model: str, data: str | None) -> dict[str, Any]:
    """The settings that the rest of the command line overrides."""
    named = None if data is None or "." in data else data
    if "." in model:
        recipe = _recipe_for_class(model, named)
    else:
        name, recipe = registry.recipe_for(model, named)
        recipe["name"] = name
    if data and not named:  # a class of the user's: its own defaults
        import_class("--data", data)
        recipe["data"] = {"class_path": data}
        recipe.pop("reference", None)
    return recipe


def _config_beside(checkpoint: str | None) -> Path:
    """The settings of the run that wrote a checkpoint."""
    if not checkpoint or checkpoint in CHECKPOINT_WORDS:
        raise InputError(
            f"say which model: --model NAME ({', '.join(registry.list_models())}), "
            "--model package.Class or --config FILE"
        )
    config = Path(checkpoint).absolute().parent.parent / "config.yaml"
    if not config.is_file():
        raise InputError(
            f"no --model, and there is no {config} beside the checkpoint: "
            "add --model NAME or --config FILE"
        )
    return config


def _recipe_for_class(path: str, data: str | None) -> dict[str, Any]:
    """The recipe of the zoo's class that ``path`` is or derives from, to be run with ``path``."""
    cls = import_class("--model", path)
    ancestors = (f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__)
    model = next(filter(None, map(registry.model_of_class, ancestors)), None)
    if model:
        _, recipe = registry.recipe_for(model, data)
    else:
        recipe = {"data": {"class_path": registry.data_class(data)}} if data else {}
    known = registry.arguments_of(cls)
    settings = recipe.get("model", {}).get("init_args", {})
    recipe["model"] = {
        "class_path": path,
        "init_args": {key: value for key, value in settings.items() if key in known},
    }
    recipe["name"] = path.rpartition(".")[2]
    if path not in registry.model_classes():
        recipe.pop("reference", None)  # it speaks of the zoo's own class
    return recipe


def import_class(flag: str, path: str) -> type:
    """A class of the user's, from the working folder or anything installed.

    Raises:
        InputError: no such module or class; not a class.
    """
    module, _, name = path.rpartition(".")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        cls = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            raise  # an import inside the user's module, not the module itself
        raise InputError(f"{flag} {path}: there is no module {error.name!r}") from error
    except AttributeError:
        near = suggest(name, dir(importlib.import_module(module)))
        raise InputError(f"{flag} {path}: module {module!r} has no {name!r}{near}") from None
    if not isinstance(cls, type):
        raise InputError(f"{flag} {path} is not a class")
    return cls


def refuse_unreached(trainer: Any, model_class: type) -> None:
    """Refuses flags of the Trainer that do not reach a model which steps its optimisers by itself.

    Args:
        trainer: its settings by name.
        model_class: whose arguments may have the same names.

    Raises:
        InputError: such a flag was given.
    """
    for name, neutral in (("gradient_clip_val", (None, 0)), ("accumulate_grad_batches", (1,))):
        if trainer.get(name) in neutral:
            continue
        own = name in registry.arguments_of(model_class)
        raise InputError(
            f"{model_class.__name__} steps by itself, which --trainer.{name} does not reach: "
            f"{f'give --model.{name} in its place' if own else 'leave it out'}"
        )

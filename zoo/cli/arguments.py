"""Command-line arguments: from ``--model vae --data mnist`` to arguments of LightningCLI.

A model's name is replaced by its recipe, whose settings become the defaults of the run; all other
options override them.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from zoo.core import registry
from zoo.core.settings import read_settings
from zoo.core.signature import arguments_of
from zoo.errors import InputError, check_choice, unknown

SUBCOMMANDS = ("fit", "validate", "test", "predict")
LOGGERS = ("csv", "tensorboard", "wandb")
CHECKPOINT_WORDS = ("best", "last", "hpc", "registry")


class Parser(argparse.ArgumentParser):
    """Argument parser of a command of the zoo; errors are one line.

    Args:
        command: name of the command.
        description: text for ``--help``.
    """

    def __init__(self, command: str, description: str | None) -> None:
        self.command = command
        super().__init__(
            f"zoo {command}",
            description=inspect.cleandoc(description or ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # --data would be taken for --data.root
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.command}: {message}")


def seed(text: str) -> int:
    """Return a random seed given on the command line.

    Raises:
        ValueError: the text is not an integer.
        argparse.ArgumentTypeError: the integer is not from 0 to 2³² − 1, the range of NumPy.
    """
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 2³², got {value}")
    return value


@dataclass
class Invocation:
    """A parsed command line for LightningCLI.

    Args:
        subcommand: ``fit``, ``validate``, ``test`` or ``predict``.
        test_after_fit: whether to test after training, which is the default without a subcommand.
        args: arguments for LightningCLI, starting with the subcommand.
        recipe: settings that ``args`` override; empty if they come from a configuration file.
        given: options on the command line, such as ``--model.latent_dim``.
        classes: class paths of the model and the data, if known before parsing.
        data_seed: the run's seed, if it is also the seed of the data; default None.
    """

    subcommand: str
    test_after_fit: bool
    args: list[str]
    recipe: dict[str, Any] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    classes: dict[str, str] = field(default_factory=dict)
    data_seed: str | None = None


def expand(args: list[str], commands: tuple[str, ...] = ()) -> Invocation:
    """Replace the zoo's names in a command line by recipes and class paths.

    Args:
        args: the command line without the name of the program.
        commands: other commands of the program, for suggestions.

    Raises:
        InputError: unknown subcommand, model, data set or logger (with the nearest names); a model
            class that cannot be imported; no model at all.
    """
    subcommand, rest = _subcommand(list(args), commands)
    rest = _name_classes_of_help(rest)
    given = {arg.split("=")[0] for arg in rest if arg.startswith("--")}
    model, rest = _take(rest, "--model")
    data, rest = _take(rest, "--data")
    loggers, rest = _take_all(rest, "--logger")
    checkpoint, _ = _take(rest, "--ckpt_path")
    configs, rest = _take_all(rest, "--config", "-c", many=False)
    for flag in ("--name", "--trainer.default_root_dir"):
        _refuse_null(flag, _take(rest, flag)[0])
    for name in registry.PROPERTIES:
        if given & {f"--model.{name}", f"--model.init_args.{name}"}:
            raise InputError(f"--model.{name} comes from the data: choose other --data instead")
    if given >= {"--init_from", "--ckpt_path"}:
        raise InputError(
            "--ckpt_path resumes a run, and --init_from starts a new one from its weights: choose "
            "one of them"
        )
    recipe = _recipe(model, data) if model else {}
    if data and "." in data and not model:
        import_class("--data", data)
    contents = [read_settings(path) for path in configs]
    if subcommand in (None, "fit"):  # a resumed run applies what the user's files say
        given |= {option for content in contents for option in _model_options(content)}
    if configs:
        find_modules_of_working_folder()
    if not model and not configs and not given & {"--model.help", "--data.help"}:
        found = _config_beside(checkpoint)
        contents = [_read_found(found, given)]
        configs = [str(found)]
    front = [f"--config={path}" for path in configs]
    if data and not model:
        front.append(f"--data={registry.data_class(data)}")
    if loggers:
        front.append(f"--logger={json.dumps(_check_loggers(loggers))}")
    settings = [recipe, *contents]
    for file, content in zip(configs, contents, strict=True):
        _refuse_old_config(file, content)
    return Invocation(
        subcommand=subcommand or "fit",
        test_after_fit=subcommand is None,
        args=[subcommand or "fit", *front, *rest],
        recipe=recipe,
        given=given,
        classes={key: path for key in ("model", "data") if (path := _class_path(settings, key))},
        data_seed=_data_seed(rest, given, settings),
    )


# -- flags ---------------------------------------------------------------------------------------


def _subcommand(args: list[str], commands: tuple[str, ...]) -> tuple[str | None, list[str]]:
    if args and args[0] in SUBCOMMANDS:
        return args[0], args[1:]
    if args and not args[0].startswith("-"):
        raise unknown("command", args[0], [*SUBCOMMANDS, *commands])
    return None, args


def _refuse_null(flag: str, value: str | None) -> None:
    """Refuse a word that YAML reads as no value, so that the default would be used silently."""
    if not value or not (value in ("~", "null", "Null", "NULL") or value.startswith("#")):
        return
    hint = "choose another one" if flag == "--name" else f"write {flag}=./{value}"
    raise InputError(f"{flag}={value} is read as null: {hint}")


def _name_classes_of_help(args: list[str]) -> list[str]:
    """Replace the names that ``--model.help`` and ``--data.help`` are given by class paths."""
    for flag in ("--model.help", "--data.help"):
        if not any(arg.split("=")[0] == flag for arg in args):
            continue
        name, args = _take(args, flag)
        if name and "." not in name:
            is_model = flag == "--model.help"
            settings = registry.recipe_for(name)[1] if is_model else {}
            name = settings["model"]["class_path"] if is_model else registry.data_class(name)
        args = [*args, f"{flag}={name}"]
    return args


def _take(args: list[str], flag: str) -> tuple[str | None, list[str]]:
    """Return the last value of a flag, and the arguments without it."""
    values, rest = _take_all(args, flag, many=False)
    return (values[-1] if values else None), rest


def _take_all(args: list[str], *flags: str, many: bool = True) -> tuple[list[str], list[str]]:
    """Return all values of flags, and the arguments without them.

    Args:
        args: arguments of the command line.
        flags: a flag and its abbreviations.
        many: whether several values may follow a flag, as in ``--logger csv wandb``; default True.
    """
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
        check_choice("logger", name, LOGGERS)
    return list(dict.fromkeys(names))


# -- recipes and configuration files -------------------------------------------------------------


def _recipe(model: str, data: str | None) -> dict[str, Any]:
    """Return the settings of a recipe, which the rest of the command line overrides."""
    named = None if data is None or "." in data else data
    if "." in model:
        recipe = _recipe_for_class(model, named)
    else:
        name, recipe = registry.recipe_for(model, named)
        recipe["name"] = name
    if data and not named:  # the user's own class, with its defaults
        import_class("--data", data)
        recipe["data"] = {"class_path": data}
        recipe.pop("reference", None)
    return recipe


def _recipe_for_class(path: str, data: str | None) -> dict[str, Any]:
    """Return settings for a class: the recipe of the zoo's class that it is or derives from."""
    cls = import_class("--model", path)
    names = (registry.model_of_class(registry.public_path(c)) for c in cls.__mro__)
    model = next(filter(None, names), None)
    if model:
        _, recipe = registry.recipe_for(model, data)
    else:
        recipe = {"data": {"class_path": registry.data_class(data)}} if data else {}
    known = arguments_of(cls)
    settings = recipe.get("model", {}).get("init_args", {})
    recipe["model"] = {
        "class_path": path,
        "init_args": {key: value for key, value in settings.items() if key in known},
    }
    recipe["name"] = path.rpartition(".")[2]
    if registry.model_of_class(registry.public_path(cls)) is None:
        recipe.pop("reference", None)  # it applies only to the zoo's own class
    return recipe


def _config_beside(checkpoint: str | None) -> Path:
    """Return the configuration file of the run that wrote a checkpoint."""
    if not checkpoint or checkpoint in CHECKPOINT_WORDS:
        raise InputError(
            f"no model given: add --model NAME ({', '.join(registry.list_models())}), "
            "--model package.Class or --config FILE"
        )
    path = Path(checkpoint).absolute()
    config = (path if path.is_dir() else path.parent.parent) / "config.yaml"
    if not config.is_file():
        raise InputError(
            f"no model given, and there is no {config} beside the checkpoint: add --model NAME or "
            "--config FILE"
        )
    return config


def _read_found(config: Path, given: set[str]) -> dict[str, Any]:
    """Return the settings in a file that the user did not name, after checking that it is safe."""
    from zoo.core.trust import Source, check_config

    content = read_settings(config)
    _refuse_old_config(str(config), content)
    check_config(content, Source(config, f"add --config {config}", frozenset(given)))
    return content


def _model_options(content: dict[str, Any]) -> list[str]:
    """Return the options of the model that a configuration file sets."""
    model = content.get("model")
    arguments = model.get("init_args") if isinstance(model, dict) else None
    return [f"--model.init_args.{name}" for name in arguments or {}]


def _class_path(settings: list[dict[str, Any]], key: str) -> str | None:
    """Return the class path of ``model`` or ``data`` in the last settings that have one."""
    for content in reversed(settings):
        part = content.get(key)
        if isinstance(part, dict) and isinstance(part.get("class_path"), str):
            return part["class_path"]
    return None


def _data_seed(args: list[str], given: set[str], settings: list[dict[str, Any]]) -> str | None:
    """Return the run's seed, unless the data have a seed of their own.

    ``--data.seed`` prevails over ``--seed``, and ``--seed`` over the data's seed in a file.
    """
    if given & {"--data.seed", "--data.init_args.seed", "--data.help"}:
        return None
    run_seed, _ = _take(args, "--seed")
    if run_seed is not None:
        return run_seed
    for content in reversed(settings):
        data = content.get("data")
        arguments = data.get("init_args") if isinstance(data, dict) else None
        if isinstance(arguments, dict) and "seed" in arguments:
            return None
        if content.get("seed") is not None:
            return str(content["seed"])
    return None


def _refuse_old_config(path: str, config: dict[str, Any]) -> None:
    """Refuse a configuration file of version 0.1, since classes have moved and arguments have been
    renamed; its checkpoints can still be used."""
    class_path = _class_path([config], "model") or ""
    moved_to = f"zoo.{class_path.rpartition('.')[2]}"
    model = registry.model_of_class(moved_to)
    if not class_path.startswith("zoo.") or class_path == moved_to or model is None:
        return
    if not registry.is_importable(class_path):
        name = config.get("name")
        model = name if name in registry.list_models() else model
        raise InputError(
            f"{path} was written by version 0.1 of the zoo: use --model {model} instead, and "
            "--data NAME if the data are not those of the recipe"
        )


def find_modules_of_working_folder() -> None:
    """Allow imports from the working folder, as in a Python session."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def import_class(flag: str, path: str) -> type:
    """Import a class that the user named, from the working folder or an installed package.

    Raises:
        InputError: see :func:`zoo.core.registry.import_class`.
    """
    find_modules_of_working_folder()
    try:
        cls: type = registry.import_class(path)
    except InputError as error:
        raise InputError(f"{flag} {error}") from error
    return cls


def refuse_trainer_flags(trainer: Any, model_class: type) -> None:
    """Refuse Trainer flags that have no effect on a model with manual optimization.

    Args:
        trainer: settings of the Trainer, by name.
        model_class: class of the model, which may have arguments of the same names.

    Raises:
        InputError: such a flag was given.
    """
    for name, neutral in (("gradient_clip_val", (None, 0)), ("accumulate_grad_batches", (1,))):
        if trainer.get(name) in neutral:
            continue
        hint = f"use --model.{name} instead" if name in arguments_of(model_class) else "remove it"
        raise InputError(
            f"--trainer.{name} has no effect on {model_class.__name__}, which optimizes manually: "
            f"{hint}"
        )

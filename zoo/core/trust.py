"""Trust: which settings in a file that came with a checkpoint are used.

A run folder may come from a stranger, and its ``config.yaml`` names classes that are imported and
called. A class is accepted if it belongs to the zoo or to Lightning, or if the program has already
imported it, which includes the classes that the user names on the command line. No argument may
name a function, and no path may make the program write outside the working folder and the run's.
"""

from __future__ import annotations

import collections.abc
import enum
import inspect
import os
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.core.registry import import_class
from zoo.core.signature import full_signature
from zoo.errors import InputError

PACKAGES = ("zoo", "datamodules", "callbacks", "lightning")

#: sections of a run's ``config.yaml``
SECTIONS = frozenset(
    {
        "model", "data", "trainer", "checkpoint", "seed", "name", "logger", "reference",
        "init_from", "ckpt_path", "weights_only", "verbose", "return_predictions", "datamodule",
        "dataloaders",
    }
)  # fmt: skip

#: types whose values a string or a number describes
PLAIN = (bool, int, float, str, bytes, complex, type(None), os.PathLike, enum.Enum)
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
#: path of another file system, as fsspec takes it, such as ``s3://…``, ``file:/…`` or ``zip::…``
PROTOCOL = re.compile(r"[A-Za-z][\w+.-]+:(:|/)")
#: files and folders beside a checkpoint that commands write
OUTPUTS = ("figures", "figures/*", "evaluation.json", "translations.csv", "forecast*")
CONTAINERS = (list, tuple, dict, set, frozenset, collections.abc.Iterable)


@dataclass(frozen=True)
class Source:
    """A file whose settings are checked.

    Args:
        path: path of the file, in the folder of a run.
        remedy: advice for a user who trusts the file, such as ``add --config FILE``.
        given: options on the command line, which replace the file's; default none.
    """

    path: Path
    remedy: str
    given: frozenset[str] = frozenset()

    def replaces(self, *options: str) -> bool:
        """Return whether the command line gives one of some options."""
        return not self.given.isdisjoint(options)

    def error(self, reason: str) -> InputError:
        """Return the error for a setting that is not used."""
        return InputError(f"{self.path}: {reason}; if you trust this file, {self.remedy}")

    def is_inside(self, path: str) -> bool:
        """Return whether a path is in the working folder, the run's folder, or the data folder."""
        if is_expanded(path):
            return False
        folders = [Path.cwd(), self.path.parent, Path(os.environ.get("ZOO_DATA", "data"))]
        target = Path(path).resolve()
        return any(target.is_relative_to(folder.resolve()) for folder in folders)


def is_expanded(path: str) -> bool:
    """Return whether a library may read ``~/x``, ``$HOME/x`` or ``file:/x`` as another path."""
    is_variable = os.path.expandvars(path) != path
    return is_variable or path.startswith("~") or PROTOCOL.match(path) is not None


def check_links(folder: Path) -> None:
    """Refuse links beside a checkpoint through which a command would write outside the folder.

    Args:
        folder: folder of a run, or another folder with a checkpoint in it.

    Raises:
        InputError: names the link.
    """
    is_run = (folder / "config.yaml").exists() or (folder / "checkpoints").exists()
    for pattern in ("*", "checkpoints/*", "figures/*") if is_run else OUTPUTS:
        for path in sorted(folder.glob(pattern)):
            if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(
                    f"{path} is a link to {path.resolve()}, outside the folder of the run, where "
                    "nothing must be written: replace the link by a copy"
                )


def check_config(config: Mapping[str, Any], source: Source) -> None:
    """Check the settings of a run that were found beside a checkpoint.

    Args:
        config: contents of ``config.yaml``.
        source: the file that they come from.

    Raises:
        InputError: the settings name a class that is not trusted, or a function; a path outside the
            working folder and the run's; an unknown section.
    """
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.profilers import Profiler

    for key in config:
        if key not in SECTIONS:
            raise source.error(f"{key!r} is not a section of a run's settings")
    check_class(config.get("model"), "model", LightningModule, source)
    check_class(config.get("data"), "data", LightningDataModule, source)
    check_data_folder(config.get("data"), source)
    trainer = config.get("trainer")
    if trainer is None:
        return
    if not isinstance(trainer, Mapping):
        raise source.error("trainer must contain settings by name")
    parents = {"callbacks": Callback, "logger": Logger, "profiler": Profiler}
    parameters = full_signature(Trainer).parameters
    for key, value in trainer.items():
        if key == "default_root_dir":
            _check_root(value, source)
            continue
        _check_annotation(value, parameters.get(key), f"trainer.{key}", source)
        for item in value if isinstance(value, list) else [value]:
            is_name = isinstance(item, str) and key in ("callbacks", "logger")
            if isinstance(item, Mapping | list) or is_name:
                check_class(item, f"trainer.{key}", parents.get(key), source)
        _check_strings(value, f"trainer.{key}", source)


def check_class(value: Any, name: str, parent: type | None, source: Source) -> None:
    """Check a class that a file names, and its arguments.

    Args:
        value: ``{"class_path": …, "init_args": {…}}``, or None.
        name: name of the setting, for the message.
        parent: class that the named class must derive from; None refuses every class.
        source: the file that names the class.

    Raises:
        InputError: see :func:`check_config`.
    """
    if value is None:
        return
    if not isinstance(value, Mapping) or not isinstance(value.get("class_path"), str):
        raise source.error(f"{name} must have a class_path and init_args")
    path = value["class_path"]
    cls = _find(path, source)
    if parent is None or not issubclass(cls, parent):
        kind = "a class" if parent is None else f"{path}, which is not a {parent.__name__}"
        raise source.error(f"{name} names {kind}")
    _check_arguments(value, cls, name, source)


def check_data_folder(data: Mapping[str, Any] | None, source: Source) -> None:
    """Check the folder of the data, into which missing files would be downloaded."""
    for group in ("init_args", "dict_kwargs"):
        root = ((data or {}).get(group) or {}).get("root")
        if root is None or source.replaces("--data.root", "--data.init_args.root"):
            continue
        if not isinstance(root, str) or not source.is_inside(root):
            raise InputError(
                f"{source.path}: the data are in {root}, outside the working folder: "
                f"confirm it with --data.root {root}"
            )


def check_values(value: Any, name: str, source: Source) -> None:
    """Check every class named inside a value, such as a checkpoint's hyper-parameters."""
    if isinstance(value, Mapping):
        if "class_path" in value:
            cls = _find(str(value["class_path"]), source)
            _check_arguments(value, cls, name, source)
            return
        for key, item in value.items():
            check_values(item, f"{name}.{key}", source)
    elif isinstance(value, list | tuple):
        for item in value:
            check_values(item, name, source)


# -- classes and their arguments -------------------------------------------------------------------


def _find(path: str, source: Source) -> type:
    """Return the class at a dotted path; only trusted packages are imported for it."""
    module, _, name = path.rpartition(".")
    is_demo = module.startswith("lightning.pytorch.demos")  # which downloads to any folder
    if module.partition(".")[0] in PACKAGES and not is_demo:
        try:
            cls: Any = import_class(path)
        except InputError as error:
            raise InputError(f"{source.path}: {error}") from error
        if cls.__module__.partition(".")[0] in PACKAGES:
            return cls
    cls = getattr(sys.modules.get(module), name, None)
    if isinstance(cls, type) and _is_own_kind(cls):
        return cls
    raise source.error(
        f"{path} is not part of the zoo or Lightning and has not been imported by you"
    )


def _is_own_kind(cls: type) -> bool:
    """Return whether a class is of a kind that users write: a model, a data module or a callback.

    Other classes that happen to be imported, such as ``subprocess.Popen``, must not be called.
    """
    from lightning.pytorch import Callback, LightningDataModule, LightningModule

    return issubclass(cls, LightningModule | LightningDataModule | Callback)


def _check_arguments(value: Mapping[str, Any], cls: type, name: str, source: Source) -> None:
    parameters = full_signature(cls).parameters
    for group in ("init_args", "dict_kwargs"):
        arguments = value.get(group) or {}
        if not isinstance(arguments, Mapping):
            raise source.error(f"{name}.{group} must contain arguments by name")
        for key, argument in arguments.items():
            where = f"{name}.{key}"
            _check_annotation(argument, parameters.get(key), where, source)
            check_values(argument, where, source)


def _check_annotation(
    argument: Any, parameter: inspect.Parameter | None, where: str, source: Source
) -> None:
    """Refuse a string, or a class path, for an argument that takes a function or an object.

    The command line's parser would import the object that such a string names.

    Args:
        argument: value of the argument in the file.
        parameter: parameter of the constructor; None if it is passed on through ``**``.
        where: name of the setting, for the message.
        source: the file.
    """
    kinds = {"unknown"} if parameter is None else set(_kinds(parameter.annotation))
    strings = list(_strings(argument))
    if "function" in kinds and (strings or isinstance(argument, Mapping)):
        raise source.error(f"{where} names a function, {argument!r}")
    for text in strings:
        if ("object" in kinds and ("." in text or "/" in text)) or (
            "unknown" in kinds and DOTTED_NAME.fullmatch(text)
        ):
            raise source.error(f"{where} names {text!r}, which would be imported")


def _kinds(annotation: Any) -> Iterator[str]:
    """Yield ``function``, ``object`` or ``plain`` for each type in an annotation."""
    origin = typing.get_origin(annotation)
    if collections.abc.Callable in (annotation, origin) or type in (annotation, origin):
        yield "function"
    elif origin is not None and origin is not typing.Literal:
        for argument in typing.get_args(annotation):
            yield from _kinds(argument)
    elif isinstance(annotation, type) and annotation is not inspect.Parameter.empty:
        yield "plain" if issubclass(annotation, (*PLAIN, *CONTAINERS)) else "object"
    else:  # a name that is imported only for type checkers, Any, or a literal
        yield "function" if "Callable" in str(annotation) else "plain"


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings in a value, without those in the arguments of a class."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


# -- paths -----------------------------------------------------------------------------------------


def _check_root(root: Any, source: Source) -> None:
    """Check the folder of all runs: it must be in the working folder, or contain this run."""
    if root is None or source.replaces("--trainer.default_root_dir"):
        return
    own = source.path.parent.parent.parent  # ROOT/NAME/TIME/config.yaml
    if isinstance(root, str) and (source.is_inside(root) or Path(root).resolve() == own.resolve()):
        return
    raise InputError(
        f"{source.path}: its runs are written to {root}, outside the working folder: confirm it "
        f"with --trainer.default_root_dir {root}"
    )


def _check_strings(value: Any, name: str, source: Source) -> None:
    """Refuse every path outside the working folder in settings of the Trainer."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_strings(item, f"{name}.{key}", source)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item, name, source)
    elif isinstance(value, str):
        is_path = Path(value).is_absolute() or ".." in Path(value).parts
        if (is_path or is_expanded(value)) and not source.is_inside(value):
            raise source.error(f"{name} is {value!r}, a path outside the working folder")

"""Settings of the Trainer that Lightning accepts although they cannot work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from zoo.core import registry
from zoo.core.signature import full_signature
from zoo.errors import InputError, check_at_least, check_non_negative

CALLBACKS = "--trainer.callbacks"
#: settings that leave nothing to train if they are 0
NO_TRAINING = ("max_epochs", "max_steps", "limit_train_batches")


def check_trainer_settings(settings: Mapping[str, Any], subcommand: str) -> None:
    """Check the ranges of settings of the Trainer that Lightning does not check.

    Args:
        settings: settings by name.
        subcommand: ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        InputError: a value out of range; ``fit`` without anything to train.
    """
    at_least_one = ("accumulate_grad_batches", "check_val_every_n_epoch")
    check_at_least(1, **{f"--trainer.{name}": settings.get(name) for name in at_least_one})
    others = ("gradient_clip_val", "log_every_n_steps", "min_epochs", "min_steps")
    check_non_negative(**{f"--trainer.{name}": settings.get(name) for name in others})
    if settings.get("val_check_interval") in (0, 0.0):
        raise InputError(
            "--trainer.val_check_interval must be positive, got 0: to train without validation, "
            "set --trainer.limit_val_batches 0"
        )
    for name in NO_TRAINING:
        if subcommand == "fit" and settings.get(name) in (0, 0.0):
            raise InputError(
                f"--trainer.{name} 0 leaves nothing to train: raise it, or use the command test"
            )


def full_callback_names(args: Sequence[str]) -> list[str]:
    """Return a command line with the full names of callbacks that were given by bare names.

    A bare name is that of Lightning's callback, else of the zoo's. The parser alone would refuse a
    name that both have, such as ``EarlyStopping``, once the zoo's class has been imported.

    Args:
        args: arguments such as ``--trainer.callbacks+=EarlyStopping``.
    """
    named = []
    for before, arg in zip(["", *args], args, strict=False):
        flag, equals, value = arg.rpartition("=")
        if equals and flag.rstrip("+") == CALLBACKS:
            named.append(f"{flag}={_full_name(value)}")
        elif before.rstrip("+") == CALLBACKS:
            named.append(_full_name(arg))
        else:
            named.append(arg)
    return named


def _full_name(name: str) -> str:
    import lightning.pytorch.callbacks as lightning_callbacks

    import callbacks

    if name in lightning_callbacks.__all__:
        return f"lightning.pytorch.callbacks.{name}"
    return f"callbacks.{name}" if name in callbacks.__all__ else name


def refuse_word(word: str, runs: Path) -> InputError:
    """Return the error for Lightning's words for checkpoints, such as ``best``.

    They have no meaning here, since every run has its own folder.

    Args:
        word: ``best``, ``last``, ``hpc`` or ``registry``.
        runs: folder ``ROOT/NAME`` of the runs of the same name.
    """
    found = runs.glob(f"*/checkpoints/{word}.ckpt")
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    example = newest or runs / "TIME" / "checkpoints" / "best.ckpt"
    return InputError(f"--ckpt_path {word!r} is not a file: give the checkpoint, such as {example}")


def is_from_lightning(traceback: TracebackType | None) -> bool:
    """Return whether an error was raised by Lightning itself, about its settings."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    name = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return str(name).startswith(("lightning.pytorch", "lightning.fabric"))


def refuse_null(section: str, settings: Any) -> None:
    """Refuse null for an argument whose default is not null and whose type does not allow it.

    The parser accepts null for every argument of a class.

    Args:
        section: ``model`` or ``data``.
        settings: the section's class path and arguments, or None.

    Raises:
        InputError: an argument is null.
    """
    if not settings or not settings.get("init_args"):
        return
    parameters = full_signature(registry.import_class(settings["class_path"])).parameters
    for name, value in settings["init_args"].items():
        parameter = parameters.get(name)
        if value is not None or parameter is None or name in registry.PROPERTIES:
            continue
        takes_null = parameter.default is None or parameter.annotation is parameter.empty
        if not takes_null and not {None, type(None), Any} & set(_members(parameter.annotation)):
            raise InputError(f"--{section}.{name} must not be null")


def _members(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))

"""Settings of the Trainer that Lightning accepts although they cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from zoo.errors import InputError, check_at_least, check_non_negative

NO_TRAINING = ("max_epochs", "max_steps", "limit_train_batches")  # at 0


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


def refuse_word(word: str, runs: Path) -> InputError:
    """Return the error for Lightning's words for checkpoints, as every run has its own folder.

    Args:
        word: ``best``, ``last``, ``hpc`` or ``registry``.
        runs: folder ``ROOT/NAME`` of the runs of the same name.
    """
    found = runs.glob(f"*/checkpoints/{word}.ckpt")
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    example = newest or runs / "TIME" / "checkpoints" / "best.ckpt"
    return InputError(f"--ckpt_path {word!r} is not a file: give the checkpoint, such as {example}")


def is_from_lightning(traceback: TracebackType | None) -> bool:
    """Return whether an error was raised by Lightning itself, about the settings that it got."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    name = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return str(name).startswith(("lightning.pytorch", "lightning.fabric"))

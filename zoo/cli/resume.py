"""Resumed runs: the folder, ``metrics.csv`` and Weights & Biases run that they continue."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Any

import torch

from zoo.core.files import replacing
from zoo.core.trust import check_links
from zoo.errors import InputError

#: functions that restore the training state, by module
RESTORING = {
    "zoo.cli.resume": ("resumed_run",),
    "zoo.core.resume": ("load", "on_fit_start", "on_train_start"),
    "lightning.pytorch.trainer.connectors.checkpoint_connector": (
        "restore_training_state", "restore_loops", "restore_optimizers_and_schedulers",
        "restore_callbacks", "_restore_modules_and_callbacks",
    ),
}  # fmt: skip
WANDB_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(.+)")


@dataclass(frozen=True)
class ResumedRun:
    """A run that continues from a checkpoint.

    Args:
        checkpoint: the checkpoint file.
        folder: folder of the run that wrote it, if this run continues there.
        step: number of optimizer steps before the checkpoint.
        num_rows: number of rows in ``metrics.csv`` before the checkpoint; None if unknown.
        num_unlogged: number of rows in the checkpoint that had not been written yet.
        finished: reason why there is nothing left to train, or an empty string.
    """

    checkpoint: Path
    folder: Path | None
    step: int
    num_rows: int | None
    num_unlogged: int
    finished: str

    @property
    def rows(self) -> list[dict[str, str]]:
        """Rows of ``metrics.csv`` before the checkpoint; for a finished run, all but its tests."""
        rows = read_rows(self.folder) if self.folder else []
        if self.finished:
            return [row for row in rows if not any(name.startswith("test/") for name in row)]
        if self.num_rows is not None:
            return rows[: self.num_rows]
        return [row for row in rows if int(row.get("step", 0)) < self.step]

    @property
    def wandb_id(self) -> str | None:
        """Identifier of the folder's run in Weights & Biases."""
        if self.folder is None:
            return None
        found = [
            (path.stat().st_mtime, match[1])
            for path in (self.folder / "wandb").glob("*run-*")
            if path.is_dir() and (match := WANDB_FOLDER.fullmatch(path.name))
        ]
        return max(found)[1] if found else None

    def describe(self) -> str:
        """Return the line that is printed before training."""
        if self.finished:
            return f"nothing to train: {self.finished}"
        where = f" in {self.folder}" if self.folder else ""
        dropped = 0
        if self.folder:
            dropped = len(read_rows(self.folder)) - len(self.rows) - self.num_unlogged
        rows = f"; rows of metrics.csv after it are replaced: {dropped}" if dropped > 0 else ""
        return f"resuming {self.checkpoint.name} after step {self.step:,}{where}{rows}"


@contextmanager
def faults_explained(checkpoint: str | Path | None) -> Iterator[None]:
    """Report errors in a checkpoint's training state in one line.

    Other errors, such as those of a user's callback, are raised unchanged.

    Args:
        checkpoint: the checkpoint file; None if the run does not start from one.
    """
    try:
        yield
    except (InputError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if checkpoint is None or not _is_restoring(error.__traceback__):
            raise
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise InputError(
            f"cannot restore the training state in {checkpoint} ({reason}); start a new run from "
            f"its weights with --model NAME --init_from {checkpoint} (ZOO_DEBUG=1 shows where)"
        ) from error


def _is_restoring(traceback: TracebackType | None) -> bool:
    """Return whether an error was raised by a function that restores the training state."""
    frames = walk_tb(traceback)
    return any(frame.f_code.co_name in RESTORING.get(_module(frame), ()) for frame, _ in frames)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


@contextmanager
def files_restored_if_refused(run_folder: Path, loggers: Iterable[Any]) -> Iterator[None]:
    """Restore ``config.yaml`` and ``metrics.csv`` of a resumed run if it ends with an InputError.

    The metrics are kept once new rows have been written.
    """
    files = [run_folder / name for name in ("config.yaml", "metrics.csv")]
    former = {path: path.read_bytes() for path in files if path.is_file()}
    try:
        yield
    except InputError:
        if any(getattr(logger, "has_new_rows", False) for logger in loggers):
            former.pop(run_folder / "metrics.csv", None)
        for path, content in former.items():
            with replacing(path) as partial:
                partial.write_bytes(content)
        raise


def resumed_run(
    path: str | Path,
    checkpoint: Mapping[str, Any],
    config: Mapping[str, Any],
    given: Collection[str],
) -> ResumedRun:
    """Return the run that continues from a checkpoint.

    It continues in the folder of the run that wrote the checkpoint, unless the user chose another
    name or another folder of runs.

    Args:
        path: the checkpoint file.
        checkpoint: its contents.
        config: settings of the run.
        given: options on the command line.

    Raises:
        InputError: the folder contains a link that leads out of it.
    """
    path, settings = Path(path), config["trainer"]
    name = config["name"] if "--name" in given else None
    root = settings["default_root_dir"] if "--trainer.default_root_dir" in given else None
    folder = path.absolute().parent.parent
    is_run = path.parent.name == "checkpoints" and (folder / "config.yaml").is_file()
    is_own = name in (None, folder.parent.name) and (
        root is None or Path(root).resolve() == folder.parent.parent.resolve()
    )
    own = None
    if is_run and is_own:
        check_links(folder)
        own = Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder
    progress = checkpoint.get("progress", {})
    return ResumedRun(
        checkpoint=path,
        folder=own,
        step=int(checkpoint.get("global_step", 0)),
        num_rows=progress.get("rows"),
        num_unlogged=1 if progress.get("unlogged") else 0,
        finished=_finished(checkpoint, settings),
    )


def _finished(checkpoint: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return why a checkpoint is at the end of its training, or an empty string."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = progress.get("epoch_progress", {}).get("current", {}).get("processed", 0)
    steps, max_epochs = checkpoint.get("global_step", 0), settings.get("max_epochs")
    max_steps = settings.get("max_steps", -1)
    if max_epochs not in (None, -1) and epochs >= max_epochs:
        return (
            f"the checkpoint is at the end of epoch {epochs} of {max_epochs}; raise "
            "--trainer.max_epochs to train longer"
        )
    batches = progress.get("epoch_loop.batch_progress", {}).get("total", {})
    is_complete = batches.get("completed") == batches.get("processed")
    if max_steps not in (None, -1) and steps >= max_steps and is_complete:
        return (
            f"the checkpoint is at step {steps:,} of {max_steps:,}; raise --trainer.max_steps to "
            "train longer"
        )
    patience = _patience(settings)
    waits = [
        state.get("wait_count", 0)
        for key, state in checkpoint.get("callbacks", {}).items()
        if key.startswith("EarlyStopping")
    ]
    if patience is not None and waits and max(waits) >= patience:
        return (
            f"early stopping ended this run after epoch {epochs}; raise patience={patience} of the "
            "callback EarlyStopping to train longer"
        )
    return ""


def _patience(settings: Mapping[str, Any]) -> int | None:
    """Return the patience of early stopping in the settings of the Trainer; None without it."""
    callbacks = settings.get("callbacks") or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        if str(callback.get("class_path")).endswith("EarlyStopping"):
            return callback.get("init_args", {}).get("patience")
    return None


def restore_position(trainer: Any, checkpoint: Mapping[str, Any]) -> None:
    """Set the Trainer's epoch and step to the end of a finished run, for its loggers."""
    if state := checkpoint.get("loops", {}).get("fit_loop"):
        trainer.fit_loop.load_state_dict(state)
        progress = trainer.fit_loop.epoch_progress.current
        progress.completed = progress.processed


def runs_of(config: Mapping[str, Any]) -> Path:
    """Return the folder ``ROOT/NAME`` of the runs with the name in a configuration."""
    name = config["name"] or config["model"]["class_path"].rpartition(".")[2]
    return Path(config["trainer"]["default_root_dir"] or "runs") / name


def slurm_suffix() -> str:
    """Return the suffix of this SLURM job's run folders; empty outside of SLURM."""
    from lightning.pytorch.plugins.environments import SLURMEnvironment

    return f"-slurm-{os.environ['SLURM_JOB_ID']}" if SLURMEnvironment.detect() else ""


def requeued_checkpoint(config: Mapping[str, Any]) -> str | None:
    """Return the latest checkpoint of this SLURM job if it has been requeued, else None.

    Args:
        config: settings of the run.
    """
    suffix = slurm_suffix()
    if not suffix or int(os.environ.get("SLURM_RESTART_COUNT", "0")) == 0:
        return None
    found = [
        path
        for name in ("interrupted.ckpt", "last.ckpt")
        for path in runs_of(config).glob(f"*{suffix}/checkpoints/{name}")
    ]
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    return None if newest is None else str(newest)


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of ``metrics.csv``, without empty cells.

    Raises:
        InputError: the file is not a table.
    """
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    if not path.is_file():
        raise _damaged(path, "not a file")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, restkey=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, str(error)) from error
    if any("" in row for row in rows):
        raise _damaged(path, "a row has more cells than there are columns")
    return [{k: v for k, v in row.items() if v} for row in rows]


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is damaged ({reason}): delete it, and the run goes on without its earlier rows"
    )

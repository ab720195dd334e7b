"""The folder of a run, ``ROOT/NAME/TIME``, and the loggers that write into it."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from zoo.cli.arguments import LOGGERS
from zoo.errors import InputError, check_choice, check_folder_name


class MetricsFile(CSVLogger):
    """CSV logger that writes ``metrics.csv`` only; the settings are in ``config.yaml``."""

    def log_hyperparams(self, params: Any = None) -> None:
        pass


def make_run_folder(root: str | Path, name: str) -> Path:
    """Create a new folder ``root/name/TIME``; only the first process writes to the disk.

    Raises:
        InputError: the name is not that of a folder; the folder cannot be written.
    """
    check_folder_name("--name", name)
    parent = Path(root) / name
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if rank_zero_only.rank:
        return parent / time
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for suffix in ["", *(f"-{i}" for i in range(2, 1000))]:
            path = parent / (time + suffix)
            try:
                path.mkdir()
            except FileExistsError:  # another run started in the same second
                continue
            return path
    except OSError as error:
        raise InputError(
            f"cannot write the run folder {parent}: {error.strerror}; choose another with "
            "--trainer.default_root_dir"
        ) from error
    raise InputError(f"cannot find a free name for a run in {parent}")


def make_logger(kind: str, run_folder: Path) -> Logger:
    """Create a logger that writes into the run folder.

    Args:
        kind: ``csv``, ``tensorboard`` or ``wandb``.
        run_folder: ``ROOT/NAME/TIME``.

    Raises:
        InputError: an unknown logger; its package is not installed.
    """
    check_choice("logger", kind, LOGGERS)
    name, time = run_folder.parent.name, run_folder.name
    root = run_folder.parent.parent
    try:
        if kind == "csv":
            return MetricsFile(root, name, time)
        if kind == "tensorboard":
            return TensorBoardLogger(root, name, time)
        project = os.environ.get("WANDB_PROJECT", "lightning-model-zoo")
        # absolute: the service process of wandb may have started in another folder
        return WandbLogger(f"{name}/{time}", run_folder.absolute(), project=project)
    except ModuleNotFoundError as error:
        raise InputError(
            f'--logger {kind} needs the package {kind}: pip install "lightning-model-zoo[{kind}]"'
        ) from error

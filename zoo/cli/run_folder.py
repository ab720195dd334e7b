"""The folder of a run, ``ROOT/NAME/TIME``, and the loggers that write into it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from zoo.cli.arguments import LOGGERS
from zoo.cli.resume import ResumedRun, slurm_suffix
from zoo.core.files import replacing
from zoo.errors import (
    InputError,
    check_choice,
    check_folder_name,
    describe_system_error,
    writing,
)


class _MetricsWriter(ExperimentWriter):
    """Lightning's writer of ``metrics.csv``, which loses no row if the disk is full.

    Args:
        folder: folder of the file.
        rows: rows that the file starts with; a former file is replaced by them.
    """

    def __init__(self, folder: str, rows: Sequence[Mapping[str, str]]) -> None:
        with writing(folder):
            super().__init__(folder)
        self._path = Path(self.metrics_file_path)
        self.metrics_keys = sorted({name for row in rows for name in row})
        if rows:
            self._write_file(self.metrics_keys, rows)
        else:
            self._path.unlink(missing_ok=True)

    def _check_log_dir_exists(self) -> None:
        """Do nothing: the parent deletes the former file."""

    def save(self) -> None:
        with writing(self._path):
            names = list(self.metrics_keys)
            self._size = self._path.stat().st_size if self._path.is_file() else 0
            try:
                super().save()
            except (OSError, InputError):  # saved again when the Trainer ends
                self.metrics_keys = names
                if self._path.is_file():
                    os.truncate(self._path, self._size)  # no half of a row
                raise

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self._path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._write_file(fieldnames, rows)

    def _write_file(self, names: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
        with (
            replacing(self._path) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        self._size = self._path.stat().st_size


class MetricsFile(CSVLogger):
    """CSV logger that writes ``metrics.csv`` only; the settings are in ``config.yaml``.

    Args:
        root: folder of all runs.
        name: name of the run.
        version: time of the run; the file is ``ROOT/NAME/VERSION/metrics.csv``.
        rows: rows of a resumed run, with which the file starts; default none.
    """

    def __init__(
        self, root: Path, name: str, version: str, rows: Sequence[Mapping[str, str]] = ()
    ) -> None:
        super().__init__(root, name, version)
        self._first_rows = rows
        self._experiment: _MetricsWriter | None = None
        #: number of rows so far
        self.num_rows = len(rows)

    @property
    def has_new_rows(self) -> bool:
        """True once a row has been logged after those of the resumed run."""
        return self.num_rows > len(self._first_rows)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _MetricsWriter(self.log_dir, self._first_rows)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        self.num_rows += 1

    def log_hyperparams(self, params: Any = None) -> None:
        pass


def make_run_folder(root: str | Path, name: str) -> Path:
    """Create a new folder ``root/name/TIME``; only the first process writes to the disk.

    In a SLURM job, the folder's name ends with the job's number, by which the job finds the folder
    after it has been requeued.

    Raises:
        InputError: the name is not a valid folder name; the folder cannot be written.
    """
    check_folder_name("--name", name)
    parent = Path(root) / name
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + slurm_suffix()
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
            f"cannot write the run folder {parent}: "
            f"{describe_system_error(error, 'or choose another --trainer.default_root_dir')}"
        ) from error
    raise InputError(f"cannot find a free name for a run in {parent}")


def make_logger(kind: str, run_folder: Path, resumed: ResumedRun | None = None) -> Logger:
    """Create a logger that writes into the run folder.

    Args:
        kind: ``csv``, ``tensorboard`` or ``wandb``.
        run_folder: ``ROOT/NAME/TIME``.
        resumed: the run that is continued in this folder, default none.

    Raises:
        InputError: an unknown logger; its package is not installed.
    """
    check_choice("logger", kind, LOGGERS)
    name, time = run_folder.parent.name, run_folder.name
    root = run_folder.parent.parent
    try:
        if kind == "csv":
            return MetricsFile(root, name, time, resumed.rows if resumed else ())
        if kind == "tensorboard":
            return TensorBoardLogger(root, name, time, purge_step=resumed and resumed.step)
        project = os.environ.get("WANDB_PROJECT", "lightning-model-zoo")
        # an absolute path, as the service process of wandb may have started in another folder
        run_id = resumed.wandb_id if resumed else None
        options = {"id": run_id, "resume": "allow"} if run_id else {}
        return WandbLogger(f"{name}/{time}", run_folder.absolute(), project=project, **options)
    except ModuleNotFoundError as error:
        raise InputError(
            f'--logger {kind} needs the package {kind}: pip install "lightning-model-zoo[{kind}]"'
        ) from error


def upload_checkpoints(run_folder: Path, loggers: Sequence[Logger]) -> None:
    """Upload a run's checkpoints to Weights & Biases as one artifact."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            artifact = wandb.Artifact(f"{run_folder.parent.name}-checkpoints", type="model")
            for path in sorted((run_folder / "checkpoints").glob("*.ckpt")):
                artifact.add_file(str(path))
            logger.experiment.log_artifact(artifact)

"""Output of a run: its metrics, the paths of its files, and the files of its predictions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.model_summary import summarize

from zoo.core.files import replacing, write_text
from zoo.core.predictions import prediction_table
from zoo.core.report import concatenate_batches, metrics_table, print_rank_zero, short_path
from zoo.core.task import Task


def print_metrics(trainer: Trainer, stage: str) -> None:
    """Print the metrics of a stage, ``val`` or ``test``, with their descriptions."""
    metrics = {
        name.split("/", 1)[1]: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(f"{stage}/")
    }
    model = trainer.lightning_module
    task = model if isinstance(model, Task) else None
    notes, remarks = (task.describe_metrics(), task.remarks(metrics)) if task else ({}, [])
    print_rank_zero(metrics_table(stage, metrics, notes, remarks))


def print_files(run_folder: Path, checkpoint: str | None) -> None:
    """Print the paths of a run's files.

    Args:
        run_folder: folder of the run.
        checkpoint: checkpoint to use, if there is one.
    """
    if checkpoint:
        print_rank_zero(f"checkpoint  {short_path(checkpoint)}")
    if count := len(list((run_folder / "figures").glob("*.*"))):
        files = "1 file" if count == 1 else f"{count} files"
        print_rank_zero(f"figures     {run_folder / 'figures'}  ({files})")
    if (texts := run_folder / "samples.txt").is_file():
        print_rank_zero(f"texts       {texts}")
    print_rank_zero(f"run         {run_folder}")


def write_predictions(trainer: Trainer, batches: Any, run_folder: Path) -> None:
    """Write the predictions of this process as tensors, and as a table if they fit into one.

    Args:
        trainer: trainer whose predictions are written.
        batches: outputs of ``predict_step`` for each batch.
        run_folder: folder of the run; other processes use the folder of the first one.
    """
    rank = f"-rank{trainer.global_rank}" if trainer.world_size > 1 else ""
    # other processes start later, and would name another folder
    folder = Path(trainer.strategy.broadcast(str(run_folder)))
    outputs = concatenate_batches(batches)
    path = folder / f"predictions{rank}.pt"
    with replacing(path) as partial, open(partial, "wb") as file:
        torch.save(outputs, file)
    print_rank_zero(f"predictions {path}")
    if not isinstance(outputs, dict):  # the model is not one of the zoo's
        return
    data, loader = getattr(trainer, "datamodule", None), trainer.predict_dataloaders
    table = prediction_table(trainer.lightning_module, outputs, data, loader)
    if table is not None:
        path = path.with_suffix(".csv")
        write_text(path, table.to_csv(index=False))
        rows = "1 row" if len(table) == 1 else f"{len(table):,} rows"
        print_rank_zero(f"table       {path}  ({rows})")


def write_config(
    text: str, run_folder: Path, model: LightningModule, loggers: Iterable[Logger]
) -> None:
    """Write the complete settings to ``config.yaml`` and to the loggers that take them.

    Args:
        text: the settings in YAML.
        run_folder: folder of the run.
        model: model whose layers are summarized for Weights & Biases.
        loggers: loggers of the run.
    """
    write_text(run_folder / "config.yaml", text)
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            summary = str(summarize(model, max_depth=3))
            logger.log_hyperparams({"config": yaml.safe_load(text), "model_summary": summary})
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("config", f"```\n{text}\n```")

"""GIN on MUTAG over ten folds, judged in two ways.

As Xu et al. 2019 (section 7) judge: each fold's model is tested after every epoch, the ten curves
are averaged, and the best epoch's mean and standard deviation over the folds are the result, which
is thus chosen by the test folds. And as one may judge a model that is to be used: in each fold the
epoch is chosen by a validation fold, which training then lacks.

Run: python -m benchmarks.graphs [SEEDS]. Writes the section "Graphs" of docs/results.md.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch import Callback

from benchmarks.loop import elsewhere
from datamodules import TUDataset
from zoo import create_model
from zoo.cli.commands.reproduce import PAGE, hardware, write_row
from zoo.core.quiet import silence_libraries
from zoo.core.registry import read_recipe
from zoo.core.speed import keep_freed_memory

RECIPE, FOLDS = "gin-tudataset", 10
HEADER = ("protocol", "accuracy", "reference", "runs", "command")
REFERENCE = "≥ 0.88 (Xu et al. 2019: 0.894 ± 0.056)"


class Curves(Callback):
    """Accuracy of each split after every epoch."""

    def __init__(self, data: TUDataset) -> None:
        self.data = data
        self.curves: dict[str, list[float]] = {"val": [], "test": []}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.eval()
        with torch.no_grad():
            for name, curve in self.curves.items():
                right = count = 0
                for batch in getattr(self.data, f"{name}_dataloader")():
                    right += int((pl_module.logits(batch).argmax(1) == batch.y).sum())
                    count += len(batch.y)
                curve.append(right / max(count, 1))
        pl_module.train()


def train(fold: int, seed: int, validate: bool) -> dict[str, list[float]]:
    """The curves of one fold."""
    L.seed_everything(seed, verbose=False)
    root = str(TUDataset().root.absolute())
    data = TUDataset(fold=fold, validate=validate, seed=seed, root=root)
    curves = Curves(data)
    settings = read_recipe(RECIPE)["trainer"]
    with elsewhere():
        trainer = L.Trainer(
            max_epochs=settings["max_epochs"], accelerator="cpu", callbacks=[curves],
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        model = create_model(RECIPE.split("-")[0], "tudataset", num_features=7, num_classes=2)
        trainer.fit(model, data)
    return curves.curves


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 3
    keep_freed_memory()
    silence_libraries()
    for validate in (False, True):
        start = time.perf_counter()
        found, deviations = [], []
        for seed in range(seeds):
            runs = [train(fold, seed, validate) for fold in range(FOLDS)]
            tests = torch.tensor([run["test"] for run in runs])  # (folds, epochs)
            if validate:
                epochs = torch.tensor([run["val"] for run in runs]).argmax(1)
                reached = tests[torch.arange(FOLDS), epochs]
            else:
                reached = tests[:, tests.mean(0).argmax()]
            found.append(float(reached.mean()))
            deviations.append(float(reached.std()))
        seconds = (time.perf_counter() - start) / seeds
        spread = f" ± {statistics.stdev(found):.3f} over seeds" if seeds > 1 else ""
        row = [
            "epoch chosen by a validation fold" if validate else "the paper's: best mean epoch",
            f"{statistics.mean(found):.3f}{spread}, ± {statistics.mean(deviations):.3f} over folds",
            "–" if validate else REFERENCE,
            f"{seeds} seeds of {FOLDS} folds of {tests.shape[1]} epochs, {seconds:.0f} s each, "
            f"{hardware()}, {date.today().isoformat()}",
            "`python -m benchmarks.graphs`",
        ]
        write_row(Path(PAGE), "Graphs", HEADER, row)
        print(" | ".join(row))


if __name__ == "__main__":
    main(sys.argv[1:])

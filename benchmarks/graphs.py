"""Accuracy of GIN on MUTAG in ten-fold cross-validation, by two protocols.

* The protocol of Xu et al. 2019 (section 7): the model of each fold is tested after every epoch,
  the ten curves are averaged, and mean and standard deviation over the folds are reported for the
  best epoch. The epoch is chosen on the test folds, so the result is optimistic.
* Model selection: in each fold the epoch is chosen on a validation fold, which is left out of
  training.

PyG downloads MUTAG to the folder given by ZOO_DATA. Writes the section "Graphs" of
docs/results.md. Reference: Xu et al. 2019 report 0.894 ± 0.056.

Hardware: CPU. Run: python -m benchmarks.graphs [SEEDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch import Callback

from benchmarks.common import fit, mean_and_std, write_result
from datamodules import TUDataset
from zoo import create_model
from zoo.cli.commands.reproduce import pluralize
from zoo.core.quiet import silence_libraries
from zoo.core.registry import read_recipe
from zoo.core.speed import keep_freed_memory

RECIPE, FOLDS = "gin-tudataset", 10
HEADER = ("protocol", "accuracy", "reference", "runs", "command")
PROTOCOLS = {
    False: "best epoch on average, as in the paper",
    True: "epoch chosen on a validation fold",
}
REFERENCE = "≥ 0.88 (Xu et al. 2019: 0.894 ± 0.056)"


class AccuracyCurves(Callback):
    """Callback that computes the accuracy on the validation and test folds after every epoch.

    Args:
        data: data module of one fold.

    Attributes:
        curves: accuracies by split, ``val`` and ``test``.
    """

    def __init__(self, data: TUDataset) -> None:
        self.data = data
        self.curves: dict[str, list[float]] = {"val": [], "test": []}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.eval()
        with torch.no_grad():
            for name, curve in self.curves.items():
                correct = count = 0
                for batch in getattr(self.data, f"{name}_dataloader")():
                    correct += int((pl_module.logits(batch).argmax(1) == batch.y).sum())
                    count += len(batch.y)
                curve.append(correct / max(count, 1))
        pl_module.train()


def train(fold: int, seed: int, validate: bool) -> dict[str, list[float]]:
    """Train the recipe's model on one fold, and return the accuracies after every epoch.

    Args:
        fold: index of the test fold.
        seed: random seed of the folds and of training.
        validate: whether a validation fold is left out of training.
    """
    L.seed_everything(seed, verbose=False)
    data = TUDataset(fold=fold, validate=validate, seed=seed)
    curves = AccuracyCurves(data)
    model = create_model(RECIPE.split("-")[0], "tudataset", num_features=7, num_classes=2)
    fit(model, data, read_recipe(RECIPE)["trainer"]["max_epochs"], curves)
    return curves.curves


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 3
    keep_freed_memory()
    silence_libraries()
    for validate in (False, True):
        start = time.perf_counter()
        means, deviations = [], []
        for seed in range(seeds):
            runs = [train(fold, seed, validate) for fold in range(FOLDS)]
            tests = torch.tensor([run["test"] for run in runs])  # (folds, epochs)
            if validate:
                epochs = torch.tensor([run["val"] for run in runs]).argmax(1)
                accuracies = tests[torch.arange(FOLDS), epochs]
            else:
                accuracies = tests[:, tests.mean(0).argmax()]
            means.append(float(accuracies.mean()))
            deviations.append(float(accuracies.std()))
        seconds = (time.perf_counter() - start) / seeds
        over_seeds = f"{mean_and_std(means)} over seeds, " if seeds > 1 else f"{means[0]:.3f}, "
        cells = [
            PROTOCOLS[validate],
            f"{over_seeds}± {statistics.mean(deviations):.3f} over folds",
            "–" if validate else REFERENCE,
        ]
        budget = f"{FOLDS} folds of {tests.shape[1]} epochs, {seconds:.0f} s each"
        command = "python -m benchmarks.graphs"
        write_result("Graphs", HEADER, cells, f"{pluralize(seeds, 'seed')} of {budget}", command)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Checkpoint files of fixed names, in new and in resumed runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from callbacks import Checkpoint
from callbacks.best_epoch import EpochScore, insignificant_difference, metric_mode
from tests.callbacks.test_early_stopping import Data, Scripted
from zoo import GraphAutoencoder, NodeClassifier
from zoo.core.checkpoints import AtomicCheckpointIO


def fit(
    trainer: Callable[..., L.Trainer],
    folder: Path,
    script: tuple[float, ...],
    ckpt_path: str | None = None,
    **options: int,
) -> tuple[Checkpoint, Checkpoint]:
    best = Checkpoint("best", "val/loss", dirpath=str(folder))
    last = Checkpoint("last", dirpath=str(folder), **options)  # type: ignore[arg-type]
    run = trainer(
        max_epochs=len(script),
        callbacks=[best, last],
        enable_checkpointing=True,
        plugins=[AtomicCheckpointIO()],
    )
    run.fit(Scripted(script), Data(), ckpt_path=ckpt_path, weights_only=True)
    return best, last


def epoch_of(path: str | Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


def test_best_and_last_keep_their_names(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    fit(trainer, tmp_path, (3.0, 1.0, 2.0))
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == ["best.ckpt", "last.ckpt"]
    assert epoch_of(tmp_path / "best.ckpt") == 1
    assert epoch_of(tmp_path / "last.ckpt") == 2


@pytest.mark.parametrize(("losses", "kept"), [((2.0, 2.5), "first"), ((2.0, 0.5), "second")])
def test_a_resumed_run_remembers_the_best_score(
    losses: tuple[float, ...], kept: str, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    script = (3.0, 1.0)
    _, last = fit(trainer, tmp_path / "first", script)
    best, _ = fit(trainer, tmp_path / "second", (*script, *losses), last.best_model_path)
    assert Path(best.best_model_path).parent.name == kept
    assert float(best.best_model_score or 0) == min(*script, *losses)
    assert epoch_of(tmp_path / "first" / "best.ckpt") == 1  # the first run's file is kept


def test_the_end_of_training_is_saved_between_two_intervals(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    fit(trainer, tmp_path, (3.0, 1.0, 2.0), every_n_train_steps=4)  # two steps per epoch
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6


# -- the best epoch --------------------------------------------------------------------------------


class ScriptedAccuracy(Scripted):
    """A model whose validation accuracy and loss follow a script."""

    count = 100  # samples per batch

    def step(self, batch: Any) -> dict[str, Any]:
        accuracy, loss = self.hparams["script"][self.current_epoch]
        return {
            "loss": self.weight * 0 + loss,
            "accuracy": torch.tensor(accuracy),
            "weight": self.count,
        }


def kept_epoch(
    trainer: Callable[..., L.Trainer],
    folder: Path,
    script: list[tuple[float, float]],
    monitor: str = "val/accuracy",
    mode: str | None = None,
    count: int = 100,
) -> int:
    """Train on one validation batch of ``count`` samples and return the epoch of best.ckpt."""
    best = Checkpoint("best", monitor, mode, dirpath=str(folder))
    run = trainer(
        max_epochs=len(script), callbacks=[best], enable_checkpointing=True, limit_val_batches=1
    )
    model = ScriptedAccuracy(tuple(script))  # type: ignore[arg-type]
    model.count = count
    run.fit(model, Data())
    return epoch_of(best.best_model_path)


@pytest.mark.parametrize(
    ("script", "count", "kept"),
    [
        # half a standard error of 0.80 from 100 samples is 0.02, and one sample 0.01
        ([(0.8, 1.7), (0.77, 1.0), (0.76, 0.5)], 100, 1),
        # from 10,000 samples 0.002 and 0.0001
        ([(0.8, 1.7), (0.79, 1.0), (0.797, 0.5)], 10_000, 0),
        ([(0.8, 1.7), (0.79, 1.0), (0.798, 0.5)], 10_000, 2),
        # equal accuracies: the lower loss, then the later epoch
        ([(0.8, 1.7), (0.8, 1.0), (0.8, 1.2)], 100, 1),
        ([(0.8, 1.0), (0.8, 1.0), (0.1, 1.0)], 100, 1),
        ([(1.0, 1.7), (1.0, 0.2), (0.98, 0.1)], 100, 1),
        ([(1.0, 1.7), (1.0, 0.2), (0.99, 0.1)], 100, 2),
        # a significantly better accuracy, whatever its loss
        ([(0.5, 0.7), (0.8, 1.0)], 100, 1),
        # an epoch within the error of the first peak, but not of the second one
        ([(0.8, 1.7), (0.78, 1.0), (0.83, 1.2)], 100, 2),
        # accuracies near chance, and undefined ones
        ([(0.0, 1.7), (0.0, 1.0), (0.0, 1.2)], 100, 1),
        ([(math.nan, 0.1), (0.8, 1.0), (math.nan, 0.1)], 100, 1),
    ],
)
def test_accuracies_that_differ_insignificantly_are_decided_by_the_loss(
    trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    script: list[tuple[float, float]],
    count: int,
    kept: int,
) -> None:
    assert kept_epoch(trainer, tmp_path, script, count=count) == kept


def test_losses_are_compared_exactly(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    script = [(0.1, 0.71), (0.1, 0.70), (0.9, 0.701)]
    assert kept_epoch(trainer, tmp_path, script, "val/loss") == 1


def test_a_given_mode_prevails(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    script = [(0.8, 1.0), (0.2, 1.0), (0.9, 1.0)]
    assert kept_epoch(trainer, tmp_path / "min", script, mode="min") == 1
    assert kept_epoch(trainer, tmp_path / "max", script) == 2


def test_a_resumed_run_remembers_the_peak_and_the_loss() -> None:
    first = Checkpoint("best", "val/accuracy", dirpath=".")
    first._kept, first._peak = EpochScore(0.77, 1.0), 0.8
    second = Checkpoint("best", "val/accuracy", dirpath=".")
    second.load_state_dict(first.state_dict())
    assert (second._kept, second._peak) == ((0.77, 1.0), 0.8)
    older = {k: v for k, v in first.state_dict().items() if k not in ("kept", "peak")}
    second.load_state_dict(older | {"best_model_score": torch.tensor(0.75)})
    assert (second._kept.metric, second._peak) == (0.75, 0.75)


@pytest.mark.parametrize(
    ("monitor", "model", "mode"),
    [
        ("val/accuracy", None, "max"),
        ("val_acc", None, "max"),
        ("val/robust_accuracy", None, "max"),
        ("val/average_precision", None, "max"),
        ("val/bleu", None, "max"),
        ("val/loss", None, "min"),
        ("val/nll", None, "min"),
        ("val/mse", None, "min"),
        ("val/ece", NodeClassifier(num_features=2, num_classes=2), "min"),
        ("val/auroc", GraphAutoencoder(num_features=2), "max"),
    ],
)
def test_the_direction_of_a_metric(monitor: str, model: Any, mode: str) -> None:
    assert metric_mode(monitor, model) == mode


def test_the_insignificant_difference_of_accuracies() -> None:
    correct = torch.tensor([1.0] * 80 + [0.0] * 20, dtype=torch.float64)
    standard_error = float(correct.std(correction=0)) / math.sqrt(100)
    expected = standard_error / 2 + 0.01
    assert insignificant_difference(0.8, 100) == pytest.approx(expected, rel=1e-12)
    for mean, count in [(0.8, 0), (-3.0, 100), (24.0, 100)]:
        assert insignificant_difference(mean, count) == 0

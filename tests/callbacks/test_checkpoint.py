"""Checkpoint files of fixed names, in new and in resumed runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch

from callbacks import Checkpoint
from tests.callbacks.test_early_stopping import Data, Scripted
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

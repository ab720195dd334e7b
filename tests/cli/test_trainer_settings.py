"""Settings of the Trainer that cannot work are one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CASES = {
    "max_epochs=0": "--trainer.max_epochs 0 leaves nothing to train",
    "max_steps=0": "--trainer.max_steps 0 leaves nothing to train",
    "limit_train_batches=0": "--trainer.limit_train_batches 0 leaves nothing to train",
    "max_epochs=-5": "must be a non-negative integer or -1. You passed in -5",
    "val_check_interval=1000": "(1000) must be less than or equal to the number of the training "
    "batches (21)",
    "val_check_interval=0": "--trainer.val_check_interval must be positive, got 0",
    "accumulate_grad_batches=0": "--trainer.accumulate_grad_batches must be at least 1, got 0",
    "accumulate_grad_batches=-1": "--trainer.accumulate_grad_batches must be at least 1, got -1",
    "check_val_every_n_epoch=0": "--trainer.check_val_every_n_epoch must be at least 1, got 0",
    "gradient_clip_val=-1": "--trainer.gradient_clip_val must not be negative, got -1",
    "log_every_n_steps=-1": "--trainer.log_every_n_steps must not be negative, got -1",
    "min_epochs=-1": "--trainer.min_epochs must not be negative, got -1",
}


@pytest.mark.parametrize("setting", CASES)
def test_impossible_settings_are_refused(setting: str, fails: Callable[..., str]) -> None:
    assert CASES[setting] in fails("--model=mlp", f"--trainer.{setting}")


def test_checkpoints_after_no_step_are_refused(fails: Callable[..., str]) -> None:
    error = fails("--model=mlp", "--checkpoint.every_n_train_steps=0")
    assert "every_n_train_steps must be at least 1, got 0" in error


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize("word", ["best", "last", "hpc"])
def test_words_for_checkpoints_are_refused_with_the_newest_file(
    word: str, command: str, fails: Callable[..., str], tmp_path: Path
) -> None:
    error = fails(command, "--model=mlp", f"--ckpt_path={word}")
    assert f"--ckpt_path '{word}' is not a file: give the checkpoint" in error
    assert "runs/mlp/TIME/checkpoints/best.ckpt" in error
    path = tmp_path / "runs/mlp/2026" / "checkpoints" / f"{word}.ckpt"
    path.parent.mkdir(parents=True)
    path.touch()
    error = fails(command, "--model=mlp", f"--ckpt_path={word}")
    assert f"such as runs/mlp/2026/checkpoints/{word}.ckpt" in error

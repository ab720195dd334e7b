"""Resumed runs whose checkpoint or settings are faulty: one line, and the run's files unchanged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from zoo.cli.main import main

Run = Callable[..., Path]


def test_a_checkpoint_of_weights_only_is_refused(run: Run, fails: Callable[..., str]) -> None:
    folder = run("fit", "--model=mlp", "--trainer.max_epochs=1")
    path = folder / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for name in ("optimizer_states", "lr_schedulers"):
        del checkpoint[name]
    torch.save(checkpoint, path)
    error = fails("fit", f"--ckpt_path={path}", "--trainer.max_epochs=2")
    assert "contains weights only" in error
    assert "--init_from" in error


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_one_line_that_names_the_best(
    damage: str, run: Run, fails: Callable[..., str]
) -> None:
    folder = run("fit", "--model=vae", "--trainer.max_epochs=1")
    path = folder / "checkpoints/last.ckpt"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    error = fails("fit", f"--ckpt_path={path}", "--trainer.max_epochs=2")
    assert re.search(r"last.ckpt is corrupt or truncated: .*; try \S+/best.ckpt", error)


@pytest.mark.parametrize(
    "changes",
    [
        {"progress": {"unlogged": 3}},
        {"progress": {"metrics": [1]}},
        {"loader": {"next": "x"}},
        {"train_means": {"x": 1}},
        {"random_state": [{"torch": 1}]},
        {"optimizer_states": [{}]},
        {"callbacks": 1},  # all of them
        {"loops": dict.fromkeys(("fit_loop", "validate_loop", "test_loop", "predict_loop"), 1)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_damaged_state_of_training_is_one_line(
    changes: dict[str, Any], finished: Path, fails: Callable[..., str]
) -> None:
    content = torch.load(finished, weights_only=True)
    if changes == {"callbacks": 1}:
        changes = {"callbacks": dict.fromkeys(content["callbacks"], 1)}
    torch.save(content | changes, finished)
    files = [finished.parents[1] / name for name in ("config.yaml", "metrics.csv")]
    before = [path.read_bytes() for path in files]
    error = fails("fit", f"--ckpt_path={finished}", "--trainer.max_epochs=9")
    assert re.search(r"cannot restore the training state in \S+ \(\w+: .*\); start a new", error)
    assert f"--init_from {finished}" in error
    assert [path.read_bytes() for path in files] == before


class Faulty(Callback):
    """A user's callback with a bug."""

    def on_fit_start(self, *_: Any) -> None:
        raise KeyError("my key")


def test_other_errors_of_a_resumed_run_are_not_blamed_on_the_checkpoint(
    finished: Path, fails: Callable[..., str]
) -> None:
    resume = ("fit", f"--ckpt_path={finished}", "--trainer.max_epochs=9")
    with pytest.raises(KeyError, match="my key"):
        main([*resume, f"--trainer.callbacks={__name__}.Faulty"])
    error = fails(*resume, "--trainer.val_check_interval=1000")
    assert "val_check_interval" in error
    assert "cannot restore" not in error

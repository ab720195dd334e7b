"""Shared fixtures: small data, a quiet Trainer, the command line inside the test process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from datamodules import Digits
from zoo.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = os.environ.get("ZOO_DATA")  # before the tests hide it from each other

if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side: a thread each
    torch.set_num_threads(1)

logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every test starts from the same random state and with no data folder of the user's."""
    torch.manual_seed(0)
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """Makes a Trainer on the CPU without output."""

    def make(**options: Any) -> L.Trainer:
        quiet = {
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return L.Trainer(**(quiet | options))

    return make


@pytest.fixture
def digits() -> Digits:
    return Digits(batch_size=64)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs a command line in an empty folder; returns the newest run's folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Path:
        main([*args, "--trainer.accelerator=cpu"])
        return newest_run(tmp_path)

    return call


@pytest.fixture
def fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command line that must fail as bad input does: one line, exit code 2."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(list(args))
        errors = [ln for ln in capfd.readouterr().err.splitlines() if ln.startswith("error: ")]
        assert stop.value.code == 2
        assert len(errors) == 1
        return errors[0]

    return call


def newest_run(folder: Path) -> Path:
    return max(folder.glob("runs/*/*"), key=os.path.getmtime)


def zoo_data(*needed: str) -> str:
    """The folder of real data, or a skip that says what is missing."""
    if not REAL_DATA or not all((Path(REAL_DATA) / name).exists() for name in needed):
        pytest.skip(f"ZOO_DATA is not set to a folder with {', '.join(needed)}")
    return REAL_DATA

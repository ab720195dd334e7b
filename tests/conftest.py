"""Shared fixtures: digits, a quiet Trainer, and the command line within the test process."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from filelock import FileLock

from datamodules import Digits
from zoo.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = os.environ.get("ZOO_DATA")  # read before tests remove it
ENVIRONMENT = os.environ | {  # for subprocesses, which can import the same packages
    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    "OMP_NUM_THREADS": "1",
}

if "PYTEST_XDIST_WORKER" in os.environ:  # parallel tests: one thread each
    torch.set_num_threads(1)

logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Seed every test, hide the user's data folder, and keep Weights & Biases offline."""
    torch.manual_seed(0)
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """Return a function that creates a Trainer on the CPU without output."""

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
    """Return a function that runs a command line in an empty folder and returns the run folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Path:
        main([*args, "--trainer.accelerator=cpu"])
        return newest_run(tmp_path)

    return call


@pytest.fixture
def fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that runs an invalid command line and returns its one-line error.

    The exit code must be 2.
    """
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(list(args))
        errors = [ln for ln in capfd.readouterr().err.splitlines() if ln.startswith("error: ")]
        assert stop.value.code == 2
        assert len(errors) == 1
        return errors[0]

    return call


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that all parallel test processes share.

    Args:
        factory: pytest's fixture ``tmp_path_factory``.
        name: name of the folder.
        make: function that fills the folder; it runs in one process while the others wait.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            try:
                make(folder)
            except BaseException:
                shutil.rmtree(folder)
                raise
    return folder


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size in bytes, as ``ulimit -f`` does."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_disk(after: int = 0) -> Callable[..., Any]:
    """Return a replacement of ``open`` whose files take no more than ``after`` bytes."""
    true_open = open

    class FullFile:
        def __init__(self, file: Any) -> None:
            self._file, self._left = file, after

        def write(self, content: Any) -> int:
            self._left -= len(content)
            if self._left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(self._file.write(content))

        def __enter__(self) -> FullFile:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    def opened(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        file = true_open(path, mode, *args, **options)
        return file if mode in ("r", "rb") else FullFile(file)

    return opened


def newest_run(folder: Path) -> Path:
    return max(folder.glob("runs/*/*"), key=os.path.getmtime)


def zoo_data(*needed: str) -> str:
    """Return the folder of real data; skip the test if something is missing."""
    if not REAL_DATA or not all((Path(REAL_DATA) / name).exists() for name in needed):
        pytest.skip(f"ZOO_DATA is not set to a folder with {', '.join(needed)}")
    return REAL_DATA

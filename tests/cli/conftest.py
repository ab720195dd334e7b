"""Fixtures of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def finished(run: Callable[..., Path]) -> Path:
    """Return last.ckpt of an mlp after two of two epochs of eleven steps, schedule one-cycle."""
    folder = run("fit", "--model=mlp", "--trainer.max_epochs=2", "--data.batch_size=128")
    return folder.relative_to(Path.cwd()) / "checkpoints/last.ckpt"

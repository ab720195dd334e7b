"""Ctrl-C that loses nothing."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.figures import run_dir


class TrainingInterrupted(Exception):
    """Training was stopped by the user; ``checkpoint`` resumes it."""

    def __init__(self, checkpoint: Path, step: int) -> None:
        super().__init__(f"interrupted after step {step}; resume with --ckpt_path {checkpoint}")
        self.checkpoint = checkpoint
        self.step = step


class Interrupt(Callback):
    """Ends ``fit`` at the next batch after Ctrl-C (SIGINT), with a checkpoint to resume from.

    Writes ``checkpoints/interrupted.ckpt`` in the run's folder. A second Ctrl-C stops at once.

    Raises:
        TrainingInterrupted: after the checkpoint has been written, on every process.
    """

    def __init__(self) -> None:
        self._asked = False
        self._several = False
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._asked = False
        self._several = trainer.world_size > 1
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("\nstopping after this batch (Ctrl-C again: at once)", file=sys.stderr)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        asked = self._asked
        if self._several:  # all processes must stop after the same batch
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if not asked:
            return
        path = run_dir(trainer) / "checkpoints" / "interrupted.ckpt"
        trainer.save_checkpoint(path)
        self._restore()
        raise TrainingInterrupted(path, trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

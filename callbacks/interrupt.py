"""Interruption by Ctrl-C, with a checkpoint."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.figures import run_folder


class TrainingInterrupted(Exception):
    """The user interrupted training.

    Args:
        checkpoint: file from which training can be resumed.
        step: number of optimizer steps so far.
    """

    def __init__(self, checkpoint: Path, step: int) -> None:
        super().__init__(f"interrupted after step {step}; resume with --ckpt_path {checkpoint}")
        self.checkpoint = checkpoint
        self.step = step


class Interrupt(Callback):
    """End ``fit`` after the current batch on Ctrl-C (SIGINT), with a checkpoint to resume from.

    Writes ``checkpoints/interrupted.ckpt`` in the run folder. A second Ctrl-C stops at once.

    Raises:
        TrainingInterrupted: in every process, once the checkpoint is written.
    """

    def __init__(self) -> None:
        self._is_requested = False
        self._is_distributed = False
        self._previous_handler: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._is_requested = False
        self._is_distributed = trainer.world_size > 1
        if threading.current_thread() is threading.main_thread():  # other threads cannot
            self._previous_handler = signal.signal(signal.SIGINT, self._request)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._is_requested:
            raise KeyboardInterrupt
        self._is_requested = True
        print("\nstopping after this batch; Ctrl-C again stops at once", file=sys.stderr)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        is_requested = self._is_requested
        if self._is_distributed:  # all processes must stop after the same batch
            is_requested = trainer.strategy.reduce_boolean_decision(is_requested, all=False)
        if not is_requested:
            return
        path = run_folder(trainer) / "checkpoints" / "interrupted.ckpt"
        trainer.save_checkpoint(path)
        self._restore_handler()
        raise TrainingInterrupted(path, trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handler()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore_handler()

    def _restore_handler(self) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
            self._previous_handler = None

"""Interruption by Ctrl-C, SIGTERM or the cluster, with a checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment

from callbacks.averaging import averaging_callback
from callbacks.figures import run_folder


class TrainingInterrupted(Exception):
    """A signal ended training.

    Args:
        checkpoint: file from which training can be resumed.
        step: number of optimizer steps so far.
        signum: number of the signal, default SIGINT.
        requeued: outcome of requeueing the SLURM job; empty (default) if it was not tried.
    """

    def __init__(
        self, checkpoint: Path, step: int, signum: int = signal.SIGINT, requeued: str = ""
    ) -> None:
        cause = "interrupted" if signum == signal.SIGINT else f"ended by {_name(signum)}"
        end = requeued or f"resume with --ckpt_path {checkpoint}"
        super().__init__(f"{cause} after step {step}; {end}")
        self.checkpoint = checkpoint
        self.step = step
        #: status of the process by the shell's convention: 130 after Ctrl-C, 143 after SIGTERM
        self.exit_code = 128 + signum


class Interrupt(Callback):
    """End ``fit`` after the current batch on a signal, with a checkpoint to resume from.

    The signals are Ctrl-C (SIGINT), SIGTERM and, in a SLURM job, the signal that announces its end
    (``requeue_signal`` of Lightning's ``SLURMEnvironment``, SIGUSR1 by default), after which the
    job is put back into the queue. Writes ``checkpoints/interrupted.ckpt`` in the run folder. A
    second Ctrl-C or SIGTERM stops at once.

    Raises:
        TrainingInterrupted: in every process, once the checkpoint is written.
    """

    def __init__(self) -> None:
        self._signum = 0  # the signal received; 0 for none
        self._requeue_signal: int | None = None
        self._previous_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._signum = 0
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            self._requeue_signal = environment.requeue_signal
        if threading.current_thread() is not threading.main_thread():  # which alone handles signals
            return
        for signum in (signal.SIGINT, signal.SIGTERM, self._requeue_signal):
            if signum is not None:
                self._previous_handlers[signum] = signal.signal(signum, self._request)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._signum and signum == signal.SIGTERM:
            sys.exit(128 + signum)
        if self._signum and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._signum = self._signum or signum
        again = {int(signal.SIGINT): "Ctrl-C", int(signal.SIGTERM): "SIGTERM"}.get(signum)
        hint = f"; {again} again stops at once" if again else ""
        print(f"\nstopping after this batch{hint}", file=sys.stderr)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # accumulated gradients are not part of a checkpoint
        if not trainer.fit_loop._should_accumulate():
            self._stop_if_requested(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        is_fit = trainer.state.fn == "fit" and not trainer.sanity_checking
        if is_fit and averaging_callback(trainer) is None:  # else the weights are the average
            self._stop_if_requested(trainer)

    def _stop_if_requested(self, trainer: Trainer) -> None:
        signum = self._signum
        if trainer.world_size > 1:  # all processes must stop after the same batch
            received = torch.tensor(signum, device=trainer.strategy.root_device)
            signum = int(trainer.strategy.reduce(received, reduce_op="max"))
        if not signum:
            return
        path = run_folder(trainer) / "checkpoints" / "interrupted.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        self._restore_handlers()
        requeued = ""
        if signum == self._requeue_signal and trainer.is_global_zero:
            requeued = _requeue_job(path)
        raise TrainingInterrupted(path, trainer.global_step, signum, requeued)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handlers()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for signum, handler in self._previous_handlers.items():
            signal.signal(signum, handler)
        self._previous_handlers = {}


def _requeue_job(checkpoint: Path) -> str:
    """Put this SLURM job back into the queue; return the outcome in words."""
    job = os.environ["SLURM_JOB_ID"]
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        return f"job {job} was not requeued ({reason}): resume with --ckpt_path {checkpoint}"
    return f"job {job} is requeued and resumes from {checkpoint}"


def _name(signum: int) -> str:
    return signal.Signals(signum).name

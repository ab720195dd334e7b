"""Checkpoints with fixed file names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from callbacks.best_epoch import BestEpochCheckpoint
from zoo.core.checkpoints import read
from zoo.errors import check_at_least


class Checkpoint(BestEpochCheckpoint):
    """Lightning's ``ModelCheckpoint`` with a single file, overwritten in place.

    The best epoch is chosen as :class:`~callbacks.best_epoch.BestEpochCheckpoint` describes.

    A resumed run keeps the best score of the run that it continues, even if it writes to a folder
    of its own. The score is dropped if the best checkpoint is later than the one that is resumed,
    since the file then belongs to another score.

    The latest checkpoint (``monitor=None``) is also written at the end of training, before any
    callback restores or averages weights.

    Args:
        filename: file name without ``.ckpt``, such as ``best`` or ``last``.
        monitor: metric whose best value is kept; None (default) keeps the latest checkpoint.
        mode: ``min`` or ``max``, default by the metric: ``max`` for accuracies and the like.
        every_n_train_steps: save after every n optimizer steps and at the end of training; by
            default after every epoch.
        dirpath: folder of the file, default ``checkpoints`` in the run folder.

    Raises:
        InputError: ``every_n_train_steps`` is not an integer of at least 1.
    """

    def __init__(
        self,
        filename: str,
        monitor: str | None = None,
        mode: str | None = None,
        every_n_train_steps: int | None = None,
        dirpath: str | None = None,
    ) -> None:
        check_at_least(1, every_n_train_steps=every_n_train_steps)
        super().__init__(
            dirpath=dirpath,
            filename=filename,
            monitor=monitor,
            mode=mode,
            every_n_train_steps=every_n_train_steps,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self._resumed_step = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any) -> None:
        if self.monitor is not None:
            if self._every_n_train_steps:  # skips the parent's slower checks on every batch
                super().on_train_batch_end(trainer, pl_module, *batch)
            return
        every = self._every_n_train_steps
        is_due = every and trainer.global_step % every == 0
        # accumulated gradients are not part of a checkpoint
        if is_due and not trainer.fit_loop._should_accumulate():
            self._save_latest(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is not None:
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is not None:
            super().on_train_epoch_end(trainer, pl_module)
            return
        if is_last_epoch(trainer):
            self._last_global_step_saved = -1  # a checkpoint of this step lacks the epoch's end
            self._save_latest(trainer)
        elif not self._every_n_train_steps:
            self._save_latest(trainer)

    def _save_latest(self, trainer: Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    # -- resumed runs ---------------------------------------------------------------------------

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._resumed_step = checkpoint["global_step"]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state_dict = self._moved(state_dict)
        if self.monitor is not None and self._is_outdated(state_dict["best_model_path"]):
            return
        # the parent discards the best score if the folder has changed
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})
        self.current_score = state_dict.get("current_score")

    def _moved(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Return the state with the path of this folder's file if the folder has moved."""
        former = state_dict["best_model_path"]
        own = Path(self.dirpath or "", f"{self.filename}.ckpt")
        if not former or Path(former).is_file() or not own.is_file():
            return state_dict
        paths = {"best_model_path": str(own), "kth_best_model_path": str(own)}
        return state_dict | paths | {"best_k_models": {str(own): state_dict["best_model_score"]}}

    def _is_outdated(self, path: str) -> bool:
        """Return whether a best checkpoint is later than the checkpoint that is resumed."""
        return Path(path).is_file() and read(path)["global_step"] > self._resumed_step


def is_last_epoch(trainer: Trainer) -> bool:
    """Return whether training ends after the current epoch; for ``on_train_epoch_end``."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (
        trainer.should_stop
        or (epochs not in (None, -1) and trainer.current_epoch + 1 >= epochs)
        or (steps != -1 and trainer.global_step >= steps)
    )

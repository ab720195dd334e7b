"""Checkpoints with fixed file names."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class Checkpoint(ModelCheckpoint):
    """Lightning's ``ModelCheckpoint`` with a single file, overwritten in place.

    A resumed run remembers the best score of the run that it continues, although it writes to a
    folder of its own.

    Args:
        filename: file name without ``.ckpt``, such as ``best`` or ``last``.
        monitor: metric whose best value is kept; None (default) keeps the latest checkpoint.
        mode: ``min`` (default) or ``max``.
        every_n_train_steps: save after every n optimizer steps and at the end of training; by
            default after every epoch.
        dirpath: folder of the file, default ``checkpoints`` in the run folder.
    """

    def __init__(
        self,
        filename: str,
        monitor: str | None = None,
        mode: str = "min",
        every_n_train_steps: int | None = None,
        dirpath: str | None = None,
    ) -> None:
        super().__init__(
            dirpath=dirpath,
            filename=filename,
            monitor=monitor,
            mode=mode,
            every_n_train_steps=every_n_train_steps,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any) -> None:
        if self._every_n_train_steps:  # skips the parent's slower checks on every batch
            super().on_train_batch_end(trainer, pl_module, *batch)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # the parent discards the best score if the folder has changed
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_saved = self._last_global_step_saved == trainer.global_step
        if self.monitor is None and not is_saved and not trainer.fast_dev_run:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

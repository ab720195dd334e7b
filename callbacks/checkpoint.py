"""Checkpoints under stable names."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class Checkpoint(ModelCheckpoint):
    """Lightning's ``ModelCheckpoint`` with one file of a fixed name, overwritten in place.

    A resumed run keeps the best score of the run it goes on from, although it writes to a folder
    of its own.

    Args:
        filename: without ``.ckpt``: ``best``, ``last``.
        monitor: metric whose best value is kept, or None to keep the newest.
        mode: ``min`` (default) or ``max``.
        every_n_train_steps: saves after every so many steps and at the end of training; by
            default after each epoch.
        dirpath: folder, default ``checkpoints`` in the run's folder.
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
        if self._every_n_train_steps:  # the parent would ask much before finding that it is not
            super().on_train_batch_end(trainer, pl_module, *batch)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # the parent forgets the best score when the folder has changed
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        saved = self._last_global_step_saved == trainer.global_step
        if self.monitor is None and not saved and not trainer.fast_dev_run:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

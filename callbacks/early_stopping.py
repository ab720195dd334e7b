"""Early stopping that restores the best weights and draws the learning curves."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from torch import Tensor

from callbacks.averaging import averaging_callback, evaluated_weights
from callbacks.best_epoch import metric_mode
from callbacks.figures import save_figure, writes_files
from zoo import plots
from zoo.errors import check_at_least, check_non_negative


class EarlyStopping(LightningEarlyStopping):
    """Lightning's ``EarlyStopping`` that restores the best weights and draws learning curves.

    The best weights are kept in CPU memory and in every checkpoint, so that a resumed run restores
    the same weights. At the end of ``fit``, the metric for training and validation is drawn in
    ``figures/early_stopping.png``, with the best epoch.

    Args:
        monitor: metric to watch, default ``val/loss``; the figure also shows the metric of the same
            name under ``train/``.
        patience: evaluations without improvement before training stops, default 10.
        mode: ``min`` or ``max``, default by the metric: ``max`` for accuracies and the like.
        min_delta: smallest change that counts as an improvement, default 0.
        restore_best_weights: whether to restore the best weights after training, default True.
        **lightning: further arguments of Lightning's ``EarlyStopping``.
    """

    # declared by Lightning without types
    mode: str
    min_delta: float
    best_score: Tensor

    def __init__(
        self,
        monitor: str = "val/loss",
        patience: int = 10,
        mode: str | None = None,
        min_delta: float = 0.0,
        restore_best_weights: bool = True,
        **lightning: Any,
    ) -> None:
        check_at_least(1, patience=patience)
        check_non_negative(min_delta=min_delta)
        super().__init__(monitor, min_delta, patience, mode=mode or "min", **lightning)
        self._infers_mode = mode is None
        self.restore_best_weights = restore_best_weights
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[tuple[int, float, float]] = []  # epoch, training, validation
        self._saved_score = float("nan")  # the best score when best_weights were saved

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._infers_mode and self.mode != (mode := metric_mode(self.monitor, pl_module)):
            self.mode = mode
            self.min_delta, self.best_score = -self.min_delta, -self.best_score

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self._save_best(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self._save_best(trainer, pl_module)
        metrics = trainer.callback_metrics
        train_metric = f"train/{self._metric}"
        if train_metric in metrics and self.monitor in metrics:
            row = (float(metrics[train_metric]), float(metrics[self.monitor]))
            self.history.append((trainer.current_epoch, *row))

    @property
    def _metric(self) -> str:
        """Name of the monitored metric without its split."""
        return self.monitor.split("/", 1)[-1]

    def _save_best(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the weights if the parent's latest check found an improvement."""
        score = float(self.best_score)
        if score == self._saved_score or not math.isfinite(score):
            return
        self._saved_score = score
        self.best_epoch = trainer.current_epoch
        if self.restore_best_weights:
            self.best_weights = {
                name: value.detach().to("cpu", copy=True)
                for name, value in evaluated_weights(trainer, pl_module).items()
            }

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.best_weights:
            pl_module.load_state_dict(self.best_weights)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.best_weights and averaging_callback(trainer):  # which has put its average there
            pl_module.load_state_dict(self.best_weights)
        if not self.history or not writes_files(trainer):
            return
        epochs, train, val = map(list, zip(*self.history, strict=True))
        best_epoch = self.best_epoch if self.best_epoch in epochs else epochs[-1]
        is_stopped = self.stopped_epoch > 0
        figure = plots.stopping_curves(epochs, train, val, best_epoch, is_stopped, self._metric)
        save_figure(trainer, figure, "early_stopping")

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "history": self.history,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # a resumed run may have another patience
        super().load_state_dict(state_dict | {"patience": self.patience})
        self._saved_score = float(self.best_score)
        self.best_epoch = state_dict["best_epoch"]
        self.best_weights = state_dict["best_weights"]
        self.history = [tuple(row) for row in state_dict["history"]]

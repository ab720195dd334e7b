"""Learning curves."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.figures import save_figure
from zoo import plots


class LearningCurves(Callback):
    """Draw a metric by epoch for training and validation.

    Writes ``figures/learning_curves_METRIC.png`` at the end of ``fit``. The values are part of
    checkpoints, so the figure of a resumed run covers all epochs.

    Args:
        metric: name of the metric without its split, default ``loss``.
    """

    def __init__(self, metric: str = "loss") -> None:
        self.metric = metric
        self.history: list[tuple[int, float, float]] = []  # epoch, training, validation

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record(trainer, trainer.current_epoch - 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record(trainer, trainer.current_epoch - 1)

    def _record(self, trainer: Trainer, epoch: int) -> None:
        """Record the metric of an epoch; called once all its values have been logged."""
        metrics = trainer.callback_metrics
        if f"train/{self.metric}" not in metrics or (self.history and self.history[-1][0] == epoch):
            return
        train, val = (float(metrics.get(f"{s}/{self.metric}", math.nan)) for s in ("train", "val"))
        self.history.append((epoch, train, val))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.history:
            return
        epochs, train, val = zip(*self.history, strict=True)
        curves = {
            label: values
            for label, values in (("Training", train), ("Validation", val))
            if not all(map(math.isnan, values))
        }
        if not curves:
            return
        title = f"{type(pl_module).__name__}: learning curves"
        figure = plots.learning_curves(epochs, curves, self.metric, title)
        save_figure(trainer, figure, f"learning_curves_{self.metric}")

    def state_dict(self) -> dict[str, Any]:
        return {"history": [list(row) for row in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [(int(row[0]), *row[1:]) for row in state_dict["history"]]

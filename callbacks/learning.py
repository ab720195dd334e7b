"""Learning curves."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.figures import save_figure
from zoo import plots


class LearningCurves(Callback):
    """A metric of training and validation by epoch, drawn at the end of ``fit``.

    Args:
        metric: name without its split, default ``loss``.
    """

    def __init__(self, metric: str = "loss") -> None:
        self.metric = metric
        self.history: list[tuple[int, float, float]] = []  # epoch, training, validation

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record(trainer, trainer.current_epoch - 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record(trainer, trainer.current_epoch - 1)

    def _record(self, trainer: Trainer, epoch: int) -> None:
        """The numbers of an epoch, after the model has logged them."""
        metrics = trainer.callback_metrics
        if f"train/{self.metric}" not in metrics or (self.history and self.history[-1][0] == epoch):
            return
        values = [float(metrics.get(f"{s}/{self.metric}", float("nan"))) for s in ("train", "val")]
        self.history.append((epoch, values[0], values[1]))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epochs = [epoch for epoch, _, _ in self.history]
        curves = {
            label: [row[i] for row in self.history]
            for i, label in ((1, "training"), (2, "validation"))
        }
        curves = {label: v for label, v in curves.items() if any(x == x for x in v)}
        if not curves:
            return
        title = f"{type(pl_module).__name__}: {self.metric} by epoch"
        figure = plots.learning_curves(epochs, curves, self.metric, title)
        save_figure(trainer, figure, f"learning_curves_{self.metric}")

    def state_dict(self) -> dict[str, Any]:
        return {"history": [list(row) for row in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [(int(row[0]), *row[1:]) for row in state_dict["history"]]

"""Early stopping: the last epoch, the restored weights and the figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from callbacks import EarlyStopping
from zoo.core.task import Task


class Scripted(Task):
    """A model whose validation loss follows a script and whose weight is the epoch's index."""

    def __init__(self, script: tuple[float, ...]) -> None:
        super().__init__(lr=0.0)
        self.weight = nn.Parameter(torch.zeros(()))

    def step(self, batch: Any) -> dict[str, Tensor]:
        value = self.hparams["script"][self.current_epoch]
        return {"loss": self.weight * 0 + value + (0.5 if self.training else 0)}

    def on_train_epoch_start(self) -> None:
        self.weight.data.fill_(self.current_epoch)


class Data(L.LightningDataModule):
    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.zeros(4, 1, 1), batch_size=2)

    val_dataloader = train_dataloader


def fit(
    trainer: Callable[..., L.Trainer], script: tuple[float, ...], **options: Any
) -> tuple[Scripted, EarlyStopping, L.Trainer]:
    stopping = EarlyStopping(**({"patience": 2} | options))
    run = trainer(max_epochs=len(script), callbacks=[stopping])
    model = Scripted(script)
    run.fit(model, Data())
    return model, stopping, run


def test_stops_after_patience_and_restores_the_best_weights(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    model, stopping, run = fit(trainer, (5.0, 3.0, 1.0, 2.0, 1.5, 0.5))
    assert run.current_epoch == 5
    assert stopping.best_epoch == 2
    assert model.weight.item() == 2
    assert stopping.history == [
        (0, 5.5, 5.0),
        (1, 3.5, 3.0),
        (2, 1.5, 1.0),
        (3, 2.5, 2.0),
        (4, 2.0, 1.5),
    ]
    assert (tmp_path / "figures/early_stopping.png").is_file()


def test_restores_the_best_weights_without_an_early_stop(
    trainer: Callable[..., L.Trainer],
) -> None:
    model, _, _ = fit(trainer, (5.0, 1.0, 2.0))
    assert model.weight.item() == 1


def test_restoring_can_be_turned_off(trainer: Callable[..., L.Trainer]) -> None:
    model, stopping, _ = fit(trainer, (5.0, 1.0, 2.0), restore_best_weights=False)
    assert model.weight.item() == 2
    assert stopping.best_weights == {}


def test_a_metric_to_maximize(trainer: Callable[..., L.Trainer]) -> None:
    model, _, _ = fit(trainer, (1.0, 9.0, 2.0, 3.0), mode="max")
    assert model.weight.item() == 1


@pytest.mark.parametrize(("monitor", "best"), [("val/accuracy", 1), ("val/loss", 0)])
def test_the_metric_implies_the_mode(
    trainer: Callable[..., L.Trainer], monitor: str, best: int
) -> None:
    class WithAccuracy(Scripted):
        def step(self, batch: Any) -> dict[str, Tensor]:
            parts = super().step(batch)
            return parts | {"accuracy": parts["loss"].detach()}

    stopping = EarlyStopping(monitor, patience=2, min_delta=0.5)
    run = trainer(max_epochs=4, callbacks=[stopping])
    model = WithAccuracy((1.0, 9.0, 2.0, 3.0))
    run.fit(model, Data())
    assert stopping.best_epoch == model.weight.item() == best
    assert run.current_epoch == best + 3


def test_the_best_weights_are_part_of_the_state(trainer: Callable[..., L.Trainer]) -> None:
    _, before, _ = fit(trainer, (5.0, 1.0, 2.0))
    after = EarlyStopping()
    after.load_state_dict(before.state_dict())
    assert after.best_epoch == 1
    assert after.best_weights["weight"].item() == 1
    assert after.history == before.history


@pytest.mark.parametrize("stopped", [True, False])
def test_the_figure_marks_the_best_epoch(stopped: bool) -> None:
    from zoo import plots

    figure = plots.stopping_curves([0, 1, 2], [3.0, 2, 1], [3.0, 1, 2], 1, stopped, "loss")
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["best: 1, epoch 1"]
    assert ("stopped after epoch 2" in figure.get_suptitle()) is stopped
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["Training", "Validation"]

"""Lightning's own tools and callbacks on models and data of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.tuner import Tuner

from callbacks import EarlyStopping
from datamodules import Augmentation, Digits, Isometric, LabeledText, RandomGraphs, Text
from zoo import (
    GraphClassifier,
    LanguageModel,
    MeshClassifier,
    MLPClassifier,
    SequenceClassifier,
)

Make = Callable[..., L.Trainer]


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier((1, 8, 8), 10, hidden_dims=(16,), **options)


class Inputs(L.Callback):
    """Keeps the sum of the first tensor of each training batch."""

    def __init__(self) -> None:
        self.sums: list[list[float]] = []  # by epoch

    def on_train_epoch_start(self, *_: Any) -> None:
        self.sums.append([])

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        first = batch[0] if isinstance(batch, tuple | list) else next(iter(batch))[1]
        ranks = torch.arange(1, first.numel() + 1)
        self.sums[-1].append(float((first.double().cpu().flatten() * ranks).sum()))


CASES: dict[str, tuple[Callable[[], L.LightningDataModule], Callable[[Any], L.LightningModule]]] = {
    "augmented images": (
        lambda: Digits(batch_size=64, augment=Augmentation(noise=0.1)),
        lambda data: classifier(),
    ),
    "windows of a text": (
        lambda: Text(max_characters=9_000, length=16, batch_size=16),
        lambda data: LanguageModel(data.vocab_size, 16, dim=16, layers=1, heads=2),
    ),
    "texts of different lengths": (
        lambda: LabeledText(num_samples=200, batch_size=16),
        lambda data: SequenceClassifier(data.vocab_size, data.length, 2, dim=16, layers=1, heads=2),
    ),
    "graphs": (
        lambda: RandomGraphs(num_samples=200, batch_size=16),
        lambda data: GraphClassifier(1, 4, hidden_dim=8),
    ),
    "meshes": (
        lambda: Isometric(num_samples=44, subdivisions=1, eigenpairs=8, batch_size=4),
        lambda data: MeshClassifier(8, input_features="xyz", width=8, blocks=1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_overfit_batches_are_the_same_in_every_epoch(case: str, trainer: Make) -> None:
    make_data, make_model = CASES[case]
    inputs, data = Inputs(), make_data()
    data.prepare_data()
    data.setup("fit")
    options: dict[str, Any] = {"max_epochs": 3, "callbacks": [inputs], "num_sanity_val_steps": 0}
    trainer(overfit_batches=2, **options).fit(make_model(data), data)
    assert [len(sums) for sums in inputs.sums] == [2, 2, 2]
    assert inputs.sums[0] == inputs.sums[1] == inputs.sums[2]
    assert inputs.sums[0][0] != inputs.sums[0][1]


def test_without_overfit_batches_epochs_differ(trainer: Make) -> None:
    inputs = Inputs()
    data = Digits(batch_size=64)
    trainer(limit_train_batches=2, max_epochs=2, callbacks=[inputs]).fit(classifier(), data)
    assert inputs.sums[0] != inputs.sums[1]


def test_the_tuner_scales_the_batch_size(trainer: Make) -> None:
    model, data = classifier(), Digits(batch_size=2)
    size = Tuner(trainer(max_epochs=1)).scale_batch_size(model, datamodule=data, max_trials=4)
    assert size == data.batch_size == 16  # from 2, doubled until the fourth trial
    run = trainer(max_epochs=1)
    run.fit(model, data)
    assert run.global_step == run.num_training_batches == len(data.train_dataloader())
    assert len(next(iter(data.train_dataloader()))[0]) == size


def test_the_batch_size_finder_trains_with_the_size_that_it_found(trainer: Make) -> None:
    data, inputs = Digits(batch_size=8), Inputs()
    run = trainer(max_epochs=1, callbacks=[BatchSizeFinder(max_trials=2), inputs])
    run.fit(classifier(schedule="one_cycle"), data)
    assert data.batch_size == 4  # from 2, doubled until the second trial
    assert len(inputs.sums[-1]) == run.num_training_batches == run.global_step


def test_the_learning_rate_finder_sets_the_rate_and_leaves_the_weights(trainer: Make) -> None:
    model, data = classifier(lr=1e-9), Digits(batch_size=64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = Tuner(trainer(max_epochs=1)).lr_find(model, datamodule=data, num_training=40)
    assert found is not None
    assert model.hparams["lr"] == found.suggestion() != 1e-9
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    run = trainer(max_epochs=1, callbacks=[LearningRateFinder(num_training_steps=20)])
    run.fit(model, data)
    assert run.optimizers[0].param_groups[0]["lr"] == model.hparams["lr"]


def test_a_users_own_checkpoint_callback_works_beside_the_zoos(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    assert EarlyStopping is not LightningEarlyStopping  # the bare name is Lightning's
    folder = run(
        "--model=mlp",
        "--trainer.max_epochs=3",
        "--trainer.callbacks+=ModelCheckpoint",
        f"--trainer.callbacks.dirpath={tmp_path / 'mine'}",
        "--trainer.callbacks.monitor=val/accuracy",
        "--trainer.callbacks.mode=max",
        "--trainer.callbacks.save_top_k=2",
        "--trainer.callbacks.filename={epoch}",
        "--trainer.callbacks+=EarlyStopping",
        "--trainer.callbacks.monitor=val/loss",
        "--trainer.callbacks.patience=1",
        "--trainer.callbacks.min_delta=10",
    )
    assert (folder / "checkpoints/last.ckpt").is_file()
    assert len(list((tmp_path / "mine").glob("epoch=*.ckpt"))) == 2
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    (stopping,) = [s for name, s in last["callbacks"].items() if "EarlyStopping" in name]
    assert "best_weights" not in stopping
    assert last["epoch"] == 1  # no improvement by 10 in the second epoch


def test_a_checkpoint_of_lightnings_callback_resumes_with_the_validation_that_was_due(
    trainer: Make, tmp_path: Path
) -> None:
    """It is written after the last batch of the second epoch, before the validation."""
    values: list[dict[int, float]] = []

    class Losses(L.Callback):
        def __init__(self) -> None:
            self.losses: dict[int, float] = {}
            values.append(self.losses)

        def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            self.losses[trainer.current_epoch] = float(trainer.callback_metrics["val/loss"])

    def fit(folder: str, ckpt_path: Path | None = None) -> None:
        torch.manual_seed(0)
        saver = ModelCheckpoint(tmp_path / folder, "{step}", every_n_train_steps=10, save_top_k=-1)
        run = trainer(
            max_epochs=3,
            limit_train_batches=10,
            num_sanity_val_steps=0,
            callbacks=[saver, Losses()],
            enable_checkpointing=True,
        )
        run.fit(classifier(), Digits(batch_size=64), ckpt_path=ckpt_path, weights_only=True)

    fit("whole")
    fit("resumed", tmp_path / "whole" / "step=20.ckpt")
    assert values[1] == {epoch: values[0][epoch] for epoch in (1, 2)}

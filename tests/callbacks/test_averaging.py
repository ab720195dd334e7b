"""Averages of weights: what is evaluated, saved, tested and loaded is the average."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, WeightAveraging

import zoo
from callbacks import EarlyStopping
from datamodules import Digits
from zoo import MLPClassifier

SHORT = ("--trainer.max_epochs=4", "--trainer.limit_train_batches=10")
SWA = (
    "--trainer.callbacks=StochasticWeightAveraging",
    "--trainer.callbacks.swa_lrs=0.01",
    "--trainer.callbacks.swa_epoch_start=2",
)
EMA = ("--trainer.callbacks=EMAWeightAveraging", "--trainer.callbacks.decay=0.9")


def value(text: str, metric: str) -> str:
    return text.split(metric)[1].split()[0]


@pytest.mark.parametrize("model", ["mlp", "cnn"])  # cnn has batch normalization
@pytest.mark.parametrize(("options", "name"), [(EMA, "last"), (SWA, "averaged")])
def test_table_checkpoint_and_loaded_model_are_the_average(
    options: tuple[str, ...],
    name: str,
    model: str,
    run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = run(f"--model={model}", *SHORT, *options)
    out = capsys.readouterr().out
    path = folder / "checkpoints" / f"{name}.ckpt"
    assert f"{name}.ckpt" in out
    run("test", f"--ckpt_path={path}")
    assert value(capsys.readouterr().out, "test/nll") == value(out, "test/nll")
    loaded = zoo.load(path)
    data = Digits(batch_size=64)
    data.prepare_data()
    data.setup("test")
    x, y = data.evaluation_samples("test")
    with torch.no_grad():
        nll = torch.nn.functional.cross_entropy(loaded(x), y)
    assert float(nll) == pytest.approx(float(value(out, "test/nll")), rel=1e-3)


def test_stochastic_averaging_is_the_mean_of_the_weights_at_the_starts_of_epochs(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = run(
        *("fit", "--model=vae", *SHORT, *SWA),
        "--trainer.callbacks+=ModelCheckpoint",
        f"--trainer.callbacks.dirpath={tmp_path / 'all'}",
        "--trainer.callbacks.filename={epoch}",
        "--trainer.callbacks.save_top_k=-1",
    )
    states = [
        torch.load(tmp_path / "all" / f"epoch={epoch}.ckpt", weights_only=True)["state_dict"]
        for epoch in (0, 1, 2)  # the weights before the epochs 1, 2 and 3
    ]
    averaged = torch.load(folder / "checkpoints/averaged.ckpt", weights_only=True)["state_dict"]
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    weight = "encoder.1.weight"
    mean = torch.stack([state[weight] for state in states]).mean(0)
    torch.testing.assert_close(averaged[weight], mean)
    assert not torch.allclose(last[weight], mean)


def test_a_checkpoint_contains_both_the_average_and_the_last_weights(
    run: Callable[..., Path],
) -> None:
    folder = run("fit", "--model=mlp", *SHORT, *EMA)
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    plain = run("fit", "--model=mlp", *SHORT, "--name=plain")
    last = torch.load(plain / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for name, weights in last.items():
        assert torch.equal(checkpoint["current_model_state"][name], weights)
    assert not torch.equal(checkpoint["state_dict"]["network.2.weight"], last["network.2.weight"])


@pytest.mark.parametrize("is_first", [True, False])
def test_early_stopping_restores_the_best_average(
    is_first: bool, trainer: Callable[..., L.Trainer]
) -> None:
    averages: list[dict[str, Any]] = []

    class Averages(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            assert averaging._average_model is not None
            state = averaging._average_model.module.state_dict()
            averages.append({name: v.clone() for name, v in state.items()})

    averaging: WeightAveraging = EMAWeightAveraging(decay=0.5)
    stopping = EarlyStopping(patience=1, min_delta=9.0)  # the first epoch is the best
    order = [averaging, stopping] if is_first else [stopping, averaging]
    model = MLPClassifier((1, 8, 8), 10, hidden_dims=(16,))
    options: dict[str, Any] = {"max_epochs": 5, "num_sanity_val_steps": 0}
    trainer(callbacks=[*order, Averages()], **options).fit(model, Digits(batch_size=64))
    assert len(averages) == 2
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, averages[0][name])
    assert not torch.equal(averages[0]["network.2.weight"], averages[1]["network.2.weight"])

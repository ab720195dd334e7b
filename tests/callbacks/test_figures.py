"""Figure callbacks of latent models: figures, schedules, and models that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import nn

from callbacks import (
    LatentInterpolation,
    LatentManifold,
    LatentScatter,
    LatentWalk,
    Reconstructions,
    Samples,
    ShapeInterpolation,
    save_figure,
)
from callbacks.figures import FigureCallback, defer_figures_to_test, evaluation_mode
from datamodules import Digits
from zoo import GAN, VAE, Autoencoder, MLPClassifier, plots
from zoo.errors import InputError
from zoo.models.latent.base import LatentModel

CALLBACKS = (LatentScatter, LatentManifold, LatentInterpolation, Reconstructions, Samples)


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("L"))


@pytest.mark.parametrize("model_class", [VAE, Autoencoder])
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_every_figure_is_drawn_for_any_latent_model(
    model_class: type[LatentModel],
    latent_dim: int,
    trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    callbacks = [c() for c in CALLBACKS]
    fit = trainer(max_epochs=1, limit_train_batches=2, callbacks=callbacks)
    fit.fit(model_class((1, 8, 8), latent_dim), Digits())
    figures = tmp_path / "figures"
    assert {p.name for p in figures.iterdir()} == {f"{c.name}.png" for c in CALLBACKS}
    for path in figures.iterdir():
        assert pixels(path).std() > 5, f"{path.name} is blank"


def test_figures_during_training_are_named_after_their_epoch(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    callback = Samples(every_n_epochs=2)
    trainer(max_epochs=4, limit_train_batches=1, callbacks=[callback]).fit(VAE((1, 8, 8)), Digits())
    names = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert names == ["samples-epoch0002.png", "samples-epoch0004.png", "samples.png"]


class Counting(FigureCallback):
    """Counts its drawings and keeps the first sample of each."""

    name = "counting"

    def __init__(self) -> None:
        super().__init__(1)
        self.drawn: list[torch.Tensor] = []

    def draw(self, model: Any, x: torch.Tensor, y: torch.Tensor) -> Any:
        self.drawn.append(x[0])
        return plots.image_grid(x, "Counting")


@pytest.mark.parametrize("deferred", [False, True])
def test_fit_defers_the_figure_to_the_test(
    deferred: bool, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    callback, data = Counting(), Digits()
    run = trainer(max_epochs=1, limit_train_batches=1, callbacks=[callback])
    if deferred:
        defer_figures_to_test(run)
    model = VAE((1, 8, 8))
    run.fit(model, data)
    assert len(callback.drawn) == (0 if deferred else 1)
    run.test(model, data, verbose=False)
    assert len(callback.drawn) == (1 if deferred else 2)
    test_sample = next(iter(data.test_dataloader()))[0][0]
    assert torch.equal(callback.drawn[-1], test_sample)
    assert (tmp_path / "figures/counting.png").is_file()


def test_a_figure_is_not_deferred_to_a_test_without_batches(
    trainer: Callable[..., L.Trainer],
) -> None:
    callback, data = Counting(), Digits()
    run = trainer(max_epochs=1, limit_train_batches=1, limit_test_batches=0, callbacks=[callback])
    defer_figures_to_test(run)
    model = VAE((1, 8, 8))
    run.fit(model, data)
    run.test(model, data, verbose=False)
    assert len(callback.drawn) == 1


@pytest.mark.parametrize("command", [[], ["fit"]])
def test_the_command_line_draws_each_figure_once(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.cli.main import main

    drawn: list[str] = []
    monkeypatch.setattr(
        "callbacks.figures.save_figure", lambda trainer, figure, name: drawn.append(name)
    )
    main([
        *command, "--model=vae", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1",
        f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ])  # fmt: skip
    assert len(drawn) > 3
    assert sorted(set(drawn)) == sorted(drawn)


def test_drawing_changes_neither_the_model_nor_the_run(
    trainer: Callable[..., L.Trainer],
) -> None:
    def fit(callbacks: list[L.Callback]) -> dict[str, torch.Tensor]:
        L.seed_everything(0, verbose=False)
        model = VAE((1, 8, 8))
        trainer(max_epochs=3, limit_train_batches=3, callbacks=callbacks).fit(model, Digits())
        assert model.training
        return model.state_dict()

    plain, drawn = fit([]), fit([c(every_n_epochs=1) for c in CALLBACKS])
    assert all(torch.equal(plain[name], drawn[name]) for name in plain)


def test_evaluation_mode_restores_every_submodule() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    module[0].eval()  # frozen on purpose
    with evaluation_mode(module):
        assert not any(m.training for m in module.modules())
        assert not torch.is_grad_enabled()
    assert [m.training for m in module.modules()] == [True, False, True]
    assert torch.is_grad_enabled()


def test_tensorboard_gets_the_same_figure(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, "tb", "run")
    fit = trainer(max_epochs=1, limit_train_batches=1, logger=logger, callbacks=[Reconstructions()])
    fit.fit(VAE((1, 8, 8)), Digits())
    assert (tmp_path / "tb/run/figures/reconstructions.png").is_file()
    events = EventAccumulator(str(tmp_path / "tb/run"))
    events.Reload()
    assert events.Tags()["images"] == ["figures/reconstructions"]


def test_fast_dev_run_writes_no_figure(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    fit = trainer(fast_dev_run=True, callbacks=[Samples()])
    fit.fit(VAE((1, 8, 8)), Digits())
    assert save_figure(fit, plots.image_grid(torch.rand(4, 1, 8, 8), "x"), "x") is None
    assert not (tmp_path / "figures").exists()


def test_interpolation_joins_different_classes() -> None:
    from callbacks.latent import pairs_across_classes

    labels = torch.tensor([3, 1, 1, 0, 3, 2, 0, 2])
    first, second = pairs_across_classes(labels, 3)
    assert labels[first].tolist() == [0, 2, 0]
    assert labels[second].tolist() == [1, 3, 1]
    assert len({*first.tolist(), *second.tolist()}) == 6
    one_class = pairs_across_classes(torch.zeros(4, dtype=torch.long), 2)
    assert [ends.tolist() for ends in one_class] == [[0, 1], [2, 3]]


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(InputError, match="num_samples must be at least 1, got 0"):
        Reconstructions(num_samples=0)
    with pytest.raises(InputError, match="grid_size must be at least 2, got 1"):
        LatentManifold(grid_size=1)
    with pytest.raises(InputError, match="num_pairs must be at least 1, got 0"):
        LatentInterpolation(num_pairs=0)
    with pytest.raises(InputError, match="every_n_epochs must be at least 1, got 0"):
        Samples(every_n_epochs=0)
    with pytest.raises(InputError, match="unknown kind of path 'curly'; choose from linear, sph"):
        LatentInterpolation(kind="curly").setup(L.Trainer(logger=False), VAE((1, 8, 8)), "fit")


def test_models_that_do_not_fit_are_refused() -> None:
    trainer = L.Trainer(logger=False)
    with pytest.raises(InputError, match="Reconstructions needs a latent model, got MLPClassifier"):
        Reconstructions().setup(trainer, MLPClassifier((13,), 3), "fit")
    gan = GAN((1, 8, 8), latent_dim=4, hidden_dims=(16,))
    for callback in (LatentScatter(), LatentWalk(), Reconstructions()):
        with pytest.raises(InputError, match="needs an encoder, GAN has none: leave the callback"):
            callback.setup(trainer, gan, "fit")
    with pytest.raises(InputError, match="needs a model with isometric paths"):
        ShapeInterpolation().setup(trainer, VAE((1, 8, 8)), "fit")
    features = Autoencoder((4,), 2, hidden_dims=(8,))
    LatentScatter().setup(trainer, features, "fit")
    with pytest.raises(InputError, match=r"cannot draw samples of shape \(4,\): leave Samples out"):
        Samples().setup(trainer, features, "fit")
    Samples().setup(trainer, GAN((2,), latent_dim=4, hidden_dims=(16,)), "fit")

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
    Reconstructions,
    Samples,
    save_figure,
)
from callbacks.figures import evaluation_mode
from datamodules import Digits
from zoo import VAE, Autoencoder, MLPClassifier, plots
from zoo.errors import InputError
from zoo.models.latent.base import LatentModel

CALLBACKS = (LatentScatter, LatentManifold, LatentInterpolation, Reconstructions, Samples)


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("L"))


@pytest.mark.parametrize("model_class", [VAE, Autoencoder])
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_every_picture_is_drawn_for_any_latent_model(
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


def test_pictures_during_training_bear_their_epoch(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    callback = Samples(every_n_epochs=2)
    trainer(max_epochs=4, limit_train_batches=1, callbacks=[callback]).fit(VAE((1, 8, 8)), Digits())
    names = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert names == ["samples-epoch0002.png", "samples-epoch0004.png", "samples.png"]


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


def test_evaluating_restores_the_mode_of_every_submodule() -> None:
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
    from callbacks.latent import _pairs

    labels = torch.tensor([3, 1, 1, 0, 3, 2, 0, 2])
    first, second = _pairs(labels, 3)
    assert labels[first].tolist() == [0, 2, 0]
    assert labels[second].tolist() == [1, 3, 1]
    assert len({*first.tolist(), *second.tolist()}) == 6
    one_class = _pairs(torch.zeros(4, dtype=torch.long), 2)
    assert [ends.tolist() for ends in one_class] == [[0, 1], [2, 3]]


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        Reconstructions(num_samples=0)
    with pytest.raises(ValueError, match="side must be at least 2"):
        LatentManifold(side=1)
    with pytest.raises(InputError, match="unknown kind of path 'curly'; choose from linear, sph"):
        LatentInterpolation(kind="curly").setup(L.Trainer(logger=False), VAE((1, 8, 8)), "fit")
    with pytest.raises(InputError, match="draws samples of a latent model, which MLPClassifier is"):
        Reconstructions().setup(L.Trainer(logger=False), MLPClassifier((13,), 3), "fit")

"""Samples during training, and figures of models without an encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from PIL import Image

from callbacks import LatentInterpolation, LatentManifold, Samples, SamplesOverTime
from callbacks.figures import evaluation_mode
from datamodules import Digits, Gaussians2D
from tests.core.test_resume import _KeepFirst
from zoo import GAN, VAE, Autoencoder, MLPClassifier
from zoo.errors import InputError

SMALL = {"latent_dim": 4, "hidden_dims": (16,)}


def test_samples_over_time_are_a_figure_and_an_animation(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    callback = SamplesOverTime(num_images=10, num_snapshots=5)
    fit = trainer(max_epochs=2, limit_train_batches=8, callbacks=[callback])
    fit.fit(GAN((1, 8, 8), **SMALL), Digits())
    steps = [batches for batches, _ in callback.snapshots]
    assert steps == [0, 1, 4, 9, 16]  # quadratically spaced: 16 (i/4)²
    assert callback.snapshots[0][1].shape == (10, 1, 8, 8)
    folder = tmp_path / "figures"
    assert np.asarray(Image.open(folder / "samples_over_time.png").convert("L")).std() > 5
    animation = Image.open(folder / "samples_over_time.gif")
    assert animation.n_frames == 5
    frames = []
    for frame in range(5):
        animation.seek(frame)
        frames.append(np.asarray(animation.convert("L")))
    assert not np.array_equal(frames[0], frames[-1])


@pytest.mark.parametrize("model", [VAE((1, 8, 8)), GAN((2,), **SMALL)])
def test_any_latent_model_and_points_in_the_plane(
    model: L.LightningModule, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    data = Digits() if isinstance(model, VAE) else Gaussians2D("ring", num_samples=500)
    callbacks = [SamplesOverTime(num_snapshots=3), Samples()]
    trainer(max_steps=4, callbacks=callbacks).fit(model, data)
    assert Image.open(tmp_path / "figures/samples_over_time.gif").n_frames == 3
    assert np.asarray(Image.open(tmp_path / "figures/samples.png").convert("L")).std() > 5


def test_the_last_snapshot_is_the_end_of_training(trainer: Callable[..., L.Trainer]) -> None:
    """Batches may be accumulated, and another callback may stop the run."""

    class Stop(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
            trainer.should_stop = trainer.fit_loop.total_batch_idx == 6

    for options, end in (({"accumulate_grad_batches": 2}, 11), ({"callbacks": [Stop()]}, 7)):
        callback = SamplesOverTime(num_snapshots=4)
        callbacks = [callback, *options.pop("callbacks", [])]
        trainer(max_epochs=1, callbacks=callbacks, **options).fit(VAE((1, 8, 8)), Digits())
        assert callback.snapshots[-1][0] == end
        assert len({batches for batches, _ in callback.snapshots}) == len(callback.snapshots)


def test_snapshots_do_not_change_the_training(trainer: Callable[..., L.Trainer]) -> None:
    ends = []
    for callbacks in ([], [SamplesOverTime(num_snapshots=4)]):
        torch.manual_seed(0)
        model = GAN((1, 8, 8), **SMALL)
        trainer(max_epochs=1, callbacks=callbacks).fit(model, Digits(batch_size=200))
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*ends)


def test_a_resumed_run_has_all_snapshots(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    runs = []
    for path in (None, tmp_path / "kept.ckpt"):
        torch.manual_seed(0)
        callback = SamplesOverTime(num_images=3, num_snapshots=6)
        fit = trainer(max_epochs=2, callbacks=[callback, _KeepFirst(7, tmp_path)])
        fit.fit(GAN((1, 8, 8), **SMALL), Digits(batch_size=130), ckpt_path=path, weights_only=True)
        runs.append(callback.snapshots)
    assert [batches for batches, _ in runs[0]] == [batches for batches, _ in runs[1]]
    assert all(torch.equal(a[1], b[1]) for a, b in zip(*runs, strict=True))


def test_invalid_settings_are_refused(trainer: Callable[..., L.Trainer]) -> None:
    with pytest.raises(InputError, match="num_snapshots must be at least 2, got 1"):
        SamplesOverTime(num_snapshots=1)
    fit = trainer(max_epochs=-1, callbacks=[SamplesOverTime()])
    with pytest.raises(InputError, match="SamplesOverTime needs an end"):
        fit.fit(GAN((1, 8, 8), **SMALL), Digits())
    features = Autoencoder((4,), 2, hidden_dims=(8,))
    with pytest.raises(InputError, match=r"got samples of shape \(4,\): leave the callback out"):
        SamplesOverTime().setup(fit, features, "fit")
    with pytest.raises(InputError, match="needs a latent model, got MLPClassifier"):
        SamplesOverTime().setup(fit, MLPClassifier((1, 8, 8), 10), "fit")


def test_latent_callbacks_draw_a_model_without_an_encoder() -> None:
    model, x = GAN((1, 8, 8), **SMALL), torch.rand(4, 1, 8, 8)
    assert not model.has_encoder
    assert VAE((1, 8, 8)).has_encoder
    with evaluation_mode(model):
        figure = LatentInterpolation(num_pairs=3, steps=5, kind="spherical").draw(
            model, x, torch.ones(4)
        )
        LatentManifold(grid_size=3).draw(model, x, torch.ones(4))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["1 → 2", "3 → 4", "5 → 6"]
    assert "between sampled codes" in figure.get_suptitle()

"""Samples during training, and pictures of models that only generate."""

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
from tests.test_resume import _KeepFirst
from zoo import GAN, VAE
from zoo.errors import InputError

SMALL = {"latent_dim": 4, "hidden_dims": (16,)}


def test_samples_over_time_are_a_figure_and_an_animation(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    callback = SamplesOverTime(num_images=10, moments=5)
    fit = trainer(max_epochs=2, limit_train_batches=8, callbacks=[callback])
    fit.fit(GAN((1, 8, 8), **SMALL), Digits())
    assert [done for done, _ in callback.frames] == [0, 1, 4, 9, 16]  # squares of equal steps
    assert callback.frames[0][1].shape == (10, 1, 8, 8)
    folder = tmp_path / "figures"
    assert np.asarray(Image.open(folder / "samples_over_time.png").convert("L")).std() > 5
    animation = Image.open(folder / "samples_over_time.gif")
    assert animation.n_frames == 5
    pictures = []
    for frame in range(5):
        animation.seek(frame)
        pictures.append(np.asarray(animation.convert("L")))
    assert not np.array_equal(pictures[0], pictures[-1])


@pytest.mark.parametrize("model", [VAE((1, 8, 8)), GAN((2,), **SMALL)])
def test_any_latent_model_and_points_in_the_plane(
    model: L.LightningModule, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    data = Digits() if isinstance(model, VAE) else Gaussians2D("ring", num_samples=500)
    callbacks = [SamplesOverTime(moments=3), Samples()]
    trainer(max_steps=4, callbacks=callbacks).fit(model, data)
    assert Image.open(tmp_path / "figures/samples_over_time.gif").n_frames == 3
    assert np.asarray(Image.open(tmp_path / "figures/samples.png").convert("L")).std() > 5


def test_the_last_moment_is_the_end_of_training(trainer: Callable[..., L.Trainer]) -> None:
    """With accumulated batches, and in a run that a limit of time or a callback has cut short."""

    class Stop(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
            trainer.should_stop = trainer.fit_loop.total_batch_idx == 6

    for options, end in (({"accumulate_grad_batches": 2}, 11), ({"callbacks": [Stop()]}, 7)):
        callback = SamplesOverTime(moments=4)
        callbacks = [callback, *options.pop("callbacks", [])]
        trainer(max_epochs=1, callbacks=callbacks, **options).fit(VAE((1, 8, 8)), Digits())
        assert callback.frames[-1][0] == end
        assert len({done for done, _ in callback.frames}) == len(callback.frames)


def test_watching_changes_nothing(trainer: Callable[..., L.Trainer]) -> None:
    ends = []
    for callbacks in ([], [SamplesOverTime(moments=4)]):
        torch.manual_seed(0)
        model = GAN((1, 8, 8), **SMALL)
        trainer(max_epochs=1, callbacks=callbacks).fit(model, Digits(batch_size=200))
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*ends)


def test_a_resumed_run_shows_the_whole_training(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    seen = []
    for path in (None, tmp_path / "kept.ckpt"):
        torch.manual_seed(0)
        callback = SamplesOverTime(num_images=3, moments=6)
        fit = trainer(max_epochs=2, callbacks=[callback, _KeepFirst(7, tmp_path)])
        fit.fit(GAN((1, 8, 8), **SMALL), Digits(batch_size=130), ckpt_path=path, weights_only=True)
        seen.append(callback.frames)
    assert [done for done, _ in seen[0]] == [done for done, _ in seen[1]]
    assert all(torch.equal(a[1], b[1]) for a, b in zip(*seen, strict=True))


def test_training_without_an_end_is_refused(trainer: Callable[..., L.Trainer]) -> None:
    with pytest.raises(ValueError, match="moments must be at least 2, got 1"):
        SamplesOverTime(moments=1)
    fit = trainer(max_epochs=-1, callbacks=[SamplesOverTime()])
    with pytest.raises(InputError, match="SamplesOverTime needs an end"):
        fit.fit(GAN((1, 8, 8), **SMALL), Digits())


def test_latent_callbacks_draw_a_model_without_an_encoder() -> None:
    model, x = GAN((1, 8, 8), **SMALL), torch.rand(4, 1, 8, 8)
    assert not model.has_encoder
    assert VAE((1, 8, 8)).has_encoder
    with evaluation_mode(model):
        path = LatentInterpolation(pairs=3, steps=5, kind="spherical").draw(model, x, torch.ones(4))
        LatentManifold(side=3).draw(model, x, torch.ones(4))
    labels = [label.get_text() for label in path.axes[0].get_yticklabels()]
    assert labels == ["1 → 2", "3 → 4", "5 → 6"]
    assert "between sampled codes" in path.axes[0].get_title()

"""Callbacks on models and data that they are not made for: one line at the start, or at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import callbacks
from callbacks.figures import FigureCallback
from zoo.cli.main import main

Fails = Callable[..., str]

MODELS = {
    "vae": (),
    "mlp": (),
    "linear_regression": (),
    "gcn": (),
    "language_model": (),
    "dlinear": (),
    "pca": (),
    "translator": (),
    "pointnet": ("--data.num_samples=40", "--data.num_points=32"),
    "mesh_autoencoder": ("--data.num_samples=20",),
}
CLASSES = {name: getattr(callbacks, name) for name in sorted(callbacks.__all__)}
FIGURES = [
    name
    for name, cls in CLASSES.items()
    if isinstance(cls, type) and (issubclass(cls, FigureCallback) or name == "TextSamples")
]
SHORT = (
    "--trainer.max_steps=1",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_fits_or_says_why_not(
    name: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status = 0
    try:
        main([f"--model={model}", f"--trainer.callbacks=callbacks.{name}", *MODELS[model], *SHORT])
    except SystemExit as stop:
        status = stop.code  # type: ignore[assignment]
    assert status in (0, 2)
    assert status == 0 or "leave" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        ("vae", "ConfusionMatrix", "ConfusionMatrix needs a classifier, got VAE: leave the callb"),
        ("mlp", "FittedCurve", "FittedCurve needs a regressor, got MLPClassifier: leave the call"),
        ("mlp", "Forecasts", "Forecasts needs a forecasting model, got MLPClassifier: leave the"),
        ("mlp", "TextSamples", "TextSamples needs a language model, got MLPClassifier: leave the"),
        ("mlp", "Voxels", "Voxels needs a classifier of voxel grids, got samples of shape (1, 8"),
        ("mlp", "PointClouds", "PointClouds needs a classifier of point clouds, got samples of s"),
        ("language_model", "Calibration", "Calibration needs a classifier, got LanguageModel: le"),
        ("vae", "Attributions", "Attributions needs a classifier of images, got VAE: leave the c"),
    ],
)
def test_a_figure_that_does_not_fit(fails: Fails, model: str, name: str, message: str) -> None:
    assert message in fails(f"--model={model}", f"--trainer.callbacks=callbacks.{name}", *SHORT)

"""``zoo forecast`` and ``predict`` with series: dates, units, intervals, new tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.cli.main import main

Run = Callable[..., Path]
SHORT = ["--data.lookback=24", "--data.horizon=6", "--trainer.max_epochs=1"]


def write_table(path: Path, rows: int = 400, factor: float = 1.0, shift: float = 0.0) -> None:
    """Write two noisy daily cycles, hourly from 2024-02-01 on."""
    generator = np.random.default_rng(0)
    hours = np.arange(rows)[:, None]
    values = np.sin(2 * np.pi * (hours / 24 + [0, 0.3])) + 0.1 * generator.normal(size=(rows, 2))
    table = pd.DataFrame(factor * values + shift, columns=["load", "wind"])
    table.insert(0, "time", pd.date_range("2024-02-13", periods=rows, freq="h"))
    table.to_csv(path, index=False)


@pytest.fixture
def forecaster(tmp_path: Path, run: Run) -> Path:
    """Return the run folder of a linear forecaster of ``t.csv``."""
    write_table(tmp_path / "t.csv")
    return run("--model=dlinear", "--data=series", "--data.path=t.csv", *SHORT)


@pytest.fixture
def forecast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pd.DataFrame]:
    """Return a function that runs ``zoo forecast`` into the folder ``out`` and reads its table."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str | Path) -> pd.DataFrame:
        main(["forecast", *map(str, args), "--out=out"])
        assert (tmp_path / "out/forecast.png").stat().st_size > 5_000
        return pd.read_csv(tmp_path / "out/forecast.csv")

    return call


def test_the_future_is_written_with_dates_and_intervals(
    forecaster: Path, forecast: Callable[..., pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    """From the run folder or a checkpoint; beyond the horizon, across a leap day."""
    table = forecast(forecaster)
    assert list(table) == ["time", "load", "load_low", "load_high", "wind", "wind_low", "wind_high"]
    assert table["time"].tolist()[0] == "2024-02-29 16:00:00"
    assert len(table) == 6
    later = forecast(forecaster / "checkpoints/best.ckpt", "--steps", "20")
    assert later["time"].tolist()[7:9] == ["2024-02-29 23:00:00", "2024-03-01 00:00:00"]
    pd.testing.assert_frame_equal(later[["time", "load"]][:6], table[["time", "load"]])
    assert (later["load_low"] < later["load"]).all()
    assert (later["load"] < later["load_high"]).all()
    text = capsys.readouterr().out
    assert "DLinear: 20 steps, time 2024-02-29 16:00:00 to 2024-03-01 11:00:00" in text
    assert "90%, quantiles of the errors of 40 forecasts on the validation split" in text


def test_forecasts_are_in_the_units_of_the_table(
    tmp_path: Path, run: Run, forecast: Callable[..., pd.DataFrame], forecaster: Path
) -> None:
    """The same series times 1000 plus 5000: the same forecasts times 1000 plus 5000."""
    write_table(tmp_path / "t.csv", factor=1000, shift=5000)
    other = run("--model=dlinear", "--data=series", "--data.path=t.csv", *SHORT)
    scaled = forecast(other).drop(columns="time")
    write_table(tmp_path / "t.csv")
    table = forecast(forecaster).drop(columns="time")
    np.testing.assert_allclose(scaled, 1000 * table + 5000, rtol=1e-3, atol=1)


def test_a_new_table(
    tmp_path: Path,
    forecaster: Path,
    forecast: Callable[..., pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The forecast begins at its end; a short table uses the intervals of the training data."""
    before = forecast(forecaster)
    shifted = pd.read_csv("t.csv", parse_dates=["time"])[["wind", "time", "load"]]
    shifted["time"] += pd.Timedelta("366D")
    shifted.iloc[-24:].to_csv("new.csv", index=False)
    capsys.readouterr()
    after = forecast(forecaster, "--data.path", "new.csv")
    assert after["time"].iloc[0] == "2025-03-01 16:00:00"
    pd.testing.assert_frame_equal(after.drop(columns="time"), before.drop(columns="time"))
    assert "on the validation split of t.csv" in capsys.readouterr().out
    shifted.assign(load=shifted["load"] + 0.01).to_csv("new.csv", index=False)
    forecast(forecaster, "--data.path", "new.csv")
    assert "errors of 376 forecasts in new.csv" in capsys.readouterr().out
    (tmp_path / "t.csv").unlink()
    shifted.iloc[-24:].to_csv("new.csv", index=False)
    table = forecast(forecaster, "--data.path", "new.csv")
    assert list(table) == ["time", "load", "wind"]
    text = capsys.readouterr().out
    assert "intervals   none: " in text
    assert "; the training data cannot be read: there is no file t.csv" in text


def test_a_model_that_predicts_variances(
    tmp_path: Path,
    run: Run,
    forecast: Callable[..., pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_table(tmp_path / "t.csv")
    folder = run(
        "--model=forecaster", "--data=series", "--data.path=t.csv", *SHORT, "--model.dim=8",
        "--model.layers=1", "--model.heads=2", "--model.predict_variance=true",
    )  # fmt: skip
    table = forecast(folder, "--steps=9", "--level=0.5")
    np.testing.assert_allclose(
        table["load_high"] - table["load"], table["load"] - table["load_low"], rtol=1e-3
    )
    assert "intervals   50%, the model's own variance; after step 6" in capsys.readouterr().out


def test_predictions_have_dates_and_units(tmp_path: Path, run: Run, forecaster: Path) -> None:
    checkpoint = f"--ckpt_path={forecaster / 'checkpoints/best.ckpt'}"
    pd.read_csv("t.csv").iloc[-25:].to_csv("new.csv", index=False)
    folder = run("predict", checkpoint, "--data.path=new.csv")
    table = pd.read_csv(folder / "predictions.csv")
    assert list(table) == ["origin", "time", "load", "wind"]
    assert table["origin"].tolist() == ["2024-02-29 14:00:00"] * 6 + ["2024-02-29 15:00:00"] * 6
    assert table["time"].tolist()[6:8] == ["2024-02-29 16:00:00", "2024-02-29 17:00:00"]
    scaled = torch.load(folder / "predictions.pt", weights_only=True)["forecast"]
    training = pd.read_csv("t.csv")[["load", "wind"]][:280]
    expected = scaled.flatten(0, 1) * training.std(ddof=0).to_numpy() + training.mean().to_numpy()
    np.testing.assert_allclose(table[["load", "wind"]], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["vae"], "contains the model VAE, but this command needs a ForecastingTask"),
        (["missing.ckpt"], "there is no checkpoint missing.ckpt"),
        (["."], ". is not a run folder: it has no checkpoints/best.ckpt or checkpoints/last.ckpt"),
        (["RUN", "--steps=0"], "--steps must be at least 1, got 0"),
        (["RUN", "--level=1"], "--level must be above 0 and below 1, got 1.0"),
        (["RUN", "--data.fill=previous"], "--data.fill needs --data.path"),
        (["RUN", "--data.path=no.csv"], "there is no file no.csv"),
        (["RUN", "--data.path=short.csv"], "10 steps are too few for the model's lookback"),
        (["RUN", "--data.path=other.csv"], "has no column 'wind', which the model was trained on"),
    ],
)  # fmt: skip
def test_bad_input(
    fails: Callable[..., str], tmp_path: Path, run: Run, args: list[str], message: str
) -> None:
    write_table(tmp_path / "t.csv")
    pd.read_csv("t.csv")[:10].to_csv("short.csv", index=False)
    pd.read_csv("t.csv").drop(columns="wind").to_csv("other.csv", index=False)
    if args[0] == "vae":
        args = [
            str(run("--model=vae", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"))
        ]
    if args[0] == "RUN":
        folder = run("--model=dlinear", "--data=series", "--data.path=t.csv", *SHORT)
        args = [str(folder), *args[1:]]
    assert message in fails("forecast", *args)


def test_separate_paths_have_no_future(fails: Callable[..., str], run: Run) -> None:
    folder = run("--model=dlinear", "--data=brownian", "--trainer.max_epochs=1")
    assert "Brownian has separate samples and no last step" in fails("forecast", str(folder))
    assert "does not contain the names and the scaling of series" in fails(
        "forecast", str(folder), "--data.path=t.csv"
    )

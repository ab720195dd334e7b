"""Time series: windows, consecutive splits, scaling by the training split, faulty tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pandas as pd
import pytest
import torch

from datamodules import Brownian, ETTh1, Series
from tests.conftest import zoo_data
from zoo import DLinear
from zoo.core.predictions import prediction_table
from zoo.errors import DataError


def counting(tmp_path: Path, rows: int = 100) -> str:
    """Write a table whose column ``a`` counts the rows, and return its path."""
    days = pd.date_range("2020-01-01", periods=rows)
    lines = ["date,a,b", *(f"{d:%Y-%m-%d},{i},{-2 * i + i % 3}" for i, d in enumerate(days))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "t.csv")


def steps(data: Series, split: str) -> list[tuple[list[int], list[int]]]:
    """Return the past and target steps of each window, as counted in column ``a``."""
    loader = {"val": data.val_dataloader, "test": data.test_dataloader}[split]()
    training = data.raw_values[slice(*data.split_ranges["train"])]
    std, mean = torch.std_mean(training, 0, correction=0)
    found = []
    for x, y in loader:  # type: ignore[union-attr]
        for past, future in zip(x, y, strict=True):
            numbers = [(t[:, 0].double() * std[0] + mean[0]).round().long() for t in (past, future)]
            found.append((numbers[0].tolist(), numbers[1].tolist()))
    return found


def test_targets_are_in_their_split_and_the_past_precedes_them(tmp_path: Path) -> None:
    data = Series(counting(tmp_path), lookback=7, horizon=3, val_size=0.2, test_size=30)
    assert data.split_ranges == {"train": (0, 50), "val": (50, 70), "test": (70, 100)}
    for split, (start, end) in list(data.split_ranges.items())[1:]:
        windows = steps(data, split)
        assert [w[1][0] for w in windows] == list(range(start, end - 2))
        for past, future in windows:
            assert past + future == list(range(past[0], past[0] + 10))
    x, y = (torch.cat(batches) for batches in zip(*data.train_dataloader(), strict=True))
    assert x.shape == (41, 7, 2)
    assert y.shape == (41, 3, 2)


def test_scaling_uses_only_the_training_split(tmp_path: Path) -> None:
    data = Series(counting(tmp_path), lookback=7, horizon=3, val_size=0.2, test_size=30)
    training = data.scaled_values[:50].double()
    torch.testing.assert_close(training.mean(0), torch.zeros(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        training.std(0, correction=0), torch.ones(2).double(), atol=1e-6, rtol=0
    )
    assert data.scaled_values[50:].abs().max() > 2  # later values are not rescaled


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    data = Series(counting(tmp_path), columns=["b"], lookback=7, horizon=3)
    assert data.series_names == ["b"]
    assert data.num_series == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has neither a header nor rows"),
        ("a,b\n1,2\n3\n", r"t\.csv, line 3: expected 2 values, got 1"),
        ("a,b\n1,2\n3,\n", r"t\.csv, line 3, column 'b': the value is missing"),
        ("a,b\n1,2\n3,four\n", r"t\.csv, line 3, column 'b': 'four' is not a finite number"),
        ("a,b\n1,2\n3,nan\n", "line 3, column 'b': 'nan' is not a finite number"),
        ("d,a\nx,1\ny,2\n3,z\n", "line 2, column 'd': 'x' is not a finite number"),
        ("a,w\n" + "1,u\n2,v\n" * 9, "'u' is not a finite number; if it names one of several"),
        ("a\n" + "x\n" * 9, "has no column of numbers besides the time"),
        ("a,b\n" + "1,5\n" * 300, "column 'a': the series is constant in the training split"),
        ("a,b\n" + "1,5\n" * 100, "70 training steps of 100 are too few for a lookback of 96"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*left out")
def test_faulty_tables(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        next(iter(Series(str(tmp_path / "t.csv")).train_dataloader()))


def test_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'c'; its columns are a, b"):
        _ = Series(counting(tmp_path), columns=["c"]).series_names


@pytest.mark.parametrize("cls", [Series, Brownian])
@pytest.mark.parametrize("name", ["lookback", "horizon"])
def test_settings_out_of_range(cls: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        cls(**{name: 0})


def test_the_generated_series_depend_on_the_seed() -> None:
    one, again, other = (Series(seed=seed).raw_values for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == (4000, 3)


def test_no_forecast_of_brownian_motion_beats_the_last_value() -> None:
    """Least squares on the whole past gives weight only to the last value."""
    data = Brownian(num_paths=20_000, lookback=6, horizon=4)
    x, y = data.split("train")
    naive = float((y - x[:, -1:]).square().mean())
    assert naive == pytest.approx(data.best_mse, rel=0.02)
    past, future = x[..., 0].double(), y[:, -1, 0].double()
    weights = torch.linalg.pinv(past) @ future  # the first value of every path is 0
    torch.testing.assert_close(weights[-1], torch.tensor(1.0).double(), atol=0.1, rtol=0)
    assert weights[:-1].abs().max() < 0.1


@pytest.mark.parametrize(("factor", "shift"), [(1, 0), (1000, 5000)])
def test_errors_are_in_the_units_of_the_series_or_standardized(
    tmp_path: Path, trainer: Callable[..., L.Trainer], factor: float, shift: float
) -> None:
    """The mean forecast of noise in two series, in units whose ratio is 1 to 100."""
    values = 0.1 * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)).double()
    values = factor * values * torch.tensor([1.0, 100.0]) + shift
    pd.DataFrame(values.numpy(), columns=["a", "b"]).to_csv(tmp_path / "t.csv", index=False)
    data = Series(str(tmp_path / "t.csv"), lookback=4, horizon=1)
    model = DLinear(2, 4, 1, kernel_size=1)
    torch.nn.init.zeros_(model.weight)
    (metrics,) = trainer().test(model, data, verbose=False)
    # the mean absolute value of a normal variable is √(2/π) standard deviations
    assert metrics["test/mae"] == pytest.approx(0.798, rel=0.03)
    assert metrics["test/mae_a"] == pytest.approx(0.0798 * factor, rel=0.03)
    assert metrics["test/mae_b"] == pytest.approx(7.98 * factor, rel=0.03)
    notes = model.describe_metrics()
    assert notes["mae"] == "absolute error, mean over steps and series, of standardized series"
    assert notes["mse"].endswith("of standardized series")
    assert notes["mae_a"] == "absolute error of a, in its units"


def test_errors_of_series_that_are_not_scaled_are_in_their_units(
    trainer: Callable[..., L.Trainer],
) -> None:
    data = Brownian(num_paths=100, lookback=8, horizon=2)
    model = DLinear(3, 8, 2, kernel_size=1)
    (metrics,) = trainer().test(model, data, verbose=False)
    assert "test/mae_series 1" not in metrics
    assert model.describe_metrics()["mae"].endswith("in the data's units")


def test_many_series_are_not_listed(tmp_path: Path, trainer: Callable[..., L.Trainer]) -> None:
    pd.DataFrame(torch.randn(200, 11).numpy()).add_prefix("x").to_csv(
        tmp_path / "t.csv", index=False
    )
    data = Series(str(tmp_path / "t.csv"), lookback=4, horizon=1)
    (metrics,) = trainer().test(DLinear(11, 4, 1, kernel_size=1), data, verbose=False)
    assert set(metrics) == {f"test/{name}" for name in ("loss", "mse", "mae", "naive_mse")}


@pytest.mark.parametrize("notation", ["iso", "unix", "compact", "index", "none"])
@pytest.mark.filterwarnings("ignore:.*is read as the time")
def test_the_time_does_not_enter_the_errors(
    tmp_path: Path, trainer: Callable[..., L.Trainer], notation: str
) -> None:
    """Unix time as a series of its own would be easy to forecast: the mean error would fall."""
    days = pd.date_range("2020-01-01", periods=400)
    times = {
        "iso": days, "unix": days.as_unit("s").asi8, "compact": days.strftime("%Y%m%d"),
        "index": range(400), "none": None,
    }  # fmt: skip
    noise = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)).double()
    table = pd.DataFrame(noise.numpy(), columns=["a", "b"])
    if notation != "none":
        table.insert(0, "when", times[notation])
    table.to_csv(tmp_path / "t.csv", index=False)
    data = Series(str(tmp_path / "t.csv"), lookback=4, horizon=1)
    (metrics,) = trainer().test(DLinear(2, 4, 1, kernel_size=1), data, verbose=False)
    test = noise[319:]  # the last 80 targets, and the value before each
    expected = ((test.diff(dim=0)) / noise[:280].std(0, correction=0)).square().mean()
    assert metrics["test/naive_mse"] == pytest.approx(float(expected), rel=1e-5)


# -- state -----------------------------------------------------------------------------------------


def restored(state: dict[str, Any], path: str, **options: Any) -> Series:
    data = Series(path, lookback=7, horizon=3, **options)
    data.load_state_dict(state)
    return data


@pytest.fixture
def state(tmp_path: Path) -> dict[str, Any]:
    """Return the state of a data module, after a checkpoint's round trip."""
    data = Series(counting(tmp_path), lookback=7, horizon=3, test_size=30)
    torch.save(data.state_dict(), tmp_path / "state.pt")
    return torch.load(tmp_path / "state.pt", weights_only=True)


def test_the_state_decides_scaling_and_splits(tmp_path: Path, state: dict[str, Any]) -> None:
    own = Series(counting(tmp_path), lookback=7, horizon=3, test_size=30)
    with pytest.warns(UserWarning, match="test_size=30 of the checkpoint is used instead of 0.5"):
        data = restored(state, counting(tmp_path), test_size=0.5)
    data.setup("test")
    assert data.split_ranges == own.split_ranges == {
        "train": (0, 60), "val": (60, 70), "test": (70, 100)
    }  # fmt: skip
    assert torch.equal(data.scaled_values, own.scaled_values)


def test_a_new_table_is_matched_by_name(tmp_path: Path, state: dict[str, Any]) -> None:
    table = pd.read_csv(counting(tmp_path)).iloc[::-1]
    table["a"] += 1000
    table.assign(c=1)[["b", "c", "date", "a"]].to_csv(tmp_path / "new.csv", index=False)
    data = restored(state, str(tmp_path / "new.csv"))
    with pytest.warns(UserWarning, match="left out 'c', which the model was not trained on"):
        values = data.raw_values
    assert data.series_names == ["a", "b"]
    assert values[:3, 0].tolist() == [1000, 1001, 1002]
    mean, std = 29.5, math.sqrt((60**2 - 1) / 12)  # of the 60 training steps 0, 1, …
    assert data.scaled_values[0, 0].item() == pytest.approx((1000 - mean) / std)
    torch.testing.assert_close(
        data.to_original_units(data.scaled_values), values, rtol=1e-6, atol=1e-4
    )
    with pytest.warns(UserWarning, match="all 100 steps are tested; 60 of them are not after the"):
        data.setup("test")
    assert len(data._stored("test")[1]) == 100 - 7 - 3 + 1


def test_steps_that_were_added_are_tested(tmp_path: Path, state: dict[str, Any]) -> None:
    data = restored(state, counting(tmp_path, 120))
    with pytest.warns(UserWarning, match="20 steps that were added since training are tested too"):
        data.setup("test")
    assert data.split_ranges["test"] == (70, 120)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"a": "A1"}), "has no column 'a', which the model was trained"),
        (lambda t: t.rename(columns={"date": "day"}), "has no column 'date', which the model was"),
        (lambda t: t.iloc[::2], "line 3: 2020-01-03 comes after 2020-01-01, but the model was "
         "trained on steps of 1 day"),
        (lambda t: t.drop(index=5), "line 7: 1 of 100 steps of 1 day are missing"),
    ],
)  # fmt: skip
def test_a_new_table_that_does_not_fit(
    tmp_path: Path, state: dict[str, Any], change: Any, message: str
) -> None:
    change(pd.read_csv(counting(tmp_path))).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match=message):
        _ = restored(state, str(tmp_path / "new.csv")).raw_values


def test_too_few_steps_to_test(tmp_path: Path, state: dict[str, Any]) -> None:
    data = restored(state, counting(tmp_path, 9))
    with pytest.raises(DataError, match="9 steps are too few to test a lookback of 7"):
        data.setup("test")
    with pytest.raises(DataError, match="6 steps are too few for a lookback of 7"):
        restored(state, counting(tmp_path, 6)).predict_dataloader()


@pytest.mark.parametrize("rows", [7, 8, 100])
def test_windows_with_and_without_a_known_future_are_predicted(
    tmp_path: Path, state: dict[str, Any], rows: int
) -> None:
    data = restored(state, counting(tmp_path, rows))
    data.setup("predict")
    (x, y), *_ = data.predict_dataloader()
    assert len(x) == len(y) == rows - 6
    assert data.prediction_ids()["origin"][0] == "2020-01-07"
    assert data.target_times([0]) == [["2020-01-08", "2020-01-09", "2020-01-10"]]
    assert bool(x.isfinite().all())
    assert bool(y[-1].isnan().all())
    assert int(data.to_original_units(x)[-1, -1, 0].round()) == rows - 1


def test_predictions_are_in_the_units_of_the_table(tmp_path: Path, state: dict[str, Any]) -> None:
    data = restored(state, counting(tmp_path, 9))
    model = DLinear(2, 7, 3, kernel_size=1)
    torch.nn.init.zeros_(model.weight)
    data.setup("predict")
    loader = data.predict_dataloader()
    model._trainer = SimpleNamespace(predict_dataloaders=loader)  # type: ignore[assignment]
    outputs = {"forecast": model(next(iter(loader))[0]).detach()}
    table = prediction_table(model, outputs, data, loader)
    assert table is not None
    assert list(table) == ["origin", "date", "a", "b"]
    assert table["origin"].tolist() == [f"2020-01-0{7 + i // 3}" for i in range(9)]
    assert table["date"].tolist()[-3:] == ["2020-01-10", "2020-01-11", "2020-01-12"]
    assert table["a"].tolist() == pytest.approx([29.5] * 9)  # the mean of the training split


@pytest.mark.slow
def test_etth1_has_the_standard_windows() -> None:
    data = ETTh1(root=zoo_data("timeseries/ETTh1.csv"))
    data.setup()
    counts = {name: len(rows) for name, (_, rows) in data._splits.items()}
    assert counts == {"train": 8640 - 336 - 96 + 1, "val": 2880 - 96 + 1, "test": 2880 - 96 + 1}
    assert data.series_names[-1] == "OT"

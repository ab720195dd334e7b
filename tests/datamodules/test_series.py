"""Time series: windows, consecutive splits, scaling by the training split, faulty tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import Brownian, ETTh1, Series
from tests.conftest import zoo_data
from zoo.errors import DataError


def counting(tmp_path: Path, rows: int = 100) -> str:
    """Write a table whose column ``a`` counts the rows, and return its path."""
    lines = ["date,a,b", *(f"2020-01-{i},{i},{-2 * i + (i % 3)}" for i in range(rows))]
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
        ("", "has no rows below its header"),
        ("a,b\n1,2\n3\n", r"t\.csv, line 3: expected 2 values, got 1"),
        ("a,b\n1,2\n3,\n", r"t\.csv, line 3, column 'b': the value is missing"),
        ("a,b\n1,2\n3,four\n", r"t\.csv, line 3, column 'b': 'four' is not a finite number"),
        ("a,b\n1,2\n3,nan\n", "line 3, column 'b': 'nan' is not a finite number"),
        ("d,a\nx,1\ny,2\n3,z\n", "line 2, column 'd': 'x' is not a finite number"),
        ("a,b\n" + "1,5\n" * 300, "column 'a': the series is constant in the training split"),
        ("a,b\n" + "1,5\n" * 100, "70 training steps of 100 are too few for a lookback of 96"),
    ],
)
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


@pytest.mark.slow
def test_etth1_has_the_standard_windows() -> None:
    data = ETTh1(root=zoo_data("timeseries/ETTh1.csv"))
    data.setup()
    counts = {name: len(rows) for name, (_, rows) in data._splits.items()}
    assert counts == {"train": 8640 - 336 - 96 + 1, "val": 2880 - 96 + 1, "test": 2880 - 96 + 1}
    assert data.series_names[-1] == "OT"

"""Tables: splits, standardization, scikit-learn's tables, synthetic data, summary statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from datamodules import (
    Anscombe,
    Augmentation,
    BreastCancer,
    Brownian,
    Datasaurus,
    Diabetes,
    Iris,
    LabeledText,
    Series,
    Table,
    TableDataModule,
    Text,
    Toy2D,
    ToyCurves,
    Wine,
)
from zoo.errors import DataError


class Numbers(TableDataModule):
    """Arrays as a table."""

    def __init__(self, x: Any, y: Any, class_names: tuple[str, ...] = (), **table: Any) -> None:
        super().__init__(**table)
        self.x, self.y, self.names = np.asarray(x, float), np.asarray(y), class_names

    def load_table(self) -> Table:
        return Table(self.x, self.y, [f"c{i}" for i in range(self.x.shape[1])], self.names)


@pytest.mark.parametrize(
    ("make", "rows", "features", "classes"),
    [
        (Diabetes, 442, 10, 0),
        (BreastCancer, 569, 30, 2),
        (Wine, 178, 13, 3),
        (Iris, 150, 4, 3),
    ],
)
def test_scikit_learns_tables(make: Any, rows: int, features: int, classes: int) -> None:
    data = make()
    parts = [data.split(name) for name in ("train", "val", "test")]
    sizes = [len(x) for x, _ in parts]
    assert sum(sizes) == rows
    assert [size / rows for size in sizes] == pytest.approx([0.7, 0.2, 0.1], abs=0.01)
    assert data.input_shape == (features,)
    if classes:
        assert data.num_classes == classes
        assert len(set(data.class_names)) == classes
        assert all(y.dtype == torch.int64 for _, y in parts)
    else:
        assert data.num_targets == 1
        assert parts[0][1].shape == (sizes[0], 1)
    assert len(data.feature_names) == features


def test_features_are_scaled_by_the_training_rows_only() -> None:
    data = Diabetes()
    x, y = data.split("train")
    torch.testing.assert_close(x.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(10), atol=1e-5, rtol=0)
    assert data.split("test")[0].mean(0).abs().max() > 0.05
    assert data.target_mean == pytest.approx((float(y.mean()),))
    assert data.target_std == pytest.approx((float(y.std(correction=0)),), rel=1e-5)
    raw = Diabetes(standardize=False).split("train")[0]
    torch.testing.assert_close((raw - raw.mean(0)) / raw.std(0, correction=0), x, atol=1e-4, rtol=0)


def test_the_splits_are_disjoint_and_depend_on_the_seed() -> None:
    def rows(seed: int) -> list[list[float]]:
        x = np.arange(100.0)[:, None]
        data = Numbers(x, x, seed=seed, standardize=False)
        return [data.split(name)[0][:, 0].tolist() for name in ("train", "val", "test")]

    first, again, other = rows(0), rows(0), rows(1)
    assert sorted(row for part in first for row in part) == list(range(100))
    assert first == again
    assert first != other


def test_missing_values_become_the_training_mean() -> None:
    x = np.arange(40.0)[:, None].repeat(2, 1)
    x[::3, 1] = np.nan
    data = Numbers(x, x[:, :1], standardize=False)
    train, _ = data.split("train")
    known = ~torch.isclose(train[:, 0], train[:, 1])
    values = train[known, 1]
    assert known.any()
    torch.testing.assert_close(values, train[~known, 1].mean().expand_as(values))


def test_constant_features_become_zero_with_a_warning() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3))
    x[:, 1] = 1e6
    with pytest.warns(UserWarning, match=r"feature\(s\) 'c1' are constant in the training rows"):
        train, _ = Numbers(x, x[:, :1]).split("train")
    assert (train[:, 1] == 0).all()
    assert train.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Numbers([[1.0]] * 2, [[1.0]] * 2).input_shape, "has 2 rows; at least 3"),
        (lambda: Numbers([[1.0]] * 9, [0] * 9, ("a",)).num_classes, "only one class, 'a'"),
        (lambda: Numbers([[1.0]] * 9, [[4.0]] * 9).target_std, "'target' is constant"),
        (lambda: Iris(val_size=0.9).split("train"), "leave none of 150 rows for training"),
    ],
)
def test_tables_that_cannot_be_learned_from(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_a_target_is_either_classes_or_numbers() -> None:
    with pytest.raises(AttributeError, match="is numeric: choose a regression model"):
        _ = Diabetes().num_classes
    with pytest.raises(AttributeError, match="has 3 classes: choose a classifier"):
        _ = Iris().num_targets


def test_options_that_do_not_apply() -> None:
    for cls in (Iris, Text, LabeledText, Series, Brownian):
        with pytest.raises(TypeError, match="unexpected keyword argument 'augment'"):
            cls(augment=Augmentation(flip=True))
    with pytest.raises(ValueError, match="test_size must not be negative"):
        Iris(test_size=-1)


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"seed": 3}, {"val_size": 0.4}, {"standardize": False}])
def test_the_checkpoint_decides_splits_and_scaling(options: dict[str, Any]) -> None:
    first, again = Diabetes(), Diabetes(**options)
    with pytest.warns(UserWarning, match="of the checkpoint is used instead of"):
        again.load_state_dict(first.state_dict())
    for name in ("train", "val", "test"):
        torch.testing.assert_close(again.split(name), first.split(name), rtol=0, atol=0)
    assert again.target_std == first.target_std


def test_other_rows_are_scaled_as_the_training_rows_and_tested_whole() -> None:
    x = np.arange(100.0)[:, None]
    first = Numbers(x, 2 * x)
    other = Numbers(x[:10] + 1000, x[:10])
    other.load_state_dict(first.state_dict())
    with pytest.warns(UserWarning, match="Numbers is not the training data: all 10 rows are test"):
        other.setup("test")
    mean, std = (first.learned[name] for name in ("mean", "std"))
    expected = (torch.arange(1000.0, 1010)[:, None].double() - mean) / std
    torch.testing.assert_close(other.split("test")[0].double(), expected, rtol=1e-6, atol=0)
    assert [len(other.split(name)[0]) for name in ("train", "val")] == [0, 10]


def test_other_features_and_classes_are_refused() -> None:
    state = Iris().state_dict()
    for data, message in (
        (Wine(), "Wine has the feature names .* but the model was trained on sepal length"),
        (Numbers(np.ones((9, 4)), [0] * 9, ("a", "b")), "has the feature names c0, c1"),
    ):
        data.load_state_dict(state)
        with pytest.raises(DataError, match=message):
            data.setup("test")


def test_predictions_are_those_of_the_test_rows() -> None:
    data = Numbers(np.arange(50.0)[:, None], np.arange(50.0)[:, None], standardize=False)
    x = torch.cat([x for x, _ in data.predict_dataloader()])
    assert torch.equal(x, data.split("test")[0])
    assert data.prediction_ids()["row"] == [int(value) for value in x[:, 0]]


# -- synthetic data ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sine", "cubic", "step", "runge"])
def test_curves_are_the_ground_truth_plus_noise(name: str) -> None:
    data = ToyCurves(name, num_samples=4000, noise=0.3)
    x, y = data.split("train")
    noise = y.numpy() - data.ground_truth(x.numpy())
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert abs(noise.mean()) < 0.02
    assert -1 <= float(x.min()) < -0.99
    assert 0.99 < float(x.max()) <= 1
    clean = ToyCurves(name, noise=0.0)
    x, y = clean.split("train")
    np.testing.assert_allclose(y.numpy(), clean.ground_truth(x.numpy()), atol=1e-6)


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "blobs"])
def test_shapes_in_the_plane(name: str) -> None:
    data = Toy2D(name, num_samples=600, noise=0.0)
    x, y = data.split("train")
    assert x.shape == (420, 2)
    count = 2 if name in ("moons", "circles") else 3
    assert data.num_classes == count
    sizes = torch.bincount(torch.cat([data.split(s)[1] for s in ("train", "val", "test")]))
    assert sizes.tolist() == [600 // count] * count
    radius = x.norm(dim=1)
    if name == "circles":
        torch.testing.assert_close(radius, torch.where(y == 0, 1.0, 0.5), atol=1e-5, rtol=0)
    elif name == "blobs":
        torch.testing.assert_close(radius, torch.ones(420), atol=1e-5, rtol=0)
        assert len(x.mul(1e4).round().unique(dim=0)) == 3
    elif name == "moons":
        torch.testing.assert_close(radius[y == 0], torch.ones(int((y == 0).sum())))
        lower = x[y == 1] - torch.tensor([1.0, 0.5])
        torch.testing.assert_close(lower.norm(dim=1), torch.ones(len(lower)))


def test_the_seed_determines_the_samples() -> None:
    one, same, two = (Toy2D(seed=s).split("train")[0] for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, two)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ToyCurves("tan"), "unknown name 'tan'; choose from sine, cubic, step, runge"),
        (lambda: Toy2D("stars"), r"unknown name 'stars'; .*choose from moons, circles"),
        (lambda: Toy2D(noise=-1), "noise must not be negative"),
        (lambda: Toy2D("blobs", num_classes=1), "num_classes must be at least 2"),
        (lambda: Anscombe("V"), r"unknown name 'V'; .*choose from I, II, III, IV"),
        (lambda: Datasaurus("cat"), "unknown name 'cat'; choose from dino, away"),
    ],
)
def test_settings_of_synthetic_data_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -- equal summary statistics --------------------------------------------------------------------


def statistics(points: np.ndarray) -> list[float]:
    correlation = np.corrcoef(points.T)[0, 1]
    return [*points.mean(0), *points.std(0, ddof=1), correlation]


def test_anscombes_quartet_has_equal_statistics_and_lines() -> None:
    """Means 9 and 7.50, deviations 3.32 and 2.03, correlation 0.82, y = 3 + x/2."""
    for points in Anscombe.point_sets.values():
        assert points.shape == (11, 2)
        np.testing.assert_allclose(statistics(points), [9, 7.5, 3.32, 2.03, 0.816], atol=0.005)
        slope, intercept = np.polyfit(*points.T, 1)
        assert (slope, intercept) == pytest.approx((0.5, 3.0), abs=0.005)


def test_the_datasaurus_dozen_has_equal_statistics() -> None:
    """Matejka and Fitzmaurice: x̄ 54.26, ȳ 47.83, deviations 16.76 and 26.93, correlation −0.06."""
    assert len(Datasaurus.point_sets) == 13
    for points in Datasaurus.point_sets.values():
        assert points.shape == (142, 2)
        expected = [54.26, 47.83, 16.76, 26.93, -0.06]
        np.testing.assert_allclose(statistics(points), expected, atol=0.011)


def test_sets_with_equal_statistics_have_no_splits() -> None:
    data = Datasaurus("star", seed=3)
    parts = [data.split(name)[0] for name in ("train", "val", "test")]
    assert all(torch.equal(part, parts[0]) for part in parts)
    assert len(parts[0]) == 142

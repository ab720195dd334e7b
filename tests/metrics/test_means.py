"""Weighted means of the values of training steps."""

import pytest
import torch

from zoo.metrics import RunningMeans


def test_means_are_weighted_by_count_not_by_batches() -> None:
    means = RunningMeans()
    means.update({"loss": torch.tensor(1.0)}, 30)
    means.update({"loss": torch.tensor(4.0)}, 10)
    assert means.compute()["loss"].item() == pytest.approx(1.75)


def test_flush_returns_the_means_since_the_last_flush() -> None:
    means = RunningMeans()
    means.update({"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, 1)
    assert means.flush() == {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}
    means.update({"b": torch.tensor(4.0), "a": torch.tensor(3.0)}, torch.tensor(1))
    assert means.flush() == {"a": torch.tensor(3.0), "b": torch.tensor(4.0)}
    assert means.flush() == {}
    assert means.compute() == {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}


def test_sums_of_processes_are_added() -> None:
    one, two = RunningMeans(), RunningMeans()
    one.update({"loss": torch.tensor(1.0)}, 3)
    two.update({"loss": torch.tensor(2.0)}, 1)
    two.flush()
    other = two._sums
    assert other is not None
    assert one.compute(lambda sums: sums + other)["loss"].item() == pytest.approx(1.25)


def test_state_dict_continues_an_epoch() -> None:
    means, resumed = RunningMeans(), RunningMeans()
    means.update({"loss": torch.tensor(1.0)}, 3)
    resumed.load_state_dict(means.state_dict(), torch.device("cpu"))
    resumed.update({"loss": torch.tensor(2.0)}, 1)
    assert resumed.compute()["loss"].item() == pytest.approx(1.25)


def test_first_nonfinite_finds_the_first_bad_step() -> None:
    means = RunningMeans()
    for value in (1.0, 2.0, float("nan"), float("inf")):
        means.update({"loss": torch.tensor(value)}, 1)
    assert means.first_nonfinite("loss") == 2


def test_steps_must_return_the_same_names() -> None:
    means = RunningMeans()
    means.update({"loss": torch.tensor(1.0)}, 1)
    with pytest.raises(ValueError, match=r"return the same values, got \['kl'\] after \['loss'\]"):
        means.update({"kl": torch.tensor(1.0)}, 1)


def test_a_value_may_be_missing_in_some_steps() -> None:
    means = RunningMeans()
    for step in range(4):
        part = torch.tensor(float(step)) if step % 2 else None
        means.update({"loss": torch.tensor(1.0), "part": part, "never": None}, 1 + step)
    window = means.flush()
    assert set(window) == {"loss", "part"}
    assert window["part"].item() == pytest.approx((2 * 1 + 4 * 3) / 6)
    means.update({"loss": torch.tensor(float("nan")), "part": None, "never": None}, 1)
    assert means.first_nonfinite("loss") == 0
    restored = RunningMeans()
    restored.load_state_dict(means.state_dict(), torch.device("cpu"))
    assert restored.compute()["part"].item() == pytest.approx(14 / 6)


def test_sums_are_in_float64() -> None:
    """In float32, a million of small values added to a large one would be lost."""
    means = RunningMeans()
    means.update({"loss": torch.tensor(1e8)}, 1.0)
    means.flush()
    for _ in range(50):
        means.update({"loss": torch.tensor(1.0)}, 1.0)
        means.flush()
    assert float(means._sums[0, 0]) == 1e8 + 50  # type: ignore[index]


def test_weights_below_one_count() -> None:
    means = RunningMeans()
    means.update({"loss": torch.tensor(3.0), "rare": None}, 0.25)
    assert {name: float(value) for name, value in means.compute().items()} == {"loss": 3.0}

"""State of data modules in checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from datamodules import Digits
from datamodules.state import LearnedState
from zoo import MLPClassifier
from zoo.errors import DataError


class Scaled(LearnedState):
    """Data whose mean is learned from the training data."""

    learned_settings = ("seed",)

    def __init__(self, values: list[float], seed: int = 0) -> None:
        self.values, self.seed = values, seed
        self.num_reads = 0

    def learn(self) -> dict[str, Any]:
        self.num_reads += 1
        return {"mean": torch.tensor(self.values).mean(), "names": ["a", float("nan")]}

    @cached_property
    def centered(self) -> list[float]:
        return [value - float(self.learned["mean"]) for value in self.values]


class Doubled(Scaled):
    """A subclass with a cached property of its own."""

    @cached_property
    def doubled(self) -> list[float]:
        return [2 * value for value in self.centered]


def test_the_state_is_learned_once_and_prevails() -> None:
    train, new = Scaled([1.0, 3.0]), Doubled([10.0])
    assert train.learned["mean"] == train.learned["mean"] == 2
    assert train.num_reads == 1
    assert (new.centered, new.doubled) == ([0], [0])
    new.load_state_dict(train.state_dict())
    assert new.has_loaded_state
    assert new.learned["mean"] == 2
    assert (new.centered, new.doubled) == ([8], [16])  # what was read before is dropped


def test_an_equal_state_drops_nothing() -> None:
    train, same = Scaled([1.0, 3.0]), Scaled([1.0, 3.0])
    _ = same.learned
    same.load_state_dict(train.state_dict())
    assert (same.has_loaded_state, same.num_reads) == (True, 1)


def test_the_settings_of_the_checkpoint_prevail_with_a_warning() -> None:
    new = Scaled([1.0], seed=7)
    with pytest.warns(UserWarning, match="seed=0 of the checkpoint is used instead of 7: it deci"):
        new.load_state_dict(Scaled([1.0]).state_dict())
    assert new.seed == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Scaled([2.0]).load_state_dict(Scaled([1.0]).state_dict())


def test_a_strangers_state_sets_no_other_attribute() -> None:
    new = Scaled([1.0])
    new.load_state_dict({"learned": {}, "settings": {"seed": 0, "values": "evil", "learn": 1}})
    assert new.values == [1.0]
    assert callable(new.learn)


def test_the_state_travels_in_checkpoints(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    """Lightning restores it after ``setup``, which has already read the data another way."""
    fit = trainer(max_steps=1)
    model = MLPClassifier(input_shape=(1, 8, 8), num_classes=10)
    fit.fit(model, Digits(seed=3, val_size=0.5))
    fit.save_checkpoint(tmp_path / "a.ckpt")
    other = Digits(seed=4)
    with pytest.warns(UserWarning, match="seed=3 of the checkpoint is used instead of 4"):
        trainer(max_steps=2).validate(model, other, ckpt_path=tmp_path / "a.ckpt")
    assert torch.equal(other.split("val")[0], Digits(seed=3, val_size=0.5).split("val")[0])


@pytest.mark.parametrize(
    "state", [{"learned": {}}, {"settings": {}}, {"learned": 5, "settings": {}}]
)
def test_a_damaged_state_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="is damaged: its entry Digits lacks"):
        Digits().load_state_dict(state)

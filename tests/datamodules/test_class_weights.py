"""Class weights: values, every kind of data, checkpoints, data without classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from datamodules import BodyParts, Diabetes, Digits, Iris, Karate, RandomGraphs, Shapes
from datamodules.class_weights import balanced_weights
from zoo.errors import InputError


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert balanced_weights(labels.bincount()) == pytest.approx(expected.tolist())
    weights = torch.tensor(balanced_weights(labels.bincount()))
    assert weights[labels].mean() == pytest.approx(1)


def test_a_class_without_training_samples_does_not_count() -> None:
    assert balanced_weights(torch.tensor([2, 0, 6])) == (2.0, 1.0, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (Digits, lambda data: data.split("train")[1]),
        (Iris, lambda data: data.split("train")[1]),
        (Shapes, lambda data: data.split("train")[1]),
        (Karate, lambda data: data.graph.y[data.graph.train_mask]),
        (RandomGraphs, lambda data: torch.cat([graph.y for graph in data.split("train")])),
        (BodyParts, lambda data: torch.cat([mesh.y for mesh in data.split("train")])),
    ],
)
def test_every_kind_of_data_with_classes(data: Any, labels: Any) -> None:
    weighted = data(class_weights="balanced")
    counts = labels(weighted).bincount(minlength=weighted.num_classes)
    assert weighted.class_weights == balanced_weights(counts)
    assert data().class_weights is None


def test_weights_by_name() -> None:
    data = Iris(class_weights={"virginica": 4.0})
    assert data.class_weights == (1.0, 1.0, 4.0)
    with pytest.raises(InputError, match="unknown class in class_weights 'virginia'; did you mean"):
        _ = Iris(class_weights={"virginia": 4.0}).class_weights
    with pytest.raises(InputError, match=r"class_weights\[setosa\] must be positive, got 0"):
        Iris(class_weights={"setosa": 0})
    with pytest.raises(InputError, match="unknown class_weights 'balance'; did you mean"):
        Iris(class_weights="balance")


def test_weights_travel_in_checkpoints() -> None:
    trained = Iris(class_weights="balanced", val_size=0.4)
    restored = Iris(seed=5)
    with pytest.warns(UserWarning, match="of the checkpoint is used"):
        restored.load_state_dict(trained.state_dict())
    assert restored.class_weights == trained.class_weights
    unweighted = Iris(class_weights="balanced")
    with pytest.warns(UserWarning, match="class_weights=balanced is not used: the model of the"):
        unweighted.load_state_dict(Iris().state_dict())
    assert unweighted.class_weights is None


def test_data_without_classes_are_refused() -> None:
    with pytest.raises(InputError, match="the data of Diabetes, which have no classes"):
        _ = Diabetes(class_weights="balanced").class_weights

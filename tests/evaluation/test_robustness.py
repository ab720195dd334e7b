"""Target models: their names, and targeted attacks without samples."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from zoo import MLPClassifier
from zoo.errors import InputError
from zoo.evaluation.robustness import model_name
from zoo.evaluation.robustness_dense import ImageTarget


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/cnn-mnist/2026-01-02_03-04-05/checkpoints/best.ckpt", "cnn-mnist"),
        ("/home/user/models/lenet.ckpt", "lenet"),
        ("/checkpoints/lenet.ckpt", "lenet"),
    ],
)
def test_a_model_is_named_by_its_recipe_or_else_by_its_file(path: str, name: str) -> None:
    assert model_name(path) == name


def test_a_target_class_of_all_samples_is_refused() -> None:
    model = MLPClassifier((1, 2, 2), 3).eval()
    options = SimpleNamespace(target=1, test_samples=None)
    x, y = torch.rand(4, 1, 2, 2), torch.ones(4, dtype=torch.long)
    with pytest.raises(InputError, match="--target 1: all test samples already belong to this"):
        ImageTarget("model.ckpt", model, None, options, x, y)
    assert ImageTarget("model.ckpt", model, None, options, x, 2 * y).num_samples == 4

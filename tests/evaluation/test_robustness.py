"""Names of target models."""

from __future__ import annotations

import pytest

from zoo.evaluation.robustness import model_name


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

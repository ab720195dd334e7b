"""Checkpoints of version 0.1: arguments that have been renamed since get their new names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.core.task import Task


def save_as_version_0_1(
    model: Task, class_path: str, old_names: dict[str, str], path: Path
) -> None:
    """Write a checkpoint as version 0.1 did.

    Args:
        model: model to save.
        class_path: path of its class at that time.
        old_names: current name of an argument → its name at that time.
        path: path of the checkpoint.
    """
    hparams = {old_names.get(name, name): value for name, value in model.hparams.items()}
    content = {"class_path": class_path, "hyper_parameters": hparams}
    torch.save({**content, "state_dict": model.state_dict()}, path)


@pytest.mark.parametrize(
    ("name", "options", "class_path", "old_names"),
    [
        (
            "MeshClassifier",
            {"num_classes": 3, "input_features": "xyz", "num_times": 4, "width": 8, "blocks": 1},
            "zoo.geometric.MeshClassifier",
            {"input_features": "inputs", "num_times": "times"},
        ),
        (
            "PointClassifier",
            {"num_classes": 3, "width": 4, "orthogonality_weight": 0.5},
            "zoo.geometric.PointClassifier",
            {"orthogonality_weight": "alignment"},
        ),
        (
            "GraphClassifier",
            {"num_features": 2, "num_classes": 3, "hidden_dim": 8, "pooling": "max"},
            "zoo.geometric.GraphClassifier",
            {"hidden_dim": "hidden", "normalization": "norm", "pooling": "pool"},
        ),
        (
            "Forecaster",
            {
                "num_series": 2, "lookback": 20, "horizon": 3, "dim": 8, "layers": 1, "heads": 2,
                "layer_type": "gru", "channel_independent": False, "window_normalization": "last",
            },
            "zoo.sequences.Forecaster",
            {
                "layer_type": "layer", "mlp_dim": "hidden", "normalization": "norm",
                "channel_independent": "independent", "window_normalization": "normalize",
            },
        ),
    ],
)  # fmt: skip
def test_renamed_arguments(
    name: str,
    options: dict[str, Any],
    class_path: str,
    old_names: dict[str, str],
    tmp_path: Path,
) -> None:
    model = getattr(zoo, name)(**options)
    save_as_version_0_1(model, class_path, old_names, tmp_path / "old.ckpt")
    loaded = zoo.load(tmp_path / "old.ckpt")
    assert type(loaded) is type(model)
    assert dict(loaded.hparams) == dict(model.hparams)

"""Checkpoints and settings of data modules from runs of earlier versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import datamodules
import zoo
from zoo.cli.checkpoint_data import make_data_module
from zoo.core.migrations import DATA_ARGUMENTS_0_1, migrate_data_settings
from zoo.core.signature import arguments_of


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Digits", {"seed": 1, "resident": None}, {"seed": 1, "on_device": None}),
        ("CSV", {"path": "t", "missing": "error"}, {"path": "t", "on_missing": "stop"}),
        ("CSV", {"missing": "drop"}, {"on_missing": "drop"}),
        ("Toy2D", {"samples": 9, "num_shapes": 2}, {"num_samples": 9, "num_classes": 2}),
        ("Shapes", {"samples": 9, "resident": True}, {"num_samples": 9, "on_device": True}),
        ("Series", {"steps": 50, "columns": None}, {"num_steps": 50, "columns": None}),
        ("Brownian", {"paths": 50, "step": 2.0}, {"num_paths": 50, "step_std": 2.0}),
        (
            "Multi30k",
            {"tokenizer": "bpe", "target_tokenizer": "words", "vocab_size": 600},
            {"tokenizer_type": "bpe", "target_tokenizer_type": "words", "max_vocab_size": 600},
        ),
        ("SBM", {"signal": 0.5, "per_class": 4}, {"feature_signal": 0.5, "train_per_class": 4}),
        (
            "Isometric",
            {"refine": 1, "poses": "rolled"},
            {"subdivisions": 1, "test_poses": "rolled"},
        ),
        ("RandomGraphs", {"smallest": 9, "largest": 10}, {"min_nodes": 9, "max_nodes": 10}),
        ("Digits", {"on_device": True}, {"on_device": True}),
    ],
)
def test_old_data_settings(name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert migrate_data_settings(old, getattr(datamodules, name)) == new


@pytest.mark.parametrize(
    ("name", "options", "old_arguments", "old_weights"),
    [
        (
            "MLPClassifier",
            {"input_shape": (4,), "num_classes": 3, "hidden_dims": (5,)},
            {"hidden_dims": "hidden"},
            {},
        ),
        ("LogisticRegression", {"input_shape": (3,), "num_classes": 2}, {}, {}),
        (
            "DeepEnsemble",
            {
                "input_shape": (4,), "num_classes": 3, "num_members": 2,
                "member_settings": {"hidden_dims": (5,)},
            },
            {},
            {},
        ),
        (
            "Autoencoder",
            {"input_shape": (4,), "latent_dim": 2, "hidden_dims": (5,)},
            {"hidden_dims": "hidden"},
            {"code_density.": "codes."},
        ),
        (
            "GAN",
            {
                "input_shape": (2,), "latent_dim": 3, "hidden_dims": (4,),
                "discriminator_steps": 2, "discriminator_lr": 0.1,
            },
            {
                "hidden_dims": "hidden", "discriminator_steps": "n_critic",
                "discriminator_lr": "critic_lr", "discriminator_hidden_dims": "critic_hidden",
                "discriminator_normalization": "critic_normalization",
            },
            {"discriminator.": "critic.", "ema.": "average."},
        ),
        (
            "Forecaster",
            {
                "num_series": 2, "lookback": 20, "horizon": 3, "dim": 8, "layers": 1, "heads": 2,
                "layer_type": "gru", "channel_independent": False, "window_normalization": "last",
            },
            {
                "layer_type": "layer", "mlp_dim": "hidden", "normalization": "norm",
                "channel_independent": "independent", "window_normalization": "normalize",
            },
            {},
        ),
        (
            "NodeClassifier",
            {"num_features": 5, "num_classes": 2, "hidden_dim": 8, "cheb_order": 3},
            {
                "hidden_dim": "hidden", "normalization": "norm", "cheb_order": "order",
                "propagation_steps": "steps", "teleport_probability": "teleport",
            },
            {},
        ),
        (
            "GraphClassifier",
            {"num_features": 2, "num_classes": 3, "hidden_dim": 8, "pooling": "max"},
            {"hidden_dim": "hidden", "normalization": "norm", "pooling": "pool"},
            {},
        ),
        (
            "MeshClassifier",
            {"num_classes": 3, "input_features": "xyz", "num_times": 4, "width": 8, "blocks": 1},
            {"input_features": "inputs", "num_times": "times"},
            {},
        ),
        (
            "PointClassifier",
            {"num_classes": 3, "width": 4, "orthogonality_weight": 0.5},
            {"orthogonality_weight": "alignment"},
            {},
        ),
    ],
)  # fmt: skip
def test_old_checkpoints(
    name: str,
    options: dict[str, Any],
    old_arguments: dict[str, str],
    old_weights: dict[str, str],
    tmp_path: Path,
) -> None:
    """A checkpoint with old class paths, arguments and weights gives the same model."""
    model = getattr(zoo, name)(**options)
    hparams = {old_arguments.get(key, key): value for key, value in model.hparams.items()}
    if name == "DeepEnsemble":
        hparams["member_settings"] = {"hidden": (5,)}
    weights = {}
    for key, value in model.state_dict().items():
        prefix = next((new for new in old_weights if key.startswith(new)), "")
        weights[old_weights.get(prefix, "") + key.removeprefix(prefix)] = value
    assert not old_weights or weights.keys() != model.state_dict().keys()
    checkpoint: dict[str, Any] = {
        "class_path": f"zoo.models.{name}", "hyper_parameters": hparams, "state_dict": weights
    }  # fmt: skip
    if name == "LogisticRegression":
        accepted = {"weights": torch.ones(1, 4), "loss": torch.tensor(0.5)}
        checkpoint["newton"] = {"sums": {"right": torch.tensor(7.0)}, "accepted": accepted}
    torch.save(checkpoint, tmp_path / "old.ckpt")
    loaded = zoo.load(tmp_path / "old.ckpt")
    assert type(loaded) is type(model)
    assert dict(loaded.hparams) == dict(model.hparams)
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_old_configuration_of_data(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "data: {class_path: datamodules.LabelledText, init_args: {tokenizer: bytes, samples: 50}}"
    )
    checkpoint = tmp_path / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir()
    torch.save({"state_dict": {}}, checkpoint)
    data = make_data_module(checkpoint, None, None)
    assert isinstance(data, datamodules.LabeledText)
    assert (data.tokenizer_type, data.num_samples) == ("bytes", 50)


def test_every_new_argument_of_data_exists() -> None:
    classes = [getattr(datamodules, name) for name in datamodules.__all__]
    known = set().union(*(arguments_of(cls) for cls in classes))
    assert set(DATA_ARGUMENTS_0_1.values()) <= known

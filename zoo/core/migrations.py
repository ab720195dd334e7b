"""Checkpoints of earlier versions, brought up to date when they are read.

A checkpoint of version 0.1 has no ``zoo_version``. Its class is found by name, since modules have
moved; arguments and weights that have been renamed get their new names.
"""

from __future__ import annotations

from typing import Any

from zoo.core.signature import arguments_of

#: class that takes the argument → old name → new name
ARGUMENTS_0_1: dict[str, dict[str, str]] = {
    "MLPClassifier": {"hidden": "hidden_dims"},
    "MLPRegressor": {"hidden": "hidden_dims"},
    "CNN": {"hidden": "hidden_dims"},
    "TorchvisionClassifier": {"hidden": "hidden_dims"},
    "LatentModel": {"hidden": "hidden_dims"},
    "DenoisingAutoencoder": {"level": "corruption_level"},
    "ContractiveAutoencoder": {"strength": "contraction_weight"},
    "SparseAutoencoder": {"strength": "sparsity_weight"},
    "IWAE": {"num_draws": "num_samples"},
    "VQVAE": {"decay": "ema_decay", "commitment": "commitment_weight"},
    "AdversarialTask": {"n_critic": "discriminator_steps", "critic_lr": "discriminator_lr"},
    "GAN": {
        "critic_hidden": "discriminator_hidden_dims",
        "critic_normalization": "discriminator_normalization",
    },
    "TemplateMeshModel": {
        "pooling": "pooling_factor",
        "size": "kernel_size",
        "isometry": "isometry_weight",
    },
    "SequenceModel": {"layer": "layer_type", "hidden": "mlp_dim", "norm": "normalization"},
    "Forecaster": {"independent": "channel_independent", "normalize": "window_normalization"},
    "GraphModel": {
        "hidden": "hidden_dim",
        "norm": "normalization",
        "order": "cheb_order",
        "steps": "propagation_steps",
        "teleport": "teleport_probability",
    },
    "GraphClassifier": {"pool": "pooling"},
    "MeshModel": {"inputs": "input_features", "times": "num_times"},
    "PointModel": {"alignment": "orthogonality_weight"},
    "VisionTransformer": {"mean": "pixel_mean", "std": "pixel_std"},
}
#: old name of a data module's argument, in a run's ``config.yaml`` → new name
DATA_ARGUMENTS_0_1 = {
    "largest": "max_nodes",
    "missing": "on_missing",
    "neighbors": "num_neighbors",
    "num_shapes": "num_classes",
    "paths": "num_paths",
    "per_class": "train_per_class",
    "poses": "test_poses",
    "refine": "subdivisions",
    "resident": "on_device",
    "samples": "num_samples",
    "signal": "feature_signal",
    "smallest": "min_nodes",
    "step": "step_std",
    "steps": "num_steps",
    "target_tokenizer": "target_tokenizer_type",
    "test_links": "test_link_fraction",
    "tokenizer": "tokenizer_type",
    "val_links": "val_link_fraction",
    "vocab_size": "max_vocab_size",
    "voxels": "voxel_resolution",
}
#: old class path of a data module, in a run's ``config.yaml`` → new class path
DATA_CLASSES_0_1 = {"datamodules.LabelledText": "datamodules.LabeledText"}
#: old prefix of a weight's name → new prefix
WEIGHTS_0_1 = {"critic.": "discriminator.", "average.": "ema.", "codes.": "code_density."}


def is_current(checkpoint: dict[str, Any]) -> bool:
    """Return whether a checkpoint uses the names of this version, or was not written by the zoo."""
    return "zoo_version" in checkpoint or "class_path" not in checkpoint


def migrate(checkpoint: dict[str, Any], cls: type) -> dict[str, Any]:
    """Return a checkpoint with the names that this version of the zoo uses.

    Args:
        checkpoint: contents of a checkpoint of any version.
        cls: class of its model.
    """
    if is_current(checkpoint):
        return checkpoint
    hparams = _renamed(dict(checkpoint.get("hyper_parameters", {})), cls)
    weights = {_weight(name): value for name, value in checkpoint["state_dict"].items()}
    migrated = {**checkpoint, "hyper_parameters": hparams, "state_dict": weights}
    if "newton" in checkpoint:  # state of LogisticRegression
        sums = dict(checkpoint["newton"]["sums"])
        if sums:
            sums["correct"] = sums.pop("right")
        migrated["newton"] = {"sums": sums, "best": checkpoint["newton"]["accepted"]}
    return migrated


def migrate_data_settings(settings: dict[str, Any], cls: type) -> dict[str, Any]:
    """Return the arguments of a data module in a run of any version, under their current names.

    Args:
        settings: ``init_args`` of the data module in the run's ``config.yaml``.
        cls: class of the data module.
    """
    known = arguments_of(cls)
    migrated = {}
    for name, value in settings.items():
        new = DATA_ARGUMENTS_0_1.get(name, name)
        if name not in known and new in known:
            name, value = new, "stop" if (name, value) == ("missing", "error") else value
        migrated[name] = value
    return migrated


def _renamed(hparams: dict[str, Any], cls: type) -> dict[str, Any]:
    known = arguments_of(cls)
    for base in cls.__mro__:
        for old, new in ARGUMENTS_0_1.get(base.__name__, {}).items():
            if old in hparams and old not in known and new in known:
                hparams[new] = hparams.pop(old)
    member = hparams.get("member_settings")
    if isinstance(member, dict) and "hidden" in member:  # of an ensemble's MLPs
        hparams["member_settings"] = {
            ("hidden_dims" if name == "hidden" else name): value for name, value in member.items()
        }
    return hparams


def _weight(name: str) -> str:
    for old, new in WEIGHTS_0_1.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name

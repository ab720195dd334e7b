"""Fine-tuning: a model that starts from the weights of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from zoo.core import checkpoints
from zoo.core.migrations import migrate
from zoo.core.weights import copy_matching, match_compiled
from zoo.errors import InputError

VOCABULARIES = ("tokenizer", "target_tokenizer")


def initialize_from(model: nn.Module, path: str | Path) -> str:
    """Copy the weights of a checkpoint into the layers of a model that have the same names.

    A tensor of another shape, such as the last layer of a classifier of other classes, keeps its
    new values.

    Args:
        model: model to initialize; it may be of another class than the checkpoint's.
        path: a ``.ckpt`` file.

    Returns:
        One line with the number of copied tensors, and the names of those that are new.

    Raises:
        InputError: see :func:`zoo.core.checkpoints.read`; no tensor has the same name and shape;
            the vocabularies differ, so that embeddings would mean other words.
    """
    checkpoint = checkpoints.read(path)
    if "class_path" in checkpoint:
        checkpoint = migrate(checkpoint, type(model))
    _check_vocabulary(model, checkpoint, path)
    return copy_matching(model, match_compiled(checkpoint["state_dict"], model), path)


def _check_vocabulary(model: nn.Module, checkpoint: dict[str, Any], path: str | Path) -> None:
    settings, own = checkpoint.get("hyper_parameters", {}), getattr(model, "hparams", {})
    for name in VOCABULARIES:
        if settings.get(name) and own.get(name) and settings[name] != own[name]:
            raise InputError(
                f"the model in {path} was trained with another vocabulary ({name}), so its "
                "embeddings mean other words: train on the same texts, or on bytes"
            )

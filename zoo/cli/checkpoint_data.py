"""Models, data modules and samples for the commands that take a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import Tensor

from zoo.core import registry
from zoo.core.checkpoints import load
from zoo.core.migrations import DATA_CLASSES_0_1, migrate_data_settings
from zoo.core.task import Task
from zoo.errors import InputError
from zoo.models.latent.base import LatentModel

ModelT = TypeVar("ModelT", bound=Task)


def load_model(path: str, *classes: type[ModelT]) -> ModelT:
    """Return the model in a checkpoint, in evaluation mode, on the GPU if there is one.

    Args:
        path: a ``.ckpt`` file.
        classes: classes of models that the command accepts.

    Raises:
        InputError: see :func:`zoo.core.checkpoints.load`; a model of another class.
    """
    model = load(path, device="cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(model, classes):
        return model
    accepted = " or a ".join(cls.__name__ for cls in classes)
    raise InputError(
        f"{path} contains the model {type(model).__name__}, but this command needs a {accepted}"
    )


def make_data_module(checkpoint: Path, name: str | None, root: str | None) -> Any:
    """Create the data module that a checkpoint's model was trained on, or another one.

    Args:
        checkpoint: a ``.ckpt`` file in the folder ``checkpoints`` of a run, whose ``config.yaml``
            describes the data; the augmentation in it is left out.
        name: name or class path of other data, used with default settings; default the run's data.
        root: folder of the data, default that of the run.

    Raises:
        InputError: no ``name`` is given, and the checkpoint's run has no ``config.yaml``.
    """
    config = checkpoint.absolute().parent.parent / "config.yaml"
    settings: dict[str, Any] = {}
    if name is not None:
        path = registry.data_class(name)
    elif config.is_file():
        data = yaml.safe_load(config.read_text("utf-8"))["data"]
        path = DATA_CLASSES_0_1.get(data["class_path"], data["class_path"])
        settings = dict(data.get("init_args") or {})
        settings.pop("augment", None)
    else:
        raise InputError(f"there is no {config} to describe the data: add --data NAME")
    if root is not None:
        settings["root"] = root
    cls = registry.import_class(path)
    return cls(**migrate_data_settings(settings, cls))


def load_samples(
    data: Any, split: str, model: LatentModel, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the samples of a split and their labels, on the model's device.

    Args:
        data: data module with ``evaluation_samples``.
        split: ``train``, ``val`` or ``test``.
        model: model that takes the samples.
        limit: number of samples to take from the start of the split, default all.

    Raises:
        InputError: the model takes samples of another shape.
    """
    x, y = data.evaluation_samples(split)
    if tuple(x.shape[1:]) != model.input_shape:
        raise InputError(
            f"{type(data).__name__} has samples of shape {tuple(x.shape[1:])}, but the model takes "
            f"{model.input_shape}: choose other --data"
        )
    return x[:limit].to(model.device), y[:limit].to(model.device)

"""Models, data modules and samples for the commands that take a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from zoo.cli.arguments import Parser, import_class
from zoo.core import registry
from zoo.core.checkpoints import data_state, load, read
from zoo.core.migrations import DATA_CLASSES_0_1, migrate_data_settings
from zoo.core.settings import read_settings
from zoo.core.task import Task
from zoo.core.trust import Source, check_class, check_data_folder, check_links
from zoo.errors import InputError
from zoo.models.latent.base import LatentModel

ModelT = TypeVar("ModelT", bound=Task)


def add_model_option(parser: Parser) -> None:
    """Add the option that names the class of the user's own model."""
    parser.add_argument(
        "--model",
        metavar="CLASS",
        help="class path of the model in the checkpoint, if it is not one of the zoo's",
    )


def find_checkpoint(path: str) -> Path:
    """Return the checkpoint at a path: the file itself, or the best or last one of a run folder.

    Raises:
        InputError: the folder has no checkpoint, or a link through which results would be written
            outside it.
    """
    folder = Path(path)
    if not folder.is_dir():
        check_links(run_folder_of(folder))
        return folder
    for name in ("best.ckpt", "last.ckpt"):
        for found in (folder / "checkpoints" / name, folder / name):
            if found.is_file():
                check_links(run_folder_of(found))
                return found
    raise InputError(
        f"{path} is not a run folder: it has no checkpoints/best.ckpt or checkpoints/last.ckpt"
    )


def run_folder_of(checkpoint: Path) -> Path:
    """Return the run folder of a checkpoint, or its own folder if it is not part of a run."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def load_model(path: str, *classes: type[ModelT], own_class: str | None = None) -> ModelT:
    """Return the model in a checkpoint, in evaluation mode, on the GPU if there is one.

    Args:
        path: a ``.ckpt`` file.
        classes: classes of models that the command accepts.
        own_class: class path of the user's own model, imported before the checkpoint is read.

    Raises:
        InputError: see :func:`zoo.core.checkpoints.load`; a model of another class.
    """
    if own_class is not None:
        import_class("--model", own_class)
    model = load(path, device="cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(model, classes):
        return model
    accepted = " or a ".join(cls.__name__ for cls in classes)
    raise InputError(
        f"{path} contains the model {type(model).__name__}, but this command needs a {accepted}"
    )


def make_data_module(checkpoint: Path, name: str | None, root: str | None) -> Any:
    """Create the data module that a checkpoint's model was trained on, or another one.

    If its class is that of the training data, or one is derived from the other, it reads data by
    the checkpoint's state.

    Args:
        checkpoint: a ``.ckpt`` file in the folder ``checkpoints`` of a run, whose ``config.yaml``
            describes the data; the augmentation in it is left out.
        name: name or class path of the data, default the run's data; other data than the run's
            are used with default settings.
        root: folder of the data, default that of the run.

    Raises:
        InputError: no ``name`` is given, and the checkpoint's run has no ``config.yaml``; or the
            file is refused by :func:`~zoo.core.trust.check_class`.
    """
    config = checkpoint.absolute().parent.parent / "config.yaml"
    path = None if name is None else registry.data_class(name)
    if path is not None and "." in (name or ""):
        import_class("--data", path)
    settings: dict[str, Any] = {}
    if config.is_file():
        run_path, run_settings = _data_of_run(config, root)
        if path in (None, run_path):
            path, settings = run_path, run_settings
    elif path is None:
        raise InputError(f"there is no {config} to describe the data: add --data NAME")
    if root is not None:
        settings["root"] = root
    cls = registry.import_class(path)
    data = cls(**migrate_data_settings(settings, cls))
    state = data_state(read(checkpoint), cls, checkpoint)
    if state is not None:
        data.load_state_dict(state)
    return data


def _data_of_run(config: Path, root: str | None) -> tuple[str, dict[str, Any]]:
    """Return the class path and the settings of a run's data, without the augmentation.

    Args:
        config: the run's ``config.yaml``, whose data section must be safe.
        root: folder of the data that the user named, if any.
    """
    data = read_settings(config).get("data")
    if not isinstance(data, dict) or not isinstance(data.get("class_path"), str):
        raise InputError(f"{config} does not describe the data: add --data NAME")
    class_path: str = data["class_path"]
    path = DATA_CLASSES_0_1.get(class_path, class_path)
    given = frozenset(() if root is None else ("--data.root",))
    source = Source(config, f"add --data {path}", given)
    data = {**data, "class_path": path}
    check_class(data, "data", LightningDataModule, source)
    check_data_folder(data, source)
    settings = dict(data.get("init_args") or {})
    settings.pop("augment", None)
    return path, settings


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

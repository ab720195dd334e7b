"""Checkpoints: written atomically, read without running code."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from zoo.core.registry import model_classes
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.core.task import Task

ModelT = TypeVar("ModelT", bound="Task")


class AtomicCheckpointIO(TorchCheckpointIO):
    """A checkpoint appears whole or not at all, and is read with ``weights_only=True``.

    The bytes go to a file beside the final one, reach the disk, and are renamed: a process killed
    in between leaves the earlier checkpoint as it was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with open(partial, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read(path)


def read(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, tensors on the CPU; nothing in the file can run code.

    Raises:
        InputError: no such file, a corrupt one, or one that holds more than tensors and plain
            values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):  # whole, but with more in it than tensors
            raise InputError(
                f"checkpoint {path} holds Python objects, which could run code when read: it was "
                "not opened (the zoo's own checkpoints hold tensors and plain values)"
            ) from error
        raise InputError(f"checkpoint {path} is corrupt or no checkpoint") from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"checkpoint {path} is corrupt or cut short: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path} is no Lightning checkpoint: it has no state_dict")
    return checkpoint


def load(
    path: str | Path, model_class: type[ModelT] | None = None, device: str | torch.device = "cpu"
) -> Task:
    """The model in a checkpoint, in evaluation mode.

    Safe with a stranger's file: it is read with ``weights_only=True``, and the class it names is
    looked up among the zoo's own and those that your program has already imported, never imported
    on the file's word.

    Args:
        path: a ``.ckpt`` written by a run or by ``trainer.save_checkpoint``.
        model_class: the class, where the checkpoint does not name a known one.
        device: where the model is wanted, default the CPU.

    Raises:
        InputError: see :func:`read`; an unknown class; weights that do not fit the class.
    """
    checkpoint = read(path)
    cls = model_class or find_class(checkpoint, path)
    hyper_parameters = dict(checkpoint.get("hyper_parameters", {}))
    model = build(cls, hyper_parameters, path)
    check_fit(model, checkpoint["state_dict"], path)
    model.load_state_dict(checkpoint["state_dict"])
    return model.to(device).eval()


def check_fit(model: torch.nn.Module, weights: dict[str, Any], path: str | Path) -> None:
    """Makes sure that a checkpoint's weights are those that a model has.

    Raises:
        InputError: names the first that is missing, unknown or of another shape.
    """
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in shapes | found if shapes.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise InputError(
            f"checkpoint {path} does not fit {type(model).__qualname__} with these settings: "
            f"{name} is {found.get(name, 'missing')} there and {shapes.get(name, 'unknown')} here"
            f"{f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''}"
        )


def find_class(checkpoint: dict[str, Any], path: str | Path) -> type[Task]:
    """The class that a checkpoint names: one of the zoo, or one already imported."""
    from zoo.core.task import Task

    name = checkpoint.get("class_path")
    if name in model_classes():
        module, _, attribute = str(name).rpartition(".")
        return getattr(importlib.import_module(module), attribute)
    for cls in _subclasses(Task):
        if f"{cls.__module__}.{cls.__qualname__}" == name:
            return cls
    raise InputError(
        f"checkpoint {path} is of class {name}, which is not the zoo's and has not been imported: "
        "import it, or pass it as zoo.load(path, model_class=...)"
    )


def build(cls: type[ModelT], hyper_parameters: dict[str, Any], path: str | Path) -> ModelT:
    """``cls`` made from a checkpoint's hyper-parameters."""
    try:
        inspect.signature(cls).bind(**hyper_parameters)
        return cls(**hyper_parameters)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the hyper-parameters in {path} do not fit {cls.__qualname__}: {error}"
        ) from error


def _subclasses(cls: type) -> list[type]:
    direct: list[type] = cls.__subclasses__()
    return direct + [grandchild for child in direct for grandchild in _subclasses(child)]

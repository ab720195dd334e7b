"""Checkpoints: written atomically, read without running code."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from packaging.version import InvalidVersion, Version

import zoo
from zoo.core.files import replacing
from zoo.core.migrations import is_current, migrate
from zoo.core.trust import Source, check_values
from zoo.core.weights import copy_matching, match_compiled
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.core.task import Task

ModelT = TypeVar("ModelT", bound="Task")
ENTRIES = {  # of a checkpoint that Lightning has written
    "state_dict": dict,
    "hyper_parameters": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "global_step": int,
    "epoch": int,
    "pytorch-lightning_version": str,
    "progress": dict,
    "train_means": dict,
    "loader": dict,
    "random_state": list,
}
NAMED = ("state_dict", "hyper_parameters", "loops", "callbacks")  # whose keys are names
LOOPS = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
COMMENT = b"crc32:%08x"  # at the end of a checkpoint; checksum of all bytes before it


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint plugin for the Trainer that writes whole files and runs no code when reading.

    The bytes are written to a temporary file in the same folder, flushed to disk, and renamed: a
    process killed in between leaves the previous checkpoint intact. A checksum of the file is its
    zip comment, which ``torch.load`` ignores. Files are read with ``weights_only=True``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        with replacing(path, _hint_to_resume(Path(path))) as partial, open(partial, "wb+") as file:
            torch.save(checkpoint, file)
            _append_checksum(file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint = read(path)
        if is_current(checkpoint):
            return checkpoint
        return migrate(checkpoint, find_class(checkpoint, path))


def read(path: str | Path) -> dict[str, Any]:
    """Return the contents of a checkpoint, tensors on the CPU, without running code from the file.

    The checksums that ``torch.save`` writes are compared, which ``torch.load`` does not do.

    Raises:
        InputError: the file does not exist, is corrupt, or contains more than tensors and plain
            values; a weight is NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}{_hint(path)}")
    try:
        _check_sums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises all kinds of exceptions
        holds_objects = isinstance(error, pickle.UnpicklingError) and _is_archive(path)
        if holds_objects:  # the file is intact
            raise InputError(
                f"checkpoint {path} contains Python objects, which could run code when read, and "
                "was not opened: the zoo's own checkpoints contain only tensors and plain values"
            ) from error
        what = "is corrupt, or not a checkpoint"
        if isinstance(error, zipfile.BadZipFile | OSError):
            what = f"is corrupt or truncated: {error}"
        raise InputError(f"checkpoint {path} {what}{_hint(path)}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path} is not a Lightning checkpoint: it has no state_dict")
    _check_structure(checkpoint, path)
    _check_weights(checkpoint["state_dict"], path)
    return checkpoint


def _check_structure(checkpoint: dict[str, Any], path: Path) -> None:
    """Raise :class:`InputError` if an entry that Lightning writes is of another type."""
    for name, kind in ENTRIES.items():
        if name in checkpoint:
            _check_entry(checkpoint, name, kind, path)
    version = checkpoint.get("pytorch-lightning_version", "0")
    try:
        Version(version)
    except InvalidVersion:
        raise InputError(
            f"checkpoint {path} is damaged: {version!r} is not a version of Lightning{_hint(path)}"
        ) from None
    for name in NAMED:
        for key in checkpoint.get(name, ()):
            if not isinstance(key, str):
                raise InputError(
                    f"checkpoint {path} is damaged: its entry {name} has the key {key!r}, which is "
                    f"not a name{_hint(path)}"
                )
    missing = set(LOOPS).difference(checkpoint.get("loops", LOOPS))
    if missing:
        raise InputError(
            f"checkpoint {path} is damaged: its entry loops lacks {min(missing)}{_hint(path)}"
        )


def _check_entry(checkpoint: dict[str, Any], name: str, kind: type, path: Path) -> None:
    value = checkpoint.get(name)
    if not isinstance(value, kind):
        raise InputError(
            f"checkpoint {path} is damaged: its entry {name} must be of type {kind.__name__}, got "
            f"{type(value).__name__}{_hint(path)}"
        )


def _append_checksum(file: Any) -> None:
    """Append the CRC-32 of a zip file to it, as the comment at the end of the archive."""
    file.seek(-2, os.SEEK_END)
    file.write(len(COMMENT % 0).to_bytes(2, "little"))  # length of the comment, 0 so far
    file.write(COMMENT % _crc32(file, file.tell()))


def _check_sums(path: Path) -> None:
    """Raise ``BadZipFile`` if the bytes of a file are not those that were written.

    A file without a checksum of its own, as ``torch.save`` writes it, has one for each record.
    """
    if not _is_archive(path):
        return
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END) - len(COMMENT % 0)
        with zipfile.ZipFile(file) as archive:
            comment = archive.comment
            damaged = None if comment else archive.testzip()
        if damaged or (comment and comment != COMMENT % _crc32(file, end)):
            raise zipfile.BadZipFile("its checksum is wrong")


def _is_archive(path: Path) -> bool:
    """Return whether a file is a zip archive, which ``torch.save`` writes since torch 1.6."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _crc32(file: Any, end: int) -> int:
    """Return the CRC-32 of the first ``end`` bytes of a file."""
    file.seek(0)
    value = 0
    while block := file.read(min(1 << 20, end - file.tell())):
        value = zlib.crc32(block, value)
    return value


def _hint(path: Path) -> str:
    """Return a hint at another checkpoint of the run, if there is one."""
    folder = path / "checkpoints" if path.is_dir() else path.parent  # a run folder was given
    for name in ("best.ckpt", "last.ckpt"):
        other = folder / name
        if other != path and other.is_file():
            return f"; try {other}"
    return ""


def _hint_to_resume(path: Path) -> str:
    """Return how to go on after a checkpoint could not be written."""
    last = path.with_name("last.ckpt")
    return f"then resume with --ckpt_path {last}" if last.is_file() else ""


@overload
def load(
    path: str | Path,
    model_class: type[ModelT],
    device: str | torch.device = "cpu",
    **overrides: Any,
) -> ModelT: ...
@overload
def load(
    path: str | Path,
    model_class: None = None,
    device: str | torch.device = "cpu",
    **overrides: Any,
) -> Task: ...
def load(
    path: str | Path,
    model_class: type[Task] | None = None,
    device: str | torch.device = "cpu",
    **overrides: Any,
) -> Task:
    """Return the model in a checkpoint, in evaluation mode.

    Files from strangers are safe: they are read with ``weights_only=True``, and the class that a
    file names must belong to the zoo or have been imported by the program.

    Args:
        path: a ``.ckpt`` file written by a run or by ``trainer.save_checkpoint``.
        model_class: class of the model, by which type checkers know the class of the result;
            default the class that the checkpoint names.
        device: device of the model, default the CPU.
        **overrides: arguments of the model that replace the checkpoint's, such as ``num_classes``;
            layers of another shape keep their new weights, which a warning names.

    Raises:
        InputError: see :func:`read`; an unknown class; weights that do not fit the class.
    """
    checkpoint = read(path)
    cls = model_class or find_class(checkpoint, path)
    checkpoint = migrate(checkpoint, cls)
    settings = hyper_parameters(checkpoint, path) | overrides
    model = _construct(cls, settings, path)
    weights = match_compiled(checkpoint["state_dict"], model)
    if overrides:
        warnings.warn(copy_matching(model, weights, path), stacklevel=2)
        return model.to(device).eval()
    check_fit(model, weights, path)
    model.load_state_dict(weights)
    return model.to(device).eval()


def check_fit(model: torch.nn.Module, weights: dict[str, Any], path: str | Path) -> None:
    """Check that a checkpoint's weights are those of a model, by name and shape.

    Args:
        model: model that will receive the weights.
        weights: ``state_dict`` of the checkpoint.
        path: path of the checkpoint, for the message.

    Raises:
        InputError: names the first weight that is missing, unknown or of another shape.
    """
    shapes = {name: _shape(value) for name, value in model.state_dict().items()}
    found = {name: _shape(value) for name, value in weights.items()}
    wrong = sorted(name for name in shapes | found if shapes.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(
            f"checkpoint {path} does not fit {type(model).__qualname__} with these settings: "
            f"{name} is {found.get(name, 'missing')} in the file and "
            f"{shapes.get(name, 'missing')} in the model{more}"
        )


def _shape(value: Any) -> Any:
    """Return the shape of a tensor, or the name of the type of another value."""
    return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__


def find_class(checkpoint: dict[str, Any], path: str | Path) -> type[Task]:
    """Return the class that a checkpoint names: one of the zoo's, or one already imported.

    Args:
        checkpoint: contents of the checkpoint.
        path: path of the checkpoint, for the message.

    Raises:
        InputError: the class is neither.
    """
    from zoo.core.task import Task

    if "class_path" not in checkpoint:
        raise InputError(
            f"checkpoint {path} does not name the class of its model, as those of the zoo do: read "
            "it with zoo.load(path, model_class=...)"
        )
    name = str(checkpoint["class_path"])
    found = [c for c in _subclasses(Task) if f"{c.__module__}.{c.__qualname__}" == name]
    if found:
        return found[-1]  # the newest, if a cell of a notebook was run again
    bare = name.rpartition(".")[2]
    if name.startswith("zoo.") and bare in zoo.__all__:  # the module may have moved
        cls = getattr(zoo, bare)
        if isinstance(cls, type) and issubclass(cls, Task):
            return cls
    raise InputError(
        f"checkpoint {path} contains {name}, which is not one of the zoo's models and has not been "
        f"imported: add --model {name}, or in Python import it before zoo.load"
    )


def data_state(checkpoint: dict[str, Any], cls: type, path: str | Path) -> dict[str, Any] | None:
    """Return the state of the data module in a checkpoint, if it suits a class of data modules.

    It suits its own class, and classes that are derived from one another: a model that was trained
    on SST-2 reads the user's table of texts by the vocabulary and the classes of SST-2.

    Raises:
        InputError: it is not what a data module has written.
    """
    names = (c.__qualname__ for c in (*cls.__mro__, *_subclasses(cls)))
    name = next((name for name in names if name in checkpoint), None)
    if name is None:
        return None
    _check_entry(checkpoint, name, dict, Path(path))
    state: dict[str, Any] = checkpoint[name]
    return state


def hyper_parameters(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Return the arguments of the model in a checkpoint, after checking the classes they name.

    Args:
        checkpoint: contents of the checkpoint.
        path: path of the checkpoint, for the message.

    Raises:
        InputError: an argument names a class that is neither the zoo's nor imported.
    """
    settings = dict(checkpoint.get("hyper_parameters", {}))
    check_values(settings, "hyper_parameters", Source(Path(path), "import the class first"))
    return settings


def _check_weights(weights: dict[str, Any], path: str | Path) -> None:
    """Raise :class:`InputError` if a weight of a checkpoint is NaN."""
    for name, value in weights.items():
        if isinstance(value, torch.Tensor) and bool(value.isnan().any()):
            raise InputError(
                f"checkpoint {path} is from a run that diverged: {name} contains NaN; use an "
                "earlier checkpoint, or train again with a lower lr or trainer.gradient_clip_val"
            )


def _construct(cls: type[Task], hparams: dict[str, Any], path: str | Path) -> Task:
    try:
        return cls(**hparams)
    except (TypeError, ValueError) as error:
        hint = ""
        if hparams.get("class_weights") and str(error).startswith("class_weights "):
            hint = "; pass other class_weights as well, or class_weights=None"
        raise InputError(
            f"the hyper-parameters in {path} do not fit {cls.__qualname__}: {error}{hint}"
        ) from error


def _subclasses(cls: type) -> list[type]:
    direct: list[type] = cls.__subclasses__()
    return direct + [grandchild for child in direct for grandchild in _subclasses(child)]

"""Predictions as a table: one row per sample, with the sample's name in the user's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.functional.precision import widen

if TYPE_CHECKING:
    import pandas as pd

MAX_COLUMNS = 256  # an output with more values per sample, such as an image, is not tabulated


def prediction_table(
    model: Any, outputs: dict[str, Tensor], data: Any, loader: Any
) -> pd.DataFrame | None:
    """Return the predictions of a model as a table, or None if no output fits into one.

    The first columns are those of ``data.prediction_ids()``, if the data module has it, else the
    position of each sample. The others are those of ``model.prediction_columns(outputs, data)``, if
    the model has it, else :func:`tensor_columns`. A model with several rows per sample, such as the
    vertices of a mesh, returns a column ``sample`` that counts the samples in the order of the
    outputs; it is replaced by the sample's name.

    Args:
        model: a LightningModule.
        outputs: outputs of its ``predict_step``, all batches concatenated.
        data: the data module; None if the model has its own data.
        loader: the loader that served the samples, whose sampler gives their positions.
    """
    import pandas as pd

    make_columns = getattr(model, "prediction_columns", None)
    columns = tensor_columns(outputs) if make_columns is None else make_columns(outputs, data)
    if not columns:
        return None
    rows = columns.pop("sample", None)
    count = len(next(iter(columns.values()))) if rows is None else max(rows) + 1
    ids = _ids(data, loader, count)
    if rows is not None:
        ids = {name: [values[row] for row in rows] for name, values in ids.items()}
    return pd.DataFrame(ids | {name: list(column) for name, column in columns.items()})


def tensor_columns(outputs: dict[str, Tensor]) -> dict[str, Sequence[Any]]:
    """Return columns of the outputs that have at most 256 values per sample.

    An output ``name`` of shape (N,) becomes the column ``name``, and one of shape (N, D) becomes
    the columns ``name_1`` to ``name_D``.
    """
    columns: dict[str, Sequence[Any]] = {}
    for name, values in outputs.items():
        if values.ndim == 1:
            columns[name] = column(values)
        elif values.ndim == 2 and values.shape[1] <= MAX_COLUMNS:
            columns |= {f"{name}_{i + 1}": column(values[:, i]) for i in range(values.shape[1])}
    return columns


def column(values: Tensor) -> Sequence[Any]:
    """Return a column of numbers, (N,); half precision is widened to float32."""
    return list(widen(values).cpu().numpy())


def class_columns(
    probabilities: Tensor, class_names: Sequence[str] | None
) -> dict[str, Sequence[Any]]:
    """Return the most probable class, its probability, and the probability of each class.

    Args:
        probabilities: probabilities of the classes, (N, K).
        class_names: names of the K classes. None, or another number of names, gives 0 to K − 1.
    """
    num_classes = probabilities.shape[1]
    if class_names is None or len(class_names) != num_classes:
        class_names = [str(k) for k in range(num_classes)]
    best = probabilities.float().max(1)
    columns: dict[str, Sequence[Any]] = {
        "class": [class_names[k] for k in best.indices.tolist()],
        "probability": column(best.values),
    }
    return columns | {
        f"p({name})": column(probabilities[:, k]) for k, name in enumerate(class_names)
    }


def _ids(data: Any, loader: Any, count: int) -> dict[str, Sequence[Any]]:
    """Return the columns that name the ``count`` samples that this process has predicted.

    Raises:
        ValueError: the data module names another number of samples.
    """
    if not hasattr(data, "prediction_ids"):
        return {
            "sample": loader_positions(loader)[:count]
            if hasattr(loader, "sampler")
            else range(count)
        }
    ids: dict[str, Sequence[Any]] = data.prediction_ids()
    total = len(next(iter(ids.values())))
    if total == count:
        return ids
    positions = loader_positions(loader)
    if len(positions) < count:
        raise ValueError(f"{count} predictions were made, but the data names {total} samples")
    return {name: [values[i] for i in positions[:count]] for name, values in ids.items()}


def loader_positions(loader: Any) -> list[int]:
    """Return the positions of the samples that a loader serves in this process."""
    batches = [torch.as_tensor(indices).reshape(-1) for indices in loader.sampler]
    return torch.cat(batches).tolist()

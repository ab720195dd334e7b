"""Helpers that all studies share: tables, progress bars, checks of settings, silent training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InputError, check_integer

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

    from zoo.core.task import Task

T = TypeVar("T")
M = TypeVar("M", bound="Task")
Cell = str | float | None
Row = tuple[Cell, ...]
MEASURED_AND_THEORY = ("", "measured", "theory", "")


@dataclass(frozen=True)
class Table:
    """Results of a study, formatted as text by ``str``.

    Args:
        rows: cells of each row; missing cells at the end of a row are left empty. Numbers are shown
            with four significant digits, integers in full, None as an empty cell.
        header: titles of the columns; default those of a label, a measured value, the value that
            theory predicts, and a remark.
    """

    rows: Sequence[Row]
    header: Sequence[str] = MEASURED_AND_THEORY

    def __str__(self) -> str:
        lines = [list(self.header), *([_format_cell(cell) for cell in row] for row in self.rows)]
        lines = [line + [""] * (len(self.header) - len(line)) for line in lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(self._align(line, widths) for line in lines)

    def _align(self, cells: list[str], widths: list[int]) -> str:
        aligned = [
            cell.ljust(width) if self._is_text(column) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    def _is_text(self, column: int) -> bool:
        """Return whether a column contains text: the first one, and the last one if untitled."""
        is_last = column == len(self.header) - 1
        return column == 0 or (is_last and not self.header[column])


def _format_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or (float(cell).is_integer() and abs(cell) < 1e6):
        return f"{int(cell):,}"
    return f"{cell:.4g}"


def check_range(
    low: float, high: float, ends: Literal["[]", "[)", "()"] = "[]", **arguments: float
) -> None:
    """Check that arguments are in an interval, as in ``check_range(0, 0.5, "()", radius=radius)``.

    Args:
        low, high: end points of the interval.
        ends: brackets of the interval, round where an end point is excluded; default ``[]``.
        **arguments: values by the name of the argument.

    Raises:
        InputError: a value outside the interval.
    """
    for name, value in arguments.items():
        above = value > low if ends[0] == "(" else value >= low
        below = value < high if ends[1] == ")" else value <= high
        if not (above and below):
            raise InputError(f"{name} must be in {ends[0]}{low:g}, {high:g}{ends[1]}, got {value}")


def check_each_at_least(minimum: int, **arguments: Sequence[int]) -> None:
    """Check that arguments are sequences of one or more integers, each at least ``minimum``.

    Raises:
        InputError: an empty sequence, or a value below the minimum.
    """
    check_integer(**arguments)
    for name, values in arguments.items():
        if not values or not min(values) >= minimum:
            raise InputError(
                f"{name} must contain one or more values, each at least {minimum:g}, got "
                f"{list(values)}"
            )


def track(items: Iterable[T], description: str) -> Iterable[T]:
    """Return the items; iterating over them in a terminal shows a temporary progress bar."""
    from tqdm import tqdm

    return tqdm(items, desc=description, leave=False, disable=None)


def fit(
    model: M, data: LightningDataModule, epochs: int, callbacks: Sequence[Any] = (), **trainer: Any
) -> M:
    """Train a model on the CPU without logs, files or validation.

    Args:
        model: the model.
        data: its data module.
        epochs: training epochs.
        callbacks: Lightning callbacks, default none.
        **trainer: further arguments of Lightning's ``Trainer``.

    Returns:
        The same model, in evaluation mode.
    """
    import lightning.pytorch as L

    from zoo.core.quiet import silence_libraries

    silence_libraries()
    quiet: dict[str, Any] = {
        "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "num_sanity_val_steps": 0, "limit_val_batches": 0,
        "accelerator": "cpu",
    }  # fmt: skip
    L.Trainer(max_epochs=epochs, callbacks=list(callbacks), **quiet | trainer).fit(model, data)
    return model.eval()


@torch.no_grad()
def accuracy_on_test(model: Any, data: Any) -> float:
    """Return the accuracy of a classifier on the test split of its data module."""
    x, y = data.evaluation_samples("test")
    return float((model.logits(x).argmax(1) == y).double().mean())


def to_jsonable(value: Any) -> Any:
    """Convert a result to values that JSON can represent.

    Dataclasses become dictionaries, tensors and arrays become lists, floats are rounded to eight
    significant digits, and infinities and NaN become None.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return to_jsonable(value.tolist())
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value


def sentence_case(text: str) -> str:
    """Return the text with its first letter in upper case, as in figure titles."""
    return text[:1].upper() + text[1:]


def make_generator(seed: int) -> torch.Generator:
    """Return a random number generator on the CPU, seeded with ``seed``."""
    return torch.Generator().manual_seed(seed)


def corrupt_labels(
    y: Tensor, fraction: float, rng: torch.Generator, num_classes: int = 10
) -> Tensor:
    """Replace a random selection of labels by another class, chosen uniformly.

    Args:
        y: class indices, (N,).
        fraction: probability with which each label is replaced.
        rng: random number generator.
        num_classes: number of classes, default 10.
    """
    wrong = (y + torch.randint(1, num_classes, y.shape, generator=rng)) % num_classes
    return torch.where(torch.rand(len(y), generator=rng) < fraction, wrong, y)

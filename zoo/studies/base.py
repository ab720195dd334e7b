"""What all studies share: tables, progress, the quiet training of a model of the zoo."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InputError

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

    from zoo.core.task import Task

T = TypeVar("T")
M = TypeVar("M", bound="Task")
Cell = str | float | None
COMPARED = ("", "measured", "theory", "")


@dataclass(frozen=True)
class Table:
    """Figures of a study as they are printed.

    Args:
        rows: cells; numbers are shown with four digits, None as nothing.
        header: of the columns, default what, measured, theory and a remark.
    """

    rows: Sequence[tuple[Cell, ...]]
    header: Sequence[str] = COMPARED

    def __str__(self) -> str:
        lines = [list(self.header), *([_shown(cell) for cell in row] for row in self.rows)]
        lines = [line + [""] * (len(self.header) - len(line)) for line in lines]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        return "\n".join(self._line(line, widths) for line in lines)

    def _line(self, cells: list[str], widths: list[int]) -> str:
        last = len(cells) - 1
        words = [
            cell.ljust(width) if column in self._texts(last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(words).rstrip()

    def _texts(self, last: int) -> tuple[int, ...]:
        """Columns of words, which begin at the left."""
        return (0, last) if not self.header[last] else (0,)


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or (float(cell).is_integer() and abs(cell) < 1e6):
        return f"{int(cell):,}"
    return f"{cell:.4g}"


def require(condition: bool, message: str) -> None:
    """Settings that a study cannot run with.

    Raises:
        InputError: ``message``, where the condition does not hold.
    """
    if not condition:
        raise InputError(message)


def track(steps: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """The steps of a loop, with a bar of progress where a terminal shows it."""
    from tqdm import tqdm

    return tqdm(steps, desc=what, total=total, leave=False, disable=None)


def fit(
    model: M, data: LightningDataModule, epochs: int, callbacks: Sequence[Any] = (), **trainer: Any
) -> M:
    """Trains a model without a word, without a folder; returns it in evaluation mode."""
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


def plain(value: Any) -> Any:
    """A result as JSON can hold it: tensors and arrays as lists, what is not finite as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value


def generator(seed: int) -> torch.Generator:
    """Random numbers of a study."""
    return torch.Generator().manual_seed(seed)


def mislabeled(y: Tensor, share: float, random: torch.Generator, classes: int = 10) -> Tensor:
    """Labels of which a share, drawn one by one, is that of another class."""
    wrong = (y + torch.randint(1, classes, y.shape, generator=random)) % classes
    return torch.where(torch.rand(len(y), generator=random) < share, wrong, y)

"""Tables: numbers in columns, with a split, a standardisation fitted on training rows, a target."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from zoo.errors import DataError


@dataclass(frozen=True)
class Table:
    """Columns and targets before splitting and scaling.

    Args:
        x: (N, F) float64; nan where a value is missing.
        y: int64 classes (N,), or float64 numbers (N, T).
        names: of the F columns.
        class_names: names of the classes; empty for numbers.
        targets: names of the targets.
    """

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    names: Sequence[str]
    class_names: Sequence[str] = ()
    targets: Sequence[str] = field(default=("target",))


class TableDataModule(TensorDataModule):
    """Rows of a table, split 70/20/10 by a seed unless told otherwise.

    A data set implements ``table()``. Batches are (x, y) with x float32 (B, F) and y int64 (B,) for
    classes or float32 (B, T) for numbers. Missing values become the training mean of their column.

    Properties that models ask for: ``input_shape``; ``num_classes`` for classes; ``num_targets``,
    ``target_mean`` and ``target_std`` (of the training rows) for numbers.

    Args:
        val_size, test_size: rows for validation and test: counts (≥ 1) or fractions (< 1), default
            0.2 and 0.1.
        standardize: whether columns are scaled to mean 0 and variance 1 over the training rows,
            default yes. A column that is constant there becomes 0 in every row, with a warning.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        DataError: too few rows; one class only; a target that is constant.
    """

    def __init__(
        self,
        batch_size: int = 32,
        val_size: float = 0.2,
        test_size: float = 0.1,
        standardize: bool = True,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        if self.augment is not None:
            raise ValueError("augment is for images; a table has none")
        if test_size < 0:
            raise ValueError(f"test_size must not be negative, got {test_size}")
        self.test_size = test_size
        self.standardize = standardize

    def table(self) -> Table:
        """The whole table."""
        raise NotImplementedError(f"{type(self).__name__} has no table()")

    # -- what models ask for --------------------------------------------------------------------

    @cached_property
    def _table(self) -> Table:
        table = self.table()
        if len(table.x) < 3:
            raise DataError(f"{type(self).__name__} has {len(table.x)} rows; at least 3 are needed")
        if table.class_names and len(np.unique(table.y)) < 2:
            only = table.class_names[int(table.y[0])]
            raise DataError(f"the target has one class only, {only!r}: there is nothing to tell")
        return table

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self._table.x.shape[1],)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        if not self._table.class_names:
            raise AttributeError(self._numbers_note())
        return len(self._table.class_names)

    @property
    def num_targets(self) -> int:
        self._need_numbers()
        return self._table.y.shape[1]

    @property
    def target_mean(self) -> tuple[float, ...]:
        self._need_numbers()
        return tuple(self._table.y[self._rows["train"]].mean(0).tolist())

    @property
    def target_std(self) -> tuple[float, ...]:
        self._need_numbers()
        std = self._table.y[self._rows["train"]].std(0)
        for name, value in zip(self._table.targets, std, strict=True):
            if value == 0:
                raise DataError(f"target {name!r} is constant in the training rows")
        return tuple(std.tolist())

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns."""
        return list(self._table.names)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes; empty for numbers."""
        return list(self._table.class_names)

    def _need_numbers(self) -> None:
        if self._table.class_names:
            raise AttributeError(
                f"the target holds {len(self._table.class_names)} classes: choose a classifier"
            )

    def _numbers_note(self) -> str:
        names = ", ".join(map(repr, self._table.targets))
        return (
            f"the target {names} holds numbers: choose a model for regression, such as "
            "linear_regression or mlp_regressor"
        )

    # -- splits ---------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> dict[str, np.ndarray[Any, Any]]:
        return self._split_rows(len(self._table.x))

    def _split_rows(self, samples: int) -> dict[str, np.ndarray[Any, Any]]:
        """Rows of ``train``, ``val`` and ``test``."""
        test, val = (self._count(size, samples) for size in (self.test_size, self.val_size))
        if test + val >= samples:
            raise DataError(
                f"val_size={self.val_size} and test_size={self.test_size} leave nothing of "
                f"{samples} rows to train on"
            )
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(self.seed)).numpy()
        parts = {
            "test": order[:test],
            "val": order[test : test + val],
            "train": order[test + val :],
        }
        return {name: np.sort(rows) for name, rows in parts.items()}

    @staticmethod
    def _count(size: float, samples: int) -> int:
        return int(size) if size >= 1 else round(size * samples)

    def setup(self, stage: str | None = None) -> None:
        if self._splits:
            return
        tensors = self._tensors()
        self._splits = {name: (tensors, torch.from_numpy(r)) for name, r in self._rows.items()}

    def _tensors(self) -> Batch:
        train = self._rows["train"]
        x = self._table.x
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column without a training value
            mean, std = np.nanmean(x[train], axis=0), np.nanstd(x[train], axis=0)
        mean = np.nan_to_num(mean)
        x = np.where(np.isnan(x), mean, x)
        if self.standardize:
            constant = ~(std > 1e-12 * np.maximum(1, np.abs(mean)))
            if constant.any():
                names = ", ".join(
                    repr(self._table.names[i]) for i in np.flatnonzero(constant).tolist()
                )
                warnings.warn(
                    f"column(s) {names} are constant in the training rows, carry no information "
                    "and are set to 0",
                    stacklevel=2,
                )
            x = np.where(constant, 0, (x - mean) / np.where(constant, 1, std))
        y = self._table.y
        targets = torch.from_numpy(y) if self._table.class_names else torch.from_numpy(y).float()
        return torch.from_numpy(x).float(), targets

    def _prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        return batch

    def test_dataloader(self) -> Any:
        return self._loader("test") if len(self._stored("test")[1]) else []


class _ScikitTable(TableDataModule):
    """A table that comes with scikit-learn."""

    #: ``sklearn.datasets.load_X``
    official: str

    def table(self) -> Table:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{self.official}")(**self._options())
        names = [str(name) for name in bunch.feature_names]
        if "target_names" not in bunch:
            return Table(bunch.data, bunch.target[:, None].astype(np.float64), names)
        classes = [str(name) for name in bunch.target_names]
        return Table(bunch.data, bunch.target.astype(np.int64), names, classes)

    def _options(self) -> dict[str, Any]:
        return {}


class Diabetes(_ScikitTable):
    """Disease progression after a year from ten measurements: 442 patients, regression.

    Source: Efron, Hastie, Johnstone and Tibshirani, Least angle regression, 2004.
    """

    official = "diabetes"

    def _options(self) -> dict[str, Any]:
        return {"scaled": False}  # scikit-learn would scale by all rows, the test rows included


class BreastCancer(_ScikitTable):
    """Malignant or benign from 30 measurements of cell nuclei: 569 tumours, 2 classes.

    Source: Street, Wolberg and Mangasarian, 1993 (Wisconsin diagnostic).
    """

    official = "breast_cancer"


class Wine(_ScikitTable):
    """Three cultivars from 13 chemical measurements: 178 wines.

    Source: Aeberhard and Forina, 1991.
    """

    official = "wine"


class Iris(_ScikitTable):
    """Three species from four lengths: 150 flowers. Source: Fisher, 1936."""

    official = "iris"

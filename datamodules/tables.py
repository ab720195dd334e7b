"""Tables: features in columns, classes or numbers to predict, splits by a seed."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from datamodules.base import TensorDataModule, split_count
from datamodules.loader import Batch, TensorLoader
from zoo.errors import DataError, check_count_or_fraction

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Table:
    """Features and targets before they are split and standardized.

    Args:
        x: features, (N, F) float64; NaN marks a missing value.
        y: targets: class indices int64 (N,), or numbers float64 (N, T). Rows that are only for
            prediction may have the class −1, or NaN.
        feature_names: names of the F features.
        class_names: names of the classes; empty (default) for numeric targets.
        target_names: names of the T targets, default ``target``.
        row_names: columns of N values that name the rows, default ``row`` with 0 to N − 1.
    """

    x: Array
    y: Array
    feature_names: Sequence[str]
    class_names: Sequence[str] = ()
    target_names: Sequence[str] = ("target",)
    row_names: Mapping[str, Sequence[Any]] | None = None

    def take(self, rows: Array) -> Table:
        """Return some of the rows, by index."""
        names = self.row_names or {"row": range(len(self.x))}
        chosen = {name: [values[i] for i in rows.tolist()] for name, values in names.items()}
        return replace(self, x=self.x[rows], y=self.y[rows], row_names=chosen)


class TableDataModule(TensorDataModule):
    """Rows of a table, split 70/20/10 by a seed unless specified otherwise.

    A subclass implements ``load_table()``. Batches are (x, y) with x float32 (B, F), and y int64
    (B,) for classes or float32 (B, T) for numeric targets. A missing value is replaced by the mean
    of its feature over the training rows.

    Names, classes and scaling are learned from the training rows, and travel in checkpoints with
    the settings of the split. Other rows than the training data are tested as a whole.

    Properties for models: ``input_shape``; for classes ``num_classes``; for numeric targets
    ``num_targets``, ``target_mean`` and ``target_std``, the last two over the training rows.

    Args:
        batch_size: training rows per batch and process, default 32.
        val_size: rows for validation: a count (≥ 1) or a fraction (< 1), default 0.2.
        test_size: rows for testing: a count (≥ 1) or a fraction (< 1), default 0.1.
        standardize: whether to scale features to mean 0 and variance 1 over the training rows,
            default True. A feature that is constant in these rows is set to 0, with a warning.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: there are too few rows, only one class, or a target is constant.
    """

    learned_settings = (*TensorDataModule.learned_settings, "test_size", "standardize")

    def __init__(
        self,
        batch_size: int = 32,
        val_size: float = 0.2,
        test_size: float = 0.1,
        standardize: bool = True,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        check_count_or_fraction(test_size=test_size)
        self.test_size = test_size
        self.standardize = standardize

    def load_table(self) -> Table:
        """Return the whole table."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load_table()")

    def load_prediction_table(self) -> Table:
        """Return the rows that ``predict`` serves, by default those of the test split."""
        return self._table.take(self._row_indices["test"])

    @property
    def source(self) -> str:
        """Name of the data in messages."""
        return type(self).__name__

    # -- what is learned ------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return names, classes, and the scaling of features and targets by the training rows."""
        table, train = self._table, self._row_indices["train"]
        with warnings.catch_warnings():
            # NumPy warns about a feature without any training value, whose mean becomes 0 below
            warnings.simplefilter("ignore", RuntimeWarning)
            mean, std = np.nanmean(table.x[train], axis=0), np.nanstd(table.x[train], axis=0)
        targets = [] if table.class_names else [table.y[train].mean(0), table.y[train].std(0)]
        return {
            "feature_names": list(table.feature_names),
            "class_names": list(table.class_names),
            "target_names": list(table.target_names),
            "mean": torch.from_numpy(np.nan_to_num(mean)),
            "std": torch.from_numpy(std),
            "target_mean_std": [values.tolist() for values in targets],
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """Return a hash of the data, by which the training data are recognized."""
        content = self._table.x.tobytes() + self._table.y.tobytes()
        return hashlib.sha256(content).hexdigest()

    @property
    def has_training_data(self) -> bool:
        """True if the rows are the training data."""
        return not self.has_loaded_state or self.fingerprint() == self.learned["fingerprint"]

    # -- properties for models ------------------------------------------------------------------

    @cached_property
    def _table(self) -> Table:
        table = self.load_table()
        if self.has_loaded_state:
            self._check_features(table)
            return table
        if len(table.x) < 3:
            raise DataError(f"{self.source} has {len(table.x)} rows; at least 3 are needed")
        if table.class_names and len(np.unique(table.y)) < 2:
            only = table.class_names[int(table.y[0])]
            raise DataError(f"the target has only one class, {only!r}; at least 2 are needed")
        return table

    def _check_features(self, table: Table) -> None:
        """Refuse a table whose features, classes or targets differ from those of training."""
        for kind in ("feature_names", "class_names", "target_names"):
            own, learned = list(getattr(table, kind)), self.learned[kind]
            if own != learned:
                raise DataError(
                    f"{self.source} has the {kind.replace('_', ' ')} {', '.join(own) or 'none'}, "
                    f"but the model was trained on {', '.join(learned) or 'none'}"
                )

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (len(self.learned["feature_names"]),)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        if not self.class_names:
            raise AttributeError(self._regression_hint())
        return len(self.class_names)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes; empty for numeric targets."""
        return list(self.learned["class_names"])

    @property
    def target_names(self) -> list[str]:
        """Names of the targets."""
        return list(self.learned["target_names"])

    @property
    def num_targets(self) -> int:
        """T, the number of numeric targets."""
        self._require_numbers()
        return len(self.target_names)

    @property
    def target_mean(self) -> tuple[float, ...]:
        """Mean of each target over the training rows."""
        self._require_numbers()
        return tuple(self.learned["target_mean_std"][0])

    @property
    def target_std(self) -> tuple[float, ...]:
        """Standard deviation of each target over the training rows."""
        self._require_numbers()
        std = self.learned["target_mean_std"][1]
        for name, value in zip(self.target_names, std, strict=True):
            if value == 0:
                raise DataError(
                    f"target {name!r} is constant in the training rows: choose another target"
                )
        return tuple(std)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features."""
        return list(self.learned["feature_names"])

    def _require_numbers(self) -> None:
        if self.class_names:
            raise AttributeError(
                f"the target has {len(self.class_names)} classes: choose a classifier"
            )

    def _regression_hint(self) -> str:
        names = ", ".join(map(repr, self.target_names))
        return (
            f"the target {names} is numeric: choose a regression model, such as linear_regression "
            "or mlp_regressor"
        )

    # -- splits ---------------------------------------------------------------------------------

    @cached_property
    def _row_indices(self) -> dict[str, Array]:
        count = len(self._table.x)
        if self.has_training_data:
            return self.split_rows(count)
        return {"train": np.arange(0), "val": np.arange(count), "test": np.arange(count)}

    def split_rows(self, num_rows: int) -> dict[str, Array]:
        """Return the row indices of ``train``, ``val`` and ``test``."""
        test = split_count(self.test_size, num_rows)
        val = split_count(self.val_size, num_rows)
        if test + val >= num_rows:
            raise DataError(
                f"val_size={self.val_size:g} and test_size={self.test_size:g} leave none of "
                f"{num_rows} rows for training"
            )
        order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(self.seed)).numpy()
        splits = {
            "test": order[:test],
            "val": order[test : test + val],
            "train": order[test + val :],
        }
        return {name: np.sort(rows) for name, rows in splits.items()}

    def setup(self, stage: str | None = None) -> None:
        if stage == "predict":
            self._setup_prediction()
            return
        if stage == "fit" and not self.has_training_data:
            self._train_on_new_rows()
        if "test" in self._splits:
            return
        if stage in ("validate", "test") and not self.has_training_data:
            count = len(self._table.x)
            tested = f"all {count:,} rows are" if count > 1 else "its row is"
            self._say(f"is not the training data: {tested} tested")
        tensors = self._tensors(self._table)
        for name, rows in self._row_indices.items():
            self._splits[name] = tensors, torch.from_numpy(rows)

    def _train_on_new_rows(self) -> None:
        """Split rows that a trained model is trained on further, and remember them."""
        self._say("is not the training data: it is split again, and scaled as they were")
        self._learned = {**self.learned, "fingerprint": self.fingerprint()}
        self.__dict__.pop("_row_indices", None)
        self._splits.clear()

    def _setup_prediction(self) -> None:
        if "predict" in self._splits:
            return
        table = self._prediction_table
        if not len(table.x):
            raise DataError(f"{self.source} has no rows to predict: raise test_size")
        y = table.y if table.y.dtype.kind == "f" else np.maximum(table.y, 0)
        tensors = self._tensors(replace(table, y=y))
        self._splits["predict"] = tensors, torch.arange(len(table.x))

    @cached_property
    def _prediction_table(self) -> Table:
        return self.load_prediction_table()

    def _tensors(self, table: Table) -> Batch:
        mean, std = self.learned["mean"].numpy(), self.learned["std"].numpy()
        x = np.where(np.isnan(table.x), mean, table.x)
        if self.standardize:
            constant = ~(std > 1e-12 * np.maximum(1, np.abs(mean)))
            self._warn_of_constant_features(constant)
            x = np.where(constant, 0, (x - mean) / np.where(constant, 1, std))
        y = torch.from_numpy(table.y)
        return torch.from_numpy(x).float(), y if table.class_names else y.float()

    def _warn_of_constant_features(self, constant: Array) -> None:
        names = [self.feature_names[i] for i in np.flatnonzero(constant).tolist()]
        if names and not self.has_loaded_state:
            warnings.warn(
                f"feature(s) {', '.join(map(repr, names))} are constant in the training rows and "
                "set to 0",
                stacklevel=2,
            )

    def _say(self, text: str) -> None:
        warnings.warn(f"{self.source} {text}", stacklevel=3)

    def test_dataloader(self) -> Any:
        return self._loader("test") if len(self._stored("test")[1]) else []

    def predict_dataloader(self) -> TensorLoader:
        self.setup("predict")
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        table = self._prediction_table
        return dict(table.row_names or {"row": range(len(table.x))})


class _SklearnTable(TableDataModule):
    """A table that is part of scikit-learn."""

    #: name X of the function ``sklearn.datasets.load_X``
    sklearn_name: str

    def load_table(self) -> Table:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{self.sklearn_name}")(**self._options())
        names = [str(name) for name in bunch.feature_names]
        if "target_names" not in bunch:
            return Table(bunch.data, bunch.target[:, None].astype(np.float64), names)
        classes = [str(name) for name in bunch.target_names]
        return Table(bunch.data, bunch.target.astype(np.int64), names, classes)

    def _options(self) -> dict[str, Any]:
        return {}


class Diabetes(_SklearnTable):
    """Disease progression after a year from ten measurements: 442 patients, regression.

    Source: Efron, Hastie, Johnstone and Tibshirani, Least angle regression, 2004.
    """

    sklearn_name = "diabetes"

    def _options(self) -> dict[str, Any]:
        return {"scaled": False}  # scikit-learn would scale with statistics of all rows


class BreastCancer(_SklearnTable):
    """Malignant or benign from 30 measurements of cell nuclei: 569 tumors, 2 classes.

    Source: Street, Wolberg and Mangasarian, 1993 (Wisconsin diagnostic).
    """

    sklearn_name = "breast_cancer"


class Wine(_SklearnTable):
    """Cultivar from 13 chemical measurements: 178 wines, 3 classes.

    Source: Aeberhard and Forina, 1991.
    """

    sklearn_name = "wine"


class Iris(_SklearnTable):
    """Species from four lengths and widths: 150 flowers, 3 classes. Source: Fisher, 1936."""

    sklearn_name = "iris"

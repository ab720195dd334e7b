"""CSV: the user's own table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.column_types import learn_schema, too_many_classes
from datamodules.table_columns import Array, Column, refuse_distant_sentinels
from datamodules.table_files import TextTable, read_text_table
from datamodules.table_numbers import detect_formats, mask_missing
from datamodules.table_schema import Schema, TableOptions, check_columns, column_label
from datamodules.tables import Table, TableDataModule
from zoo.errors import DataError, InputError, check_choice

ON_MISSING = ("impute", "drop", "stop")
TASKS = ("auto", "regression", "classification")
Gaps = dict[str, Array]  # name of a column → whether each row is missing there


class CSV(TableDataModule):
    """A table from a text file with a header: ``--data csv --data.path t.csv --data.target price``.

    A column is numeric if its values are numbers: with a decimal point or comma, thousands
    separators, a currency or a percent sign. Dates become days since 1970. Any other column is
    categorical and is encoded as one indicator (0 or 1) for each of its categories but the first.
    Empty cells, ``?``, ``NA``, ``N/A``, ``nan``, ``null`` and ``none``, in upper or lower case, are
    missing values, and so is a dash among numbers. Columns without a name, with only one value, or
    that identify the rows are left out. Warnings report what is left out, filled or assumed.

    The columns, their types and categories travel in checkpoints. Another file is matched with them
    by the names of the columns, in any order; a category or class that the model was not trained on
    is refused. ``predict`` takes any number of rows, with or without the target.

    Args:
        path: UTF-8 file whose values are separated by commas, semicolons, tabs or vertical bars.
        target: name of the column to predict, or a list of several numeric columns.
        task: ``regression``, ``classification`` or ``auto`` (default): regression if the target
            is numeric, otherwise classification.
        ignore: names of columns to leave out, default none.
        keep: names of columns to use although they look like identifiers, have only one value, or
            contain numbers such as −999 that may be gaps; default none.
        missing_values: other text or numbers that mark gaps, such as −999; default none.
        decimal: decimal sign of numbers, ``.`` or ``,``; detected by default.
        on_missing: handling of missing values: ``impute`` (default) the training mean and add an
            indicator of missing values, or an extra category in categorical columns; ``drop`` the
            row; ``stop`` with an error. A missing target is an error unless its row is dropped.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        InputError: an argument is unknown or out of range, or ``ignore`` contains a target.
        DataError: the table cannot be used; the message names the file, line and column.
    """

    learned_settings = (
        *TableDataModule.learned_settings, "targets", "task", "ignore", "keep", "missing_values",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        target: str | list[str],
        task: str = "auto",
        ignore: list[str] | None = None,
        keep: list[str] | None = None,
        missing_values: list[str | float] | None = None,
        decimal: str | None = None,
        on_missing: str = "impute",
        **table: Any,
    ) -> None:
        super().__init__(**table)
        check_choice("on_missing", on_missing, ON_MISSING)
        check_choice("task", task, TASKS)
        if decimal is not None:
            check_choice("decimal", decimal, (".", ","))
        self.path = Path(path)
        self.targets = [target] if isinstance(target, str) else list(target)
        self.task, self.decimal, self.on_missing = task, decimal, on_missing
        self.ignore, self.keep = list(ignore or []), list(keep or [])
        self.missing_values = [str(text) for text in missing_values or []]
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise InputError(f"target must name different columns, got {self.targets}")
        both = [name for name in self.targets if name in self.ignore]
        if both:
            raise InputError(f"ignore contains the target {both[0]!r}: remove it from the list")

    @property
    def source(self) -> str:
        return str(self.path)

    # -- what is learned ------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        return super().learn() | {
            "columns": list(self._text.cells.columns),
            "schema": self._schema.to_state(),
            "on_missing": self.on_missing,
        }

    @cached_property
    def _schema(self) -> Schema:
        if self.has_loaded_state:
            return Schema.from_state(self.learned["schema"])
        options = TableOptions(self.targets, self.task, self.ignore, self.keep, self.decimal)
        return learn_schema(self._text, options, self.on_missing == "drop")

    def fingerprint(self) -> str:
        cells = self._text.cells
        rows = [list(cells.columns), *cells.to_numpy().tolist()]
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    @property
    def _missing_policy(self) -> str:
        """Handling of missing values; for the training data, as in the checkpoint."""
        if not self.has_training_data or not self.has_loaded_state:
            return self.on_missing
        learned: str = self.learned["on_missing"]
        if learned != self.on_missing:
            self._say(f"is the training data, so on_missing={learned} of the checkpoint is used")
        return learned

    def _load_setting(self, name: str, value: Any) -> None:
        """Add the gaps and columns that the user names for another table to the checkpoint's."""
        if name in ("missing_values", "keep"):
            own = getattr(self, name)
            value = [*value, *(text for text in own if text not in value)]
            setattr(self, name, value)
        super()._load_setting(name, value)

    # -- reading --------------------------------------------------------------------------------

    @cached_property
    def _text(self) -> TextTable:
        """The text of the table; cells that the user named as missing are empty."""
        return mask_missing(read_text_table(self.path), self.missing_values)

    def load_table(self) -> Table:
        text, schema = self._text, self._schema
        self._match_columns()
        check_columns(text, [c.name for c in schema.targets], ", the target, which is needed here")
        gaps = {c.name: c.gaps(text) for c in (*schema.features, *schema.targets)}
        keep = self._rows_to_keep(gaps)
        text = replace(text, cells=text.cells[keep])
        return self._encode(text, {name: rows[keep] for name, rows in gaps.items()})

    def load_prediction_table(self) -> Table:
        self._match_columns()
        text, schema = self._text, self._schema
        columns = [*schema.features, *(c for c in schema.targets if c.name in text.cells)]
        return self._encode(text, {c.name: c.gaps(text) for c in columns})

    def _match_columns(self) -> None:
        """Check that the table has the columns of the training data; warn of columns not used."""
        if not self.has_loaded_state:
            return
        schema, columns = self._schema, self._text.cells.columns
        check_columns(
            self._text, [c.name for c in schema.features], ", which the model was trained on"
        )
        if new := [name for name in columns if name not in self.learned["columns"]]:
            listed = ", ".join(column_label(name, columns) for name in new)
            self._say(f"has columns that the model was not trained on, left out: {listed}")

    def _rows_to_keep(self, gaps: Gaps) -> Array:
        """Return which rows remain, bool (N,), depending on ``on_missing``."""
        policy = self._missing_policy
        missing = np.any(list(gaps.values()), axis=0)
        lacks_target = np.any([gaps[name] for name in self._target_columns], axis=0)
        refused = missing if policy == "stop" else lacks_target & (policy == "impute")
        if refused.any():
            row = int(np.flatnonzero(refused)[0])
            names = [name for name, rows in gaps.items() if rows[row]]
            wrong = [name for name in names if name in self._target_columns] or names
            count = int(refused.sum())
            more = f" (and in {count - 1} more rows)" if count > 1 else ""
            raise DataError(
                f"{self._text.location(int(self._text.cells.index[row]), wrong[0])}: the value is "
                f"missing{more}; fill it in, or leave out such rows with --data.on_missing drop"
            )
        if policy == "impute":
            return np.ones(len(missing), bool)
        if missing.all():
            raise DataError(
                f"{self.path}: every row has a missing value; leave out columns with "
                "--data.ignore, or set --data.on_missing impute"
            )
        if missing.any():
            counts = f"{missing.sum():,} of {len(missing):,} rows"
            self._say(f"has missing values in {counts}, which are left out")
        return ~missing

    @property
    def _target_columns(self) -> list[str]:
        return [column.name for column in self._schema.targets]

    # -- encoding -------------------------------------------------------------------------------

    def _encode(self, text: TextTable, gaps: Gaps) -> Table:
        """Return the features and targets of rows; a target without ``gaps`` is missing."""
        schema = self._schema
        columns = [c for c in (*schema.features, *schema.targets) if c.name in gaps]
        known = {c.name: c.number_format for c in columns if c.has_numbers}
        formats = detect_formats(text, known, self.decimal, known) if self.has_loaded_state else {}
        values = {c.name: c.read(text, formats.get(c.name)) for c in columns}
        if not self.has_training_data:
            self._refuse_sentinels(text, values)
        self._say_what_is_filled(gaps)
        x = [c.encode(text, values[c.name], gaps[c.name]) for c in schema.features]
        y = [self._encode_target(c, text, values, gaps) for c in schema.targets]
        is_class = bool(schema.class_names)
        return Table(
            np.concatenate(x, axis=1),
            y[0] if is_class else np.stack(y, axis=1),
            schema.feature_names,
            schema.class_names,
            self._target_columns,
            self._row_names(text),
        )

    def _refuse_sentinels(self, text: TextTable, values: dict[str, Array]) -> None:
        """Refuse numbers such as −999 that are far from those of the training data."""
        learned = zip(
            self.learned["feature_names"],
            self.learned["mean"].tolist(),
            self.learned["std"].tolist(),
            strict=True,
        )
        for name, mean, std in learned:
            is_number = name in values and values[name].dtype.kind == "f"
            if is_number and name not in self.keep:
                refuse_distant_sentinels(text, name, values[name], mean, std)

    def _encode_target(
        self, column: Column, text: TextTable, values: dict[str, Array], gaps: Gaps
    ) -> Array:
        """Return class indices, −1 for gaps, or numbers, NaN for gaps, (N,)."""
        is_class = column.kind == "category"
        if column.name not in values:
            return np.full(len(text.cells), -1 if is_class else np.nan)
        own = values[column.name]
        return column.codes(text, own, gaps[column.name]) if is_class else own

    def _row_names(self, text: TextTable) -> dict[str, Sequence[Any]]:
        """Return the line of each row, and its identifier if the table has one."""
        names: dict[str, Sequence[Any]] = {"row": text.cells.index.tolist()}
        id_column = self._schema.id_column
        if id_column is not None and id_column in text.cells:
            names[id_column or "index"] = text.cells[id_column].tolist()
        return names

    def _say_what_is_filled(self, gaps: Gaps) -> None:
        filled = []
        for column in self._schema.features:
            if count := int(gaps[column.name].sum()):
                rule = "the training mean"
                if column.kind == "category":
                    rule = "a category of their own" if column.has_gaps else repr(column.fill)
                filled.append(f"{count:,} in {column.name!r} by {rule}")
        if filled:
            self._say(f"has missing values, which are replaced: {', '.join(filled)}")

    # -- hints ----------------------------------------------------------------------------------

    def _regression_hint(self) -> str:
        hint = super()._regression_hint()
        if len(self.targets) > 1:
            return hint
        values = self._table.y[:, 0]
        if too_many_classes(len(np.unique(values)), len(values)):
            return hint
        return f"{hint}, or set --data.task classification"

"""Tables of texts and labels: columns, header and quotation marks."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

from datamodules.files import parse_number, read_text, split_lines
from datamodules.table_files import read_text_table
from zoo.errors import DataError

#: usual names of the two columns, in lower case; the first one that a header contains is taken
TEXT_NAMES = (
    "text", "texts", "sentence", "review", "review_text", "reviewtext", "clean_text", "tweet",
    "tweet_text", "tweet text", "comment", "comment_text", "message", "content", "body", "document",
    "utterance", "question", "query", "post", "sms", "email", "headline", "phrase", "description",
    "title", "summary",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "class", "category", "sentiment", "target", "polarity", "emotion", "intent",
    "topic", "rating", "stars", "score", "tag", "y", "label_text", "gold_label",
)  # fmt: skip

Rows = list[tuple[int, list[str]]]  # line and cells of each row


@dataclass(frozen=True)
class TableColumns:
    """Columns of a table of texts, by which another table is read.

    Args:
        text: name of the column of texts, ``""`` in a table without a header.
        label: name of the column of labels, ``""`` in a table without a header.
        is_label_first: whether the label comes before the text, default False.
    """

    text: str = ""
    label: str = ""
    is_label_first: bool = False


@dataclass(frozen=True)
class TableOptions:
    """Options of the user for reading a table of texts.

    Args:
        header: whether the first line is a header; None (default) recognizes it.
        text: name of the column of texts, default recognized.
        label: name of the column of labels, default recognized.
        learned: columns of the training table, default none.
        needs_labels: whether each text must have a label, default True.
    """

    header: bool | None = None
    text: str | None = None
    label: str | None = None
    learned: TableColumns | None = None
    needs_labels: bool = True


@dataclass(frozen=True)
class LabeledTable:
    """Texts and labels of a table.

    Args:
        texts: texts.
        labels: label of each text, all empty if the table has none.
        lines: line of the file in which each text begins.
        columns: columns from which they were read.
    """

    texts: list[str]
    labels: list[str]
    lines: list[int]
    columns: TableColumns = field(default_factory=TableColumns)


def read_labeled_table(path: Path, options: TableOptions) -> LabeledTable:
    """Read a table of texts and labels.

    In a file named ``.csv``, the separator (comma, semicolon, tab or vertical bar) is detected, and
    quotation marks enclose values. In any other file, tabs separate the columns and quotation marks
    are ordinary characters, unless those inside values are doubled.

    A first line that contains usual names of columns is a header, from which the columns are
    chosen. Without a header there must be two columns, text and label; if the first one has fewer
    different values than the second one, it is the label.

    Raises:
        DataError: the table has no texts; a row has more or fewer values than the first one; a text
            or a label is missing; the columns are not found in the header.
    """
    if not read_text(path).strip():
        raise DataError(f"{path} contains no texts")
    rows = _read_csv(path) if ".csv" in path.suffixes[-2:] else _read_tabs(path)
    has_header = _is_header(rows, options) if options.header is None else options.header
    if has_header:
        header, rows = rows[0], rows[1:]
        text, label = _find_in_header(path, header, options)
        columns = TableColumns(
            header[1][text], "" if label is None else header[1][label],
            label is not None and label < text,
        )  # fmt: skip
        if options.header is None:
            _say_header(path, header, text, label)
        rows = _leave_out_headers(path, header, rows)
    else:
        text, label = _find_by_position(path, rows, options)
        columns = TableColumns(is_label_first=label == 0)
    if not rows:
        raise DataError(f"{path} contains no texts")
    texts = [row[text] for _, row in rows]
    labels = ["" if label is None else row[label] for _, row in rows]
    for (line, _), content, name in zip(rows, texts, labels, strict=True):
        if not content or (options.needs_labels and not name):
            raise DataError(
                f"{path}, line {line}: the {'label' if content else 'text'} is empty; fill it in "
                "or remove the line"
            )
    return LabeledTable(texts, labels, [line for line, _ in rows], columns)


def _leave_out_headers(path: Path, header: tuple[int, list[str]], rows: Rows) -> Rows:
    """Return the rows without repetitions of the header, which joined files contain."""
    kept = [row for row in rows if row[1] != header[1]]
    if len(kept) < len(rows):
        line = next(line for line, cells in rows if cells == header[1])
        warnings.warn(
            f"{path}: {len(rows) - len(kept):,} rows equal the header, the first one in line "
            f"{line}, and are left out",
            stacklevel=4,
        )
    return kept


# -- rows ----------------------------------------------------------------------------------------


def _read_csv(path: Path) -> Rows:
    table = read_text_table(path, has_header=lambda _: False)
    _say_empty(path, table.num_empty)
    cells = table.cells
    return list(zip(cells.index.tolist(), cells.to_numpy().tolist(), strict=True))


def _read_tabs(path: Path) -> Rows:
    lines = split_lines(path, read_text(path).rstrip("\r\n"))
    rows = [
        (number, [cell.strip() for cell in line.split("\t")])
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    width = len(rows[0][1])
    for number, row in rows:
        if len(row) != width:
            meaning = ", text and label" if width == 2 else ""
            is_quoted = any(cell.startswith('"') for _, cells in rows for cell in cells)
            raise DataError(
                f"{path}, line {number}: expected {width} column{'s' * (width > 1)}{meaning}, got "
                f"{len(row)}; replace tabs and line breaks inside texts by spaces"
                + (", or name the file .csv if quotation marks enclose them" if is_quoted else "")
            )
    _say_empty(path, len(lines) - len(rows))
    return _unquote(path, rows)


def _say_empty(path: Path, count: int) -> None:
    if count:
        rows = "1 empty row is" if count == 1 else f"{count:,} empty rows are"
        warnings.warn(f"{path}: {rows} left out", stacklevel=5)


def _unquote(path: Path, rows: Rows) -> Rows:
    """Remove the quotation marks around values, if they double those inside as CSV does."""
    quoted = [cell for _, row in rows for cell in row if '"' in cell]
    is_csv = all(re.fullmatch(r'"(?:[^"]|"")*"', cell) for cell in quoted)
    if not is_csv or not any('""' in cell[1:-1] for cell in quoted):
        return rows
    warnings.warn(
        f"{path}: quotation marks around {len(quoted):,} values are removed, as the marks inside "
        "are doubled",
        stacklevel=5,
    )
    return [
        (line, [c[1:-1].replace('""', '"').strip() if '"' in c else c for c in row])
        for line, row in rows
    ]


# -- columns -------------------------------------------------------------------------------------


def _is_header(rows: Rows, options: TableOptions) -> bool:
    """Return whether the first row names the columns.

    It does if it contains a column that the user or the training table names, or a usual name of
    each of the two columns; with only one of these, if no other row has the same value there.
    """
    (_, first), *others = rows
    learned = options.learned
    named = {options.text, options.label, learned and learned.text, learned and learned.label}
    if any(cell and cell in named for cell in first):
        return True
    names = [cell.lower() for cell in first]
    texts = [i for i, name in enumerate(names) if name in TEXT_NAMES]
    labels = [i for i, name in enumerate(names) if name in LABEL_NAMES]
    if texts and (labels or not options.needs_labels):
        return True
    if not texts and not labels:
        _warn_of_rare_label(rows)
        return False
    candidates = labels or [i for i in range(len(first)) if i not in texts]
    return all(row[i] != first[i] for _, row in others for i in candidates)


def _warn_of_rare_label(rows: Rows) -> None:
    """Warn if the first row looks like a header with unusual names."""
    first, others = rows[0][1], [row for _, row in rows[1:]]
    if len(first) != 2 or len(others) < 10:
        return
    for i in (0, 1):
        values = [row[i] for row in others]
        repeats = len(set(values)) <= len(values) // 5
        if repeats and first[i] not in values and parse_number(first[i]) is None:
            warnings.warn(
                f"the class {first[i]!r} occurs only in the first line; if that line is a header, "
                "add --data.header true",
                stacklevel=5,
            )


def _find_in_header(
    path: Path, header: tuple[int, list[str]], options: TableOptions
) -> tuple[int, int | None]:
    """Return the positions of text and label; that of the label is None if it is not needed."""
    line, names = header
    learned = options.learned or TableColumns()
    if len(names) == 1 and not options.needs_labels:
        return 0, None
    wanted = {
        "text": (options.text, learned.text, TEXT_NAMES),
        "label": (options.label, learned.label, LABEL_NAMES),
    }
    found: dict[str, int | None] = {}
    for kind, (own, trained, usual) in wanted.items():
        exact = own or trained
        if exact:
            found[kind] = names.index(exact) if exact in names else None
        else:
            lower = [name.lower() for name in names]
            found[kind] = next((lower.index(name) for name in usual if name in lower), None)
    if len(names) == 2 and not any(wanted[kind][0] or wanted[kind][1] for kind in wanted):
        # one known column tells the other; without any, the order is text and label
        if found["text"] is None:
            found["text"] = 0 if found["label"] is None else 1 - found["label"]
        if found["label"] is None and options.needs_labels:
            found["label"] = int(found["text"] == 0)
    text, label = found["text"], found["label"]
    for kind, position in found.items():
        if position is None and (kind == "text" or options.needs_labels):
            own, trained, _ = wanted[kind]
            known = f" {own or trained!r}" if own or trained else ""
            hint = "rename it, or name it" if known else "name it"
            raise DataError(
                f"{path}, line {line}: there is no column{known} of {kind}s among "
                f"{', '.join(map(repr, names))}; {hint} with --data.{kind}_column"
            )
    assert text is not None
    if text == label:
        raise DataError(f"{path}: the column {names[text]!r} cannot be both text and label")
    return text, label


def _say_header(path: Path, header: tuple[int, list[str]], text: int, label: int | None) -> None:
    line, names = header
    labels = "" if label is None else f", labels in {names[label]!r}"
    others = [repr(name) for i, name in enumerate(names) if i not in (text, label)]
    left_out = f"; left out: {', '.join(others)}" if others else ""
    warnings.warn(
        f"{path}: line {line} is a header, with texts in {names[text]!r}{labels}{left_out} "
        "(--data.header false reads it as a text)",
        stacklevel=4,
    )


def _find_by_position(path: Path, rows: Rows, options: TableOptions) -> tuple[int, int | None]:
    """Return the positions of text and label in a table without a header."""
    line, first = rows[0]
    if len(first) == 1 and not options.needs_labels:
        return 0, None
    if len(first) != 2:
        hint = (
            "; separate them by a tab, or name the file .csv"
            if len(first) == 1
            else "; name the columns in a header, and choose with --data.text_column and "
            "--data.label_column"
        )
        raise DataError(
            f"{path}, line {line}: expected 2 columns, text and label, got {len(first)}{hint}"
        )
    if options.learned is not None:
        return (1, 0) if options.learned.is_label_first else (0, 1)
    counts = [len({row[i] for _, row in rows}) for i in (0, 1)]
    if counts[0] >= counts[1]:
        return 0, 1
    warnings.warn(
        f"{path}: the first column, with {counts[0]:,} different values, is the label, and the "
        f"second one, with {counts[1]:,}, the text",
        stacklevel=4,
    )
    return 1, 0


def merge_equal_numbers(table: LabeledTable, names: list[str] | None) -> LabeledTable:
    """Return a table in which labels that equal a class as numbers, such as 1.0 and 1, are one.

    Args:
        table: table of texts and labels.
        names: names of the classes; None for the shortest of the table's own labels.
    """
    by_number: dict[float, str] = {}
    for name in sorted(set(table.labels if names is None else names), key=len, reverse=True):
        number = parse_number(name)
        if number is not None and math.isfinite(number):
            by_number[number] = name
    merged = {
        label: by_number[number]
        for label in set(table.labels)
        if (number := parse_number(label)) in by_number and by_number[number] != label
    }
    if not merged:
        return table
    pairs = ", ".join(f"{label} is read as {merged[label]}" for label in sorted(merged))
    warnings.warn(f"labels that are equal numbers are one class: {pairs}", stacklevel=4)
    return replace(table, labels=[merged.get(label, label) for label in table.labels])

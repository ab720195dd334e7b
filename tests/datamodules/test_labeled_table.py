"""Tables of texts and labels: header, order of columns, quotation marks, lines."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from datamodules.labeled_table import (
    LabeledTable,
    TableColumns,
    TableOptions,
    merge_equal_numbers,
    read_labeled_table,
)
from zoo.errors import DataError

PLAIN = [("good film", "pos"), ("bad film", "neg"), ("fine", "pos"), ("poor", "neg")]


def write(folder: Path, content: str, name: str = "t.tsv") -> Path:
    (folder / name).write_text(content, encoding="utf-8", newline="")
    return folder / name


def read(path: Path, **options: object) -> LabeledTable:
    return read_labeled_table(path, TableOptions(**options))  # type: ignore[arg-type]


def pairs(table: LabeledTable) -> list[tuple[str, str]]:
    return list(zip(table.texts, table.labels, strict=True))


def rows(*order: int) -> str:
    return "".join("\t".join(pair[i] for i in order) + "\n" for pair in PLAIN)


@pytest.mark.parametrize(
    ("header", "order", "names"),
    [
        ("text\tlabel", (0, 1), ("text", "label")),
        ("label\ttext", (1, 0), ("text", "label")),
        ("Review\tSentiment", (0, 1), ("Review", "Sentiment")),
        ("my words\tlabel", (0, 1), ("my words", "label")),
        ("text\tstance", (0, 1), ("text", "stance")),
    ],
)
def test_a_recognized_header_is_reported(
    tmp_path: Path, header: str, order: tuple[int, int], names: tuple[str, str]
) -> None:
    path = write(tmp_path, f"{header}\n{rows(*order)}")
    message = f"line 1 is a header, with texts in '{names[0]}', labels in '{names[1]}'"
    with pytest.warns(UserWarning, match=message):
        table = read(path)
    assert pairs(table) == PLAIN
    assert table.lines == [2, 3, 4, 5]
    assert (table.columns.text, table.columns.label) == names
    assert table.columns.is_label_first == (order == (1, 0))


def test_a_first_text_is_not_a_header(tmp_path: Path) -> None:
    """Its label occurs again, or the user sets ``header`` to False."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = read(write(tmp_path, "text\tpos\n" + rows(0, 1)))
        assert pairs(table) == [("text", "pos"), *PLAIN]
        table = read(write(tmp_path, "text\tlabel\n" + rows(0, 1)), header=False)
        assert pairs(table) == [("text", "label"), *PLAIN]


def test_a_header_with_unusual_names_is_suspected(tmp_path: Path) -> None:
    path = write(tmp_path, "Beitrag\tWertung\n" + rows(0, 1) * 3)
    with pytest.warns(UserWarning, match="class 'Wertung' occurs only in the first line; if that"):
        assert len(read(path).texts) == 13
    assert pairs(read(path, header=True)) == PLAIN * 3


def test_other_columns_are_left_out_and_named(tmp_path: Path) -> None:
    content = 'id,label,text\n1,pos,"good, very"\n2,neg,bad\n'
    with pytest.warns(UserWarning, match="labels in 'label'; left out: 'id'"):
        table = read(write(tmp_path, content, "t.csv"))
    assert pairs(table) == [("good, very", "pos"), ("bad", "neg")]
    content = "v1;v2;v3\npos;good;x\nneg;bad;y\n"
    path = write(tmp_path, content, "u.csv")
    with pytest.raises(DataError, match="no column of texts among 'v1', 'v2', 'v3'; name it with"):
        read(path, header=True)
    with pytest.warns(UserWarning, match="left out: 'v3'"):
        table = read(path, text="v2", label="v1")
    assert pairs(table) == [("good", "pos"), ("bad", "neg")]


def test_labels_that_come_first_are_recognized(tmp_path: Path) -> None:
    path = write(tmp_path, rows(1, 0))
    with pytest.warns(UserWarning, match="first column, with 2 different values, is the label"):
        assert pairs(read(path)) == PLAIN


def test_another_table_is_matched_by_name(tmp_path: Path) -> None:
    learned = TableColumns("text", "label")
    path = write(tmp_path, "label\tx\ttext\nneg\t1\tbad\n")
    with pytest.warns(UserWarning, match="left out: 'x'"):
        assert pairs(read(path, learned=learned)) == [("bad", "neg")]
    path = write(tmp_path, "label\tcomment\nneg\tbad\n")
    with pytest.raises(
        DataError, match=r"line 1: there is no column 'text' of texts among 'label'"
    ):
        read(path, learned=learned)
    with pytest.warns(UserWarning, match="texts in 'comment'"):
        assert pairs(read(path, learned=learned, text="comment")) == [("bad", "neg")]
    path = write(tmp_path, "neg\tbad\n")
    assert pairs(read(path, learned=TableColumns(is_label_first=True))) == [("bad", "neg")]


def test_texts_without_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "good\r\n\r\nso\u2028so\x85\x0c!\r\n")
    table = read(path, needs_labels=False)
    assert table.texts == ["good", "so\u2028so\x85\x0c!"]
    assert table.lines == [1, 3]
    with pytest.raises(DataError, match="expected 2 columns, text and label, got 1; separate them"):
        read(path)
    with pytest.warns(UserWarning, match="line 1 is a header, with texts in 'text'"):
        table = read(write(tmp_path, "id,text\n1,good\n", "p.csv"), needs_labels=False)
    assert pairs(table) == [("good", "")]


def test_quotation_marks_in_tables_with_tabs(tmp_path: Path) -> None:
    content = '"great" film\tpos\nhe said "no\tneg\n'
    assert read(write(tmp_path, content)).texts == ['"great" film', 'he said "no']
    content = '"he said ""no"" twice"\tneg\ngood\tpos\n'
    with pytest.warns(UserWarning, match="quotation marks around 1 values are removed"):
        assert read(write(tmp_path, content)).texts == ['he said "no" twice', "good"]


def test_fields_of_any_length_and_lines_of_quoted_texts(tmp_path: Path) -> None:
    long = "word " * 60_000
    table = read(write(tmp_path, f'"{long}",pos\n"two\nlines",neg\nx,pos\n', "t.csv"))
    assert table.texts == [long.strip(), "two\nlines", "x"]
    assert table.lines == [1, 2, 4]


def test_equal_numbers_are_one_class() -> None:
    table = LabeledTable(["a", "b", "c", "d"], ["1", "1.0", "0", "x"], [1, 2, 3, 4])
    with pytest.warns(UserWarning, match="equal numbers are one class: 1.0 is read as 1"):
        assert merge_equal_numbers(table, None).labels == ["1", "1", "0", "x"]
    with pytest.warns(UserWarning, match="0 is read as 0.0, 1 is read as 1.0"):
        merged = merge_equal_numbers(table, ["0.0", "1.0", "x"])
    assert merged.labels == ["1.0", "1.0", "0.0", "x"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.tsv", "\ngood\tpos\n\n \nbad\tneg\n\n\n"), ("t.csv", "good,pos\n,\n\n,\nbad,neg\n\n\n")],
)
def test_empty_rows_are_counted(tmp_path: Path, name: str, content: str) -> None:
    """Those at the end are not mentioned."""
    with pytest.warns(UserWarning, match=rf"{name}: 3 empty rows are left out") as warned:
        table = read(write(tmp_path, content, name))
    assert len(warned) == 1
    assert pairs(table) == [("good", "pos"), ("bad", "neg")]
    assert table.lines[1] == 5


@pytest.mark.parametrize(("name", "sign"), [("t.tsv", "\t"), ("t.csv", ",")])
def test_a_header_that_is_repeated_is_left_out(tmp_path: Path, name: str, sign: str) -> None:
    content = "text\tlabel\ngood\tpos\nbad\tneg\n" * 3
    path = write(tmp_path, content.replace("\t", sign), name)
    with pytest.warns(UserWarning, match=r"2 rows equal the header, the first one in line 4, and"):
        table = read(path)
    assert pairs(table) == [("good", "pos"), ("bad", "neg")] * 3
    assert table.lines == [2, 3, 5, 6, 8, 9]


def test_quoted_line_breaks_between_tabs(tmp_path: Path) -> None:
    """The hint of the error helps."""
    content = '"good\nfilm"\tpos\n"bad\n\nfilm"\tneg\n' * 3
    with pytest.raises(DataError, match=r"line 2: expected 1 column, got 2; .* name the file .csv"):
        read(write(tmp_path, content))
    table = read(write(tmp_path, content, "t.csv"))
    assert pairs(table)[:2] == [("good\nfilm", "pos"), ("bad\n\nfilm", "neg")]
    assert table.lines == [1, 3, 6, 8, 11, 13]

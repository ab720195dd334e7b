"""Text tables: separators, quotation marks, line numbers, headers, and rows of wrong length."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.table_files import TextTable, read_text_table
from zoo.errors import DataError

Read = Callable[[str], TextTable]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads a text as a table."""

    def call(text: str) -> TextTable:
        path = tmp_path / "t.csv"
        path.write_bytes(text.encode())
        return read_text_table(path)

    return call


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(read: Read, separator: str, end: str) -> None:
    table = read("\ufeffname,y\na,1\nb,2\n".replace(",", separator).replace("\n", end))
    assert table.separator == separator
    assert table.cells.to_dict("list") == {"name": ["a", "b"], "y": ["1", "2"]}
    assert table.cells.index.tolist() == [2, 3]


def test_decimal_commas_do_not_separate(read: Read) -> None:
    assert read("a;b\n8,44;1,2\n9,5;1,3\n").cells["a"].tolist() == ["8,44", "9,5"]
    assert read("a\n8,44\n9,5\n").cells["a"].tolist() == ["8,44", "9,5"]


def test_the_separator_that_excel_declares(read: Read) -> None:
    table = read("sep=;\na;b, c\n1;2\n")
    assert list(table.cells.columns) == ["a", "b, c"]
    assert table.cells.index.tolist() == [3]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('"5"" pipe, 0"', '5" pipe, 0'),
        ("\"['112', '112']\"", "['112', '112']"),
        ('5" pipe', '5" pipe'),
        ("a\x0cb", "a\x0cb"),
        ("a\u2028b\x85c\x0bd\x1ce", "a\u2028b\x85c\x0bd\x1ce"),
        (' "a, b"', "a, b"),
        ("x" * 300_000, "x" * 300_000),
        ('"' + "x, " * 100_000 + 'y"', "x, " * 100_000 + "y"),
        ('"a\r\nb"', "a\nb"),
    ],
    ids=str,
)
def test_cells(read: Read, cell: str, expected: str) -> None:
    assert read(f"name,y\n{cell},1\nb,2\n").cells["name"].tolist() == [expected, "b"]


def test_rows_know_the_line_in_which_they_begin(read: Read) -> None:
    table = read('\n\nname,y\n"a\n\nb",1\n\n,\nc,2\n')
    assert table.cells["y"].to_dict() == {4: "1", 9: "2"}


def test_compressed_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,y\n1,2\n"))
    assert read_text_table(path).cells["y"].tolist() == ["2"]


@pytest.mark.parametrize("header", ["a,y", "a,y,"])
def test_separators_at_the_end_of_rows(read: Read, header: str) -> None:
    assert read(f"{header}\n1,2,\n3,4,\n").cells.to_dict("list") == {
        "a": ["1", "3"],
        "y": ["2", "4"],
    }


@pytest.mark.parametrize("text", [",a,y\n1,2,3\n2,4,5\n3,6,7\n", "a,y\n1,2,3\n2,4,5\n3,6,7\n"])
def test_row_numbers_without_a_name(read: Read, text: str) -> None:
    """pandas writes an empty name, and R no name."""
    assert read(text).cells.to_dict("list") == {
        "": ["1", "2", "3"],
        "a": ["2", "4", "6"],
        "y": ["3", "5", "7"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv has neither a header nor rows"),
        ("\n\n", "t.csv has neither a header nor rows"),
        ("a,b\n", "t.csv has no rows below its header"),
        ("a,b\n,\n\n", "t.csv has no rows below its header"),
        ("1,2\n3,4\n", "starts with numbers: its first line must name the columns"),
        ("a,a,y\n1,2,3\n", "more than one column 'a': rename all but one"),
        ('a,b,y\n"1\n",2,3\n4,5\n', "line 4: expected 3 values, got 2"),
        ('a,b,y\n1,2,"3\n4"\n4,5,6,7,8\n', "line 4: expected 3 values, got 5"),
        ("x,y\n8,44,3\n9,55,4\n", "line 2: expected 2 values, got 3; .* in quotation marks"),
        ("name,list,y\na,['112', '112'],2\nb,[],3\n", "line 2: expected 3 values, got 4"),
        ('a,y\n"1\n2",3\n4,5\n6,"7\n8,9\n', "line 5: a quotation mark is not closed"),
        ("a,y\n1,\x002\n", r"line 2: a null character, .* perhaps UTF-16; save the file as UTF-8"),
    ],
)
def test_faulty_tables(read: Read, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(text)

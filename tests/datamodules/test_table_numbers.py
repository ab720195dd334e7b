"""Numbers in tables: decimal commas, thousands, currencies, percent, gaps."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from datamodules.table_files import TextTable
from datamodules.table_numbers import NumberFormat, detect_formats, looks_numeric, parse_numbers
from zoo.errors import DataError

NAN = math.nan


def make_table(separator: str = ",", **columns: list[str]) -> TextTable:
    """Return a table of cells that begins in line 2 of a file."""
    height = len(next(iter(columns.values())))
    cells = pd.DataFrame(columns, index=range(2, height + 2), dtype=str)
    return TextTable(Path("t.csv"), cells, separator)


def numbers_of(table: TextTable, name: str = "a", **options: str) -> list[float]:
    number_format = detect_formats(table, **options)[name]  # type: ignore[arg-type]
    return parse_numbers(table.cells[name], number_format).tolist()


@pytest.mark.parametrize(
    ("separator", "cells", "expected"),
    [
        (";", ["8,44", "9", "1.234,5"], [8.44, 9, 1234.5]),
        (";", ["1,234", "2,345"], [1.234, 2.345]),  # semicolons come with decimal commas
        (",", ["1,234", "999"], [1234, 999]),  # between commas, quoted commas are thousands
        (",", ["1,234,567.5", "2"], [1234567.5, 2]),
        (",", ["1.234.567", "2"], [1234567, 2]),
        (",", ["1.234", "2.345"], [1.234, 2.345]),
        (";", ["1.234", "2.345"], [1.234, 2.345]),
        ("\t", ["0,123", "1,234"], [0.123, 1.234]),
        (",", ["$1180", "$1,200.50", "-$4"], [1180, 1200.5, -4]),
        (";", ["1.180,50 €", "3 €", "4€"], [1180.5, 3, 4]),
        (",", ["USD 5", "6 USD", "(7 USD)"], [5, 6, -7]),
        (",", ["12%", "1.5 %", "-3%"], [12, 1.5, -3]),
        (",", ["1 234", "12\u00a0345\u00a0678", "5"], [1234, 12345678, 5]),
        (",", ["1\u202f234.5", "1\u2009000", "1’000", "2'500"], [1234.5, 1000, 1000, 2500]),
        (",", ["−5", "+3", "2e3"], [-5, 3, 2000]),
        (",", ["1", "٣", ".5"], [1, 3, 0.5]),
    ],
)
def test_notations(separator: str, cells: list[str], expected: list[float]) -> None:
    assert numbers_of(make_table(separator, a=cells)) == expected


@pytest.mark.parametrize(("other", "expected"), [("0,5", 1234.0), ("0.5", 1.234), ("5", 1.234)])
def test_other_columns_tell_what_points_are(other: str, expected: float) -> None:
    assert numbers_of(make_table(";", a=["1.234"], b=[other])) == [expected]


def test_an_earlier_table_tells_what_commas_are() -> None:
    table = make_table("\t", a=["1,234"])
    thousands = detect_formats(table, known={"a": NumberFormat(".")})["a"]
    assert parse_numbers(table.cells["a"], thousands).tolist() == [1234]
    decimal = detect_formats(table, known={"a": NumberFormat(",")})["a"]
    assert parse_numbers(table.cells["a"], decimal).tolist() == [1.234]


def test_the_user_tells_what_commas_are() -> None:
    table = make_table("\t", a=["1,234"])
    assert numbers_of(table, decimal=",") == [1.234]
    assert numbers_of(table, decimal=".") == [1234]
    with pytest.raises(DataError, match=r"line 2, column 'a': '1,234' may be .* --data.decimal ,"):
        detect_formats(table)


def test_gaps() -> None:
    cells = ["1", "-", "NA", "#DIV/0!", "<NA>", "?", "–", "", r"\N"]
    values = numbers_of(make_table(a=cells))
    assert values[0] == 1
    assert all(math.isnan(value) for value in values[1:])


@pytest.mark.parametrize("cell", ["1_003", "12 34", "1,23,456", "1 2", "5 kg", "0x1F", "$5%", "(5"])
def test_cells_that_are_not_numbers(cell: str) -> None:
    assert "a" not in detect_formats(make_table(";", a=[cell, cell + " ", cell + "  "]))


@pytest.mark.parametrize(("cell", "expected"), [
    ("1_003", True), ("5 kg", True), ("1.2.3", True), ("~5", True), ("7o", True), ("5 m/s²", True),
    ("10-20", False), ("A17", False), ("12:30", False), ("3+", False), ("2020-01-01", False),
])  # fmt: skip
def test_cells_that_look_like_numbers(cell: str, expected: bool) -> None:
    assert looks_numeric(cell) == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["$5", "6", "€7"], "line 4, column 'a': '€7' is not in the unit of '\\$5', line 2"),
        (["12%", "0.1"], "line 3, column 'a': '0.1' is not in the unit of '12%', line 2"),
    ],
)
def test_mixed_units(cells: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        detect_formats(make_table(a=cells))

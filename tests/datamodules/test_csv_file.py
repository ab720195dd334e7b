"""CSV: column types, missing values, and errors that name the line and column."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules import CSV
from zoo.errors import DataError, InputError

Make = Callable[..., CSV]

HOUSES = """area,rooms,town,price
50,2,Ulm,100
80,3,Bonn,180
65,,Ulm,130
120,5,Kiel,300
95,4,Bonn,220
"""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes a CSV data module of a text, with all rows for training."""

    def call(text: str = HOUSES, target: Any = "price", **options: Any) -> CSV:
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        whole = {"val_size": 0, "test_size": 0, "standardize": False}
        return CSV(str(path), target, **(whole | options))

    return call


def test_numbers_categories_and_missing_values(make: Make) -> None:
    data = make()
    assert data.feature_names == ["area", "rooms", "rooms missing", "town=Kiel", "town=Ulm"]
    x, y = data.split("train")
    expected = [
        [50, 2, 0, 0, 1],
        [80, 3, 0, 0, 0],
        [65, 3.5, 1, 0, 1],  # 3.5 is the mean of the other values
        [120, 5, 0, 1, 0],
        [95, 4, 0, 0, 0],
    ]
    torch.testing.assert_close(x, torch.tensor(expected))
    assert y[:, 0].tolist() == [100, 180, 130, 300, 220]
    assert data.num_targets == 1
    assert data.target_mean == (186.0,)


def test_words_are_classes_and_numbers_are_on_request(make: Make) -> None:
    data = make(target="town")
    assert data.class_names == ["Bonn", "Kiel", "Ulm"]
    assert data.split("train")[1].tolist() == [2, 0, 2, 1, 0]
    with pytest.raises(AttributeError, match=r"'price' is numeric.*--data.task classification"):
        _ = make().num_classes
    numbers = make(HOUSES.replace(",,", ",2,"), target="rooms", task="classification")
    assert numbers.class_names == ["2", "3", "4", "5"]


def test_codes_with_underscores_are_not_numbers(make: Make) -> None:
    data = make("code,y\n1_2,1\n3_4,2\n1_2,3\n", target="y")
    assert data.feature_names == ["code=3_4"]


def test_several_targets(make: Make) -> None:
    data = make(target=["price", "area"])
    assert data.num_targets == 2
    assert data.split("train")[1][1].tolist() == [180, 80]
    assert "area" not in data.feature_names


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_quotes_and_byte_order_marks(make: Make, separator: str) -> None:
    text = "﻿name,size,y\n'a','1','2'\n'b','3','4'\n'a','5','6'\n"
    text = text.replace("'", '"').replace(",", separator)
    data = make(text, target="y")
    assert data.feature_names == ["name=b", "size"]
    assert data.split("train")[0].tolist() == [[0, 1], [1, 3], [0, 5]]


def test_cells_may_contain_line_breaks_and_unicode_separators(make: Make) -> None:
    text = 'name,size,y\r\n"a\nb",1,2\r\nc\u2028d,3,4\r\n"a\nb",5,6\r\n'
    data = make(text, target="y")
    assert data.feature_names == ["name=c\u2028d", "size"]
    assert data.split("train")[0].tolist() == [[0, 1], [1, 3], [0, 5]]


def test_quotes_in_cells_anywhere_in_the_file(make: Make) -> None:
    """The separator is detected from the first 64 KiB, which contain no quotes here."""
    data = make("name,y\n" + '"a",1\n"b",2\n' * 10_000 + '"a ""c"", d",3\n', target="y")
    assert data.feature_names == ['name=a "c", d', "name=b"]


def test_handling_of_missing_values(make: Make) -> None:
    assert len(make(on_missing="drop").split("train")[0]) == 4
    with pytest.raises(DataError, match=r"line 4, column 'rooms': .*missing.*on_missing drop"):
        make(on_missing="stop").split("train")
    words = make(HOUSES.replace("Kiel", "?"))
    assert words.feature_names[-2:] == ["town=Bonn", "town=Ulm"]


def test_missing_values_in_ignored_columns_have_no_effect(make: Make) -> None:
    data = make(ignore=["rooms", "town"], on_missing="stop")
    assert data.feature_names == ["area"]


def test_scaling_is_fitted_on_training_rows(make: Make) -> None:
    text = "x,y\n" + "".join(f"{i},{2 * i}\n" for i in range(50))
    data = make(text, target="y", val_size=0.2, test_size=0.1, standardize=True)
    x, _ = data.split("train")
    assert float(x.mean()) == pytest.approx(0, abs=1e-6)
    both = torch.cat([data.split(s)[0] for s in ("val", "test")])
    raw = make(text, target="y", val_size=0.2, test_size=0.1)
    train = raw.split("train")[0].double()
    rest = torch.cat([raw.split(s)[0] for s in ("val", "test")]).double()
    expected = (rest - train.mean()) / train.std(correction=0)
    np.testing.assert_allclose(both.numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (HOUSES, {"target": "prize"}, "t.csv has no column 'prize'; did you mean 'price'"),
        (
            HOUSES,
            {"ignore": ["zip"]},
            "has no column 'zip'; its columns are area, rooms, town, price",
        ),
        (HOUSES.replace("100", ""), {}, "line 2, column 'price': the value is missing"),
        (
            HOUSES.replace("180", "a lot"),
            {"task": "regression"},
            "line 3, column 'price': 'a lot' is not a number, but the column looks like numbers",
        ),
        (
            HOUSES,
            {"target": "town", "task": "regression"},
            "column 'town': a regression target must contain numbers, not words",
        ),
        (HOUSES + "1,2\n", {}, "line 7: expected 4 values, got 2"),
        (
            HOUSES + '70,2,"Ulm,100\n' + "95,4,Bonn,220\n" * 20_000,
            {},
            "line 7: a quotation mark is not closed",
        ),
        (HOUSES.replace("80", "inf"), {}, "line 3, column 'area': the value is infinite"),
        ("", {}, "has neither a header nor rows"),
        ("a,price\n", {}, "has no rows below its header"),
        ("1,2\n3,4\n", {}, "starts with numbers: its first line must name the columns"),
        ("a,a,price\n1,2,3\n", {}, "more than one column 'a'"),
        (
            "a,price\n,1\n,2\n,3\n",
            {},
            "no columns other than the target: left out 'a' \\(no values\\)$",
        ),
        (
            "a,b,price\n1,,3\n,2,4\n5,,1\n,6,2\n",
            {"on_missing": "drop"},
            "every row has a missing value; leave out columns with --data.ignore",
        ),
        ("price\n1\n2\n3\n", {}, "no columns other than the target"),
        ("a,price\n1,x\n2,x\n3,x\n", {}, "column 'price': the target has only one class, 'x'"),
        (
            "a,price\n" + "".join(f"w{i // 2},{i}\n" for i in range(240)),
            {},
            "column 'a': 120 categories in 240 rows are too many .*--data.ignore '\\[a\\]'",
        ),
        (
            "a,price\n" + "".join(f"w{i},{i}\n" for i in range(200)),
            {},
            r"left out 'a' \(200 different texts in 200 rows\)$",
        ),
        (
            "a,price\n" + "".join(f"{i},w{i}\n" for i in range(200)),
            {},
            "column 'price': 200 different values in 200 rows are too many for classes",
        ),
        (
            "a,price\n" + "".join(f"{i},{i}\n" for i in range(50)) + "7o,8\n",
            {},
            "line 52, column 'a': '7o' is not a number, but nearly all other values are",
        ),
        (
            HOUSES,
            {"target": ["town", "price"]},
            r"several targets \(town, price\) must all be numeric",
        ),
    ],
)
def test_errors_name_the_file_line_and_column(
    make: Make, text: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make(text, **options).split("train")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file no\.csv"):
        CSV("no.csv", "y").setup()
    (tmp_path / "latin.csv").write_bytes("a,y\nMünchen,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2: byte 5 is not UTF-8 text"):
        CSV(str(tmp_path / "latin.csv"), "y").setup()


def test_unknown_settings() -> None:
    with pytest.raises(ValueError, match="unknown on_missing 'guess'; choose from impute, drop"):
        CSV("t.csv", "y", on_missing="guess")
    with pytest.raises(ValueError, match="unknown task 'ranking'; choose from auto"):
        CSV("t.csv", "y", task="ranking")
    with pytest.raises(InputError, match="ignore contains the target 'y'"):
        CSV("t.csv", ["x", "y"], ignore=["y"])


# -- columns of all kinds ------------------------------------------------------------------------


def rows_of(cell: Callable[[int], object], header: str = "a,y", count: int = 20) -> str:
    """Return a table whose rows end with the target 0, 1, 2, …"""
    return header + "\n" + "".join(f"{cell(i)},{i}\n" for i in range(count))


def test_decimal_commas_are_numbers(make: Make) -> None:
    """A table whose values are separated by semicolons; nothing in it is a category."""
    text = "a;b;y\n" + "".join(f"{i},25;{7 * i % 10};{2 * i},5\n" for i in range(60))
    data = make(text, target="y")
    with pytest.warns(UserWarning, match=r"t\.csv: 'a', 'y' read with decimal commas$"):
        x, y = data.split("train")
    assert data.feature_names == ["a", "b"]
    assert x[1].tolist() == [1.25, 7]
    assert y[:2].tolist() == [[0.5], [2.5]]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (['"1,234"', '"2,000"', "999"], [1234, 2000, 999]),
        (["$1180", "$900", '"$1,000.50"'], [1180, 900, 1000.5]),
        (["12%", "3%", "5.5%"], [12, 3, 5.5]),
        (["1\u00a0234", "2\u00a0000", "999"], [1234, 2000, 999]),
        (["1970-01-02", "1969-12-31", "1970-02-01"], [1, -1, 31]),
        (["19700102", "19691231", "19700201"], [1, -1, 31]),
        (["1970-01-02 12:00", "1970-01-01 06:00", "1970-01-03 00:00"], [1.5, 0.25, 2]),
        (["02/01/1970", "13/01/1970", "01/02/1970"], [1, 12, 31]),
    ],
)
def test_notations_of_numbers_and_dates(make: Make, cells: list[str], expected: Any) -> None:
    data = make(rows_of(lambda i: cells[i % 3]), target="y")
    assert data.feature_names == ["a"]
    assert data.split("train")[0][:3, 0].tolist() == expected


def test_a_dash_is_a_gap_among_numbers_and_a_category_among_words(make: Make) -> None:
    numbers = make(rows_of(lambda i: i if i else "-"), target="y")
    with pytest.warns(UserWarning, match="replaced: 1 in 'a' by the training mean"):
        assert numbers.split("train")[0][:2].tolist() == [[10, 1], [1, 0]]
    assert make(rows_of(lambda i: "+-"[i % 2]), target="y").feature_names == ["a=-"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (lambda i: f"1_{100 + i}", r"line 2, column 'a': '1_100' is not a number \(and 19 more"),
        (lambda i: f"{i} kg", r"line 2, column 'a': '0 kg' is not a number"),
        (lambda i: f"{i}.5" if i % 2 else f'"{i},5"', r"line 2, column 'a': '0,5' is not a number"),
        (
            lambda i: i if i % 9 else "unknown",
            r"'unknown' is not a .*missing_values '\[unknown\]'",
        ),
        (lambda i: f"0{i % 9 + 1}/0{7 * i % 9 + 1}/2020", r"'01/01/2020' may be a date in %d/%m/"),
        (lambda i: f"2020-01-{i + 20}", r"line 14, column 'a': '2020-01-32' is not a date like"),
        (lambda i: i if i % 9 else -999, r"line 2, column 'a': -999 seems to stand for a gap, as"),
        (lambda i: i % 4 if i % 9 else 99.9, r"99\.9 seems to stand for a gap, .* are 0 to 3;"),
        (lambda i: f"{'$€'[i % 2]}{i}", r"line 3, column 'a': '€1' is not in the unit of '\$0'"),
    ],
)
def test_cells_that_could_be_misread_are_refused(
    make: Make, cell: Callable[[int], object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make(rows_of(cell), target="y").setup()


@pytest.mark.parametrize("missing", [["-999"], [-999.0], ["unknown", "-999.0"]])
def test_gaps_that_the_user_names(make: Make, missing: list[str | float]) -> None:
    data = make(rows_of(lambda i: i if i else -999), target="y", missing_values=missing)
    assert data.split("train")[0][0].tolist() == [10, 1]  # the mean of 1 to 19
    kept = make(rows_of(lambda i: i if i else -999), target="y", keep=["a"])
    assert kept.split("train")[0][0].tolist() == [-999]


def test_negative_measurements_are_not_gaps(make: Make) -> None:
    assert make(rows_of(lambda i: 10 * i - 99), target="y").feature_names == ["a"]


@pytest.mark.parametrize(
    ("header", "cell", "reason"),
    [
        ("", lambda i: i, "column 1 (no name)"),
        ("Unnamed: 0", lambda i: i, "'Unnamed: 0' (no name)"),
        ("same", lambda i: "x", "'same' ('x' in every row)"),
        ("empty", lambda i: "NA", "'empty' (no values)"),
        ("id", lambda i: 3 * i, "'id' (identifiers)"),
        ("PassengerId", lambda i: i + 1, "'PassengerId' (identifiers)"),
        ("order no.", lambda i: i + 1, "'order no.' (identifiers)"),
        ("name", lambda i: f"N{i}", "'name' (20 different texts in 20 rows)"),
    ],
)
def test_columns_without_information_are_left_out(
    make: Make, header: str, cell: Callable[[int], object], reason: str
) -> None:
    text = rows_of(lambda i: f"{cell(i)},{7 * i % 20}", f"{header},a,y")
    data = make(text, target="y")
    with pytest.warns(UserWarning, match=re.escape(f"t.csv: left out {reason}")):
        assert data.feature_names == ["a"]
    if header in ("same", "id", "name"):
        kept = make(text, target="y", keep=[header])
        assert kept.feature_names[-1] == "a"
        assert len(kept.feature_names) == {"same": 1, "id": 2, "name": 20}[header]


def test_a_number_that_counts_the_rows_is_announced(make: Make) -> None:
    data = make(rows_of(lambda i: f"{i},{7 * i % 20}", "house,a,y"), target="y")
    with pytest.warns(UserWarning, match=r"'house' counts the rows .* --data.ignore '\[house\]'"):
        assert data.feature_names == ["house", "a"]


def test_a_separator_at_the_end_of_rows_is_not_a_column(make: Make) -> None:
    data = make("a,y\n1,2,\n2,3,\n3,5,\n", target="y")
    assert data.split("train")[0][:, 0].tolist() == [1, 2, 3]


def test_rows_with_gaps_elsewhere_are_not_dropped(make: Make) -> None:
    text = rows_of(lambda i: f"u{i},{i},{'' if i % 2 else 'x'}", "id,a,b,y")
    text = text.replace("u4,", ",")
    data = make(text, target="y", on_missing="drop", ignore=["b"])
    assert len(data.split("train")[0]) == 20
    with pytest.warns(UserWarning, match=r"left out .*'b' \('x' in every row\)"):
        assert len(make(text, target="y", on_missing="drop").split("train")[0]) == 20


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["1", "1.0", "2", "2.00"], ["1", "2"]),
        (["-1", "+1", "1"], ["-1", "1"]),
        (["0.5", ".5", "2"], ["0.5", "2"]),
        (["007", "7", "008"], ["007", "7", "008"]),
    ],
)
def test_one_number_is_one_class(make: Make, labels: list[str], expected: list[str]) -> None:
    text = "a,y\n" + "".join(f"{i},{labels[i % len(labels)]}\n" for i in range(24))
    data = make(text, target="y", task="classification")
    assert data.class_names == expected
    names = [data.class_names[k] for k in data.split("train")[1].tolist()]
    assert [float(name) for name in names[:4]] == [float((labels * 2)[i]) for i in range(4)]


def test_words_that_differ_in_capitals_are_announced(make: Make) -> None:
    data = make(rows_of(lambda i: ("Yes", "yes", "no")[i % 3]), target="y")
    with pytest.warns(UserWarning, match="column 'a': 'Yes' and 'yes' are different values"):
        assert data.feature_names == ["a=no", "a=yes"]


def test_classification_is_suggested_where_it_works(make: Make) -> None:
    few = make(rows_of(lambda i: i), target="y")
    with pytest.raises(AttributeError, match=r"mlp_regressor$"):
        _ = few.num_classes
    text = "a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(20))
    with pytest.raises(AttributeError, match=r"or set --data.task classification$"):
        _ = make(text, target="y").num_classes
    assert make(text, target="y", task="classification").num_classes == 2
    with pytest.raises(DataError, match="20 different values in 20 rows are too many for classes"):
        make(rows_of(lambda i: i), target="y", task="classification").setup()


def test_files_that_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.xlsx is not a text file: export the table as CSV"):
        CSV(str(tmp_path / "t.xlsx"), "y").setup()


def test_a_target_that_is_named_twice() -> None:
    with pytest.raises(InputError, match=r"target must name different columns, got \['y', 'y'\]"):
        CSV("t.csv", ["y", "y"])

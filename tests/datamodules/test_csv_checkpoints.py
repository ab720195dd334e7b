"""CSV: what a model was trained on decides how later tables are read, split and predicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import CSV
from zoo.errors import DataError

State = dict[str, Any]
Make = Callable[..., CSV]

TOWNS = "town,area,note,price\n" + "".join(
    f"{'ABC'[i % 3]},{i * 7 % 20},{'x' if i % 2 else 'y'},{i}\n" for i in range(20)
)
FRUITS = "id,a,b,kind\n" + "".join(
    f"u{i},{i},{i * 7 % 20},{'apple' if i > 7 else 'pear'}\n" for i in range(20)
)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes a CSV data module of a text."""

    def call(text: str, state: State | None = None, target: Any = "price", **options: Any) -> CSV:
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        data = CSV(str(path), target, **options)
        if state is not None:
            data.load_state_dict(state)
        return data

    return call


@pytest.fixture
def towns(make: Make) -> State:
    """State of a data module that has read ``TOWNS``, whose features are not scaled."""
    return make(TOWNS, ignore=["note"], standardize=False).state_dict()


def sizes(data: CSV) -> dict[str, int]:
    return {name: len(data.split(name)[0]) for name in ("train", "val", "test")}


# -- the training table ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"seed": 7}, {"val_size": 0.5}, {"test_size": 0.4}, {"standardize": False}]
)
def test_the_state_decides_how_the_training_table_is_split_and_scaled(
    make: Make, options: dict[str, Any]
) -> None:
    first = make(TOWNS)
    (name, value), *_ = options.items()
    with pytest.warns(
        UserWarning, match=f"{name}={getattr(first, name)} of the checkpoint is used"
    ):
        again = make(TOWNS, first.state_dict(), **options)
    for split in ("train", "val", "test"):
        torch.testing.assert_close(again.split(split), first.split(split))
    assert getattr(again, name) != value


def test_the_training_table_is_recognized_by_its_cells(make: Make) -> None:
    state = make(FRUITS, target="kind").state_dict()
    other_notation = "\ufeff" + FRUITS.replace(",", ";").replace("\n", "\r\n")
    assert sizes(make(other_notation, state, "kind")) == {"train": 14, "val": 4, "test": 2}


def test_rows_with_gaps_are_left_out_as_in_training(make: Make) -> None:
    text = TOWNS.replace("A,0,", "A,,")
    first = make(text, on_missing="drop")
    again = make(text, first.state_dict())
    with pytest.warns(UserWarning, match="so on_missing=drop of the checkpoint is used"):
        again.setup("test")
    torch.testing.assert_close(again.split("test"), first.split("test"))


def test_state_survives_a_checkpoint_that_is_read_without_running_code(
    make: Make, tmp_path: Path
) -> None:
    state = make(TOWNS).state_dict()
    torch.save(state, tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.testing.assert_close(
        make(TOWNS, read).split("test"), make(TOWNS).split("test"), rtol=0, atol=0
    )


# -- other tables ----------------------------------------------------------------------------------


def test_columns_are_matched_by_name_and_categories_keep_their_places(
    make: Make, towns: State
) -> None:
    data = make("price,area,town\n1,5,C\n2,6,B\n", towns, ignore=["note"], standardize=False)
    with pytest.warns(UserWarning, match=r"t\.csv is not the training data: all 2 rows are tested"):
        data.setup("test")
    assert data.feature_names == ["town=B", "town=C", "area"]
    x, y = data.split("test")
    assert x.tolist() == [[0, 1, 5], [1, 0, 6]]
    assert y.tolist() == [[1], [2]]
    assert sizes(data) == {"train": 0, "val": 2, "test": 2}


def test_another_table_is_scaled_as_the_training_table(make: Make) -> None:
    first = make(TOWNS)
    mean, std = (first.learned[name][-2] for name in ("mean", "std"))
    assert first.feature_names[-2] == "area"
    table = "town,area,note,price\nA,1000,x,1\n"
    x = make(table, first.state_dict()).split("test")[0]
    assert float(x[0, -2]) == pytest.approx(float((1000 - mean) / std), rel=1e-6)
    assert make(table, first.state_dict()).target_mean == first.target_mean


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "town,area,price\nB,1,2\nD,1,2\nE,1,2\n",
            "line 3, column 'town': 'D' is not one of the values that the model was trained on, A, "
            "B, C; correct or remove 2 rows with other values",
        ),
        ("town,price\nA,1\n", "has no column 'area', which the model was trained on; its columns"),
        ("town,Area,price\nA,1,2\n", "no column 'area'.*; did you mean 'Area'"),
        ("town,area\nA,1\n", "has no column 'price', the target, which is needed here"),
        ("town,area,price\nA,1,2\nB,2,\n", "line 3, column 'price': the value is missing; .* drop"),
        ("town,area,price\nA,small,2\n", "line 2, column 'area': 'small' is not a number"),
    ],
)
def test_tables_that_do_not_fit(make: Make, towns: State, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(text, towns).setup("test")


def test_unknown_classes_are_refused_by_name(make: Make) -> None:
    state = make(FRUITS, target="kind").state_dict()
    text = FRUITS.replace("u1,", "v1,").replace("apple", "zebra")
    with pytest.raises(
        DataError, match=r"line 10, column 'kind': 'zebra' is not one of .*apple, p"
    ):
        make(text, state, "kind").setup("test")


def test_new_columns_are_left_out_and_named(make: Make, towns: State) -> None:
    data = make("town,area,tax,,price,note\nA,1,2,3,4,z\n", towns)
    with pytest.warns(UserWarning, match=r"not trained on, left out: 'tax', column 4$"):
        assert data.split("test")[0].tolist() == [[0, 0, 1]]


def test_gaps_that_the_training_table_did_not_have(make: Make, towns: State) -> None:
    data = make("town,area,price\nB,1,2\n,,3\n", towns)
    with pytest.warns(
        UserWarning, match="replaced: 1 in 'town' by 'A', 1 in 'area' by the training mean"
    ):
        x = data.split("test")[0]
    assert x[1, :2].tolist() == [0, 0]
    assert float(x[1, 2]) == pytest.approx(float(towns["learned"]["mean"][2]))


def test_missing_targets_of_another_table_can_be_left_out(make: Make, towns: State) -> None:
    data = make("town,area,price\nB,1,2\nB,2,\n", towns, on_missing="drop")
    with pytest.warns(UserWarning, match="missing values in 1 of 2 rows, which are left out"):
        assert data.split("test")[1].tolist() == [[2]]


def test_units_and_notations_of_another_table(make: Make) -> None:
    rows = "".join(f'"{1000 + i:,}",{i}%,{i}\n' for i in range(20))
    state = make("wage,share,y\n" + rows, target="y", standardize=False).state_dict()
    data = make('wage,share,y\n"1,234",5%,6\n', state, "y")
    assert data.split("test")[0].tolist() == [[1234, 5]]
    european = make("wage;share;y\n1.234,5;5,5%;6\n", state, "y")
    assert european.split("test")[0].tolist() == [[1234.5, 5.5]]
    with pytest.raises(DataError, match=r"'share': the values are without a unit, but .* in %"):
        make('wage,share,y\n"1,234",5,6\n', state, "y").setup("test")


def test_dates_are_days_and_keep_their_notation(make: Make) -> None:
    rows = "".join(f"{i + 1:02d}.03.2020,{i}\n" for i in range(20))
    with pytest.warns(UserWarning, match=r"'sold' read as days since 1970 from dates in %d\.%m"):
        state = make("sold,y\n" + rows, target="y", standardize=False).state_dict()
    assert make("sold,y\n02.01.1970,1\n", state, "y").split("test")[0].tolist() == [[1]]
    with pytest.raises(DataError, match="line 2, column 'sold': '2020-03-01' is not a date like"):
        make("sold,y\n2020-03-01,1\n", state, "y").setup("test")


def test_training_on_another_table_splits_it_and_remembers_it(make: Make, towns: State) -> None:
    text = TOWNS.replace("A,", "B,")
    data = make(text, towns)
    with pytest.warns(UserWarning, match="is split again, and scaled as they were"):
        data.setup("fit")
    expected = {"train": 14, "val": 4, "test": 2}
    assert sizes(data) == expected
    assert sizes(make(text, data.state_dict())) == expected


# -- prediction ------------------------------------------------------------------------------------


def test_any_number_of_rows_is_predicted_with_or_without_the_target(
    make: Make, towns: State
) -> None:
    data = make("area,town\n5,C\n", towns)
    (x, y), *others = data.predict_dataloader()
    assert not others
    assert x.tolist() == [[0, 1, 5]]
    assert y.shape == (1, 1)
    assert y.isnan().all()
    assert data.prediction_ids() == {"row": [2]}
    again = make(TOWNS, towns)
    assert sum(len(x) for x, _ in again.predict_dataloader()) == 20
    assert again.prediction_ids()["row"] == list(range(2, 22))


def test_predictions_are_named_by_line_and_identifier(make: Make) -> None:
    with pytest.warns(UserWarning, match=r"left out 'id' \(identifiers\)"):
        state = make(FRUITS, target="kind").state_dict()
    data = make('b,id,a,kind\n1,v7,2,pear\n\n3,"v\n8",4,\n5,v9,6,apple\n', state, "kind")
    (_, y), *_ = data.predict_dataloader()
    assert data.prediction_ids() == {"row": [2, 4, 6], "id": ["v7", "v\n8", "v9"]}
    assert y.tolist() == [1, 0, 0]
    assert data.class_names == ["apple", "pear"]


def test_unknown_categories_are_not_predicted(make: Make, towns: State) -> None:
    with pytest.raises(DataError, match="line 2, column 'town': 'D' is not one of the values"):
        make("area,town\n5,D\n", towns).predict_dataloader()


@pytest.mark.parametrize("rows", [1, 5])
def test_numbers_that_mark_gaps_are_not_predicted_from(make: Make, rows: int) -> None:
    """−999 is refused as in training, and read as a gap where the user says so."""
    state = make(TOWNS, ignore=["note"]).state_dict()
    text = "town,area\n" + "A,-999\n" + "B,7\n" * (rows - 1)
    new = make(text, state)
    with pytest.raises(DataError, match="line 2, column 'area': -999 seems to stand for a gap"):
        new.setup("predict")
    new = make(text, state, missing_values=[-999])
    with pytest.warns(UserWarning, match="1 in 'area' by the training mean"):
        new.setup("predict")
    mean = make("town,area\n" + "A,\n" + "B,7\n" * (rows - 1), state)
    mean.setup("predict")
    first, expected = (next(iter(d.predict_dataloader()))[0] for d in (new, mean))
    assert torch.equal(first, expected)
    assert first_area(make(text, state, keep=["area"])) == -999  # a number, as the user says


def test_a_rare_large_number_is_predicted_from(make: Make) -> None:
    state = make(TOWNS, ignore=["note"]).state_dict()
    assert first_area(make("town,area\nA,99\n", state)) == 99


def first_area(data: CSV) -> float:
    """Return the area in the first row of a table to predict, in its own unit."""
    data.setup("predict")
    x, *_ = next(iter(data.predict_dataloader()))
    column = data.learned["feature_names"].index("area")
    mean, std = (float(data.learned[name][column]) for name in ("mean", "std"))
    return round(float(x[0, column]) * std + mean, 2)


def test_gaps_named_for_another_table_survive_a_second_load(make: Make) -> None:
    """The Trainer loads the same state again; the table is not read twice."""
    state = make(TOWNS, ignore=["note"]).state_dict()
    data = make("town,area\nA,-999\n", state, missing_values=[-999])
    text = data._text
    data.load_state_dict(state)
    assert data._text is text
    assert data.missing_values == ["-999"]

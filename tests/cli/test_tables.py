"""Commands with the user's tables: other tables than the training table, predictions, hints."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

Run = Callable[..., Path]
Fails = Callable[..., str]


def write_line(path: Path, order: str = "aby", shift: float = 0.0, count: int = 60) -> None:
    """Write points with y = 2 a − 3 b + 1, with the columns in an order."""
    a = [(7 * i % 60) / 4 + shift for i in range(count)]
    b = [(11 * i % 60) / 4 for i in range(count)]
    y = [2 * p - 3 * q + 1 for p, q in zip(a, b, strict=True)]
    pd.DataFrame({"a": a, "b": b, "y": y})[list(order)].to_csv(path, index=False)


def metric(folder: Path, name: str) -> float:
    return float(pd.read_csv(folder / "metrics.csv")[f"test/{name}"].dropna().iloc[-1])


@pytest.fixture
def regression(run: Run, tmp_path: Path) -> list[str]:
    """Return the options of a linear regression on ``train.csv`` with its checkpoint."""
    write_line(tmp_path / "train.csv")
    options = ["--model=linear_regression", "--data=csv", "--data.target=y"]
    folder = run("fit", *options, "--data.path=train.csv")
    return [*options, f"--ckpt_path={folder / 'checkpoints/last.ckpt'}"]


@pytest.mark.parametrize(
    "options",
    [
        ["--data.path=train.csv", "--data.seed=7", "--data.val_size=0.5"],
        ["--data.path=train.csv", "--data.standardize=false"],
        ["--data.path=new.csv"],
    ],
)
def test_an_exact_model_stays_exact(
    run: Run, regression: list[str], tmp_path: Path, options: list[str]
) -> None:
    """The new table has other values, and its columns are in another order."""
    write_line(tmp_path / "new.csv", "bay", shift=100, count=20)
    assert metric(run("test", *regression, *options), "mse") < 1e-6


def test_one_row_without_the_target_is_predicted(
    run: Run, regression: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.csv").write_text("b;a\n4;2,5\n")
    folder = run("predict", *regression, "--data.path=new.csv")
    table = pd.read_csv(folder / "predictions.csv")
    assert list(table.columns) == ["row", "y"]
    assert table["row"].tolist() == [2]
    assert table["y"].tolist() == pytest.approx([-6], abs=1e-3)
    assert "predictions.csv  (1 row)\n" in capsys.readouterr().out


def test_classes_are_predicted_with_their_names_and_the_users_ids(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"u{i},{i - 30},{'pear' if i < 30 else 'apple'}\n" for i in range(60))
    (tmp_path / "train.csv").write_text("id,a,kind\n" + rows)
    options = ["--model=logistic_regression", "--data=csv", "--data.target=kind"]
    trained = run(*options, "--data.path=train.csv")
    assert metric(trained, "accuracy") == 1
    (tmp_path / "new.csv").write_text("a,id\n-20,first\n20,second\n")
    checkpoint = f"--ckpt_path={trained / 'checkpoints/last.ckpt'}"
    folder = run("predict", *options, checkpoint, "--data.path=new.csv")
    table = pd.read_csv(folder / "predictions.csv")
    assert list(table.columns) == ["row", "id", "class", "probability", "p(apple)", "p(pear)"]
    assert table["id"].tolist() == ["first", "second"]
    assert table["class"].tolist() == ["pear", "apple"]


def test_an_unknown_category_is_one_line(fails: Fails, run: Run, tmp_path: Path) -> None:
    values = {"A": 0, "B": 5, "C": 9, "D": 1}
    for name, letters in (("train", "ABC"), ("new", "BCD"), ("known", "CB")):
        rows = "".join(
            f"{letter},{i},{values[letter] + i}\n"
            for i, letter in ((i, letters[i % len(letters)]) for i in range(60))
        )
        (tmp_path / f"{name}.csv").write_text("k,x,y\n" + rows)
    options = ["--model=linear_regression", "--data=csv", "--data.target=y"]
    trained = run("fit", *options, "--data.path=train.csv")
    options.append(f"--ckpt_path={trained / 'checkpoints/last.ckpt'}")
    assert metric(run("test", *options, "--data.path=known.csv"), "mse") < 1e-6
    message = fails("test", *options, "--data.path=new.csv")
    assert "new.csv, line 4, column 'k': 'D' is not one of the values" in message
    assert "trained on, A, B, C; correct or remove 20 rows" in message


@pytest.mark.parametrize(
    ("name", "cells", "model", "fault"),
    [
        ("a", lambda i: f"w{i // 2}x", "linear_regression", "250 categories"),
        ("a, b's", lambda i: f"w{i // 2}x", "linear_regression", "250 categories"),
        ("2020", lambda i: f"w{i // 2}x", "linear_regression", "250 categories"),
        ("no", lambda i: i if i % 9 else -999, "linear_regression", "-999 seems to stand for"),
        ("a", lambda i: i if i % 9 else "n.k.", "linear_regression", "'n.k.' is not a number"),
        ("a", lambda i: f"1,{100 + i}", "linear_regression", "may be a number with a decimal"),
        ("a", lambda i: i, "logistic_regression", "the target 'y' is numeric"),
    ],
)
def test_suggested_options_work(
    fails: Fails, run: Run, tmp_path: Path, name: str,
    cells: Callable[[int], object], model: str, fault: str,
) -> None:  # fmt: skip
    """Each option that the message suggests is added to the command, which then works."""
    rows = "".join(f"{cells(i)}\t{i % 7}\t{i % 2}\n" for i in range(500))
    (tmp_path / "t.csv").write_text(f"{name}\tother\ty\n" + rows)
    options = [f"--model={model}", "--data=csv", "--data.path=t.csv", "--data.target=y"]
    message = fails("fit", *options)
    assert fault in message
    words = shlex.split(message)
    hints = [(w, words[i + 1]) for i, w in enumerate(words) if w.startswith("--data.")]
    assert hints
    for option, word in hints:
        value = word if word == "," else word.rstrip(",")
        run("fit", *options, f"{option}={value}", "--trainer.max_epochs=1")

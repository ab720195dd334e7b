"""The command ``zoo study``: listing, results, errors, and the interface of every study."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path

import pytest

import zoo.studies
from tests.conftest import ROOT
from zoo.cli.commands.study import read_explanation, study
from zoo.cli.main import main
from zoo.errors import InputError
from zoo.studies.base import Table, to_jsonable


def test_list_has_one_line_per_study(capsys: pytest.CaptureFixture[str]) -> None:
    main(["study"])
    lines = capsys.readouterr().out.splitlines()
    for name, line in zip(zoo.studies.NAMES, lines, strict=False):
        assert line.startswith(name)
        assert len(line) <= 101


@pytest.mark.parametrize("name", zoo.studies.NAMES)
def test_study_has_the_common_interface(name: str) -> None:
    module = getattr(zoo.studies, name.replace("-", "_"))
    assert dataclasses.is_dataclass(module.Result)
    assert all(p.default is not p.empty for p in inspect.signature(module.run).parameters.values())
    assert "Source" in read_explanation(name)
    for function in ("run", "table", "plot"):
        assert callable(getattr(module, function))
    source = Path(inspect.getfile(module)).read_text("utf-8")
    code = [line for line in source.split('"""', 2)[2].splitlines() if line.strip()]
    assert len(code) <= 210, f"{name} has {len(code)} lines of code after its explanation"


def test_run_writes_figures_and_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["study", "dimensionality", "--dims", "[1,2,10]", "--points=200", f"--out={tmp_path}"])
    out = capsys.readouterr().out
    assert "measured" in out
    assert str(tmp_path / "dimensionality.svg") in out
    content = json.loads((tmp_path / "dimensionality.json").read_text())
    assert content["settings"] == {"dims": [1, 2, 10], "points": 200, "radius": 0.3, "seed": 0}
    assert content["header"][:3] == ["", "measured", "theory"]
    assert len(content["result"]["cosines"]) == 3
    assert (tmp_path / "dimensionality.png").read_bytes()[1:4] == b"PNG"
    before = (tmp_path / "dimensionality.svg").read_bytes()
    main(["study", "dimensionality", "--dims", "[1,2,10]", "--points=200", f"--out={tmp_path}"])
    assert (tmp_path / "dimensionality.svg").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["polynomal-fit"], "unknown study 'polynomal-fit'; did you mean 'polynomial-fit'"),
        (["polynomial-fit", "--sampels", "3"], "unknown option --sampels; did you"),
        (["polynomial-fit", "--num_samples", "x"], "--num_samples must be of type int, got 'x'"),
        (["polynomial-fit", "--num_samples", "3"], "num_samples must be at least 16, got 3"),
        (["polynomial-fit", "--curve", "foo"], "--curve must be one of 'sine', 'cubic'"),
        (["--foo"], "the name must come before options"),
        (["autodiff", "--expression", "x +"], r"expression 'x \+': invalid syntax"),
        (["autodiff", "--expression", "x.y"], "cannot read 'x.y'; choose from x, y, "),
        (["autodiff", "--expression", "log(x - y)", "--at", "[1, 1]"], "log of .* is undefined"),
        (["autodiff", "--expression", "(0 - x) ** y"], "needs a positive base, as its exponent"),
        (["autodiff", "--expression", "(0 - x) ** 0.5"], "is not a real number"),
        (["autodiff", "--expression", "x / (y - y)"], "/ of .* is undefined: .*zero"),
        (["invariance", "--resolution", "1", "--eigenpairs", "60"], r"eigenpairs must be in \[4, "),
        (["adversarial-geometry", "--train_eps", "[0.3]"], "train_eps must contain 0 and"),
        (["dimensionality", "--radius", "2"], r"radius must be in \(0, 0.5\), got 2"),
    ],
)  # fmt: skip
def test_invalid_settings_are_rejected_in_one_line(args: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        study(args)


def test_unwritable_folder_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file"):
        study(["look-at-the-data", "--out", str(tmp_path / "file")])


def test_table_aligns_numbers() -> None:
    text = str(Table([("one", 1.0, None, "note"), ("a longer name", 0.123456, 1234, "")]))
    assert text.splitlines() == [
        "               measured  theory",
        "one                   1          note",
        "a longer name    0.1235   1,234",
    ]


def test_results_are_converted_for_json() -> None:
    import torch

    assert to_jsonable({"a": torch.tensor([1.0, float("nan")]), 2: (True, None)}) == {
        "a": [1.0, None], "2": [True, None],
    }  # fmt: skip


@pytest.mark.slow
def test_gallery_contains_every_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs all studies at their default settings: up to 25 minutes on two cores."""
    monkeypatch.chdir(tmp_path)
    study(["--all"])
    page = (tmp_path / "docs/gallery.md").read_text("utf-8")
    for name in zoo.studies.NAMES:
        assert f"## {name}\n" in page
        assert (tmp_path / f"docs/gallery/{name}.png").stat().st_size < 300_000


def test_committed_gallery_is_complete() -> None:
    page = (ROOT / "docs/gallery.md").read_text("utf-8")
    for name in zoo.studies.NAMES:
        assert f"(gallery/{name}.png)" in page
        assert (ROOT / f"docs/gallery/{name}.png").stat().st_size < 300_000

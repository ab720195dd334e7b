"""``zoo reproduce``: rows of the results page."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.cli.commands.reproduce import INTRODUCTION, hardware, last_value, reproduce, write_row
from zoo.core import registry
from zoo.errors import InputError

HEADER = ("recipe", "value")


def test_a_row_is_added_then_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "results.md"
    write_row(page, "Recipes", HEADER, ["vae", "24"])
    write_row(page, "Speed", ("what", "ratio"), ["loop", "0.9"])
    write_row(page, "Recipes", HEADER, ["mlp", "0.96 | 0.95"])
    page.write_text(page.read_text() + "\nA remark.\n")
    write_row(page, "Recipes", HEADER, ["vae", "23"])
    assert page.read_text() == (
        INTRODUCTION + "\n"
        "\n## Recipes\n\n"
        "| recipe | value |\n| --- | --- |\n| vae | 23 |\n| mlp | 0.96 \\| 0.95 |\n"
        "\n## Speed\n\n"
        "| what | ratio |\n| --- | --- |\n| loop | 0.9 |\n"
        "\nA remark.\n"
    )


def test_a_row_is_found_by_its_first_cell_within_its_section(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("## Empty\n\nNo table here.\n\n## Recipes\n\n| a |\n| --- |\n| p\\|q |\n")
    write_row(page, "Recipes", ("a",), ["p|q"])
    assert page.read_text().count("q |") == 1
    with pytest.raises(InputError, match="section 'Empty' has no table"):
        write_row(page, "Empty", ("a",), ["p"])


def test_the_last_value_of_a_metric(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    table.write_text("step,test/mse,val/mse\n1,,0.5\n2,,0.4\n3,0.3,\n")
    assert last_value(table, "val/mse") == 0.4
    assert last_value(table, "test/mse") == 0.3
    with pytest.raises(InputError, match="has no test/kl"):
        last_value(table, "test/kl")


def test_reproduce_writes_mean_deviation_reference_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = registry.read_recipe("autoencoder")
    recipe["reference"]["also"] = ["val/mse"]
    monkeypatch.setattr(registry, "read_recipe", lambda name: recipe)
    reproduce(["autoencoder", "--seeds", "2", "--page", "r.md", "--trainer.max_epochs=1"])
    row = (tmp_path / "r.md").read_text().splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["autoencoder, max_epochs 1", "test/mse"]
    first, other = cells[2].split("; val/mse ")
    mean, deviation = map(float, first.split(" ± "))
    assert 0.05 < float(other.split(" ± ")[0]) < 0.2
    assert 0.05 < mean < 0.2
    assert deviation > 0
    assert cells[3:5] == ["–", "see autoencoder"]  # its reference is for 150 epochs
    assert "2 seeds of 1 epoch, " in cells[5]
    assert hardware() in cells[5]
    assert cells[6] == "`zoo --model autoencoder --trainer.max_epochs 1`"
    assert not (tmp_path / "runs").exists()


def test_a_failed_run_writes_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"autoencoder, seed 0: the run failed \(exit code 2\)"):
        reproduce(["autoencoder", "--page", "r.md", "--trainer.max_epocs=1"])
    assert not (tmp_path / "r.md").exists()


def test_a_run_is_evaluated_if_its_reference_has_options_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = registry.read_recipe("pca")
    recipe["reference"] |= {"evaluate": ["--num_samples", 0], "also": ["evaluation/knn_accuracy"]}
    monkeypatch.setattr(registry, "read_recipe", lambda name: recipe)
    options = ["--seeds", "1", "--page", "r.md", "--section", "Codes"]
    reproduce(["pca", *options, "--model.latent_dim", "16"])
    text = (tmp_path / "r.md").read_text()
    assert "## Codes" in text
    cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert cells[0] == "pca, latent_dim 16"
    assert cells[3:5] == ["–", "see pca"]
    assert cells[2].startswith("0.01218; evaluation/knn_accuracy 0.9")
    assert cells[6] == "`zoo --model pca --model.latent_dim 16`"


def test_an_unchanged_recipe_has_its_reference_in_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reproduce(["pca", "--seeds", "1", "--page", "r.md"])
    cells = [c.strip() for c in (tmp_path / "r.md").read_text().splitlines()[-1].split("|")[1:-1]]
    assert cells[0] == "pca"
    assert cells[3] == "0.02489"
    assert cells[4] == "scikit-learn's PCA on the same split (one pass)"

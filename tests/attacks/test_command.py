"""``zoo attack``: the table, the figures, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import newest_run
from zoo.cli import main

QUICK = ("--trainer.max_epochs=6", "--trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows the digits, trained once for all tests here."""
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ZOO_DATA", raising=False)
        main(["--model", "cnn", *QUICK, "--trainer.accelerator=cpu"])
    return newest_run(folder) / "checkpoints" / "last.ckpt"


def test_a_table_and_figures(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(
        ["attack", str(checkpoint), "--attack", "fgsm", "pgd", "universal", "deep_fool", "--eps",
         "0.3", "0.05", "--images", "60", "--others", str(checkpoint)]
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("CNN on Digits: 60 test images, accuracy without an attack ")
    assert lines[2].split() == ["attack", "eps", "accuracy", "mean", "L2", "sees"]
    table = [line.split() for line in lines[3:10]]
    assert [row[0] for row in table] == [
        "FGSM", "FGSM", "PGD", "PGD", "UniversalPerturbation", "UniversalPerturbation", "DeepFool",
    ]  # fmt: skip
    assert [row[1] for row in table[:2]] == ["0.05", "0.3"]  # in order
    shares = [float(row[2].rstrip("%")) for row in table[:6]]
    assert shares[1] < shares[0]
    assert shares[3] <= shares[1]
    assert float(table[6][1].rstrip("%")) < 5
    figures = checkpoint.parent.parent / "figures"
    for name in ("attack_fgsm", "attack_pgd", "attack_universal", "robustness", "transfer"):
        assert (figures / f"{name}.png").stat().st_size > 5_000


def test_toward_a_class(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["attack", str(checkpoint), "--target", "3", "--eps", "0.3", "--restarts", "2",
          "--images", "40"])  # fmt: skip
    assert "PGD×2→3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--attack", "pdg"], "unknown attack 'pdg'; did you mean 'pgd' or 'apgd'?"),
        (["--eps", "-0.1"], "--eps must not be negative, got -0.1"),
        (["--images", "0"], "--images must be at least 1, got 0"),
        (["--target", "10"], "--target 10: the model has classes 0 to 9"),
        (["--attack", "bim", "--restarts", "2"], "--restarts: bim draws nothing at random"),
        (["--norm", "l7"], "argument --norm: invalid choice: 'l7'"),
    ],
)
def test_what_is_refused(
    args: list[str], message: str, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["attack", str(checkpoint), *args])
    assert stop.value.code == 2
    assert message in capfd.readouterr().err


def test_no_classifier(run: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    folder = run("--model", "vae", "--trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        main(["attack", str(folder / "checkpoints" / "best.ckpt")])
    assert "is a VAE: attacks need a classifier" in capfd.readouterr().err
    folder = run("--model", "mlp", "--data", "toy_2d", "--trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        main(["attack", str(folder / "checkpoints" / "best.ckpt")])
    assert "attacks need images with classes" in capfd.readouterr().err


def test_a_robust_recipe(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run("--model", "robust_cnn", "--trainer.max_epochs=2", "--trainer.enable_progress_bar=false")
    out = capsys.readouterr().out
    assert "test/robust_accuracy" in out
    assert "fraction classified correctly without an attack and under it" in out

"""``zoo attack``: the table, the figures, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import newest_run
from zoo.cli.main import main
from zoo.evaluation.robustness_structures import around

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
        (["--attack", "transfer", "--restarts", "2"], "--restarts: transfer draws nothing"),
        (["--attack", "fgsm", "--steps", "3"], "--steps: nothing to set in fgsm"),
        (["--attack", "penalty", "--norm", "linf"], "--norm: nothing to set in penalty"),
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


KINDS = {
    "points": (
        ["pointnet", "--data.samples=32", "--data.num_points=32", "--model.width=4"],
        ["--attack", "pgd", "drop", "carlini_wagner", "--eps", "0.1", "--images", "6", "--steps",
         "3"],
        "PointClassifier on Shapes: 6 test clouds", ["PGD", "PointDropping", "CarliniWagner"],
    ),
    "vertices": (
        ["pointnet", "--data=articulated", "--data.samples=40", "--model.width=4"],
        ["--attack", "smooth", "--eps", "0.1", "--images", "9", "--steps", "2"],
        "PointClassifier on Articulated: 9 test clouds", ["SmoothPGD"],
    ),
    "voxels": (
        ["voxnet", "--data.samples=32", "--data.voxel_resolution=12", "--model.width=4"],
        ["--eps", "0.1", "--images", "6"],
        "VoxelClassifier on Shapes: 6 test grids", ["VoxelFlips"],
    ),
    "nodes": (
        ["gcn"],
        ["--attack", "prbcd", "random", "--eps", "0.1", "--steps", "5"],
        "NodeClassifier on Karate: 32 test nodes", ["PRBCD", "RandomFlips"],
    ),
    "meshes": (
        ["diffusion_net", "--model.input_features=xyz", "--model.width=8", "--model.blocks=1",
         "--data.samples=16", "--data.subdivisions=1", "--data.eigenpairs=8"],
        ["--attack", "pgd", "smooth", "--eps", "0.05", "--steps", "2", "--restarts", "2",
         "--target", "3"],
        "MeshClassifier on Isometric: 7 test meshes", ["PGD×2→3", "SmoothPGD×2→3"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_samples(
    kind: str, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model, options, headline, names = KINDS[kind]
    folder = run("--model", *model, "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    capsys.readouterr()
    main(["attack", str(folder / "checkpoints" / "last.ckpt"), *options])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(headline)
    assert [line.split()[0] for line in lines[3 : 3 + len(names)]] == names
    assert all(
        0 <= float(line.split("%")[0].split()[-1]) <= 100 for line in lines[3 : 3 + len(names)]
    )
    figures = list((folder / "figures").glob("attack_*.png"))
    assert len(figures) == len(names)
    assert all(figure.stat().st_size > 5_000 for figure in figures)


def test_what_a_kind_does_not_have(
    run: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = run("--model", "gcn", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    for options, message in (
        (["--attack", "pgd"], "unknown attack 'pgd'; did you mean 'prbcd'"),
        (["--norm", "l2"], "--norm: nothing to set in prbcd"),
        (["--target", "1"], "--target: prbcd cannot choose the class"),
        (["--others", "x.ckpt"], "--others compares models of images or clouds"),
        (["--images", "5"], "--images: a graph, or a set of meshes, is attacked as a whole"),
    ):
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["attack", str(folder / "checkpoints" / "last.ckpt"), *options])
        assert stop.value.code == 2
        assert message in capfd.readouterr().err


def test_voxels_have_no_transfer(
    run: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--data.samples=32", "--data.voxel_resolution=12", "--model.width=4"]
    folder = run("--model", "voxnet", *options, "--trainer.max_epochs=1")
    checkpoint = str(folder / "checkpoints" / "last.ckpt")
    with pytest.raises(SystemExit):
        main(["attack", checkpoint, "--others", checkpoint])
    assert "--others compares models by PGD, which grids do not have" in capfd.readouterr().err


def test_a_graphs_surroundings() -> None:
    edges = torch.tensor([[0, 1, 2, 5], [1, 2, 3, 6]])
    assert around(edges, torch.tensor([0])).tolist() == [0, 1, 2, 3]
    assert around(edges, torch.tensor([4])).tolist() == [4]  # which no edge touches
    star = torch.stack([torch.zeros(300, dtype=torch.long), torch.arange(1, 301)])
    assert len(around(star, torch.tensor([0]))) == 301  # the first ring is always there
    assert around(star, torch.tensor([7])).tolist() == [0, 7]


def test_no_classifier(run: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    folder = run("--model", "vae", "--trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        main(["attack", str(folder / "checkpoints" / "best.ckpt")])
    assert "is a VAE: attacks need a classifier" in capfd.readouterr().err
    folder = run("--model", "mlp", "--data", "toy_2d", "--trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        main(["attack", str(folder / "checkpoints" / "best.ckpt")])
    assert (
        "attacks need images, clouds, voxels, meshes or a graph with classes"
        in capfd.readouterr().err
    )


def test_a_robust_recipe(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run("--model", "robust_cnn", "--trainer.max_epochs=2", "--trainer.enable_progress_bar=false")
    out = capsys.readouterr().out
    assert "test/robust_accuracy" in out
    assert "fraction classified correctly without an attack and under it" in out

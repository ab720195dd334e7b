"""``zoo attack``: table, figures and error messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import newest_run
from zoo.cli.main import main
from zoo.evaluation.robustness_structures import neighborhood

QUICK = ("--trainer.max_epochs=6", "--trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained on the digits, once for all tests in this file."""
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ZOO_DATA", raising=False)
        main(["--model", "cnn", *QUICK, "--trainer.accelerator=cpu"])
    return newest_run(folder) / "checkpoints" / "last.ckpt"


def test_the_table_and_the_figures(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(
        ["attack", str(checkpoint), "--attack", "fgsm", "pgd", "universal", "deep_fool", "--eps",
         "0.3", "0.05", "--test_samples", "60", "--other_models", str(checkpoint)]
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("CNN on Digits: 60 test images, clean accuracy ")
    assert lines[2].split() == [
        "attack", "eps", "accuracy", "mean", "L2", "threat", "model",
    ]  # fmt: skip
    table = [line.split() for line in lines[3:10]]
    assert [row[0] for row in table] == [
        "FGSM", "FGSM", "PGD", "PGD", "UniversalPerturbation", "UniversalPerturbation", "DeepFool",
    ]  # fmt: skip
    assert [row[1] for row in table[:2]] == ["0.05", "0.3"]  # sorted
    accuracies = [float(row[2].rstrip("%")) for row in table[:6]]
    assert accuracies[1] < accuracies[0]
    assert accuracies[3] <= accuracies[1]
    assert float(table[6][1].rstrip("%")) < 5
    figures = checkpoint.parent.parent / "figures"
    for name in ("attack_fgsm", "attack_pgd", "attack_universal", "robustness", "transfer"):
        assert (figures / f"{name}.png").stat().st_size > 5_000


def test_targets_and_restarts(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["attack", str(checkpoint), "--target", "3", "--eps", "0.3", "--restarts", "2",
          "--test_samples", "40"])  # fmt: skip
    assert "PGD×2→3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--attack", "pdg"], "unknown attack 'pdg'; did you mean 'pgd' or 'apgd'?"),
        (["--eps", "-0.1"], "--eps must not be negative, got -0.1"),
        (["--test_samples", "0"], "--test_samples must be at least 1, got 0"),
        (["--target", "10"], "--target 10: the model has classes 0 to 9"),
        (["--attack", "bim", "--restarts", "2"], "--restarts is not supported by bim"),
        (["--attack", "transfer", "--restarts", "2"], "--restarts is not supported by transfer"),
        (["--attack", "fgsm", "--steps", "3"], "--steps is not supported by fgsm"),
        (["--attack", "lbfgs", "--norm", "linf"], "--norm is not supported by lbfgs"),
        (["--norm", "l7"], "argument --norm: invalid choice: 'l7'"),
    ],
)
def test_bad_options(
    args: list[str], message: str, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["attack", str(checkpoint), *args])
    assert stop.value.code == 2
    assert message in capfd.readouterr().err


KINDS = {
    "points": (
        ["pointnet", "--data.num_samples=32", "--data.num_points=32", "--model.width=4"],
        ["--attack", "pgd", "drop", "carlini_wagner", "--eps", "0.1", "--steps", "3",
         "--test_samples", "6"],
        "PointClassifier on Shapes: 6 test point clouds", ["PGD", "PointDropping", "CarliniWagner"],
    ),
    "vertices": (
        ["pointnet", "--data=articulated", "--data.num_samples=40", "--model.width=4"],
        ["--attack", "smooth", "--eps", "0.1", "--test_samples", "9", "--steps", "2"],
        "PointClassifier on Articulated: 9 test point clouds", ["SmoothPGD"],
    ),
    "voxels": (
        ["voxnet", "--data.num_samples=32", "--data.voxel_resolution=12", "--model.width=4"],
        ["--eps", "0.1", "--test_samples", "6"],
        "VoxelClassifier on Shapes: 6 test voxel grids", ["VoxelFlips"],
    ),
    "nodes": (
        ["gcn"],
        ["--attack", "prbcd", "random", "--eps", "0.1", "--steps", "5"],
        "NodeClassifier on Karate: 32 test nodes", ["PRBCD", "RandomEdgeFlips"],
    ),
    "meshes": (
        ["diffusion_net", "--model.input_features=xyz", "--model.width=8", "--model.blocks=1",
         "--data.num_samples=16", "--data.subdivisions=1", "--data.eigenpairs=8"],
        ["--attack", "pgd", "smooth", "--eps", "0.05", "--steps", "2", "--restarts", "2",
         "--target", "3"],
        "MeshClassifier on Isometric: 7 test meshes", ["PGD×2→3", "SmoothPGD×2→3"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_data(
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


def test_options_that_graphs_do_not_support(
    run: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = run("--model", "gcn", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    for options, message in (
        (["--attack", "pgd"], "unknown attack 'pgd'; did you mean 'prbcd'"),
        (["--norm", "l2"], "--norm is not supported by prbcd"),
        (["--target", "1"], "--target is not supported by prbcd"),
        (
            ["--other_models", "x.ckpt"],
            "--other_models works only with models of images",
        ),
        (
            ["--test_samples", "5"],
            "--test_samples: graphs and sets of meshes",
        ),
    ):
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["attack", str(folder / "checkpoints" / "last.ckpt"), *options])
        assert stop.value.code == 2
        assert message in capfd.readouterr().err


def test_voxel_grids_have_no_transfer_matrix(
    run: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--data.num_samples=32", "--data.voxel_resolution=12", "--model.width=4"]
    folder = run("--model", "voxnet", *options, "--trainer.max_epochs=1")
    checkpoint = str(folder / "checkpoints" / "last.ckpt")
    with pytest.raises(SystemExit):
        main(["attack", checkpoint, "--other_models", checkpoint])
    message = "--other_models compares models under PGD, which voxel grids do not support"
    assert message in capfd.readouterr().err


def test_neighborhood() -> None:
    edges = torch.tensor([[0, 1, 2, 5], [1, 2, 3, 6]])
    assert neighborhood(edges, torch.tensor([0])).tolist() == [0, 1, 2, 3]
    assert neighborhood(edges, torch.tensor([4])).tolist() == [4]  # an isolated node
    star = torch.stack([torch.zeros(300, dtype=torch.long), torch.arange(1, 301)])
    assert len(neighborhood(star, torch.tensor([0]))) == 301  # the first hop is always complete
    assert neighborhood(star, torch.tensor([7])).tolist() == [0, 7]


def test_unsupported_models_and_data(
    run: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = run("--model", "vae", "--trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        main(["attack", str(folder / "checkpoints" / "best.ckpt")])
    assert "contains the model VAE, but this command needs a Classifier" in capfd.readouterr().err
    folder = run("--model", "mlp", "--data", "toy_2d", "--trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        main(["attack", str(folder / "checkpoints" / "best.ckpt")])
    assert (
        "attacks need images, point clouds, voxel grids, meshes or a graph with class labels"
        in capfd.readouterr().err
    )


def test_a_robust_recipe(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run("--model", "robust_cnn", "--trainer.max_epochs=2", "--trainer.enable_progress_bar=false")
    out = capsys.readouterr().out
    assert "test/robust_accuracy" in out
    assert "fraction classified correctly both without and under attack" in out

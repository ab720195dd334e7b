"""The command line: runs, files, help and error messages."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import zoo
from tests.conftest import ROOT
from zoo.cli.commands.reproduce import last_value
from zoo.cli.main import main
from zoo.core.settings import read_settings

Run = Callable[..., Path]
Fails = Callable[..., str]

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3")


# -- runs ----------------------------------------------------------------------------------------


def test_a_run_folder_is_complete(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("--model", "vae", "--trainer.max_epochs", "2")
    assert folder.parent.name == "vae"
    assert {p.name for p in folder.iterdir()} == {
        "checkpoints",
        "config.yaml",
        "figures",
        "metrics.csv",
    }
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {p.stem for p in (folder / "figures").iterdir()} == {
        "latent_scatter",
        "latent_manifold",
        "latent_interpolation",
        "reconstructions",
        "samples",
    }
    columns = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "val/neg_elbo", "test/neg_elbo", "test/kl", "test/mse"} <= set(columns)
    out = capsys.readouterr().out
    for line in ("test/neg_elbo", "test/reconstruction", "test/kl", "test/mse"):
        assert line in out
    assert "nats per image (Bernoulli likelihood" in out
    assert "best.ckpt" in out
    assert "figures" in out


def test_a_config_file_repeats_its_run(run: Run) -> None:
    first = run("--model", "vae", "--model.latent_dim", "3", *SHORT)
    config = yaml.safe_load((first / "config.yaml").read_text())
    assert config["model"]["init_args"]["latent_dim"] == 3
    assert config["model"]["init_args"]["lr"] == 0.002
    assert config["data"]["init_args"]["batch_size"] == 64
    assert config["trainer"]["max_epochs"] == 1
    second = run("fit", "--config", str(first / "config.yaml"))
    assert second != first
    weights = [
        torch.load(f / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for f in (first, second)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_flags_override_the_recipe_and_config_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("model:\n  init_args:\n    latent_dim: 5\n    lr: 0.5\n")
    folder = run("--model", "vae", "--config", "my.yaml", "--model.lr", "0.01", *SHORT)
    model = zoo.load(folder / "checkpoints/last.ckpt")
    assert model.hparams["latent_dim"] == 5
    assert model.hparams["lr"] == 0.01
    assert tuple(model.hparams["hidden_dims"]) == (256, 256)


def test_models_get_the_properties_of_data(run: Run, tmp_path: Path) -> None:
    from tests.datamodules.test_image_folder import write_image

    for number in range(12):
        write_image(tmp_path / "pets/cats" / f"{number}.png", (200, number, 0))
        write_image(tmp_path / "pets/dogs" / f"{number}.png", (0, number, 200))
    folder = run("--model=mlp", "--data=image_folder", "--data.path=pets", "--data.size=8", *SHORT)
    model = zoo.load(folder / "checkpoints/last.ckpt")
    assert model.hparams["input_shape"] == (3, 8, 8)
    assert model.hparams["num_classes"] == 2


def test_name_seed_and_several_loggers(run: Run) -> None:
    folder = run("--model=mlp", "--name=mine", "--seed=7", "--logger", "csv", "tensorboard", *SHORT)
    assert folder.parent.name == "mine"
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == 7
    assert (folder / "metrics.csv").is_file()
    assert list(folder.glob("events.out.tfevents*"))


def test_the_seed_determines_the_weights(run: Run) -> None:
    def weights(seed: int) -> torch.Tensor:
        folder = run("fit", "--model=vae", f"--seed={seed}", *SHORT)
        state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        return state["encoder.1.weight"]

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_two_runs_in_the_same_second_do_not_collide(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import datetime

    from zoo.cli import run_folder

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2026, 1, 1)

    monkeypatch.setattr(run_folder, "datetime", Stopped)
    folders = {run("fit", "--model=mlp", *SHORT).parent for _ in range(2)}
    assert sorted(p.name for p in folders.pop().iterdir()) == [
        "2026-01-01_00-00-00",
        "2026-01-01_00-00-00-2",
    ]


def test_evaluation_needs_only_a_checkpoint(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("--model=vae", "--model.latent_dim=3", "--data.batch_size=32", *SHORT)
    tested = capsys.readouterr().out.split("test/neg_elbo")[1].split()[0]
    checkpoint = str(folder / "checkpoints/best.ckpt")
    run("test", "--ckpt_path", checkpoint)
    assert capsys.readouterr().out.split("test/neg_elbo")[1].split()[0] == tested
    last = str(folder / "checkpoints/last.ckpt")
    run("validate", "--model=vae", "--ckpt_path", last)  # latent_dim from the checkpoint
    text = capsys.readouterr().out
    assert "val/neg_elbo" in text
    assert text.split("\ncheckpoint ")[1].split()[0].endswith("checkpoints/last.ckpt")


def test_any_lightning_module_trains(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The class is not from the zoo and has no validation, test or hyper-parameters."""
    (tmp_path / "foreign.py").write_text(
        "import lightning.pytorch as L, torch\n"
        "class Net(L.LightningModule):\n"
        "    def __init__(self, num_classes: int, width: int = 4):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(64, num_classes)\n"
        "    def training_step(self, batch, batch_idx):\n"
        "        x, y = batch\n"
        "        return torch.nn.functional.cross_entropy(self.layer(x.flatten(1)), y)\n"
        "    def configure_optimizers(self):\n"
        "        return torch.optim.SGD(self.parameters(), 0.1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = run("--model=foreign.Net", "--data=digits", "--model.width=3", *SHORT)
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert state["layer.weight"].shape == (10, 64)


def test_predict_writes_predictions(run: Run) -> None:
    trained = run("fit", "--model=mlp", *SHORT)
    folder = run("predict", "--model=mlp", f"--ckpt_path={trained / 'checkpoints/last.ckpt'}")
    predictions = torch.load(folder / "predictions.pt", weights_only=True)
    assert predictions["class"].shape == (360,)
    torch.testing.assert_close(predictions["probabilities"].sum(1), torch.ones(360))
    table = pd.read_csv(folder / "predictions.csv")
    assert list(table)[:4] == ["sample", "class", "probability", "p(0)"]
    assert table["class"].tolist() == predictions["class"].tolist()
    assert table["p(7)"].tolist() == pytest.approx(predictions["probabilities"][:, 7].tolist())


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_an_untrained_model_is_announced(
    command: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run("fit", "--model=mlp", *SHORT) / "checkpoints/last.ckpt"
    notice = "no --ckpt_path was given: these are results of a new, untrained model"
    assert notice not in capsys.readouterr().out
    run(command, "--model=mlp")
    assert notice in capsys.readouterr().out
    run(command, "--model=mlp", f"--ckpt_path={checkpoint}")
    assert notice not in capsys.readouterr().out


def test_print_config_shows_every_setting(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("--model=vae", "--model.latent_dim=9", "--print_config")
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["init_args"]["latent_dim"] == 9
    assert config["reference"]["metric"] == "test/neg_elbo"


def test_fast_dev_run_writes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["--model=vae", "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu"])
    assert list(tmp_path.iterdir()) == []


def test_half_precision_runs(run: Run) -> None:
    folder = run("--model=vae", "--trainer.precision=bf16-mixed", *SHORT)
    assert (folder / "checkpoints/best.ckpt").is_file()


def test_both_checkpoints_contain_the_best_score(run: Run) -> None:
    """A run that is resumed from either one replaces the best checkpoint only by a better one."""
    first = run("fit", "--model=vae", "--trainer.max_epochs=2")
    last = torch.load(first / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    best = torch.load(first / "checkpoints/best.ckpt", weights_only=True)["callbacks"]
    scores = [
        float(state["best_model_score"])
        for callbacks in (last, best)
        for key, state in callbacks.items()
        if "val/loss" in key
    ]
    assert len(scores) == 2
    assert scores[0] == scores[1]


@pytest.mark.parametrize(("options", "mode"), [((), "max"), (("--checkpoint.mode=min",), "min")])
def test_the_best_accuracy_is_the_highest(run: Run, options: tuple[str, ...], mode: str) -> None:
    folder = run("fit", "--model=gat", "--checkpoint.monitor=val/accuracy", *options, *SHORT)
    callbacks = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    assert [key for key in callbacks if "val/accuracy" in key and f"'{mode}'" in key]


@pytest.mark.parametrize("option", ["--trainer.gradient_clip_val=1", "--model.lr=0.1"])
def test_mixed_precision_works_with_and_without_gradient_clipping(run: Run, option: str) -> None:
    folder = run("--model=mlp", "--trainer.precision=bf16-mixed", option, *SHORT)
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 3
    assert all(value.isfinite().all() for value in state["state_dict"].values())


# -- catalog and help ----------------------------------------------------------------------------


def test_list_is_fast_and_does_not_import_torch() -> None:
    code = (
        "import sys; from zoo.cli.main import main; main(['list']); "
        "assert 'torch' not in sys.modules, 'torch'"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("mlp") and "0.984" in line and "Keras" in line for line in lines)


def test_help_lists_models_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    out = capsys.readouterr().out
    assert ", ".join(zoo.list_models()) in out
    assert "fashion_mnist" in out


@pytest.mark.parametrize(
    "args",
    [["--model.help=zoo.VAE"], ["fit", "--model.help", "zoo.VAE"], ["--model.help", "vae"]],
)
def test_help_on_a_class_lists_its_arguments(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for argument in ("latent_dim", "binarization", "activation", "schedule"):
        assert f"--model.{argument}" in out or f".{argument} " in out


def test_help_on_a_data_set_takes_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--data.help=csv"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "Help for --data.help=datamodules.CSV" in out
    assert "--data.missing_values" in out


def test_help_on_an_unknown_name_names_the_nearest(fails: Fails) -> None:
    assert "did you mean 'vae'" in fails("--model.help", "vaee")
    assert "did you mean 'csv'" in fails("--data.help", "cvs")


def test_imports_of_a_named_class_print_no_warnings(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "--model=zoo.NodeClassifier"]
    done = subprocess.run(
        [*command, "--print_config"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_help_on_a_command_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--trainer.max_epochs" in out
    assert "--checkpoint.every_n_train_steps" in out


@pytest.mark.parametrize(
    ("options", "seed"),
    [
        ((), 0),
        (("--seed=3",), 3),
        (("--seed=3", "--data.seed=5"), 5),
        (("--data.seed=5", "--seed=3"), 5),
        (("--config=own.yaml",), 4),
        (("--config=own.yaml", "--seed=3"), 3),
        (("--config=data.yaml",), 6),
        (("--config=data.yaml", "--seed=3"), 3),
    ],
)
def test_the_seed_of_the_run_is_that_of_its_data(
    run: Run, tmp_path: Path, options: tuple[str, ...], seed: int
) -> None:
    (tmp_path / "own.yaml").write_text("seed: 4")
    (tmp_path / "data.yaml").write_text(
        "data: {class_path: datamodules.Toy2D, init_args: {seed: 6}}"
    )
    folder = run("fit", "--model=mlp", "--data=toy_2d", *options, *SHORT)
    assert read_settings(folder / "config.yaml")["data"]["init_args"]["seed"] == seed


def test_seeds_give_other_data_and_other_results(run: Run) -> None:
    """Runs of a closed-form model differ only by their data."""
    model = ("--model=linear_regression", "--trainer.enable_progress_bar=false")
    first, again, other = (
        last_value(run(*model, f"--seed={seed}") / "metrics.csv", "test/mse") for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other

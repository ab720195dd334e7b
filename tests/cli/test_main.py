"""The command line: runs, files, help and error messages."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import zoo
from tests.conftest import ROOT
from zoo.cli.main import main

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
    run("validate", "--model=vae", "--ckpt_path", checkpoint)  # latent_dim from the checkpoint
    assert "val/neg_elbo" in capsys.readouterr().out


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


@pytest.mark.parametrize("args", [["--model.help=zoo.VAE"], ["fit", "--model.help", "zoo.VAE"]])
def test_help_on_a_class_lists_its_arguments(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for argument in ("latent_dim", "binarization", "activation", "schedule"):
        assert f"--model.{argument}" in out or f".{argument} " in out


def test_help_on_a_command_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--trainer.max_epochs" in out
    assert "--checkpoint.every_n_train_steps" in out


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--model vea", "unknown model 'vea'; did you mean 'vae'?"),
        ("--model vae --data mnst", "unknown data set 'mnst'; did you mean 'mnist'"),
        ("fitt --model vae", "unknown command 'fitt'; did you mean 'fit'"),
        ("--model vae --logger foo", "unknown logger 'foo'; choose from csv, tensorboard, wandb"),
        (
            "--trainer.max_epochs 3",
            "no model given: add --model NAME (appnp, autoencoder, beta_vae, ",
        ),
        (
            "--model vae --model.latnt_dim 8",
            "unknown option --model.latnt_dim; did you mean '--mod",
        ),
        (
            "--model vae --data.batchsize 8",
            "unknown option --data.batchsize; did you mean '--data.",
        ),
        ("--model vae --trainer.max_epocs 8", "unknown option --trainer.max_epocs; did you mean"),
        ("--model vae --data.augment.crp 1", "unknown option --data.augment.crp"),
        ("--model vae --trainer.max_epochs x", "--trainer.max_epochs must be of type int, got 'x'"),
        ("--model vae --model.latent_dim x", "--model.latent_dim must be of type int, got 'x'"),
        ("--model vae --model.latent_dim 0", "latent_dim must be at least 1, got 0"),
        ("--model vae --model.network foo", "unknown network 'foo'; choose from mlp, conv"),
        ("--model vae --data.augment.crop -1", "augment.crop must not be negative, got -1"),
        ("--model vae --model.input_shape [2]", "--model.input_shape comes from the data"),
        ("--model vae --model.optimizer adm", "unknown optimizer 'adm'; did you mean 'adam'"),
        ("--model nowhere.Net", "--model nowhere.Net: there is no module 'nowhere'"),
        ("--model zoo.VEA", "--model zoo.VEA: module 'zoo' has no 'VEA'; did you mean 'VAE' or "),
        ("--model vae --data nowhere.Data", "--data nowhere.Data: there is no module 'nowhere'"),
        ("--model vae --config no.yaml", "no.yaml"),
        ("--model vae --ckpt_path no.ckpt", "there is no checkpoint no.ckpt"),
        ("test --ckpt_path no.ckpt", "no model given, and there is no "),
        ("--model", "--model needs a value"),
        ("--model vae --data image_folder --data.path no", "there is no folder no (--data.path)"),
        ("--model vae --checkpoint.monitor val/foo", "could not find the monitored key"),
        ("list everything", "list: unrecognized arguments: everything"),
        (
            "--model mlp --data diabetes",
            "MLPClassifier needs num_classes, which Diabetes does not have: the target 'target'",
        ),
        ("--model linear_regression --data iris", "has 3 classes: choose a classifier"),
        ("--model linear_regression --data digits", "LinearRegression needs num_targets, which"),
        ("--model mlp --data csv", "the following arguments are required: path, target"),
        ("--model mlp --data csv --data.path no.csv --data.target y", "there is no file no.csv"),
        (
            "--model mlp --data toy_2d --data.name stars",
            "unknown name 'stars'; did you mean 'spirals'?",
        ),
        (
            "--model mlp --model.normalization btch",
            "unknown normalization 'btch'; did you mean 'batch'",
        ),
        ("--model cnn --data iris", "needs images (channels, height, width), got (4,)"),
        ("--model cnn --model.pool_size 3", "images of 8×8 pixels are too small"),
        ("--model torchvision --model.backbone resnet19", "unknown backbone 'resnet19'"),
        ("--model deep_ensemble --model.member vae", "member must be a Classifier, got VAE"),
        ("--model linear_regression --model.l1 1", "solver='closed_form' does not support l1: c"),
        (
            "--model mlp --model.normalization batch --data.batch_size 1",
            "batch normalization cannot train on a batch of one sample: choose a batch_size",
        ),
        (
            '--model mlp --model.l2 {"w*":1}',
            "no parameter matches 'w*'; the parameters are network.2.we",
        ),
        (
            "--model mlp --trainer.max_epochs 1 --trainer.callbacks+=callbacks.DecisionBoundary",
            "DecisionBoundary needs two features, the data has 64",
        ),
        (
            "--model vae --model.latent_dim 64",
            "latent_dim=64 is not smaller than a sample, which has 64 values",
        ),
        ("--model pca --model.latent_dim 99", "latent_dim=99 is not smaller than a sample"),
        ("--model pca --model.solver qr", "unknown solver 'qr'; choose from covariance, svd"),
        (
            "--model vae --data wine --trainer.callbacks null",
            "a bernoulli likelihood needs pixels in [0, 1], the data has -",
        ),
        (
            "--model vae --data wine",
            "VAE cannot draw samples of shape (13,): leave LatentManifold out",
        ),
        ("--model conditional_vae --data diabetes", "ConditionalVAE needs num_classes, which Di"),
        ("--model iwae --model.num_samples 0", "num_samples must be at least 1, got 0"),
        ("--model vae --model.levels 17", "--model.levels comes from the data"),
        ("--model vq_vae --data iris", "needs images (channels, height, width), got (4,)"),
        ("evalute x.ckpt", "unknown command 'evalute'; did you mean 'evaluate'"),
        ("reproduce vea", "unknown recipe 'vea'; did you mean 'vae'"),
        ("reproduce vae --seeds 0", "--seeds must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(fails: Fails, args: str, message: str) -> None:
    assert message in fails(*args.split())


def test_data_that_cannot_be_downloaded(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["file:///nowhere/"])
    message = fails("--model", "vae", "--data", "mnist")
    assert "MNIST is not in data/MNIST/raw and cannot be downloaded" in message
    assert "ZOO_DATA" in message


@pytest.mark.parametrize("kind", ["wandb", "tensorboard"])
def test_a_logger_that_is_not_installed(
    fails: Fails, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError(kind)

    for name in ("WandbLogger", "TensorBoardLogger"):
        monkeypatch.setattr(f"zoo.cli.run_folder.{name}", missing)
    message = fails("--model=vae", f"--logger={kind}")
    assert f'needs the package {kind}: pip install "lightning-model-zoo[{kind}]"' in message


def test_a_model_and_data_that_do_not_fit(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unlabeled.py").write_text(
        "from lightning.pytorch import LightningDataModule\n"
        "class Waves(LightningDataModule):\n"
        "    input_shape = (3,)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = fails("--model=mlp", "--data=unlabeled.Waves")
    assert "MLPClassifier needs num_classes, which Waves does not have" in message


def test_a_run_folder_that_cannot_be_written(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    message = fails("--model=vae", "--trainer.default_root_dir=taken")
    assert "cannot write the run folder taken/vae" in message


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_corrupt_checkpoint(fails: Fails, run: Run, damage: str) -> None:
    path = run("fit", "--model=vae", *SHORT) / "checkpoints/last.ckpt"
    content = {"cut": path.read_bytes()[:5000], "text": b"hello", "empty": b""}[damage]
    path.write_bytes(content)
    assert f"checkpoint {path} is corrupt" in fails("--model=vae", f"--ckpt_path={path}")


def test_a_checkpoint_of_another_class(fails: Fails, run: Run) -> None:
    path = run("fit", "--model=vae", *SHORT) / "checkpoints/last.ckpt"
    message = fails("test", "--model=mlp", f"--ckpt_path={path}")
    assert "contains the model VAE, but --model is MLPClassifier" in message


def test_a_checkpoint_for_other_data(fails: Fails, run: Run) -> None:
    path = run("fit", "--model=vae", *SHORT) / "checkpoints/last.ckpt"
    message = fails("test", "--model=vae", f"--ckpt_path={path}", "--model.latent_dim=7")
    assert "does not fit VAE with these settings: " in message
    assert "(256, 2) in the file and (256, 7) in the model" in message


ZOO = [sys.executable, "-c", "import sys; sys.path.pop(0); from zoo.cli.main import main; main()"]


@pytest.mark.parametrize(
    "program", [ZOO, [sys.executable, "-m", "zoo"]], ids=["zoo", "python -m zoo"]
)
def test_the_users_folders_do_not_hide_the_zoos_packages(
    tmp_path: Path, program: list[str]
) -> None:
    """The working folder contains packages ``callbacks`` and ``datamodules``, and a model."""
    for package in ("callbacks", "datamodules"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('not the zoo')")
    (tmp_path / "mine.py").write_text("from zoo import VAE\n\n\nclass Mine(VAE):\n    pass\n")
    options = ["--model=mine.Mine", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    done = subprocess.run([*program, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/Mine/*/figures/*.png"))) == 5


def test_an_imported_package_that_hides_the_zoos() -> None:
    code = (
        "import sys, json; sys.modules['callbacks'] = json; from zoo.cli.main import main; main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "the package 'callbacks' was imported from" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_output_ends_the_command_quietly(unbuffered: str) -> None:
    """As in ``zoo list | head``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", "list"], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()  # before the command has printed anything
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 1

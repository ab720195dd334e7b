"""Bad input on the command line: one line, exit code 2, and nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from tests.conftest import ROOT, file_size_limit
from zoo.cli.commands.reproduce import last_value
from zoo.cli.resume import read_rows
from zoo.cli.run_folder import MetricsFile
from zoo.errors import InputError

Run = Callable[..., Path]
Fails = Callable[..., str]

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3")


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
        ("--model vae --data.augment.crop -1", "augment.crop must be at least 0, got -1"),
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
        (
            "--model cnn --model.pixel_mean [1,2]",
            "pixel_mean must be one number or one per",
        ),
        ("--model vae --data.batch_size null", "--data.batch_size must not be null"),
        ("--model ../x", "'../x' is not"),
        ("--model .vae", "--model '.vae' is not the path of a class, such as package.module.Class"),
        ("--model vae --data .mnist", "'.mnist' is not the path of a class"),
        ("--model mlp --seed -1", "--seed must be at least 0 and below 2³², got -1"),
        ("--model mlp --data csv --data.path /dev/zero --data.target y", "/dev/zero is not a file"),
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
        ("--model pca --model.solver qr", "unknown solver 'qr'; choose from auto, covariance, svd"),
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


def test_a_checkpoint_that_cannot_be_written(fails: Fails, run: Run) -> None:
    """The files of the run's earlier part are unchanged."""
    folder = run("fit", "--model=vae", *SHORT)
    last = folder / "checkpoints/last.ckpt"
    before = {path: path.read_bytes() for path in folder.rglob("*.c*") if path.suffix != ".yaml"}
    with file_size_limit(1_000_000):
        message = fails(
            "fit", "--model=vae", f"--ckpt_path={last}", "--trainer.max_epochs=2",
            "--trainer.limit_train_batches=3",
        )  # fmt: skip
    assert re.search(
        r"cannot write \S+/best\.ckpt: File too large; raise the limit of file sizes "
        rf"\(ulimit -f\), then resume with --ckpt_path \S*{last.relative_to(folder.parent)}$",
        message,
    )
    after = {path: path.read_bytes() for path in before}
    rows = folder / "metrics.csv"
    assert after.pop(rows).startswith(before.pop(rows))
    assert after == before
    assert not list(folder.rglob(".*"))  # no partial file


def test_a_model_in_a_checkpoint_that_does_not_fit_into_memory(fails: Fails, run: Run) -> None:
    last = run("fit", "--model=vae", *SHORT) / "checkpoints/last.ckpt"
    content = torch.load(last, weights_only=True)
    content["hyper_parameters"]["hidden_dims"] = [10**12]
    torch.save(content, last)
    message = fails("interpolate", str(last))
    assert "out of memory: 256000000000000 bytes could not be allocated; use smaller bat" in message


class Exhausted(L.Callback):
    """Raise an error when training starts."""

    error: Exception

    def on_train_start(self, *_: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
            "out of memory: 20.00 GiB could not be allocated; use",
        ),
        (
            MemoryError("Unable to allocate 6.98 GiB for an array with shape (30599, 30599)"),
            "out of memory: 6.98 GiB could not be allocated; use",
        ),
        (MemoryError(), "out of memory; use"),
    ],
)
def test_no_memory_in_training(
    error: Exception, message: str, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Exhausted, "error", error, raising=False)
    option = f"--trainer.callbacks={__name__}.Exhausted"
    assert message in fails("fit", "--model=vae", option, *SHORT)


class Vanish(L.Callback):
    """Remove the run folder after the first step."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        folder = Path(trainer.default_root_dir)
        if folder.is_dir():
            shutil.rmtree(folder)


def test_a_run_folder_that_is_removed(fails: Fails) -> None:
    callback = f"--trainer.callbacks+={__name__}.Vanish"
    message = fails("fit", "--model=vae", *SHORT, "--checkpoint.monitor=null", callback)
    assert re.search(
        r"cannot write runs/vae/\S+/metrics\.csv: No such file or directory; check that its "
        r"folder still exists$",
        message,
    )


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"step,a\n1,2,3\n"])
def test_a_damaged_table_of_metrics(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path} is damaged \(.*\): delete it, and the run "):
        read_rows(tmp_path)
    path.unlink()
    assert read_rows(tmp_path) == []


def test_rows_of_metrics_survive_a_full_disk(tmp_path: Path) -> None:
    first = [{"step": "1", "train/loss": "0.5"}, {"step": "2", "train/loss": "0.25"}]
    (tmp_path / "metrics.csv").write_text("rows of later steps\n")
    logger = MetricsFile(tmp_path.parent, "", tmp_path.name, first)
    logger.log_metrics({"train/loss": 0.125}, 3)
    logger.save()
    before = (tmp_path / "metrics.csv").read_bytes()
    assert before == b"step,train/loss\r\n1,0.5\r\n2,0.25\r\n3,0.125\r\n"
    for metrics in ({"train/loss": 1 / 3}, {"test/loss": 1.0}):  # in the columns, in a new one
        logger.log_metrics(metrics, 4)
        with file_size_limit(len(before) + 3), pytest.raises(InputError, match="File too large"):
            logger.save()
        assert (tmp_path / "metrics.csv").read_bytes() == before
    logger.finalize("failed")  # there is space again
    assert last_value(tmp_path / "metrics.csv", "train/loss") == 1 / 3
    assert last_value(tmp_path / "metrics.csv", "test/loss") == 1.0


def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", "list"], stdout=full, stderr=subprocess.PIPE, text=True,
            cwd=ROOT,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: reading or writing failed: No space left on device; free space there "
        "(ZOO_DEBUG=1 shows where)\n"
    )


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

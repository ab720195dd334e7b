"""``zoo evaluate`` and the commands that show a latent space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import Digits
from zoo.cli.commands.evaluate import parse_options
from zoo.cli.commands.latent import CodeSet, parse_group
from zoo.cli.main import main
from zoo.core.create import create_model
from zoo.core.registry import list_recipes, read_recipe
from zoo.errors import InputError
from zoo.evaluation.reference_classifier import hash_data, train_reference_classifier

Run = Callable[..., Path]
SHORT = ("--trainer.max_epochs=2",)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of the reference classifier of digits, trained once for this file."""
    path = tmp_path_factory.mktemp("features") / "digits.ckpt"
    return train_reference_classifier(Digits(), path)


@pytest.fixture
def vae(run: Run, tmp_path: Path, classifier: Path) -> str:
    """Checkpoint of a short run; the classifier is where ``zoo evaluate`` looks for it."""
    folder = run("--model=vae", *SHORT)
    classifiers = tmp_path / "runs" / "fid_cnn"
    classifiers.mkdir(parents=True)
    shutil.copy(classifier, classifiers / f"digits-{hash_data(Digits())}.ckpt")
    return str(folder / "checkpoints/best.ckpt")


def metrics_of(checkpoint: str) -> dict[str, float]:
    """Return the values in the ``evaluation.json`` of a checkpoint."""
    content = json.loads((Path(checkpoint).parent / "evaluation.json").read_text())
    assert all(metric["meaning"] for metric in content["metrics"])
    return {metric["name"]: metric["value"] for metric in content["metrics"]}


def test_evaluation_of_a_vae(vae: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", vae, "--importance_samples=50"])
    text = capsys.readouterr().out
    first = metrics_of(vae)
    assert set(first) == {
        "iw_bound", "bits_per_dim", "active_units", "knn_accuracy", "probe_accuracy", "mse",
        "pca_mse", "mse_over_pca", "fid_cnn", "fid_cnn_data", "fid_cnn_untrained", "kid_cnn",
        "precision", "recall", "density", "coverage", "noisy_psnr", "denoised_psnr", "jacobian",
    }  # fmt: skip
    assert all(name in text for name in first)
    assert "360 test images" in text
    assert "(1/50)" in text
    assert "Bernoulli likelihood, gray values as probabilities" in text
    assert first["pca_mse"] == pytest.approx(0.0522, abs=5e-4)
    assert first["fid_cnn_data"] < first["fid_cnn"] < first["fid_cnn_untrained"]
    main(["evaluate", vae, "--importance_samples=50"])
    assert metrics_of(vae) == first  # to the last digit
    main(["evaluate", vae, "--importance_samples=5", "--num_samples=0"])
    few = metrics_of(vae)
    assert "fid_cnn" not in few
    assert few["iw_bound"] > first["iw_bound"]  # a looser bound


@pytest.mark.parametrize("model", ["pca", "autoencoder", "conditional_vae", "vq_vae"])
def test_evaluation_of_every_kind_of_latent_model(
    model: str, run: Run, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(run(f"--model={model}", *SHORT) / "checkpoints/last.ckpt")
    options = ["--features", str(classifier), "--importance_samples=3"]
    main(["evaluate", checkpoint, *options, "--sampler=mixture", "--num_samples=100"])
    found = metrics_of(checkpoint)
    assert ("iw_bound" in found) == (model == "conditional_vae")
    assert found["fid_cnn"] > 0
    assert "100 samples (mixture) and 100 test images" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["dcgan", "conditional_gan"])
def test_models_without_an_encoder_are_evaluated_by_their_samples(
    model: str, run: Run, classifier: Path, fails: Callable[..., str]
) -> None:
    checkpoint = str(run(f"--model={model}", *SHORT) / "checkpoints/last.ckpt")
    main(["evaluate", checkpoint, "--features", str(classifier)])
    found = metrics_of(checkpoint)
    conditional = {"class_accuracy"} if model == "conditional_gan" else set()
    assert set(found) == conditional | {
        "fid_cnn", "fid_cnn_data", "fid_cnn_untrained", "kid_cnn", "precision", "recall", "density",
        "coverage",
    }  # fmt: skip
    main(["interpolate", checkpoint, "--first=2", "--second=5"])
    main(["traverse", checkpoint, "--index=1"])
    main(["arithmetic", checkpoint, "--add=1,2", "--subtract=3", "--to=4,5"])
    assert "has no encoder" in fails("evaluate", checkpoint, "--sampler=mixture")
    assert "no codes of the same inputs to compare" in fails("compare", checkpoint)
    message = fails("arithmetic", checkpoint, "--add=class:11", "--subtract=3", "--to=4")
    assert ("is empty" if conditional else "have no classes") in message


def test_known_modes_are_counted(run: Run) -> None:
    folder = run(
        "--model=gan", "--data=gaussians_2d", "--data.name=ring", "--data.num_samples=10000",
        "--trainer.max_steps=20",
    )  # fmt: skip
    checkpoint = str(folder / "checkpoints/last.ckpt")
    main(["evaluate", checkpoint, "--num_samples=200"])
    found = metrics_of(checkpoint)
    assert 0 <= found["modes_found"] <= 8
    assert 0 <= found["high_quality"] <= 1
    assert {"precision", "coverage", "fid_raw"} <= set(found)


def test_a_mixture_of_codes_samples_better_than_one_gaussian_after_training(
    run: Run, classifier: Path
) -> None:
    folder = run("--model=autoencoder", "--model.latent_dim=4", "--trainer.max_epochs=60")
    checkpoint = str(folder / "checkpoints/best.ckpt")
    options = ["--features", str(classifier), "--sampler", "prior", "mixture"]
    main(["evaluate", checkpoint, *options, "--components=30"])
    found = metrics_of(checkpoint)
    assert found["fid_cnn_mixture"] < 0.7 * found["fid_cnn"]
    assert found["coverage_mixture"] > found["coverage"]


def test_options_in_the_references_of_recipes_are_valid() -> None:
    for name in list_recipes():
        options = read_recipe(name)["reference"].get("evaluate", [])
        assert parse_options(["x.ckpt", *map(str, options)]).checkpoint == "x.ckpt"


# -- figures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("interpolate", ["--first=3", "--second=8", "--steps=5"]),
        ("traverse", ["--index=2", "--dims=2,1"]),
        ("arithmetic", ["--add=class:8", "--subtract=0,1,2", "--to=class:3"]),
    ],
)
def test_figures_of_a_checkpoint(vae: str, command: str, options: list[str]) -> None:
    main([command, vae, *options])
    path = Path(vae).parent.parent / "figures" / f"{command}.png"
    assert np.asarray(Image.open(path).convert("L")).std() > 5


def test_comparison_of_two_models(vae: str, run: Run, tmp_path: Path) -> None:
    other = str(run("--model=autoencoder", *SHORT) / "checkpoints/best.ckpt")
    main(["compare", vae, other, "--out", "side/by/side.png"])
    assert np.asarray(Image.open(tmp_path / "side/by/side.png").convert("L")).std() > 5


def test_groups_of_codes() -> None:
    model = create_model("gan")
    x, y = torch.zeros(5, 1, 8, 8), torch.tensor([2, 0, 1, 2, 1])
    codes = CodeSet(model, torch.zeros(5, 3), x, y)
    assert parse_group("class:2", codes).tolist() == [0, 3]
    assert parse_group("class:2,1", codes).tolist() == [0, 3, 2, 4]
    assert parse_group("4, 1", codes).tolist() == [4, 1]
    for text, message in {
        "class:7": r"group 'class:7' is empty \(classes: 0, 1, 2\)",
        "": r"group '' is empty \(no indices given\)",
        "9": r"index 9 is out of range: there are 5 test inputs, 0 to 4",
        "kind:2": "is not a group: write class:4, or indices",
        "two": "is not a group",
    }.items():
        with pytest.raises(InputError, match=message):
            parse_group(text, codes)
    with pytest.raises(InputError, match="the samples have no classes; write indices instead"):
        parse_group("class:1", CodeSet(model, torch.zeros(5, 3), None, None))


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("evaluate", "{}", "--importance_samples=0"),
         "--importance_samples must be at least 1, got 0"),
        (("evaluate", "{}", "--images=0"), "--images must be at least 1, got 0"),
        (("evaluate", "{}", "--num_samples=-1"), "--num_samples must not be negative, got -1"),
        (("evaluate", "{}", "--sampler=mix"), "unknown sampler 'mix'; did you mean 'mixture'"),
        (("evaluate", "{}", "--draws=5"), "evaluate: unrecognized arguments: --draws=5"),
        (("evaluate", "{}", "--data=wine"),
         "Wine has samples of shape (13,), but the model takes (1, 8, 8): choose other --data"),
        (("evaluate", "{}", "--data=mnst"), "unknown data set 'mnst'; did you mean 'mnist'"),
        (("evaluate", "{}", "--features={}"), "contains the model VAE, features need a classifier"),
        (("evaluate", "{}", "--inception=x.pth"), "Inception weights x.pth: no such file"),
        (("evaluate", "gone.ckpt"), "there is no checkpoint gone.ckpt"),
        (("evaluate",), "evaluate: the following arguments are required: CKPT"),
        (("arithmetic", "{}", "--add=class:8", "--subtract=class:11", "--to=class:1"),
         "group 'class:11' is empty (classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)"),
        (("interpolate", "{}", "--first=9999"), "--first 9999 is out of range: there are 360"),
        (("interpolate", "{}", "--steps=1"), "--steps must be at least 2, got 1"),
        (("traverse", "{}", "--dims=3"), "--dims 3 is out of range: the model has dimensions 1"),
        (("traverse", "{}", "--dims=one"), "--dims must be a list of numbers such as 1,4, got"),
        (("traverse", "{}", "--out=/proc/x/y.png"), "cannot write /proc/x/y.png"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    options: tuple[str, ...], message: str, vae: str, fails: Callable[..., str]
) -> None:
    assert message in fails(*(option.replace("{}", vae) for option in options))


def test_a_classifier_cannot_be_evaluated(run: Run, fails: Callable[..., str]) -> None:
    checkpoint = str(run("--model=mlp", *SHORT) / "checkpoints/last.ckpt")
    expected = "the model MLPClassifier, but this command needs a LatentModel or a Translator"
    assert expected in fails("evaluate", checkpoint)

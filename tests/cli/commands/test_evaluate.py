"""``python -m zoo evaluate`` and the commands that draw a latent space."""

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
from zoo.cli.commands.evaluate import content_mark, feature_classifier, feature_network
from zoo.cli.commands.latent import Shown, group
from zoo.cli.main import main
from zoo.core.create import create_model
from zoo.errors import InputError

Run = Callable[..., Path]
SHORT = ("--trainer.max_epochs=2",)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier whose features are taken, trained once for this file."""
    return feature_classifier(Digits(), tmp_path_factory.mktemp("features") / "digits.ckpt")


@pytest.fixture
def vae(run: Run, tmp_path: Path, classifier: Path) -> str:
    """A short run's checkpoint, with the classifier where evaluate looks for it."""
    folder = run("--model=vae", *SHORT)
    kept = tmp_path / "runs" / "fid_cnn"
    kept.mkdir(parents=True)
    shutil.copy(classifier, kept / f"digits-{content_mark(Digits())}.ckpt")
    return str(folder / "checkpoints/best.ckpt")


def figures(checkpoint: str) -> dict[str, float]:
    content = json.loads((Path(checkpoint).parent / "evaluation.json").read_text())
    assert all(figure["meaning"] for figure in content["figures"])
    return {figure["name"]: figure["value"] for figure in content["figures"]}


def test_a_vae_is_judged(vae: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", vae, "--draws=50"])
    text = capsys.readouterr().out
    first = figures(vae)
    assert set(first) == {
        "iw_bound", "bits_per_dim", "active_units", "knn_accuracy", "probe_accuracy", "mse",
        "pca_mse", "mse_over_pca", "fid_cnn", "fid_cnn_data", "fid_cnn_untrained", "kid_cnn",
        "precision", "recall", "density", "coverage", "noisy_psnr", "denoised_psnr", "jacobian",
    }  # fmt: skip
    assert all(name in text for name in first)
    assert "360 test images" in text
    assert "(1/50)" in text
    assert "Bernoulli likelihood, grey values as probabilities" in text
    assert first["pca_mse"] == pytest.approx(0.0522, abs=5e-4)
    assert first["fid_cnn_data"] < first["fid_cnn"] < first["fid_cnn_untrained"]
    main(["evaluate", vae, "--draws=50"])
    assert figures(vae) == first  # to the last digit
    main(["evaluate", vae, "--draws=5", "--samples=0"])
    few = figures(vae)
    assert "fid_cnn" not in few
    assert few["iw_bound"] > first["iw_bound"]  # a looser bound


@pytest.mark.parametrize("model", ["pca", "autoencoder", "conditional_vae", "vq_vae"])
def test_every_kind_of_latent_model_is_judged(
    model: str, run: Run, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(run(f"--model={model}", *SHORT) / "checkpoints/last.ckpt")
    options = ["--features", str(classifier), "--draws=3"]
    main(["evaluate", checkpoint, *options, "--sampler=mixture", "--samples=100"])
    found = figures(checkpoint)
    assert ("iw_bound" in found) == (model == "conditional_vae")
    assert found["fid_cnn"] > 0
    assert "100 samples (mixture) and 100 test images" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["dcgan", "conditional_gan"])
def test_models_without_an_encoder_are_judged_by_their_samples(
    model: str, run: Run, classifier: Path, fails: Callable[..., str]
) -> None:
    checkpoint = str(run(f"--model={model}", *SHORT) / "checkpoints/last.ckpt")
    main(["evaluate", checkpoint, "--features", str(classifier)])
    found = figures(checkpoint)
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
    asked = fails("arithmetic", checkpoint, "--add=class:11", "--subtract=3", "--to=4")
    assert ("is empty" if conditional else "have no classes") in asked


def test_known_modes_are_counted(run: Run) -> None:
    folder = run(
        "--model=gan", "--data=gaussians_2d", "--data.name=ring", "--data.num_samples=10000",
        "--trainer.max_steps=20",
    )  # fmt: skip
    checkpoint = str(folder / "checkpoints/last.ckpt")
    main(["evaluate", checkpoint, "--samples=200"])
    found = figures(checkpoint)
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
    found = figures(checkpoint)
    assert found["fid_cnn_mixture"] < 0.7 * found["fid_cnn"]
    assert found["coverage_mixture"] > found["coverage"]


def test_the_classifier_is_trained_once(tmp_path: Path, classifier: Path) -> None:
    before = classifier.stat().st_mtime_ns
    assert feature_classifier(Digits(), classifier) == classifier
    assert classifier.stat().st_mtime_ns == before
    network = feature_network(classifier, (1, 8, 8))
    x, y = Digits().evaluation_samples("test")
    accuracy = (network.classifier(x).argmax(1) == y).float().mean()
    assert accuracy > 0.93


def test_data_sets_are_told_apart_by_their_content() -> None:
    class Dark(Digits):
        def load(self, train: bool) -> tuple[torch.Tensor, ...]:
            x, y = super().load(train)
            return x // 2, y

    assert content_mark(Digits()) == content_mark(Digits(batch_size=7))
    assert content_mark(Digits()) != content_mark(Dark())


# -- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("interpolate", ["--first=3", "--second=8", "--steps=5"]),
        ("traverse", ["--index=2", "--dims=2,1"]),
        ("arithmetic", ["--add=class:8", "--subtract=0,1,2", "--to=class:3"]),
    ],
)
def test_pictures_without_training(vae: str, command: str, options: list[str]) -> None:
    main([command, vae, *options])
    path = Path(vae).parent.parent / "figures" / f"{command}.png"
    assert np.asarray(Image.open(path).convert("L")).std() > 5


def test_models_side_by_side(vae: str, run: Run, tmp_path: Path) -> None:
    other = str(run("--model=autoencoder", *SHORT) / "checkpoints/best.ckpt")
    main(["compare", vae, other, "--out", "side/by/side.png"])
    assert np.asarray(Image.open(tmp_path / "side/by/side.png").convert("L")).std() > 5


def test_groups_of_inputs() -> None:
    model = create_model("gan")
    x, y = torch.zeros(5, 1, 8, 8), torch.tensor([2, 0, 1, 2, 1])
    shown = Shown(model, torch.zeros(5, 3), x, y)
    assert group("class:2", shown).tolist() == [0, 3]
    assert group("class:2,1", shown).tolist() == [0, 3, 2, 4]
    assert group("4, 1", shown).tolist() == [4, 1]
    for text, message in {
        "class:7": r"group 'class:7' is empty \(classes: 0, 1, 2\)",
        "": r"group '' is empty",
        "9": r"index 9 is not among the 5 test inputs",
        "kind:2": "is no group: write class:4, or indices",
        "two": "is no group",
    }.items():
        with pytest.raises(InputError, match=message):
            group(text, shown)
    with pytest.raises(InputError, match="these samples have no classes, name them by indices"):
        group("class:1", Shown(model, torch.zeros(5, 3), None, None))


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("evaluate", "{}", "--draws=0"), "--draws must be at least 1, got 0"),
        (("evaluate", "{}", "--sampler=mix"), "unknown sampler 'mix'; did you mean 'mixture'"),
        (("evaluate", "{}", "--draw=5"), "evaluate: unrecognized arguments: --draw=5"),
        (("evaluate", "{}", "--data=wine"), "Wine has samples (13,), the model takes (1, 8, 8)"),
        (("evaluate", "{}", "--data=mnst"), "unknown data set 'mnst'; did you mean 'mnist'"),
        (("evaluate", "{}", "--features={}"), "is a VAE, features need a classifier"),
        (("evaluate", "{}", "--inception=x.pth"), "Inception weights x.pth: no such file"),
        (("evaluate", "gone.ckpt"), "there is no checkpoint gone.ckpt"),
        (("evaluate",), "evaluate: the following arguments are required: CKPT"),
        (("arithmetic", "{}", "--add=class:8", "--subtract=class:11", "--to=class:1"),
         "group 'class:11' is empty (classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)"),
        (("interpolate", "{}", "--first=9999"), "first 9999 is not among the 360 test inputs"),
        (("interpolate", "{}", "--steps=1"), "--steps must be at least 2, got 1"),
        (("traverse", "{}", "--dims=3"), "--dims 3: the model has dimensions 1 to 2"),
        (("traverse", "{}", "--out=/proc/x/y.png"), "cannot write /proc/x/y.png"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    options: tuple[str, ...], message: str, vae: str, fails: Callable[..., str]
) -> None:
    assert message in fails(*(option.replace("{}", vae) for option in options))


def test_a_classifier_has_no_latent_space(run: Run, fails: Callable[..., str]) -> None:
    checkpoint = str(run("--model=mlp", *SHORT) / "checkpoints/last.ckpt")
    assert "is a MLPClassifier, which has no latent space" in fails("evaluate", checkpoint)

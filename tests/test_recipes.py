"""Every recipe is complete and runs."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from datamodules import CIFAR10, MNIST, ETTh1, FashionMNIST, TinyShakespeare
from tests.conftest import zoo_data
from tests.official_files import write_planetoid, write_tudataset
from zoo.cli.commands.evaluate import evaluate
from zoo.cli.commands.reproduce import last_value
from zoo.core import registry
from zoo.core.registry import import_class, list_recipes, read_recipe
from zoo.core.signature import arguments_of

RECIPES = list_recipes()
TINY = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3")


@pytest.fixture
def without_downloads(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Replace data sets that need a download by random images or small files."""

    def load(self: Any, train: bool) -> tuple[torch.Tensor, ...]:
        x = torch.randint(0, 256, (300, *self.input_shape), dtype=torch.uint8)
        return x, torch.arange(300) % self.num_classes

    for cls in (MNIST, FashionMNIST, CIFAR10):
        monkeypatch.setattr(cls, "load", load)
        monkeypatch.setattr(cls, "download", lambda self: None)
    for cls in (TinyShakespeare, ETTh1):
        monkeypatch.setattr(cls, "download", lambda self: None)
    root = tmp_path_factory.mktemp("data")
    write_planetoid(root)
    write_tudataset(root)
    monkeypatch.setenv("ZOO_DATA", str(root))
    for name, content in short_files().items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)


def short_files() -> dict[str, bytes]:
    """Return small files in the formats of the data sets, by their paths below the root."""
    verse = "To be, or not to be: that is the question.\n" * 2_600
    hours = ["date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"]
    dates = pd.date_range("2016-07-01", periods=14_400, freq="h")
    hours += [f"{d}," + ",".join(f"{i * k % 97}" for k in range(1, 8)) for i, d in enumerate(dates)]
    files = {"text/tinyshakespeare.txt": verse, "timeseries/ETTh1.csv": "\n".join(hours)}
    for split in ("train", "val", "test_2016_flickr"):
        for language, line in (("de", "Ein Hund läuft."), ("en", "A dog runs.")):
            files[f"multi30k/{split}.{language}.gz"] = f"{line}\n" * 500
    for split in ("train", "dev", "test"):
        files[f"sentiment/sst2_sentences_{split}.tsv"] = "good film\t1\nbad film\t0\n" * 100
    return {name: text.encode() for name, text in files.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_runs(name: str, run: Callable[..., Path], without_downloads: None) -> None:
    model, _, data = name.partition("-")
    known = arguments_of(import_class(read_recipe(name)["data"]["class_path"]))
    options = ["--data.val_size=20"] if data and "val_size" in known else []
    if "num_points" in known:  # nearest neighbors are slow to compute
        options += ["--data.num_points=64", "--data.num_samples=60"]
    if model.startswith("mesh_"):
        options += ["--data.num_samples=24"]
    if name == "sn_gan-cifar10":  # with the recipe's widths, one batch takes half a minute
        options += ["--model.hidden_dims=[16,16,16]", "--model.discriminator_hidden_dims=[8,8,8,8]"]
    folder = run(f"--model={model}", *([f"--data={data}"] if data else []), *options, *TINY)
    reference = read_recipe(name)["reference"]
    for metric in [reference["metric"], *reference.get("also", [])]:
        if metric.startswith("test/"):
            value = last_value(folder / "metrics.csv", metric)
            assert not math.isnan(value), metric
    assert folder.parent.name == name


@pytest.mark.parametrize("name", RECIPES)
def test_references_and_arguments_are_valid(name: str) -> None:
    recipe = read_recipe(name)
    reference = recipe["reference"]
    assert set(reference) - {"also", "evaluate"} == {"metric", "value", "source", "budget"}
    kinds = ("test/", "pruned/", *(["evaluation/"] if "evaluate" in reference else []))
    assert all(m.startswith(kinds) for m in [reference["metric"], *reference.get("also", [])])
    for part in ("model", "data"):
        cls = import_class(recipe[part]["class_path"])
        assert set(recipe[part].get("init_args", {})) <= arguments_of(cls)


def test_data_names_are_classes() -> None:
    for name, path in registry.DATA.items():
        assert isinstance(import_class(path), type), name


# -- reference values, some of them on real data -------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("autoencoder", 0.55 * 0.02489),  # 45 % below PCA of 8 components
        ("mlp", -0.95),
        ("vae-mnist", 105.0),
        ("mlp-mnist", -0.984),
        ("mlp_max_norm-mnist", -0.988),
        ("mlp_pruned-mnist", -0.98),
        ("mlp-fashion_mnist", -0.90),
        ("cnn-mnist", -0.9945),
        ("cnn-fashion_mnist", -0.925),
        ("cnn_wide-fashion_mnist", -0.935),
        ("deep_ensemble-mnist", 0.020),
        ("deep_ensemble-fashion_mnist", -0.93),
        ("gcn-planetoid", -0.80),
        ("appnp-planetoid", -0.83),
        ("chebnet-planetoid", -0.79),
        ("graph_autoencoder-planetoid", -0.90),
        ("gin", -0.72),
        ("pointnet", -0.97),
        ("voxnet", -0.97),
        ("diffusion_net", -0.98),
        ("mesh_parts", -0.95),
        ("mesh_autoencoder", 0.0081),
        ("mesh_vae", 0.0081),
        ("lenet5-mnist", 0.045),
        ("logistic_regression", -0.94),
        ("polynomial_regression", 0.0125),
        ("mlp_regressor", 0.0125),
        ("deep_ensemble_regressor", -0.7),
        ("mc_dropout_regressor", 0.02),
        ("pca", 0.0249),
        ("pca-mnist", 0.0169),
        ("autoencoder-mnist", 0.43 * 0.03744),  # 57 % below PCA of 8 components
        ("denoising_autoencoder", -17.0),
        ("conditional_vae", 24.3),
        ("iwae", 24.3),
        ("gan-gaussians_2d", -0.90),
        ("language_model-tiny_shakespeare", 1.67),
        ("sequence_classifier", -0.99),
        ("sequence_classifier-sst2", -0.80),
        ("dlinear-etth1", 0.386),
        ("forecaster-etth1", 0.3885),
    ],
)
def test_reaches_its_reference_value(
    name: str, limit: float, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, data = name.partition("-")
    if data:
        graphs = ("Planetoid/Cora/raw",) if data == "planetoid" else ()
        monkeypatch.setenv("ZOO_DATA", zoo_data("MNIST/raw", "FashionMNIST/raw", *graphs))
    folder = run(f"--model={model}", *([f"--data={data}"] if data else []))
    metric = read_recipe(name)["reference"]["metric"]
    value = last_value(folder / "metrics.csv", metric)
    larger_is_better = metric in (
        "test/accuracy", "test/auroc", "test/psnr", "test/high_quality",
    )  # fmt: skip
    assert (-value if larger_is_better else value) <= limit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("gan", {"fid_cnn": 45.0}),
        ("dcgan", {"fid_cnn": 8.0}),
        ("wgan_gp", {"fid_cnn": 14.0}),
        ("sn_gan", {"fid_cnn": 20.0}),
        ("conditional_gan", {"fid_cnn": 5.0, "class_accuracy": -0.95}),
        ("translator", {"exact": -0.99}),
    ],
)
def test_reaches_its_evaluation_metrics(
    name: str, limits: dict[str, float], run: Callable[..., Path]
) -> None:
    checkpoint = run(f"--model={name}") / "checkpoints" / "last.ckpt"
    evaluate([str(checkpoint)])
    content = json.loads((checkpoint.parent / "evaluation.json").read_text("utf-8"))
    metrics = {metric["name"]: metric["value"] for metric in content["metrics"]}
    for metric, limit in limits.items():
        assert (-metrics[metric] if limit < 0 else metrics[metric]) <= limit, metric

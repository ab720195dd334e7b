"""``python -m zoo evaluate CKPT``: judges a latent model without downloading anything."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from zoo import registry
from zoo.arguments import Parser
from zoo.checkpoints import load
from zoo.errors import InputError
from zoo.functional.distances import coverage_measures, frechet_distance, kernel_distance
from zoo.functional.jacobians import jacobian_norm
from zoo.functional.moments import Moments
from zoo.latent.autoencoders import corrupt, psnr
from zoo.latent.base import LatentModel
from zoo.latent.pca import PCA, spectrum
from zoo.latent.samplers import SAMPLERS, fit_sampler
from zoo.messages import quieten
from zoo.metrics.features import ClassifierFeatures, InceptionFeatures, features_of
from zoo.metrics.latent import (
    active_units,
    importance_weighted_bound,
    neighbour_accuracy,
    probe_accuracy,
)
from zoo.processes import seeded_globally

CHUNK = 1_000  # images a network sees at once
PROBE = 10_000  # training codes that a probe is fitted to, at most
CLASSIFIER_STEPS = 700
NOISE = 0.3  # on inputs, in units of the pixel range
JACOBIAN = 200  # code dimensions up to which the Jacobian is formed


@dataclass(frozen=True)
class Figure:
    """A number, and what it was taken on: the sample sizes above all."""

    name: str
    value: float
    meaning: str


@dataclass(frozen=True)
class Judged:
    """A model in evaluation mode with the data that it is judged on.

    Args:
        model: any latent model.
        train, test: images and labels, (N, *input_shape) in [0, 1] and (N,); on the model's device.
        draws: K of the importance-weighted bound.
        sampler: density over codes that samples come from.
        components: of a mixture.
        neighbours: k of the coverage measures and of the nearest neighbours' vote.
        seed: of all noise.
    """

    model: LatentModel
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    draws: int = 500
    sampler: str = "prior"
    components: int = 10
    neighbours: int = 5
    seed: int = 0

    def codes(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.model.encode(part) for part in images.split(CHUNK)])


# -- groups of figures ---------------------------------------------------------------------------


def density(judged: Judged) -> Iterator[Figure]:
    """How likely the model finds test images."""
    model, (x, y) = judged.model, judged.test
    if not hasattr(model, "log_weights"):
        return
    with model.seeded(judged.seed):
        pixels = model.binarize(x)
        nats = -importance_weighted_bound(model, pixels, y, judged.draws).mean()
    images = f"{len(x):,} test images"
    yield Figure(
        "iw_bound", float(nats),
        f"−log (1/{judged.draws}) Σ p(x,z)/q(z|x), nats per image "
        f"({model.describe_pixels()}); {images}",
    )  # fmt: skip
    bits = float(nats) / (math.prod(model.input_shape) * math.log(2))
    yield Figure("bits_per_dim", bits, f"the same in bits per pixel and channel; {images}")


def representation(judged: Judged) -> Iterator[Figure]:
    """What the codes know of the classes, and how many of their dimensions are in use."""
    (x, y), (test_x, test_y) = judged.train, judged.test
    probed = min(len(x), PROBE)
    train = judged.codes(x[:probed]), y[:probed]
    test = judged.codes(test_x), test_y
    dims = train[0].shape[1]
    yield Figure(
        "active_units", active_units(test[0]),
        f"of {dims} code dimensions vary by more than 0.01; {len(test_x):,} test images",
    )  # fmt: skip
    if y.is_floating_point():
        return
    sizes = f"{probed:,} training and {len(test_x):,} test codes"
    yield Figure(
        "knn_accuracy", neighbour_accuracy(train, test, judged.neighbours),
        f"classes by {judged.neighbours} nearest neighbours of the code; {sizes}",
    )  # fmt: skip
    yield Figure("probe_accuracy", probe_accuracy(train, test), f"by logistic regression; {sizes}")


def reconstruction(judged: Judged) -> Iterator[Figure]:
    """The squared error beside that of principal components of the same number."""
    model, (x, _), (test, _) = judged.model, judged.train, judged.test
    with torch.no_grad():
        back = torch.cat([model.reconstruct(part) for part in test.split(CHUNK)])
    mse = float((back - test).square().mean())
    images = f"{len(test):,} test images"
    yield Figure("mse", mse, f"squared error per pixel of decode(encode(x)); {images}")
    dims = len(model.encode(test[:1])[0])
    features = math.prod(model.input_shape)
    if dims >= features or isinstance(model, PCA):
        return
    moments = Moments.of(x[:CHUNK].flatten(1))
    for part in x[CHUNK:].split(CHUNK):
        moments = moments.merge(Moments.of(part.flatten(1)))
    components = spectrum(moments)[1][:, :dims]
    centred = test.flatten(1).to(moments.mean) - moments.mean
    left = centred - centred @ components @ components.mT
    least = float(left.square().mean())
    yield Figure(
        "pca_mse", least,
        f"the same of {dims} principal components of {len(x):,} training images; {images}",
    )  # fmt: skip
    yield Figure("mse_over_pca", mse / least, "their ratio")


def robustness(judged: Judged) -> Iterator[Figure]:
    """What noise on the input does to the reconstruction, and how far codes move with it."""
    model, (x, _) = judged.model, judged.test
    generator = torch.Generator(x.device).manual_seed(judged.seed)
    noisy = corrupt(x, "gaussian", NOISE, generator)
    with torch.no_grad():
        cleaned = torch.cat([model.reconstruct(part) for part in noisy.split(CHUNK)])
    against = f"of test images with Gaussian noise, σ = {NOISE}; {len(x):,} images"
    yield Figure("noisy_psnr", float(psnr(noisy, x).mean()), f"PSNR in dB {against}")
    yield Figure("denoised_psnr", float(psnr(cleaned, x).mean()), f"of reconstructions {against}")
    few = x[:CHUNK]
    if len(model.encode(few[:1])[0]) <= JACOBIAN:
        norm = jacobian_norm(model.encode, few).detach().mean()
        yield Figure("jacobian", float(norm), f"‖∂z/∂x‖²_F of the encoder; {len(few):,} images")


def samples(judged: Judged, count: int, networks: dict[str, nn.Module]) -> Iterator[Figure]:
    """How near generated images are to test images, by the features of some networks.

    Args:
        judged: see :class:`Judged`.
        count: images to generate; compared with as many test images, or with all there are.
        networks: of features, by the name that their figures bear.
    """
    model, real = judged.model, judged.test[0][:count]
    codes = torch.empty(0)
    if judged.sampler != "prior":
        codes = judged.codes(judged.train[0][:PROBE])
    with seeded_globally(judged.seed):
        sampler = fit_sampler(judged.sampler, model, codes, judged.components)
        sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
        with torch.no_grad():
            fake = torch.cat([model.sample(n, sampler=sampler) for n in sizes])
    train = judged.train[0][: len(real)]
    against = f"{len(fake):,} samples ({judged.sampler}) and {len(real):,} test images"
    for name, network in networks.items():
        features, fakes = features_of(network, real), features_of(network, fake)
        moments, others = Moments.of(features), Moments.of(fakes)
        mark = f"{name}-{network.fingerprint}" if hasattr(network, "fingerprint") else name
        yield Figure(
            f"fid_{name}", float(frechet_distance(moments, others)),
            f"Fréchet distance on {features.shape[1]} features of {mark}; {against}",
        )  # fmt: skip
        floor = frechet_distance(moments, Moments.of(features_of(network, train)))
        yield Figure(
            f"fid_{name}_data", float(floor),
            f"the same between {len(train):,} training and {len(real):,} test images",
        )  # fmt: skip
        yield Figure(
            f"kid_{name}", float(kernel_distance(features, fakes)),
            f"squared kernel distance, unbiased; {against}",
        )  # fmt: skip
        if name == "inception":
            continue
        for measure, value in coverage_measures(features, fakes, judged.neighbours).items():
            yield Figure(measure, float(value), f"k = {judged.neighbours} in {name}; {against}")


# -- the classifier whose features are taken -----------------------------------------------------


def feature_classifier(data: Any, path: Path) -> Path:
    """Trains a small classifier on a data set, once: ``path`` is used again when it is there.

    A ``CNN`` of three convolutions and 64 features, 700 steps of 256 images, seed 0.
    """
    if path.is_file():
        return path
    import lightning.pytorch as L

    from zoo.checkpoints import AtomicCheckpointIO
    from zoo.supervised.cnn import CNN

    batches = math.ceil(len(data.split("train")[0]) / data.batch_size)
    with seeded_globally(0):
        classifier = CNN(
            data.input_shape, data.num_classes, (32, 64, 64), hidden=(64,), lr=0.01,
            schedule="one_cycle", channels_last=True,
        )  # fmt: skip
        trainer = L.Trainer(
            max_epochs=math.ceil(CLASSIFIER_STEPS / batches), logger=False, devices=1,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, num_sanity_val_steps=0, plugins=[AtomicCheckpointIO()],
        )  # fmt: skip
        trainer.fit(classifier, data)
        trainer.save_checkpoint(path)
    return path


def feature_network(path: str | Path, shape: tuple[int, ...]) -> ClassifierFeatures:
    """The features of a classifier's checkpoint.

    Raises:
        InputError: no such checkpoint; no classifier; one of other images.
    """
    classifier = load(path)
    made_for = tuple(classifier.hparams.get("input_shape", shape))
    if not hasattr(classifier, "logits"):
        raise InputError(f"{path} is a {type(classifier).__name__}, features need a classifier")
    if made_for != shape:
        raise InputError(f"the classifier in {path} is for images {made_for}, not {shape}")
    return ClassifierFeatures(classifier)


# -- the command ---------------------------------------------------------------------------------


def data_of(checkpoint: Path, name: str | None, root: str | None) -> Any:
    """The data module a checkpoint's model was trained on, without augmentation, or another.

    Raises:
        InputError: no data is named, and no ``config.yaml`` lies beside the checkpoint.
    """
    config = checkpoint.absolute().parent.parent / "config.yaml"
    settings: dict[str, Any] = {}
    if name is not None:
        path = registry.data_class(name)
    elif config.is_file():
        described = yaml.safe_load(config.read_text("utf-8"))["data"]
        path, settings = described["class_path"], dict(described.get("init_args") or {})
        settings.pop("augment", None)
    else:
        raise InputError(f"there is no {config} beside the checkpoint: add --data NAME")
    if root is not None:
        settings["root"] = root
    return registry.import_class(path)(**settings)


def load_latent(path: str) -> LatentModel:
    """A latent model's checkpoint, on the GPU where there is one."""
    model = load(path, device="cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(model, LatentModel):
        raise InputError(f"{path} is a {type(model).__name__}, which has no latent space")
    return model


def samples_of(data: Any, split: str, model: LatentModel, limit: int | None = None) -> Any:
    """Images and labels of a split on the model's device."""
    x, y = data.evaluation_samples(split)
    if tuple(x.shape[1:]) != model.input_shape:
        raise InputError(
            f"{type(data).__name__} has samples {tuple(x.shape[1:])}, the model takes "
            f"{model.input_shape}: choose other --data"
        )
    return x[:limit].to(model.device), y[:limit].to(model.device)


def evaluate(args: list[str]) -> None:
    """Judges a latent model on its data and writes ``evaluation.json`` beside its checkpoints.

    The importance-weighted bound and bits per dimension, active units, what nearest neighbours and
    a linear probe read from the codes, reconstruction beside principal components, and samples
    beside test images: Fréchet and kernel distance, precision, recall, density and coverage, on
    features of a small classifier that is trained on the same data (fid_cnn), once.
    """
    parser = Parser("evaluate", evaluate.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--data", help="default: that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--draws", type=int, default=500, help="K of the bound, default 500")
    parser.add_argument("--images", type=int, help="test images, default all")
    parser.add_argument("--samples", type=int, help="default as many as test images, 0 for none")
    parser.add_argument("--sampler", default="prior", help=f"{', '.join(SAMPLERS)}; default prior")
    parser.add_argument("--components", type=int, default=10, help="of a mixture, default 10")
    parser.add_argument("--neighbours", type=int, default=5, help="k, default 5")
    parser.add_argument("--features", help="classifier's checkpoint, default: one trained here")
    parser.add_argument("--inception", help="file of Inception weights, for the standard FID")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(args)
    for name in ("draws", "neighbours", "components"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if options.sampler not in SAMPLERS:
        raise InputError(f"unknown sampler {options.sampler!r}; choose from {', '.join(SAMPLERS)}")
    quieten()
    path = Path(options.checkpoint)
    model = load_latent(options.checkpoint)
    data = data_of(path, options.data, options.root)
    judged = Judged(
        model, samples_of(data, "train", model), samples_of(data, "test", model, options.images),
        options.draws, options.sampler, options.components, options.neighbours, options.seed,
    )  # fmt: skip
    figures = list(_all(judged, data, options))
    print_figures(figures)
    where = path.absolute().parent / "evaluation.json"
    settings = {k: v for k, v in vars(options).items() if k != "checkpoint"}
    content = {"settings": settings, "figures": [asdict(figure) for figure in figures]}
    where.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {where}")


def _all(judged: Judged, data: Any, options: Any) -> Iterator[Figure]:
    groups: list[Callable[[Judged], Iterator[Figure]]] = [
        density,
        representation,
        reconstruction,
        robustness,
    ]
    for group in groups:
        yield from group(judged)
    count = len(judged.test[0]) if options.samples is None else options.samples
    if count:
        yield from samples(judged, count, _networks(judged.model, data, options))


def _networks(model: LatentModel, data: Any, options: Any) -> dict[str, nn.Module]:
    """Features by the name of their figures: of a classifier, or the numbers as they are."""
    networks: dict[str, nn.Module] = {}
    if options.features:
        networks["cnn"] = feature_network(options.features, model.input_shape)
    elif len(model.input_shape) == 3 and hasattr(data, "num_classes"):
        kept = Path("runs") / "fid_cnn" / f"{type(data).__name__.lower()}.ckpt"
        networks["cnn"] = feature_network(feature_classifier(data, kept), model.input_shape)
    else:
        networks["raw"] = nn.Flatten()
    if options.inception:
        networks["inception"] = InceptionFeatures(options.inception)
    return {name: network.to(model.device) for name, network in networks.items()}


def print_figures(figures: list[Figure]) -> None:
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        print(f"{figure.name:<{width}}  {figure.value:>10.5g}   {figure.meaning}")

"""Figures of merit of a latent model, each with what it was taken on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.distributed import temporary_seed
from zoo.functional.distances import (
    frechet_distance,
    kernel_distance,
    precision_recall_density_coverage,
)
from zoo.functional.jacobians import squared_jacobian_norm
from zoo.functional.moments import FactoredMoments, Moments
from zoo.metrics.features import ClassifierFeatures, extract_features
from zoo.metrics.latent import (
    active_units,
    importance_weighted_bound,
    knn_accuracy,
    linear_probe_accuracy,
)
from zoo.metrics.samples import MixtureModeMetric
from zoo.models.latent.autoencoders import corrupt, psnr
from zoo.models.latent.base import LatentModel
from zoo.models.latent.conditional import ClassConditional
from zoo.models.latent.pca import PCA, spectrum
from zoo.models.latent.samplers import fit_sampler

CHUNK = 1_000  # images a network sees at once
PROBE = 10_000  # training codes that a probe or a density is fitted to, at most
NOISE = 0.3  # on inputs, in units of the pixel range
JACOBIAN = 200  # code dimensions up to which the Jacobian is formed


@dataclass(frozen=True)
class Measurement:
    """A number, and what it was taken on: the sample sizes above all."""

    name: str
    value: float
    meaning: str


@dataclass(frozen=True)
class LatentEvaluation:
    """A model in evaluation mode with the data that it is judged on.

    Args:
        model: any latent model.
        train, test: images and labels, (N, *input_shape) in [0, 1] and (N,); on the model's device.
        draws: K of the importance-weighted bound.
        samplers: densities over codes that samples come from.
        components: of a mixture.
        neighbours: k of the coverage measures and of the nearest neighbours' vote.
        seed: of all noise.
    """

    model: LatentModel
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    draws: int = 500
    samplers: tuple[str, ...] = ("prior",)
    components: int = 10
    neighbors: int = 5
    seed: int = 0

    def codes(self, images: Tensor) -> Tensor:
        """Of many images, (N, latent_dim)."""
        with torch.no_grad():
            return torch.cat([self.model.encode(part) for part in images.split(CHUNK)])

    def sample(self, count: int, sampler: str) -> Tensor:
        """Images of codes from a density, fitted to those of training images where it needs to."""
        codes = torch.empty(0)
        if sampler != "prior":
            codes = self.codes(self.train[0][:PROBE])
        with temporary_seed(self.seed), torch.no_grad():
            density = fit_sampler(sampler, self.model, codes, self.components)
            sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
            return torch.cat([self.model.sample(n, sampler=density) for n in sizes])

    def untrained(self) -> LatentEvaluation:
        """The same with a model of the same settings and fresh weights."""
        with temporary_seed(self.seed):
            fresh = type(self.model)(**self.model.hparams)
        return replace(self, model=fresh.to(self.model.device).eval())


# -- groups of figures ---------------------------------------------------------------------------


def density(judged: LatentEvaluation) -> Iterator[Measurement]:
    """How likely the model finds test images."""
    model, (x, y) = judged.model, judged.test
    if not hasattr(model, "log_weights"):
        return
    with model.seeded(judged.seed):
        pixels = model.binarize(x)
        nats = -importance_weighted_bound(model, pixels, y, judged.draws).mean()
    images = f"{len(x):,} test images"
    yield Measurement(
        "iw_bound", float(nats),
        f"−log (1/{judged.draws}) Σ p(x,z)/q(z|x), nats per image "
        f"({model.describe_likelihood()}); {images}",
    )  # fmt: skip
    bits = float(nats) / (math.prod(model.input_shape) * math.log(2))
    yield Measurement("bits_per_dim", bits, f"the same in bits per pixel and channel; {images}")


def representation(judged: LatentEvaluation) -> Iterator[Measurement]:
    """What the codes know of the classes, and how many of their dimensions are in use."""
    if not judged.model.has_encoder:
        return
    (x, y), (test_x, test_y) = judged.train, judged.test
    probed = min(len(x), PROBE)
    train = judged.codes(x[:probed]), y[:probed]
    test = judged.codes(test_x), test_y
    dims = train[0].shape[1]
    yield Measurement(
        "active_units", active_units(test[0]),
        f"of {dims} code dimensions vary by more than 0.01; {len(test_x):,} test images",
    )  # fmt: skip
    if y.is_floating_point():
        return
    sizes = f"{probed:,} training and {len(test_x):,} test codes"
    yield Measurement(
        "knn_accuracy", knn_accuracy(train, test, judged.neighbors),
        f"classes by {judged.neighbors} nearest neighbours of the code; {sizes}",
    )  # fmt: skip
    yield Measurement(
        "probe_accuracy", linear_probe_accuracy(train, test), f"by logistic regression; {sizes}"
    )


def reconstruction(judged: LatentEvaluation) -> Iterator[Measurement]:
    """The squared error beside that of principal components of the same number."""
    if not judged.model.has_encoder:
        return
    model, (x, _), (test, _) = judged.model, judged.train, judged.test
    with torch.no_grad():
        back = torch.cat([model.reconstruct(part) for part in test.split(CHUNK)])
    mse = float((back - test).square().mean())
    images = f"{len(test):,} test images"
    yield Measurement("mse", mse, f"squared error per pixel of decode(encode(x)); {images}")
    dims = len(model.encode(test[:1])[0])
    features = math.prod(model.input_shape)
    if dims >= features or isinstance(model, PCA):
        return
    # few samples of many numbers take less room as a triangular factor
    kind = FactoredMoments if len(x) < features else Moments
    moments = kind.from_samples(x[:CHUNK].flatten(1))
    for part in x[CHUNK:].split(CHUNK):
        moments = moments.merge(kind.from_samples(part.flatten(1)))
    components = spectrum(moments, dims)[1]
    centered = test.flatten(1).to(moments.mean) - moments.mean
    left = centered - centered @ components @ components.mT
    least = float(left.square().mean())
    yield Measurement(
        "pca_mse", least,
        f"the same of {dims} principal components of {len(x):,} training images; {images}",
    )  # fmt: skip
    yield Measurement("mse_over_pca", mse / least, "their ratio")


def robustness(judged: LatentEvaluation) -> Iterator[Measurement]:
    """What noise on the input does to the reconstruction, and how far codes move with it."""
    if not judged.model.has_encoder:
        return
    model, (x, _) = judged.model, judged.test
    generator = torch.Generator(x.device).manual_seed(judged.seed)
    noisy = corrupt(x, "gaussian", NOISE, generator)
    with torch.no_grad():
        cleaned = torch.cat([model.reconstruct(part) for part in noisy.split(CHUNK)])
    against = f"of test images with Gaussian noise, σ = {NOISE}; {len(x):,} images"
    yield Measurement("noisy_psnr", float(psnr(noisy, x).mean()), f"PSNR in dB {against}")
    yield Measurement(
        "denoised_psnr", float(psnr(cleaned, x).mean()), f"of reconstructions {against}"
    )
    few = x[:CHUNK]
    if len(model.encode(few[:1])[0]) <= JACOBIAN:
        norm = squared_jacobian_norm(model.encode, few).detach().mean()
        yield Measurement(
            "jacobian", float(norm), f"‖∂z/∂x‖²_F of the encoder; {len(few):,} images"
        )


def samples(
    judged: LatentEvaluation, count: int, networks: dict[str, nn.Module]
) -> Iterator[Measurement]:
    """How near generated images are to test images, by the features of some networks.

    Beside them the same of as many training images, which nothing should beat, and of the model as
    it was before training.

    Args:
        judged: see :class:`AttackOutcome`.
        count: images to generate; compared with as many test images, or with all there are.
        networks: of features, by the name that their figures bear.
    """
    real, train = judged.test[0][:count], judged.train[0][:count]
    for name, network in networks.items():
        features = extract_features(network, real)
        moments = Moments.from_samples(features)
        mark = f"{name}-{network.fingerprint}" if hasattr(network, "fingerprint") else name
        if isinstance(judged.model, ClassConditional) and isinstance(network, ClassifierFeatures):
            yield _obedience(judged, count, network.classifier, mark)
        for index, sampler in enumerate(judged.samplers):
            fakes = extract_features(network, judged.sample(count, sampler))
            suffix = f"_{sampler}" if index else ""
            against = f"{count:,} samples ({sampler}) and {len(real):,} test images"
            yield Measurement(
                f"fid_{name}{suffix}", float(frechet_distance(moments, Moments.from_samples(fakes))),
                f"Fréchet distance on {features.shape[1]} features of {mark}; {against}",
            )  # fmt: skip
            yield Measurement(
                f"kid_{name}{suffix}", float(kernel_distance(features, fakes)),
                f"squared kernel distance, unbiased; {against}",
            )  # fmt: skip
            if name == "inception":
                continue
            for measure, value in precision_recall_density_coverage(
                features, fakes, judged.neighbors
            ).items():
                meaning = f"k = {judged.neighbors} in {name}; {against}"
                yield Measurement(f"{measure}{suffix}", float(value), meaning)
        floor = frechet_distance(moments, Moments.from_samples(extract_features(network, train)))
        yield Measurement(
            f"fid_{name}_data", float(floor),
            f"{len(train):,} training images in place of samples",
        )  # fmt: skip
        fresh = extract_features(network, judged.untrained().sample(count, "prior"))
        yield Measurement(
            f"fid_{name}_untrained", float(frechet_distance(moments, Moments.from_samples(fresh))),
            f"{count:,} samples of the model before training in their place",
        )  # fmt: skip


def _obedience(judged: LatentEvaluation, count: int, classifier: Any, mark: str) -> Measurement:
    """How often samples of a chosen class are taken for it."""
    model: Any = judged.model
    wanted = torch.arange(count, device=model.device) % model.num_classes
    with temporary_seed(judged.seed), torch.no_grad():
        taken = [
            classifier.logits(model.decode(model.sample_latent(len(part), y=part))).argmax(1)
            for part in wanted.split(CHUNK)
        ]
    return Measurement(
        "class_accuracy", float((torch.cat(taken) == wanted).double().mean()),
        f"samples that the classifier {mark} takes for the class asked for; {count:,} samples",
    )  # fmt: skip


def known_modes(judged: LatentEvaluation, count: int) -> Iterator[Measurement]:
    """How samples lie to the modes of data that says where they are."""
    modes, std = (judged.model.hparams.get(name) for name in ("modes", "mode_std"))
    if modes is None:
        return
    found = judged.sample(count, "prior")
    for name, meaning in (
        ("modes_found", f"of {len(modes)} modes"),
        ("high_quality", "share within three standard deviations of a mode"),
    ):
        measure = MixtureModeMetric(name, modes, std).to(found.device)
        measure.update(found)
        yield Measurement(name, float(measure.compute()), f"{meaning}; {count:,} samples")

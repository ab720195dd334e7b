"""Evaluation metrics for latent models, with sample sizes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.constructor import creation_arguments
from zoo.core.distributed import temporary_seed
from zoo.errors import InputError
from zoo.evaluation.measurement import Measurement
from zoo.functional.distances import (
    frechet_distance,
    kernel_distance,
    precision_recall_density_coverage,
)
from zoo.functional.jacobians import squared_jacobian_norm
from zoo.functional.moments import Moments
from zoo.functional.rng import SampleRNG
from zoo.metrics.features import ClassifierFeatures, extract_features
from zoo.metrics.latent import (
    active_units,
    importance_weighted_bound,
    knn_accuracy,
    linear_probe_accuracy,
)
from zoo.metrics.samples import MixtureModeMetric
from zoo.models.latent.base import LatentModel
from zoo.models.latent.conditional import ClassConditional
from zoo.models.latent.denoising_autoencoder import corrupt, psnr
from zoo.models.latent.pca import PCA, fit_components, projection_error
from zoo.models.latent.samplers import fit_sampler

BATCH_SIZE = 1_000  # images per forward pass
MAX_FITTED = 10_000  # largest number of training codes that probes and densities are fitted to
NOISE_STD = 0.3  # standard deviation of the noise on inputs, whose pixels are in [0, 1]
MAX_JACOBIAN_DIM = 200  # largest number of code dimensions for which the Jacobian is computed


@dataclass(frozen=True)
class LatentEvaluation:
    """A latent model, the data that it is evaluated on, and the settings of the evaluation.

    Args:
        model: latent model in evaluation mode.
        train: training images (N, *input_shape) in [0, 1] and labels (N,), on the model's device.
        test: test images and labels, in the same form.
        importance_samples: K, samples per image of the importance-weighted bound; default 500.
        samplers: names of densities over codes, from which images are sampled; default the prior.
        components: components of the density ``mixture``; default 10.
        neighbors: k of the k-nearest-neighbor accuracy and of precision, recall, density and
            coverage; default 5.
        seed: random seed of all noise, default 0.
    """

    model: LatentModel
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    importance_samples: int = 500
    samplers: tuple[str, ...] = ("prior",)
    components: int = 10
    neighbors: int = 5
    seed: int = 0

    @property
    def code_dim(self) -> int:
        """Number of dimensions of a code: above ``latent_dim`` if the code includes the class."""
        return self.model.encode(self.test[0][:1]).shape[1]

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of images, (N, code_dim), computed in batches."""
        with torch.no_grad():
            return torch.cat([self.model.encode(batch) for batch in images.split(BATCH_SIZE)])

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return the reconstructions of images, (N, *input_shape), computed in batches."""
        with torch.no_grad():
            return torch.cat([self.model.reconstruct(batch) for batch in images.split(BATCH_SIZE)])

    def sample(self, count: int, sampler: str) -> Tensor:
        """Return images decoded from codes of a density, which is fitted to training codes first.

        Args:
            count: number of images.
            sampler: name of the density; ``prior`` needs no fit.
        """
        codes = torch.empty(0)
        if sampler != "prior":
            codes = self.encode(self.train[0][:MAX_FITTED])
        with temporary_seed(self.seed), torch.no_grad():
            density = fit_sampler(sampler, self.model, codes, self.components)
            sizes = [min(BATCH_SIZE, count - start) for start in range(0, count, BATCH_SIZE)]
            return torch.cat([self.model.sample(n, sampler=density) for n in sizes])

    def with_untrained_model(self) -> LatentEvaluation:
        """Return this evaluation for an untrained model with the same hyper-parameters."""
        with temporary_seed(self.seed):
            untrained = type(self.model)(**creation_arguments(self.model))
        return replace(self, model=untrained.to(self.model.device).eval())


def has_classes(y: Tensor) -> bool:
    """Return whether labels are of two or more classes, and not targets of a regression."""
    return not y.is_floating_point() and len(y.unique()) > 1


# -- groups of metrics ---------------------------------------------------------------------------


def measure_density(evaluation: LatentEvaluation) -> Iterator[Measurement]:
    """Measure the likelihood of test images, for models that have an importance-weighted bound."""
    model, (x, y) = evaluation.model, evaluation.test
    if not hasattr(model, "log_weights"):
        return
    with model.seeded(evaluation.seed):
        pixels = model.binarize(x)
        nats = -importance_weighted_bound(model, pixels, y, evaluation.importance_samples).mean()
    images = f"{len(x):,} test images"
    yield Measurement(
        "iw_bound", float(nats),
        f"−log (1/{evaluation.importance_samples}) Σ p(x,z)/q(z|x), nats per image "
        f"({model.describe_likelihood()}); {images}",
    )  # fmt: skip
    bits = float(nats) / (math.prod(model.input_shape) * math.log(2))
    yield Measurement("bits_per_dim", bits, f"iw_bound in bits per pixel and channel; {images}")


def measure_representation(evaluation: LatentEvaluation) -> Iterator[Measurement]:
    """Measure how many dimensions the codes use, and how well they predict the classes."""
    if not evaluation.model.has_encoder:
        return
    (x, y), (test_x, test_y) = evaluation.train, evaluation.test
    fitted = min(len(x), MAX_FITTED)
    train = evaluation.encode(x[:fitted]), y[:fitted]
    test = evaluation.encode(test_x), test_y
    yield Measurement(
        "active_units", active_units(test[0]),
        f"code dimensions (of {test[0].shape[1]}) with a variance above 0.01; "
        f"{len(test_x):,} test images",
    )  # fmt: skip
    if not has_classes(y):
        warnings.warn(
            "the training images have no labels of two or more classes: knn_accuracy and "
            "probe_accuracy are left out",
            stacklevel=2,
        )
        return
    if evaluation.neighbors > fitted:
        raise InputError(
            f"{evaluation.neighbors} neighbors need as many training codes, got {fitted}: lower "
            "--neighbors"
        )
    sizes = f"{fitted:,} training and {len(test_x):,} test codes"
    yield Measurement(
        "knn_accuracy", knn_accuracy(train, test, evaluation.neighbors),
        f"accuracy of the majority class of the {evaluation.neighbors} nearest training codes; "
        f"{sizes}",
    )  # fmt: skip
    yield Measurement(
        "probe_accuracy", linear_probe_accuracy(train, test),
        f"accuracy of a logistic regression on codes; {sizes}",
    )  # fmt: skip


def measure_reconstruction(evaluation: LatentEvaluation) -> Iterator[Measurement]:
    """Measure the squared error of reconstructions, and that of PCA with as many dimensions."""
    if not evaluation.model.has_encoder:
        return
    model, test = evaluation.model, evaluation.test[0]
    mse = float((evaluation.reconstruct(test) - test).square().mean())
    images = f"{len(test):,} test images"
    yield Measurement("mse", mse, f"squared error per pixel of decode(encode(x)); {images}")
    dims = evaluation.code_dim
    if dims >= math.prod(model.input_shape) or isinstance(model, PCA):
        return
    pca = fit_components(evaluation.train[0], dims, BATCH_SIZE)
    pca_mse = float(projection_error(test, *pca))
    yield Measurement(
        "pca_mse", pca_mse,
        f"squared error per pixel of {dims} principal components of {len(evaluation.train[0]):,} "
        f"training images; {images}",
    )  # fmt: skip
    yield Measurement("mse_over_pca", mse / pca_mse, "mse / pca_mse")


def measure_robustness(evaluation: LatentEvaluation) -> Iterator[Measurement]:
    """Measure reconstructions of noisy inputs, and how much codes change with the input."""
    if not evaluation.model.has_encoder:
        return
    model, x = evaluation.model, evaluation.test[0]
    noisy = corrupt(x, "gaussian", NOISE_STD, SampleRNG(x, evaluation.seed))
    cleaned = evaluation.reconstruct(noisy)
    inputs = f"test images with Gaussian noise, σ = {NOISE_STD}; {len(x):,} images"
    yield Measurement("noisy_psnr", float(psnr(noisy, x).mean()), f"PSNR in dB of {inputs}")
    yield Measurement(
        "denoised_psnr", float(psnr(cleaned, x).mean()),
        f"PSNR in dB of reconstructions of {inputs}",
    )  # fmt: skip
    if evaluation.code_dim <= MAX_JACOBIAN_DIM:
        few = x[:BATCH_SIZE]
        norm = squared_jacobian_norm(model.encode, few).detach().mean()
        yield Measurement(
            "jacobian", float(norm), f"‖∂z/∂x‖²_F of the encoder; {len(few):,} test images"
        )


def measure_samples(
    evaluation: LatentEvaluation, count: int, networks: dict[str, nn.Module]
) -> Iterator[Measurement]:
    """Measure how close generated images are to test images, in the features of networks.

    Two more Fréchet distances give the scale: that of training images, which no model should
    beat, and that of the model before training.

    Args:
        evaluation: model, data and settings.
        count: number of generated images, compared with the same number of test images, or with
            all of them if there are fewer.
        networks: feature extractors by name; the name is part of the names of the metrics.

    Raises:
        InputError: not more images than neighbors.
    """
    smallest = min(count, len(evaluation.test[0]), len(evaluation.train[0]))
    if smallest <= max(1, evaluation.neighbors):
        raise InputError(
            f"distances between samples and data, with {evaluation.neighbors} neighbors, need more "
            f"than {max(1, evaluation.neighbors)} images of each kind, got {smallest}: raise "
            "--images and --num_samples, lower --neighbors, or set --num_samples 0"
        )
    for name, network in networks.items():
        yield from _measure_in_features(evaluation, count, name, network)


def _measure_in_features(
    evaluation: LatentEvaluation, count: int, name: str, network: nn.Module
) -> Iterator[Measurement]:
    """Measure how close generated images are to test images, in the features of one network."""
    real, train = evaluation.test[0][:count], evaluation.train[0][:count]
    real_features = extract_features(network, real)
    real_moments = Moments.from_samples(real_features)
    label = f"{name}-{network.fingerprint}" if hasattr(network, "fingerprint") else name

    def fid(features: Tensor) -> float:
        return float(frechet_distance(real_moments, Moments.from_samples(features)))

    if isinstance(evaluation.model, ClassConditional) and isinstance(network, ClassifierFeatures):
        yield _measure_class_accuracy(evaluation, count, network.classifier, label)
    for index, sampler in enumerate(evaluation.samplers):
        features = extract_features(network, evaluation.sample(count, sampler))
        suffix = f"_{sampler}" if index else ""
        sizes = f"{count:,} samples ({sampler}) and {len(real):,} test images"
        yield Measurement(
            f"fid_{name}{suffix}", fid(features),
            f"Fréchet distance on {features.shape[1]} features of {label}; {sizes}",
        )  # fmt: skip
        yield Measurement(
            f"kid_{name}{suffix}", float(kernel_distance(real_features, features)),
            f"unbiased squared kernel distance on the features of fid_{name}; {sizes}",
        )  # fmt: skip
        if name == "inception":  # reported in the features of the classifier only
            continue
        k = evaluation.neighbors
        metrics = precision_recall_density_coverage(real_features, features, k)
        for metric, value in metrics.items():
            meaning = f"by the {k} nearest neighbors in {name} features; {sizes}"
            yield Measurement(f"{metric}{suffix}", float(value), meaning)
    yield Measurement(
        f"fid_{name}_data", fid(extract_features(network, train)),
        f"fid_{name} of {len(train):,} training images instead of samples",
    )  # fmt: skip
    untrained = evaluation.with_untrained_model().sample(count, "prior")
    yield Measurement(
        f"fid_{name}_untrained", fid(extract_features(network, untrained)),
        f"fid_{name} of {count:,} samples of the model before training",
    )  # fmt: skip


def _measure_class_accuracy(
    evaluation: LatentEvaluation, count: int, classifier: Any, label: str
) -> Measurement:
    """Measure how often a classifier assigns samples to the class requested of the model."""
    model: Any = evaluation.model
    requested = torch.arange(count, device=model.device) % model.num_classes
    with temporary_seed(evaluation.seed), torch.no_grad():
        predicted = [
            classifier.logits(model.decode(model.sample_latent(len(y), y=y))).argmax(1)
            for y in requested.split(BATCH_SIZE)
        ]
    return Measurement(
        "class_accuracy", float((torch.cat(predicted) == requested).double().mean()),
        f"fraction of samples that the classifier {label} assigns to the requested class; "
        f"{count:,} samples",
    )  # fmt: skip


def measure_known_modes(evaluation: LatentEvaluation, count: int) -> Iterator[Measurement]:
    """Measure how samples are distributed over the modes of a mixture, if the model has them.

    Args:
        evaluation: model and settings.
        count: number of samples.
    """
    modes, std = (evaluation.model.hparams.get(name) for name in ("modes", "mode_std"))
    if modes is None:
        return
    samples = evaluation.sample(count, "prior")
    near = "within three standard deviations"
    for name, meaning in (
        ("modes_found", f"modes (of {len(modes)}) with a sample {near}"),
        ("high_quality", f"fraction of samples {near} of a mode"),
    ):
        metric = MixtureModeMetric(name, modes, std).to(samples.device)
        metric.update(samples)
        yield Measurement(name, float(metric.compute()), f"{meaning}; {count:,} samples")

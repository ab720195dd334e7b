"""``python -m zoo evaluate CKPT``: judges a model without downloading anything."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from zoo.cli.arguments import Parser
from zoo.core import registry
from zoo.core.checkpoints import load
from zoo.core.distributed import temporary_seed
from zoo.core.migrations import migrate_data_settings
from zoo.core.quiet import silence_libraries
from zoo.core.task import Task
from zoo.errors import InputError, unknown
from zoo.evaluation.latent import (
    LatentEvaluation,
    Measurement,
    density,
    known_modes,
    reconstruction,
    representation,
    robustness,
    samples,
)
from zoo.evaluation.translation import translations
from zoo.metrics.features import ClassifierFeatures, InceptionFeatures
from zoo.models.latent.base import LatentModel
from zoo.models.latent.samplers import SAMPLERS
from zoo.models.sequences.translator import Translator

CLASSIFIER_STEPS = 700


# -- the classifier whose features are taken -----------------------------------------------------


def feature_classifier(data: Any, path: Path) -> Path:
    """Trains a small classifier on a data set, once: ``path`` is used again when it is there.

    A ``CNN`` of three convolutions and 64 features, 700 steps of 256 images, seed 0.
    """
    if path.is_file():
        return path
    import lightning.pytorch as L

    from zoo.core.checkpoints import AtomicCheckpointIO
    from zoo.models.supervised.cnn import CNN

    batches = math.ceil(len(data.split("train")[0]) / data.batch_size)
    with temporary_seed(0):
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


def content_mark(data: Any) -> str:
    """Eight digits that tell data sets apart by what is in them: labels, and some images."""
    x, y = data.split("train")
    digest = hashlib.sha256(str((tuple(x.shape), len(y))).encode())
    digest.update(y.numpy().tobytes())
    digest.update(x[:: max(1, len(x) // 100)].contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


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
    cls = registry.import_class(path)
    return cls(**migrate_data_settings(settings, cls))


def load_latent(path: str) -> LatentModel:
    """A latent model's checkpoint, on the GPU where there is one."""
    return as_latent(load_any(path), path)


def load_any(path: str) -> Task:
    """A checkpoint's model, on the GPU where there is one."""
    return load(path, device="cuda" if torch.cuda.is_available() else "cpu")


def as_latent(model: Task, path: str) -> LatentModel:
    """The model, if it has a latent space.

    Raises:
        InputError: it has none.
    """
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
    """Judges a model on its data and writes ``evaluation.json`` beside its checkpoints.

    A latent model: the importance-weighted bound and bits per dimension, active units, what
    nearest neighbours and a linear probe read from the codes, reconstruction beside principal
    components, and samples beside test images: Fréchet and kernel distance, precision, recall,
    density and coverage, on features of a small classifier that is trained on the same data
    (fid_cnn), once.

    A translator: BLEU of its translations of the test sentences, cased and lower-cased, and how
    many are right to the letter.
    """
    parser = Parser("evaluate", evaluate.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--data", help="default: that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--draws", type=int, default=500, help="K of the bound, default 500")
    parser.add_argument("--images", type=int, help="test images or sentences, default all")
    parser.add_argument("--samples", type=int, help="default as many as test images, 0 for none")
    parser.add_argument("--sampler", nargs="+", default=["prior"], metavar="NAME",
                        help=f"one or more of {', '.join(SAMPLERS)}; default prior")  # fmt: skip
    parser.add_argument("--components", type=int, default=10, help="of a mixture, default 10")
    parser.add_argument("--neighbors", type=int, default=5, help="k, default 5")
    parser.add_argument("--features", help="classifier's checkpoint, default: one trained here")
    parser.add_argument("--inception", help="file of Inception weights, for the standard FID")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beams", type=int, default=1, help="of a translation, default 1")
    options = parser.parse_args(args)
    for name in ("draws", "neighbors", "components", "beams"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(options, name)}")
    for name in options.sampler:
        if name not in SAMPLERS:
            raise unknown("sampler", name, SAMPLERS)
    silence_libraries()
    path = Path(options.checkpoint)
    model = load_any(options.checkpoint)
    data = data_of(path, options.data, options.root)
    if isinstance(model, Translator):
        pairs = data.sentence_pairs["test"][: options.images]
        figures = list(translations(model, pairs, options.beams))
    else:
        figures = _judge_latent(as_latent(model, options.checkpoint), data, options)
    print_figures(figures)
    where = path.absolute().parent / "evaluation.json"
    settings = {k: v for k, v in vars(options).items() if k != "checkpoint"}
    content = {"settings": settings, "figures": [asdict(figure) for figure in figures]}
    where.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {where}")


def _judge_latent(model: LatentModel, data: Any, options: Any) -> list[Measurement]:
    if not model.has_encoder and options.sampler != ["prior"]:
        raise InputError(
            f"{type(model).__name__} has no encoder, to whose codes a density could be fitted: "
            "leave --sampler out"
        )
    judged = LatentEvaluation(
        model, samples_of(data, "train", model), samples_of(data, "test", model, options.images),
        options.draws, tuple(options.sampler), options.components, options.neighbors, options.seed,
    )  # fmt: skip
    return list(_all(judged, data, options))


def _all(judged: LatentEvaluation, data: Any, options: Any) -> Iterator[Measurement]:
    for group in (density, representation, reconstruction, robustness):
        yield from group(judged)
    count = len(judged.test[0]) if options.samples is None else options.samples
    if count:
        yield from known_modes(judged, count)
        yield from samples(judged, count, _networks(judged.model, data, options))


def _networks(model: LatentModel, data: Any, options: Any) -> dict[str, nn.Module]:
    """Features by the name of their figures: of a classifier, or the numbers as they are."""
    networks: dict[str, nn.Module] = {}
    if options.features:
        networks["cnn"] = feature_network(options.features, model.input_shape)
    elif len(model.input_shape) == 3 and hasattr(data, "num_classes"):
        kept = Path("runs") / "fid_cnn" / f"{type(data).__name__.lower()}-{content_mark(data)}.ckpt"
        networks["cnn"] = feature_network(feature_classifier(data, kept), model.input_shape)
    else:
        networks["raw"] = nn.Flatten()
    if options.inception:
        networks["inception"] = InceptionFeatures(options.inception)
    return {name: network.to(model.device) for name, network in networks.items()}


def print_figures(figures: list[Measurement]) -> None:
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        print(f"{figure.name:<{width}}  {figure.value:>10.5g}   {figure.meaning}")

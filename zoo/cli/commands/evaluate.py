"""``zoo evaluate CKPT``: metrics of a trained model, without downloads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from zoo.cli.arguments import Parser, seed
from zoo.cli.checkpoint_data import (
    add_model_option,
    find_checkpoint,
    load_model,
    load_samples,
    make_data_module,
)
from zoo.core.files import check_writable, write_text
from zoo.core.quiet import silence_libraries
from zoo.core.task import Task
from zoo.errors import InputError, check_at_least, check_choice, check_non_negative
from zoo.evaluation.latent import (
    LatentEvaluation,
    measure_density,
    measure_known_modes,
    measure_reconstruction,
    measure_representation,
    measure_robustness,
    measure_samples,
)
from zoo.evaluation.measurement import Measurement
from zoo.evaluation.reference_classifier import (
    hash_data,
    load_classifier_features,
    train_reference_classifier,
)
from zoo.evaluation.translation import measure_translation
from zoo.metrics.features import InceptionFeatures
from zoo.models.latent.base import LatentModel
from zoo.models.latent.samplers import SAMPLERS
from zoo.models.sequences.translator import Translator

CLASSIFIERS = Path("runs") / "fid_cnn"  # folder of the reference classifiers


def evaluate(args: list[str]) -> None:
    """Evaluate a model on its data and write evaluation.json next to its checkpoint.

    For a latent model: the importance-weighted bound in nats and in bits per dimension; active
    units; accuracy of nearest neighbors and of a linear probe on the codes; reconstruction error,
    also of PCA with as many dimensions; reconstruction of noisy images; and the distance between
    generated and test images (Fréchet and kernel distance, precision, recall, density, coverage)
    in the features of a small classifier, which is trained once on the same data (fid_cnn).

    For a translator: the BLEU score of its translations of the test sentences, cased and
    lowercased, and the fraction of translations that equal the reference.
    """
    options = parse_options(args)
    silence_libraries()
    checkpoint = find_checkpoint(options.checkpoint)
    model: Task = load_model(str(checkpoint), LatentModel, Translator, own_class=options.model)
    data = make_data_module(checkpoint, options.data, options.root)
    path = checkpoint.absolute().parent / "evaluation.json"
    check_writable(path)
    if isinstance(model, Translator):
        data.setup("test")  # tells how the data differ from those of training
        pairs = data.sentence_pairs["test"][: options.images]
        measurements = list(measure_translation(model, pairs, options.num_beams))
    else:
        assert isinstance(model, LatentModel)
        measurements = list(_measure_latent(model, data, options))
    print_measurements(measurements)
    settings = {name: value for name, value in vars(options).items() if name != "checkpoint"}
    content = {"settings": settings, "metrics": [asdict(metric) for metric in measurements]}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {path}")


def parse_options(args: list[str]) -> Any:
    """Return the options of the command, after checking their values."""
    parser = Parser("evaluate", evaluate.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint, or run folder")
    add_model_option(parser)
    parser.add_argument("--data", help="name of the data set, default: that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--importance_samples", type=int, default=500, metavar="K",
                        help="number of samples per image of the importance-weighted bound, "
                        "default 500")  # fmt: skip
    parser.add_argument(
        "--images", type=int, metavar="N", help="number of test images or sentences, default: all"
    )
    parser.add_argument("--num_samples", type=int, metavar="N",
                        help="number of generated images, 0 for none; default: the number of test "
                        "images")  # fmt: skip
    parser.add_argument("--sampler", nargs="+", default=["prior"], metavar="NAME",
                        help="densities over codes to sample images from, any of "
                        f"{', '.join(SAMPLERS)}; default prior")  # fmt: skip
    parser.add_argument("--components", type=int, default=10, metavar="N",
                        help="number of components of the sampler mixture, default 10")  # fmt: skip
    parser.add_argument("--neighbors", type=int, default=5, metavar="K", help="number of "
                        "neighbors of the nearest-neighbor metrics, default 5")  # fmt: skip
    parser.add_argument("--features", metavar="CKPT", help="checkpoint of the classifier whose "
                        "features are used, default: one that is trained on the data")  # fmt: skip
    parser.add_argument("--inception", metavar="FILE", help="weights of the Inception network, "
                        "which adds the standard FID")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="random seed of all noise, default 0")
    parser.add_argument("--num_beams", type=int, default=1, metavar="N",
                        help="width of the beam search of a translator, default 1")  # fmt: skip
    options = parser.parse_args(args)
    for name in ("importance_samples", "images", "components", "neighbors", "num_beams"):
        check_at_least(1, **{f"--{name}": getattr(options, name)})
    check_non_negative(**{"--num_samples": options.num_samples})
    for name in options.sampler:
        check_choice("sampler", name, SAMPLERS)
    return options


def _measure_latent(model: LatentModel, data: Any, options: Any) -> Iterator[Measurement]:
    if not model.has_encoder and options.sampler != ["prior"]:
        raise InputError(
            f"{type(model).__name__} has no encoder, and therefore no codes to fit a density to: "
            "remove --sampler"
        )
    evaluation = LatentEvaluation(
        model,
        load_samples(data, "train", model),
        load_samples(data, "test", model, options.images),
        importance_samples=options.importance_samples,
        samplers=tuple(options.sampler),
        components=options.components,
        neighbors=options.neighbors,
        seed=options.seed,
    )
    yield from measure_density(evaluation)
    yield from measure_representation(evaluation)
    yield from measure_reconstruction(evaluation)
    yield from measure_robustness(evaluation)
    count = len(evaluation.test[0]) if options.num_samples is None else options.num_samples
    if count:
        yield from measure_known_modes(evaluation, count)
        yield from measure_samples(evaluation, count, _feature_networks(model, data, options))


def _feature_networks(model: LatentModel, data: Any, options: Any) -> dict[str, nn.Module]:
    """Return the feature extractors by name: a classifier's for labeled images, else raw values."""
    networks: dict[str, nn.Module] = {}
    if options.features:
        networks["cnn"] = load_classifier_features(options.features, model.input_shape)
    elif len(model.input_shape) == 3 and getattr(data, "num_classes", 1) > 1:
        path = CLASSIFIERS / f"{type(data).__name__.lower()}-{hash_data(data)}.ckpt"
        train_reference_classifier(data, path)
        networks["cnn"] = load_classifier_features(path, model.input_shape)
    else:
        networks["raw"] = nn.Flatten()
    if options.inception:
        networks["inception"] = InceptionFeatures(options.inception)
    return {name: network.to(model.device) for name, network in networks.items()}


def print_measurements(measurements: list[Measurement]) -> None:
    """Print one line per metric: name, value and meaning."""
    width = max(len(metric.name) for metric in measurements)
    for metric in measurements:
        print(f"{metric.name:<{width}}  {metric.value:>10.5g}   {metric.meaning}")

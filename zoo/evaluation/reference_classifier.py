"""Reference classifier: a small CNN whose features serve for the Fréchet distance of images.

It is trained on the data set itself, so that an evaluation needs no download. Distances are
comparable only if they were computed with the same classifier, so its training gives the same bits
on every machine: gradients are computed in float64, and after each step the weights are rounded to
multiples of 2⁻¹⁷. The rounding removes the differences of about 10⁻¹⁵ between processors before
training can amplify them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.core.checkpoints import AtomicCheckpointIO, load
from zoo.core.distributed import temporary_seed
from zoo.core.files import check_writable
from zoo.core.optim import make_schedule
from zoo.errors import InputError
from zoo.metrics.features import ClassifierFeatures

if TYPE_CHECKING:
    from zoo.models.supervised.cnn import CNN

STEPS, BATCH_SIZE, LR = 400, 128, 0.01
GRID = 2.0**-17  # spacing of the weights


def train_reference_classifier(data: Any, path: Path) -> Path:
    """Train a small classifier on a data set and save it, unless the file exists already.

    The classifier is a :class:`~zoo.models.supervised.cnn.CNN` with three convolutions and 64
    features, trained on the CPU for 400 batches of 128 images of the official training split, which
    includes the samples that ``data`` holds out for validation.

    Args:
        data: data module of labeled images.
        path: checkpoint to read or write.

    Returns:
        ``path``.
    """
    if path.is_file():
        return path
    check_writable(path)
    from zoo.models.supervised.cnn import CNN

    with temporary_seed(0):
        # rounding errors would decide which of several equal values max pooling takes
        classifier = CNN(
            data.input_shape, data.num_classes, (32, 64, 64), pooling="avg", hidden_dims=(64,)
        ).double()
        for module in classifier.modules():
            if hasattr(module, "reset_parameters"):  # again, in float64
                module.reset_parameters()
    _round_weights(classifier)
    _fit(classifier, data)
    checkpoint: dict[str, Any] = {"state_dict": classifier.float().state_dict()}
    classifier.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return path


def _fit(classifier: CNN, data: Any) -> None:
    """Train a classifier in float64, rounding its weights after each step."""
    optimizer = torch.optim.Adam(classifier.parameters(), LR)
    schedule = make_schedule("one_cycle", optimizer, STEPS)
    assert schedule is not None
    classifier.train()
    for x, y in _batches(data):
        loss = classifier.step((x.double(), y))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        _round_weights(classifier)
    classifier.eval()


def _batches(data: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the training batches; each epoch visits the images in another order."""
    x, y = _training_samples(data)
    generator = torch.Generator().manual_seed(0)
    size = min(BATCH_SIZE, len(y))
    step = 0
    while step < STEPS:
        order = torch.randperm(len(y), generator=generator)
        for rows in order[: len(y) // size * size].split(size)[: STEPS - step]:
            yield data.prepare_evaluation((x[rows], y[rows]), generator)
            step += 1


def _training_samples(data: Any) -> tuple[Tensor, Tensor]:
    """Return the official training split as stored, with the samples held out for validation."""
    x, y = data.load(train=True)
    rows = data.split_indices(True, len(x))
    return x[rows], y[rows]


@torch.no_grad()
def _round_weights(module: nn.Module) -> None:
    for value in (*module.parameters(), *module.buffers()):
        if value.is_floating_point():
            value.copy_((value / GRID).round() * GRID)


def hash_data(data: Any) -> str:
    """Return eight hexadecimal digits that identify the official training split of a data module.

    They are the first digits of the SHA-256 of its shape, all labels and up to 200 of its images.
    """
    x, y = _training_samples(data)
    digest = hashlib.sha256(str((tuple(x.shape), len(y))).encode())
    digest.update(y.numpy().tobytes())
    digest.update(x[:: max(1, len(x) // 100)].contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


def load_classifier_features(path: str | Path, input_shape: tuple[int, ...]) -> ClassifierFeatures:
    """Return the feature extractor of the classifier in a checkpoint.

    Args:
        path: a ``.ckpt`` file.
        input_shape: shape of the images whose features are computed, (C, H, W).

    Raises:
        InputError: no such checkpoint; the model is not a classifier, or takes images of another
            shape.
    """
    classifier = load(path)
    expected = tuple(classifier.hparams.get("input_shape", input_shape))
    if not hasattr(classifier, "logits"):
        raise InputError(
            f"{path} contains the model {type(classifier).__name__}, features need a classifier"
        )
    if expected != input_shape:
        raise InputError(
            f"the classifier in {path} takes images of shape {expected}, not {input_shape}"
        )
    return ClassifierFeatures(classifier)

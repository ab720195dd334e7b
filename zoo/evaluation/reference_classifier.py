"""Reference classifier: a small CNN whose features serve for the Fréchet distance of images.

It is trained on the data set itself, so that an evaluation needs no download. Distances are
comparable only if they were computed with the same classifier.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from zoo.core.checkpoints import AtomicCheckpointIO, load
from zoo.core.distributed import temporary_seed
from zoo.errors import InputError
from zoo.metrics.features import ClassifierFeatures

STEPS = 700  # training steps, rounded up to whole epochs


def train_reference_classifier(data: Any, path: Path) -> Path:
    """Train a small classifier on a data set and save it, unless the file exists already.

    The classifier is a :class:`~zoo.models.supervised.cnn.CNN` with three convolutions and 64
    features, trained for at least 700 steps with seed 0.

    Args:
        data: data module of labeled images.
        path: checkpoint to read or write.

    Returns:
        ``path``.
    """
    if path.is_file():
        return path
    import lightning.pytorch as L

    from zoo.models.supervised.cnn import CNN

    batches = math.ceil(len(data.split("train")[0]) / data.batch_size)
    with temporary_seed(0):
        classifier = CNN(
            data.input_shape, data.num_classes, (32, 64, 64), hidden_dims=(64,), lr=0.01,
            schedule="one_cycle", channels_last=True,
        )  # fmt: skip
        trainer = L.Trainer(
            max_epochs=math.ceil(STEPS / batches), logger=False, devices=1,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, num_sanity_val_steps=0, plugins=[AtomicCheckpointIO()],
        )  # fmt: skip
        trainer.fit(classifier, data)
        trainer.save_checkpoint(path)
    return path


def hash_data(data: Any) -> str:
    """Return eight hexadecimal digits that identify the training split of a data module.

    They are the first digits of the SHA-256 of its shape, all labels and up to 200 of its images.
    """
    x, y = data.split("train")
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

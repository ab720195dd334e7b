"""The reference classifier: trained once per data set, and recognized by the data's contents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datamodules import Digits
from tests.conftest import ENVIRONMENT
from zoo.errors import InputError
from zoo.evaluation.reference_classifier import (
    hash_data,
    load_classifier_features,
    train_reference_classifier,
)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a reference classifier of digits, trained once for this file."""
    path = tmp_path_factory.mktemp("features") / "digits.ckpt"
    return train_reference_classifier(Digits(), path)


def test_the_classifier_is_trained_once(classifier: Path) -> None:
    before = classifier.stat().st_mtime_ns
    assert train_reference_classifier(Digits(), classifier) == classifier
    assert classifier.stat().st_mtime_ns == before
    network = load_classifier_features(classifier, (1, 8, 8))
    x, y = Digits().evaluation_samples("test")
    accuracy = (network.classifier(x).argmax(1) == y).float().mean()
    assert accuracy > 0.93


def test_features_of_images_of_another_shape_are_refused(classifier: Path) -> None:
    with pytest.raises(InputError, match=r"takes images of shape \(1, 8, 8\), not \(1, 28, 28\)"):
        load_classifier_features(classifier, (1, 28, 28))


def test_the_hash_depends_on_the_contents_of_the_data() -> None:
    class Dark(Digits):
        def load(self, train: bool) -> tuple[torch.Tensor, ...]:
            x, y = super().load(train)
            return x // 2, y

    assert hash_data(Digits()) == hash_data(Digits(batch_size=7))
    assert hash_data(Digits()) != hash_data(Dark())


FIT = """
import sys
from pathlib import Path
from datamodules import Digits
from zoo.evaluation import reference_classifier as reference
reference.STEPS = 25
path = reference.train_reference_classifier(Digits(), Path(sys.argv[1]))
print(reference.load_classifier_features(path, (1, 8, 8)).fingerprint)
"""


def test_the_classifier_is_the_same_on_other_processors(tmp_path: Path) -> None:
    """The variables make PyTorch and MKL use the instructions of the oldest processors."""
    old = {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "DNNL_MAX_CPU_ISA": "SSE41",
    }
    printed = [
        subprocess.run(
            [sys.executable, "-c", FIT, str(tmp_path / f"{index}.ckpt")],
            env=ENVIRONMENT | settings, capture_output=True, text=True, check=True,
        ).stdout
        for index, settings in enumerate(({}, old))
    ]  # fmt: skip
    assert printed[0] == printed[1]


def test_the_classifier_does_not_depend_on_the_validation_split(tmp_path: Path) -> None:
    assert hash_data(Digits()) == hash_data(Digits(seed=3, val_size=0.4))

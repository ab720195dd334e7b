"""Metrics of latent models on few images, and on images without labels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from sklearn.decomposition import PCA as SklearnPCA
from torch import nn

from zoo import Autoencoder
from zoo.errors import InputError
from zoo.evaluation.latent import (
    LatentEvaluation,
    measure_reconstruction,
    measure_representation,
    measure_samples,
)
from zoo.evaluation.measurement import Measurement


def evaluation(train: int, test: int, classes: int = 3, **options: int) -> LatentEvaluation:
    torch.manual_seed(0)
    model = Autoencoder((1, 6, 6), 4, hidden_dims=(8,)).eval()
    basis = torch.randn(12, 36)
    images = [torch.randn(n, 12) @ basis + torch.rand(36) for n in (train, test)]
    parts = [(x.view(-1, 1, 6, 6), torch.arange(len(x)) % classes) for x in images]
    return LatentEvaluation(model, parts[0], parts[1], **options)


def by_name(measurements: Iterator[Measurement]) -> dict[str, float]:
    return {m.name: m.value for m in measurements}


@pytest.mark.parametrize("train", [5, 30, 233, 1_000, 1_001, 2_500])
def test_pca_of_any_number_of_images_is_that_of_scikit_learn(train: int) -> None:
    """An empty batch after the last full one would make the error nan."""
    case = evaluation(train, 50)
    found = by_name(measure_reconstruction(case))
    x, test = (part[0].flatten(1).double().numpy() for part in (case.train, case.test))
    oracle = SklearnPCA(4, svd_solver="full").fit(x)
    residual = test - oracle.inverse_transform(oracle.transform(test))
    assert found["pca_mse"] == pytest.approx(float((residual**2).mean()), rel=1e-6)
    assert found["mse_over_pca"] == pytest.approx(found["mse"] / found["pca_mse"])


def test_images_without_labels_have_no_accuracy() -> None:
    with pytest.warns(UserWarning, match="knn_accuracy and probe_accuracy are left out"):
        found = by_name(measure_representation(evaluation(20, 10, classes=1)))
    assert list(found) == ["active_units"]
    assert set(by_name(measure_representation(evaluation(20, 10)))) == {
        "active_units", "knn_accuracy", "probe_accuracy",
    }  # fmt: skip
    assert by_name(measure_representation(evaluation(20, 1)))["active_units"] == 0


def test_more_neighbors_than_images() -> None:
    networks: dict[str, nn.Module] = {"raw": nn.Flatten()}
    with pytest.raises(InputError, match=r"need more than 5 images of each kind, got 5: raise"):
        list(measure_samples(evaluation(20, 5), 9, networks))
    with pytest.raises(InputError, match="need more than 1 images of each kind, got 1"):
        list(measure_samples(evaluation(20, 5, neighbors=1), 1, networks))
    with pytest.raises(InputError, match="30 neighbors need as many training codes, got 20"):
        list(measure_representation(evaluation(20, 9, neighbors=30)))
    found = by_name(measure_samples(evaluation(20, 6), 6, networks))
    assert all(value == value for value in found.values())  # none is nan

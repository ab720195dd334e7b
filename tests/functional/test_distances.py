"""Distances between sets of samples, against torchmetrics, SciPy and published values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from zoo.functional import distances
from zoo.functional.distances import (
    frechet_distance,
    kernel_distance,
    knn_classify,
    precision_recall_density_coverage,
)
from zoo.functional.moments import Moments


def random_sets(n: int = 300, m: int = 200, dim: int = 6) -> tuple[Tensor, Tensor]:
    mixing = torch.randn(dim, dim).double()
    return torch.randn(n, dim).double() @ mixing, 0.5 + torch.randn(m, dim).double()


def test_frechet_distance_with_scipys_matrix_root() -> None:
    real, fake = random_sets()
    c1, c2 = real.T.cov().numpy(), fake.T.cov().numpy()
    root = scipy.linalg.sqrtm(c1 @ c2)
    root = root[0] if isinstance(root, tuple) else root
    expected = float((real.mean(0) - fake.mean(0)).square().sum()) + np.trace(
        c1 + c2 - 2 * root.real
    )
    ours = frechet_distance(Moments.from_samples(real), Moments.from_samples(fake))
    assert float(ours) == pytest.approx(float(expected), rel=1e-9)
    assert float(
        frechet_distance(Moments.from_samples(real), Moments.from_samples(real))
    ) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_that_of_torchmetrics() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float().flatten(1) / 255

    real, fake = (torch.randint(0, high, (120, 3, 2, 2), dtype=torch.uint8) for high in (256, 200))
    metric = FrechetInceptionDistance(Flat(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    ours = frechet_distance(
        *(Moments.from_samples(x.double().flatten(1) / 255) for x in (real, fake))
    )
    assert float(ours) == pytest.approx(float(metric.compute()), rel=1e-5)


def test_frechet_distance_of_singular_covariances() -> None:
    real, fake = random_sets()
    real[:, 0], fake[:, 0] = 1.0, 3.0  # a constant feature
    assert float(frechet_distance(Moments.from_samples(real), Moments.from_samples(fake))) > 4


def test_kernel_distance_is_that_of_torchmetrics_and_unbiased() -> None:
    real, fake = random_sets(250, 250)
    expected = poly_mmd(real, fake, degree=3, gamma=None, coef=1.0)
    assert float(kernel_distance(real, fake)) == pytest.approx(float(expected), rel=1e-9)
    null = torch.stack([kernel_distance(*torch.randn(2, 50, 4).double()) for _ in range(400)])
    assert abs(null.mean()) < 4 * null.std() / 20  # zero on average, and often negative
    assert (null < 0).double().mean() > 0.3


def test_precision_recall_density_coverage_by_their_definitions() -> None:
    real, fake = random_sets(40, 30)
    k = 3
    distance = torch.cdist(real, fake)
    real_radius = torch.cdist(real, real).sort(1).values[:, k]
    fake_radius = torch.cdist(fake, fake).sort(1).values[:, k]
    inside = distance < real_radius[:, None]
    expected = {
        "precision": sum(bool(inside[:, j].any()) for j in range(30)) / 30,
        "recall": sum(bool((distance[i] < fake_radius).any()) for i in range(40)) / 40,
        "density": float(inside.sum()) / (k * 30),
        "coverage": sum(bool(inside[i].any()) for i in range(40)) / 40,
    }
    ours = precision_recall_density_coverage(real, fake, k)
    assert {name: float(v) for name, v in ours.items()} == pytest.approx(expected)


def test_a_collapsed_generator_is_precise_without_coverage() -> None:
    real, _ = random_sets()
    collapsed = real[:1] + 1e-3 * torch.randn(200, 6).double()
    metrics = precision_recall_density_coverage(real, collapsed, 5)
    assert metrics["precision"] == 1
    assert metrics["recall"] < 0.02
    assert metrics["coverage"] < 0.05


@pytest.mark.slow
def test_published_values_on_gaussians() -> None:
    """The example of Naeem et al.: two sets of 10,000 Gaussian vectors in 1,000 dimensions."""
    torch.manual_seed(0)
    metrics = precision_recall_density_coverage(
        torch.randn(10_000, 1000), torch.randn(10_000, 1000), 5
    )
    published = {"precision": 0.4772, "recall": 0.4705, "density": 1.0555, "coverage": 0.9735}
    for name, value in published.items():
        assert float(metrics[name]) == pytest.approx(value, abs=0.03 if name != "density" else 0.08)


def test_knn_classify_is_that_of_scikit_learn() -> None:
    codes, queries = torch.randn(200, 3), torch.randn(50, 3)
    labels = (codes[:, 0] > 0).long() + (codes[:, 1] > 0).long()
    oracle = KNeighborsClassifier(1).fit(codes, labels)
    ours = knn_classify(codes, labels, queries, 1)
    assert torch.equal(ours, torch.from_numpy(oracle.predict(queries)))
    # a majority of three votes, and a tie of four that the nearest decides
    codes = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    labels = torch.tensor([1, 0, 0, 1])
    assert knn_classify(codes, labels, torch.zeros(1, 1), 3).tolist() == [0]
    assert knn_classify(codes, labels, torch.zeros(1, 1), 4).tolist() == [1]


@pytest.mark.parametrize("k", [0, 20])
def test_k_must_be_below_the_sample_sizes(k: int) -> None:
    with pytest.raises(ValueError, match=f"got k={k} with 30 real and 20 generated samples"):
        precision_recall_density_coverage(torch.randn(30, 2), torch.randn(20, 2), k)


def test_distances_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large sets are compared in parts of ``ROWS`` rows, with the same result."""
    real, fake = random_sets(40, 30)
    codes, labels, queries = real, (real[:, 0] > 0).long(), fake
    whole = precision_recall_density_coverage(real, fake, 3)
    kernel, votes = kernel_distance(real, fake), knn_classify(codes, labels, queries, 5)
    assert 0 < float(whole["recall"]) < 1
    assert 0 < float(whole["coverage"]) < 1
    monkeypatch.setattr(distances, "ROWS", 7)
    parts = precision_recall_density_coverage(real, fake, 3)
    assert {k: float(v) for k, v in parts.items()} == {k: float(v) for k, v in whole.items()}
    torch.testing.assert_close(kernel_distance(real, fake), kernel)
    assert torch.equal(knn_classify(codes, labels, queries, 5), votes)


def test_one_neighbor_and_points_on_the_edge_of_a_ball() -> None:
    """The radii are 1 and 1; a sample at a distance of exactly 1 is not inside."""
    real = torch.tensor([[0.0], [1.0]])
    metrics = precision_recall_density_coverage(real, torch.tensor([[2.0], [3.0]]), 1)
    assert {k: float(v) for k, v in metrics.items()} == dict.fromkeys(metrics, 0.0)
    metrics = precision_recall_density_coverage(real, torch.tensor([[0.5], [9.0]]), 1)
    assert float(metrics["precision"]) == 0.5
    assert float(metrics["density"]) == 1.0  # two balls contain one of two samples
    assert float(metrics["coverage"]) == 1.0


def test_the_nearest_code_decides_a_tie_but_never_outweighs_a_vote() -> None:
    codes = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    labels = torch.tensor([2, 0, 0, 2, 1])
    query = torch.zeros(1, 1)
    # two votes each for classes 0 and 2, one for class 1: class 2 has the nearest code
    assert knn_classify(codes, labels, query, 5).tolist() == [2]
    # class 2 has the nearest code, but one vote against two
    assert knn_classify(codes, labels, query, 3).tolist() == [0]
    # two votes against one, although the nearest code is of another class
    assert knn_classify(codes, torch.tensor([1, 2, 3, 0, 0]), query, 5).tolist() == [0]
    assert knn_classify(codes, torch.tensor([1, 0, 1, 0, 2]), query, 5).tolist() == [1]
    # the nearest code of class 1 is nearer than those of class 0
    labels = torch.tensor([1, 0, 0, 1, 3])
    assert knn_classify(codes, labels, query, 5).tolist() == [1]
    assert knn_classify(codes, labels, query).tolist() == [1]  # five neighbors by default

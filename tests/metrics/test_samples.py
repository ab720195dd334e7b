"""Metrics of generated samples."""

import pytest
import torch

from zoo.errors import InputError
from zoo.functional.distances import precision_recall_density_coverage
from zoo.metrics.samples import MixtureModeMetric, PrecisionRecallDensityCoverage

MODES = ((0.0, 0.0), (10.0, 0.0), (0.0, 10.0))


def test_modes_are_found_by_samples_within_three_standard_deviations() -> None:
    samples = torch.tensor([[0.29, 0.0], [0.31, 0.0], [10.0, -0.2], [5.0, 5.0]])
    for name, expected in (("modes_found", 2), ("high_quality", 0.5)):
        metric = MixtureModeMetric(name, MODES, 0.1)
        metric.update(samples[:1])
        metric.update(samples[1:])
        assert float(metric.compute()) == pytest.approx(expected)


def test_samples_of_the_mixture_have_the_theoretical_high_quality() -> None:
    """A 2D Gaussian has 1 − e^(−9/2) of its mass within three standard deviations."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.tensor(MODES)[torch.arange(30_000) % 3]
    metric = MixtureModeMetric("high_quality", MODES, 0.1)
    metric.update(centers + 0.1 * torch.randn(30_000, 2, generator=generator))
    assert float(metric.compute()) == pytest.approx(0.98889, abs=0.002)


def test_the_metric_over_batches_is_that_of_all_samples() -> None:
    real, fake = torch.rand(60, 1, 2, 2), torch.rand(60, 1, 2, 2)
    expected = precision_recall_density_coverage(real.flatten(1), fake.flatten(1), 5)
    for name in ("density", "coverage"):
        metric = PrecisionRecallDensityCoverage(name)
        for part in range(3):
            rows = slice(20 * part, 20 * part + 20)
            metric.update(fake[rows], real[rows])
        assert float(metric.compute()) == pytest.approx(float(expected[name]))


def test_only_the_first_samples_are_kept() -> None:
    metric = PrecisionRecallDensityCoverage("coverage", max_samples=30)
    for _ in range(4):
        metric.update(torch.rand(20, 2), torch.rand(20, 2))
    assert sum(map(len, metric.samples)) == sum(map(len, metric.data)) == 30


def test_a_single_sample_has_no_neighbors() -> None:
    metric = PrecisionRecallDensityCoverage("coverage")
    metric.update(torch.rand(1, 2), torch.rand(1, 2))
    assert metric.compute().isnan()


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"unknown metric 'found'.* 'modes_found'"):
        MixtureModeMetric("found", MODES, 0.1)
    with pytest.raises(InputError, match="unknown metric 'fid'; choose from precision, recall"):
        PrecisionRecallDensityCoverage("fid")


def test_the_edge_of_a_mode_and_the_largest_k() -> None:
    """A sample at exactly three standard deviations belongs to the mode."""
    metric = MixtureModeMetric("high_quality", [[0.0, 0.0]], 0.5)
    metric.update(torch.tensor([[1.5, 0.0], [1.5001, 0.0]]))
    assert float(metric.compute()) == 0.5
    # two samples have one neighbor each: k is lowered to 1
    pair = torch.tensor([[0.0], [1.0]])
    precision = PrecisionRecallDensityCoverage("precision", k=5)
    precision.update(torch.tensor([[0.5], [5.0]]), pair)
    assert float(precision.compute()) == 0.5
    single = PrecisionRecallDensityCoverage("precision")
    single.update(pair[:1], pair[:1])
    assert single.compute().isnan()
    last = PrecisionRecallDensityCoverage("precision", max_samples=3)
    last.update(pair, pair)
    last.update(pair, pair)
    last.update(pair, pair)
    assert [len(part) for part in last.samples] == [2, 1]

import pytest
import torch

from zoo.functional.distances import precision_recall_density_coverage
from zoo.metrics.samples import CoverageMeasure, ModeMeasure

MODES = ((0.0, 0.0), (10.0, 0.0), (0.0, 10.0))


def test_modes_are_found_by_samples_within_three_deviations() -> None:
    samples = torch.tensor([[0.29, 0.0], [0.31, 0.0], [10.0, -0.2], [5.0, 5.0]])
    for kind, expected in (("found", 2), ("high_quality", 0.5)):
        measure = ModeMeasure(kind, MODES, 0.1)
        measure.update(samples[:1])
        measure.update(samples[1:])
        assert float(measure.compute()) == pytest.approx(expected)


def test_ideal_samples_are_of_high_quality_as_often_as_theory_says() -> None:
    """Within three deviations of a Gaussian in the plane: 1 − e^(−9/2)."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.tensor(MODES)[torch.arange(30_000) % 3]
    measure = ModeMeasure("high_quality", MODES, 0.1)
    measure.update(centers + 0.1 * torch.randn(30_000, 2, generator=generator))
    assert float(measure.compute()) == pytest.approx(0.98889, abs=0.002)


def test_coverage_over_batches_is_that_of_the_whole() -> None:
    real, fake = torch.rand(60, 1, 2, 2), torch.rand(60, 1, 2, 2)
    expected = precision_recall_density_coverage(real.flatten(1), fake.flatten(1), 5)
    for kind in ("density", "coverage"):
        measure = CoverageMeasure(kind)
        for part in range(3):
            rows = slice(20 * part, 20 * part + 20)
            measure.update(fake[rows], real[rows])
        assert float(measure.compute()) == pytest.approx(float(expected[kind]))


def test_only_the_first_samples_are_kept() -> None:
    measure = CoverageMeasure("coverage", limit=30)
    for _ in range(4):
        measure.update(torch.rand(20, 2), torch.rand(20, 2))
    assert sum(map(len, measure.samples)) == sum(map(len, measure.data)) == 30


def test_one_sample_has_no_neighbours() -> None:
    measure = CoverageMeasure("coverage")
    measure.update(torch.rand(1, 2), torch.rand(1, 2))
    assert measure.compute().isnan()

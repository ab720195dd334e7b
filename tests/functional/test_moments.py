"""Moments of rows, merged over batches and processes."""

from __future__ import annotations

import pytest
import torch

from zoo.functional.moments import FactoredMoments, Moments


def test_padded_factors_have_equal_shapes_and_the_same_moments() -> None:
    """A factor merged from more batches has more rows, even for fewer samples."""
    x = torch.randn(10, 50, dtype=torch.float64)
    whole = FactoredMoments.from_samples(x)
    merged = FactoredMoments.from_samples(x[:2])
    for start in (2, 4, 6):
        merged = merged.merge(FactoredMoments.from_samples(x[start : start + 2]))
    rows = max(whole.num_rows, merged.num_rows)
    assert whole.num_rows != merged.num_rows
    for moments in (whole, merged):
        padded = moments.padded(rows)
        assert padded.factor.shape == (rows, 50)
        assert padded.n == moments.n
        torch.testing.assert_close(padded.scatter, moments.scatter)


def test_merged_moments_equal_those_of_all_rows() -> None:
    rows = torch.randn(90, 4).double() + 1e6
    total = Moments.from_samples(rows[:7])
    for part in rows[7:].split(11):
        total = total.merge(Moments.from_samples(part))
    assert total.n == 90
    torch.testing.assert_close(total.mean, rows.mean(0), rtol=1e-15, atol=0)
    # sums of squares near 1e12 would lose all digits of a variance of 1
    torch.testing.assert_close(total.scatter / 89, rows.mT.cov(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(total.uncentered_scatter(), rows.mT @ rows, rtol=1e-12, atol=0)


@pytest.mark.parametrize("cls", [Moments, FactoredMoments])
def test_merged_moments_are_those_of_all_rows(cls: type[Moments]) -> None:
    """n, mean and scatter of 3 + 5 + 4 rows with a large mean, against numpy in float64."""
    torch.manual_seed(0)
    x = 1e3 + torch.randn(12, 3, dtype=torch.float64)
    merged = cls.from_samples(x[:3]).merge(cls.from_samples(x[3:8])).merge(cls.from_samples(x[8:]))
    assert merged.n == 12
    torch.testing.assert_close(merged.mean, x.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(merged.scatter, 11 * x.T.cov(), rtol=1e-10, atol=0)
    torch.testing.assert_close(merged.uncentered_scatter(), x.T @ x, rtol=1e-12, atol=0)
    again = cls.from_state_dict(merged.state_dict())
    assert again.n == 12
    assert torch.equal(again.mean, merged.mean)
    assert torch.equal(again.scatter, merged.scatter)
    assert cls.from_samples(x.float()).mean.dtype == torch.float64


def test_rows_of_the_stored_matrix() -> None:
    x = torch.randn(2, 3, dtype=torch.float64)
    assert Moments.from_samples(x).num_rows == 3
    factored = FactoredMoments.from_samples(x)
    assert factored.num_rows == 2
    assert factored.padded(1).num_rows == 2
    padded = factored.padded(5)
    assert padded.num_rows == 5
    assert padded.n == 2
    assert torch.equal(padded.mean, factored.mean)
    assert torch.equal(padded.factor[2:], torch.zeros(3, 3).double())

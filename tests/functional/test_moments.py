"""Moments of rows, merged over batches and processes."""

from __future__ import annotations

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

"""Moments that are gathered from several processes."""

from __future__ import annotations

import torch

from zoo.functional.moments import FactoredMoments


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

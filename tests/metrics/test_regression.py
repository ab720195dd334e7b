"""Regression metrics."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import r2_score

from zoo.metrics.regression import R2


def test_r2_of_targets_with_a_large_mean() -> None:
    """Against scikit-learn in float64, for two targets in three batches."""
    torch.manual_seed(0)
    y = 1e6 + torch.randint(0, 50, (60, 2)).float()
    predictions = y + torch.randint(-9, 9, (60, 2))
    metric = R2()
    for rows in torch.arange(60).split(25):
        metric.update(predictions[rows], y[rows])
    expected = r2_score(y.double(), predictions.double(), multioutput="variance_weighted")
    assert 0.5 < expected < 0.95
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-6)


def test_r2_of_one_sample() -> None:
    metric = R2()
    metric.update(torch.ones(1, 1), torch.zeros(1, 1))
    assert metric.compute().isnan()

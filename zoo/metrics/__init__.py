"""Metrics that torchmetrics lacks."""

from zoo.metrics.means import RunningMeans

__all__ = ["RunningMeans"]

"""Measurement: a metric of a trained model, with the data it was computed on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """A metric of a trained model.

    Args:
        name: name of the metric, such as ``knn_accuracy``.
        value: value of the metric.
        meaning: definition of the metric, its unit, and the number of samples it was computed on.
    """

    name: str
    value: float
    meaning: str

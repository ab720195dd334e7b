"""Metrics that compare generated samples with the data, updated batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from zoo.errors import check_choice
from zoo.functional.distances import precision_recall_density_coverage

RADIUS = 3.0  # distance in standard deviations up to which a sample belongs to a mode


class MixtureModeMetric(Metric):
    """Recovery of the known modes of a Gaussian mixture by generated samples.

    A sample within three standard deviations of a mode is of high quality; a mode with at least one
    such sample is found.

    Args:
        name: ``modes_found``, the number of modes found, or ``high_quality``, the fraction of
            samples of high quality.
        modes: centers of the modes, (K, D).
        std: standard deviation of each mode.

    Shapes: ``update`` takes samples (B, D), and ignores data in the second argument.

    Raises:
        InputError: ``name`` is unknown.

    Source: Srivastava et al., VEEGAN, 2017, section 5.1.
    """

    modes: Tensor
    counts: Tensor
    total: Tensor

    def __init__(self, name: str, modes: Sequence[Sequence[float]], std: float) -> None:
        super().__init__()
        check_choice("metric", name, ("modes_found", "high_quality"))
        self.name, self.std = name, std
        self.register_buffer("modes", torch.tensor([list(mode) for mode in modes]))
        self.add_state("counts", torch.zeros(len(modes), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, samples: Tensor, data: Tensor | None = None) -> None:
        distance, nearest = torch.cdist(samples, self.modes.to(samples)).min(1)
        near_mode = nearest[distance <= RADIUS * self.std]
        self.counts += near_mode.bincount(minlength=len(self.counts))
        self.total += len(samples)

    def compute(self) -> Tensor:
        if self.name == "modes_found":
            return (self.counts > 0).sum()
        return self.counts.sum() / self.total


class PrecisionRecallDensityCoverage(Metric):
    """Precision, recall, density or coverage of generated samples, computed on raw values.

    See :func:`zoo.functional.distances.precision_recall_density_coverage`.

    Args:
        name: ``precision``, ``recall``, ``density`` or ``coverage``.
        k: number of nearest neighbors, default 5.
        max_samples: number of samples, and of data points, that each process keeps from the first
            batches, default 1,000.

    Shapes: ``update`` takes samples and data, (B, ...) each.

    Raises:
        InputError: ``name`` is unknown.
    """

    samples: list[Tensor]
    data: list[Tensor]

    def __init__(self, name: str, k: int = 5, max_samples: int = 1_000) -> None:
        super().__init__()
        check_choice("metric", name, ("precision", "recall", "density", "coverage"))
        self.name, self.k, self.max_samples = name, k, max_samples
        self.add_state("samples", [], dist_reduce_fx="cat")
        self.add_state("data", [], dist_reduce_fx="cat")

    def update(self, samples: Tensor, data: Tensor) -> None:
        missing = self.max_samples - sum(map(len, self.samples))
        if missing > 0:
            self.samples.append(samples[:missing].detach().flatten(1).float())
            self.data.append(data[:missing].flatten(1).float())

    def compute(self) -> Tensor:
        """Return the metric; nan for a single sample, which has no neighbor."""
        data, samples = dim_zero_cat(self.data), dim_zero_cat(self.samples)
        k = min(self.k, len(data) - 1)
        if k < 1:
            return torch.full((), float("nan"), device=data.device)
        return precision_recall_density_coverage(data, samples, k)[self.name]

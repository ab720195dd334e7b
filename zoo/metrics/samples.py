"""How generated samples lie to those of the data, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from zoo.functional.distances import precision_recall_density_coverage

RADIUS = 3.0  # of a mode, in its standard deviations


class ModeMeasure(Metric):
    """Samples of a mixture of Gaussians whose modes are known.

    A sample is of high quality within three standard deviations of a mode; a mode is found when it
    has such a sample. ``found``: number of modes; ``high_quality``: share of samples.

    Args:
        kind: ``found`` or ``high_quality``.
        modes: their centres, (K, D).
        std: standard deviation of each.

    Shapes: ``update`` takes samples (B, D), and ignores the data beside them.

    Source: Srivastava et al., VEEGAN, 2017, section 5.1.
    """

    modes: Tensor
    counts: Tensor
    total: Tensor

    def __init__(self, kind: str, modes: Sequence[Sequence[float]], std: float) -> None:
        super().__init__()
        self.kind, self.std = kind, std
        self.register_buffer("modes", torch.tensor([list(mode) for mode in modes]))
        self.add_state("counts", torch.zeros(len(modes), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, samples: Tensor, data: Tensor | None = None) -> None:
        distance, nearest = torch.cdist(samples, self.modes.to(samples)).min(1)
        good = nearest[distance <= RADIUS * self.std]
        self.counts += good.bincount(minlength=len(self.counts))
        self.total += len(samples)

    def compute(self) -> Tensor:
        if self.kind == "found":
            return (self.counts > 0).sum()
        return self.counts.sum() / self.total


class CoverageMeasure(Metric):
    """Density or coverage of samples by balls around data, on the numbers as they are.

    Args:
        kind: a key of :func:`zoo.functional.distances.precision_recall_density_coverage`.
        neighbours: k, default 5.
        limit: samples of each kind and process that are kept, the first ones; default 1,000.

    Shapes: ``update`` takes samples and data, (B, ...) each.
    """

    samples: list[Tensor]
    data: list[Tensor]

    def __init__(self, kind: str, neighbors: int = 5, limit: int = 1_000) -> None:
        super().__init__()
        self.kind, self.neighbors, self.limit = kind, neighbors, limit
        self.add_state("samples", [], dist_reduce_fx="cat")
        self.add_state("data", [], dist_reduce_fx="cat")

    def update(self, samples: Tensor, data: Tensor) -> None:
        missing = self.limit - sum(map(len, self.samples))
        if missing > 0:
            self.samples.append(samples[:missing].detach().flatten(1).float())
            self.data.append(data[:missing].flatten(1).float())

    def compute(self) -> Tensor:
        both = [kept if isinstance(kept, Tensor) else torch.cat(kept)
                for kept in (self.data, self.samples)]  # fmt: skip
        k = min(self.neighbors, len(both[0]) - 1)
        if k < 1:  # one sample has no neighbour
            return torch.tensor(float("nan"))
        return precision_recall_density_coverage(both[0], both[1], k)[self.kind]

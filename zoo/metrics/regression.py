"""Regression metrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import R2Score


class R2(R2Score):
    """R² = 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖² over all targets; nan for fewer than two samples.

    Sums are accumulated in float64, except on devices without it: the difference Σ y² − n ȳ² of
    targets with a large mean would have no correct digit in float32.
    """

    def __init__(self) -> None:
        super().__init__(multioutput="variance_weighted")
        self.set_dtype(torch.float64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        if preds.device.type != "mps":
            preds, target = preds.double(), target.double()
        super().update(preds, target)

    def compute(self) -> Tensor:
        if self.total < 2:  # torchmetrics raises an error
            return torch.full((), float("nan"), device=self.device)
        return super().compute()

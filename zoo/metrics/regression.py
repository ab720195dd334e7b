"""Regression metrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import R2Score


class R2(R2Score):
    """R² = 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖² over all targets; nan for fewer than two samples."""

    def __init__(self) -> None:
        super().__init__(multioutput="variance_weighted")

    def compute(self) -> Tensor:
        if self.total < 2:  # torchmetrics raises an error
            return torch.full((), float("nan"), device=self.device)
        return super().compute()

"""GeometricTask: what all models share whose batches are PyG's."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.core.task import Task


class GeometricTask(Task):
    """A task on PyG ``Data`` and ``Batch``.

    Args:
        **task: see :class:`~zoo.core.task.Task`.
    """

    supports_mixup: ClassVar[bool] = False  # of graphs, points and meshes there is no weighted mean

    def forward_inputs(self, batch: Any) -> tuple[Any, ...]:
        return (batch,)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Brings numbers to the model's precision, for which Lightning only looks into tuples,
        lists and dictionaries."""
        if self.dtype == torch.float32:
            return batch

        def cast(value: Tensor) -> Tensor:
            return value.to(self.dtype) if value.is_floating_point() else value

        return copy(batch).apply(cast)

"""GeometricTask: base class of models that take PyG batches."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.core.task import Task


class GeometricTask(Task):
    """A task whose batches are PyG ``Data`` or ``Batch`` objects.

    Args:
        **task: see :class:`~zoo.core.task.Task`.
    """

    supports_mixup: ClassVar[bool] = False  # graphs and meshes have no weighted mean

    def forward_inputs(self, batch: Any) -> tuple[Any, ...]:
        return (batch,)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert floating-point tensors to the model's precision.

        Lightning does so only for tensors in tuples, lists and dictionaries.
        """
        if self.dtype == torch.float32:
            return batch

        def cast(value: Tensor) -> Tensor:
            return value.to(self.dtype) if value.is_floating_point() else value

        return copy(batch).apply(cast)

"""Base class of data modules for meshes that share the connectivity of a template."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from zoo.errors import DataError
from zoo.functional.templates import pack_template


class TemplateMeshDataModule(TensorDataModule):
    """Base class of data modules for meshes with the same faces and corresponding vertices.

    A subclass implements ``meshes`` and ``faces``. Batches are (x, y): x float32 (B, V, 3). The
    coordinates are centered and divided by the root mean square deviation of the training meshes
    from their mean, so the mean squared error of a reconstruction is the fraction of unexplained
    variance.

    Properties for models: ``input_shape``, and ``template``: the mean training mesh, packed as text
    (:func:`zoo.functional.templates.pack_template`).

    Args:
        batch_size: training meshes per batch and process, default 16.
        **data: see :class:`~datamodules.base.TensorDataModule`.
    """

    def __init__(self, batch_size: int = 16, **data: Any) -> None:
        super().__init__(batch_size=batch_size, **data)

    def meshes(self, train: bool) -> tuple[Tensor, Tensor]:
        """Return the training or test split: vertices (N, V, 3) and labels int64 (N,)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement meshes(train)")

    @property
    def faces(self) -> Tensor:
        """Faces of all meshes, (F, 3)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement faces")

    @cached_property
    def _training(self) -> tuple[Tensor, Tensor]:
        """Training meshes before normalization, and their labels."""
        return self.meshes(True)

    @cached_property
    def center_and_scale(self) -> tuple[Tensor, float]:
        """Centroid (3,) of the training meshes, and their root mean square deviation from the mean
        mesh.

        Raises:
            DataError: all training meshes are the same.
        """
        vertices = self._training[0].double()
        scale = float((vertices - vertices.mean(0)).square().mean().sqrt())
        if not scale > 0:
            raise DataError(
                f"all {len(vertices)} training meshes are the same; at least 2 must differ"
            )
        return vertices.mean((0, 1)), scale

    def normalize(self, vertices: Tensor) -> Tensor:
        """Return vertices (..., V, 3) centered and scaled as in the batches, in float32."""
        center, scale = self.center_and_scale
        return ((vertices.double() - center) / scale).float()

    def load(self, train: bool) -> Batch:
        vertices, labels = self._training if train else self.meshes(False)
        return self.normalize(vertices), labels

    @property
    def input_shape(self) -> tuple[int, int]:  # type: ignore[override]
        """Shape of a sample, (V, 3)."""
        return self._training[0].shape[1], 3

    @property
    def template(self) -> str:
        """The normalized mean training mesh, packed as text."""
        return pack_template(self.normalize(self._training[0]).mean(0), self.faces)

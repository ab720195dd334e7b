"""Base class of data modules for meshes that share the connectivity of a template."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from zoo.errors import DataError
from zoo.functional.templates import pack_template, unpack_template


class TemplateMeshDataModule(TensorDataModule):
    """Base class of data modules for meshes with the same faces and corresponding vertices.

    A subclass implements ``meshes`` and ``make_faces``. Batches are (x, y): x float32 (B, V, 3).
    The coordinates are centered and divided by the root mean square deviation of the training
    meshes from their mean, so the mean squared error of a reconstruction is the fraction of
    unexplained variance. Center, scale and template are those of the training data also where a
    checkpoint is applied to other meshes.

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

    def make_faces(self) -> Tensor:
        """Return the faces of all training meshes, (F, 3)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement make_faces")

    # -- what is learned from the training data -------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return the centroid (3,) of the training meshes, their root mean square deviation from
        the mean mesh, the normalized mean mesh with its faces, and a hash of the training meshes.

        Raises:
            DataError: all training meshes are the same.
        """
        vertices = self._training[0].double()
        # by comparison, as the mean of equal numbers can differ from them in the last digit
        if bool((vertices == vertices[0]).all()):
            raise DataError(
                f"all {len(vertices)} training meshes are the same; at least 2 must differ"
            )
        center = vertices.mean((0, 1))
        scale = float((vertices - vertices.mean(0)).square().mean().sqrt())
        mean = ((vertices - center) / scale).float().mean(0)
        return {
            "center": center,
            "scale": scale,
            "template": pack_template(mean, self.make_faces()),
            "training_meshes": hash_of(self._training[0]),
        }

    @property
    def template(self) -> str:
        """The normalized mean training mesh, packed as text."""
        return str(self.learned["template"])

    @property
    def faces(self) -> Tensor:
        """Faces of all meshes, (F, 3)."""
        return unpack_template(self.template)[1]

    @property
    def input_shape(self) -> tuple[int, int]:  # type: ignore[override]
        """Shape of a sample, (V, 3)."""
        return len(unpack_template(self.template)[0]), 3

    @property
    def has_training_meshes(self) -> bool:
        """True if the split ``train`` contains the meshes that the model was trained on."""
        return True

    # -- samples --------------------------------------------------------------------------------

    @cached_property
    def _training(self) -> tuple[Tensor, Tensor]:
        """Training meshes before normalization, and their labels."""
        return self.meshes(True)

    def normalize(self, vertices: Tensor) -> Tensor:
        """Return vertices (..., V, 3) centered and scaled as in the batches, in float32."""
        return ((vertices.double() - self.learned["center"]) / self.learned["scale"]).float()

    def to_original_units(self, vertices: Tensor) -> Tensor:
        """Return vertices (..., V, 3) of batches or predictions in the units of the data, in
        float64."""
        return vertices.double().cpu() * self.learned["scale"] + self.learned["center"]

    def load(self, train: bool) -> Batch:
        vertices, labels = self._training if train else self.meshes(False)
        return self.normalize(vertices), labels


def hash_of(values: Tensor) -> str:
    """Return a hash of the contents of a tensor."""
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()

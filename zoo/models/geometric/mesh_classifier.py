"""MeshClassifier: classification of meshes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.models.geometric.mesh_model import MeshModel


class MeshClassifier(MeshModel):
    """Classifier of meshes: the mean of the logits of all vertices, weighted by area.

    Args:
        num_classes: number of classes, K.
        **mesh: see :class:`~zoo.models.geometric.mesh_model.MeshModel`.

    Shapes: a PyG ``Batch`` of B meshes → logits (B, K).

    Batch: see :class:`~zoo.models.geometric.mesh_model.MeshModel`, with one class per mesh, y (B,).
    """

    def logits(self, x: Any) -> Tensor:
        """Compute the logits of the meshes of a batch, (B, K)."""
        surfaces = self.surfaces(x)
        return surfaces.mean(self.vertex_logits(x, surfaces))

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self.logits(batch), batch.y

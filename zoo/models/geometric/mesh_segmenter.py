"""MeshSegmenter: segmentation of meshes into parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from zoo.errors import InputError
from zoo.models.geometric.mesh_model import MeshModel


class MeshSegmenter(MeshModel):
    """Segmentation of meshes: a classifier of their vertices.

    Args:
        num_classes: number of parts of all shapes together, K.
        **mesh: see :class:`~zoo.models.geometric.mesh_model.MeshModel`.

    Shapes: a PyG ``Batch`` of meshes with V vertices in total → logits (V, K).

    Batch: see :class:`~zoo.models.geometric.mesh_model.MeshModel`, with one part per vertex, y
    (V,).
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "accuracy": "fraction of vertices classified correctly",
        "iou": "intersection over union of predicted and true vertices, mean over parts",
    }

    def logits(self, x: Any) -> Tensor:
        """Compute the logits of the parts at every vertex, (V, K)."""
        return self.vertex_logits(x, self.surfaces(x))

    def count_samples(self, batch: Any) -> int:
        return int(batch.num_nodes)

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        if len(batch.y) != batch.num_nodes:
            raise InputError(
                "MeshSegmenter needs one label per vertex, but the data has one per mesh: choose "
                "other data, or --model diffusion_net"
            )
        return self.logits(batch), batch.y

    def step(self, batch: Any) -> dict[str, Any]:
        return super().step(batch) | {"weight": len(batch.y)}

    def make_metrics(self) -> dict[str, Metric]:
        return super().make_metrics() | {"iou": MulticlassJaccardIndex(self.num_classes)}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        return super().predict_step(batch, batch_idx) | {"num_vertices": batch.ptr.diff()}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return the part of each vertex, and the probabilities of all parts."""
        counts = outputs["num_vertices"].tolist()
        return {
            "sample": [mesh for mesh, count in enumerate(counts) for _ in range(count)],
            "vertex": [vertex for count in counts for vertex in range(count)],
            **super().prediction_columns(outputs, data),
        }

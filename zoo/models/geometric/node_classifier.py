"""NodeClassifier: classification of the nodes of a graph."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.core.classification import Classifier
from zoo.errors import InputError
from zoo.models.geometric.graph_model import GraphModel


class NodeClassifier(GraphModel, Classifier):
    """Classifier of the nodes of a graph, trained on the nodes whose class is known.

    Loss: cross-entropy, mean over the nodes in the batch's ``mask``.

    Args:
        num_features: number of features of a node, F.
        num_classes: number of classes, K.
        **graph: see :class:`~zoo.models.geometric.graph_model.GraphModel` and
            :class:`~zoo.core.classification.Classifier`.

    Shapes: a PyG ``Data`` with x (N, F), edge_index (2, E) and optionally edge_weight (E,) →
    logits (N, K).

    Batch: a ``Data`` as above, with class indices y (N,) and ``mask`` (N,), True at the nodes to
    train or evaluate on.

    Source: Kipf and Welling, Semi-supervised classification with graph convolutional networks,
    2017.
    """

    def __init__(self, num_features: int, num_classes: int, **graph: Any) -> None:
        super().__init__(num_features, num_classes=num_classes, **graph)

    def build(self) -> None:
        self.network = self.make_network(self.num_classes)

    def logits(self, x: Any) -> Tensor:
        """Compute the logits of all nodes of a graph, (N, K)."""
        return self.network(x.x, x.edge_index, x.get("edge_weight"))

    def count_samples(self, batch: Any) -> int:
        return int(batch.mask.sum())

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return batch.num_nodes, self.num_classes

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        if "mask" not in batch:
            raise InputError(
                "NodeClassifier needs one graph with a mask of its nodes: choose other data, or "
                "--data.task nodes"
            )
        return self.logits(batch)[batch.mask], batch.y[batch.mask]

    def labels(self, batch: Any) -> Any:
        return batch.y[batch.mask] if "mask" in batch else None

    def step(self, batch: Any) -> dict[str, Any]:
        return super().step(batch) | {"weight": batch.mask.sum()}

"""GraphClassifier: classification of whole graphs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import global_add_pool, global_max_pool, global_mean_pool

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_choice
from zoo.models.geometric.graph_model import GraphModel

POOLINGS = {"sum": global_add_pool, "mean": global_mean_pool, "max": global_max_pool}


class GraphClassifier(GraphModel, Classifier):
    """Classifier of whole graphs, from the node features before and after every layer.

    logits = W [pool(h⁰), pool(h¹), …, pool(h^L)] + b, where h⁰ are the input features of the nodes
    and h^l those after layer l.

    Args:
        num_features: number of features of a node, F.
        num_classes: number of classes, K.
        pooling: pooling over the nodes of a graph: ``sum`` (default), ``mean`` or ``max``.
        layers: number of convolutions, L, default 4.
        normalization: ``batch`` (default) or ``none``.
        **graph: see :class:`~zoo.models.geometric.graph_model.GraphModel` and
            :class:`~zoo.core.classification.Classifier`. ``dropout`` applies to the pooled
            features, not to the convolutions.

    Shapes: a PyG ``Batch`` of G graphs → logits (G, K).

    Batch: a PyG ``Batch`` with class indices y (G,).

    Raises:
        InputError: unknown pooling.

    Source: Xu et al., How powerful are graph neural networks?, 2019, section 4.2.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        pooling: str = "sum",
        layers: int = 4,
        normalization: str = "batch",
        **graph: Any,
    ) -> None:
        super().__init__(
            num_features,
            layers=layers,
            normalization=normalization,
            num_classes=num_classes,
            **graph,
        )
        check_choice("pooling", pooling, POOLINGS)

    def build(self) -> None:
        hp = self.hparams
        self.network = self.make_network(hp["hidden_dim"], dropout=0.0)
        pooled_dim = hp["num_features"] + hp["layers"] * hp["hidden_dim"]
        self.head = nn.Linear(pooled_dim, self.num_classes)

    def logits(self, x: Any) -> Tensor:
        """Compute the logits of the graphs of a batch, (G, K)."""
        pool = POOLINGS[self.hparams["pooling"]]
        features = [x.x, *self.network.layer_outputs(x.x, x.edge_index)]
        pooled = torch.cat([pool(h, x.batch, x.num_graphs) for h in features], 1)
        return self.head(F.dropout(pooled, self.hparams["dropout"], self.training))

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return batch.num_graphs, self.num_classes

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        if not hasattr(batch, "num_graphs"):
            raise InputError(
                "GraphClassifier needs a batch of graphs, but the data is one graph: choose other "
                "data"
            )
        return self.logits(batch), batch.y

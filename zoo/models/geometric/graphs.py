"""Graphs: what a node is, what a whole graph is, and which edges are missing."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import global_add_pool, global_max_pool, global_mean_pool
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from zoo.core.classification import Classifier
from zoo.core.constructor import build_config
from zoo.errors import InputError, check_choice
from zoo.functional.divergences import kl_standard_normal
from zoo.functional.graphs import sample_absent_edges, unique_undirected_edges
from zoo.models.geometric.base import GeometricTask
from zoo.networks.graph_network import GraphConfig, GraphNetwork

POOLINGS = {"sum": global_add_pool, "mean": global_mean_pool, "max": global_max_pool}


class GraphModel(GeometricTask):
    """A task around a :class:`~zoo.networks.graph_network.GraphNetwork`.

    Args:
        num_features: number of node features.
        conv: ``gcn`` (default), ``sage``, ``gat``, ``gin``, ``cheb``, ``appnp`` or ``mlp``, a
            baseline that ignores the edges.
        hidden_dim: features of a node between two layers, default 64.
        layers: number of convolutions, default 2.
        activation: nonlinearity between layers, default ``relu``.
        normalization: ``none`` (default) or ``batch``.
        dropout: dropout probability of every convolution's input, default 0.5.
        attention_dropout: dropout probability of the attention weights of ``gat``, default 0.
        heads: attention heads of ``gat``, default 8.
        cheb_order: number of Chebyshev polynomials of ``cheb``, default 2.
        propagation_steps: propagation steps of ``appnp``, default 10.
        teleport_probability: teleport probability of ``appnp``, default 0.1.
        edge_dropout: dropout probability of the edge weights of ``appnp``, default 0.
        **task: see :class:`~zoo.models.geometric.base.GeometricTask`.

    For the convolutions see :class:`~zoo.networks.graph_network.GraphConfig`.

    Raises:
        InputError: unknown names, or numbers out of range.
    """

    def __init__(
        self,
        num_features: int,
        conv: str = "gcn",
        hidden_dim: int = 64,
        layers: int = 2,
        activation: str = "relu",
        normalization: str = "none",
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
        heads: int = 8,
        cheb_order: int = 2,
        propagation_steps: int = 10,
        teleport_probability: float = 0.1,
        edge_dropout: float = 0.0,
        **task: Any,
    ) -> None:
        super().__init__(**task)

    def make_network(self, out_dim: int, **changes: Any) -> GraphNetwork:
        """Create the convolutions from node features to ``out_dim`` outputs.

        Args:
            out_dim: features of a node at the output.
            **changes: settings that replace the hyper-parameters of the same names.
        """
        config = build_config(GraphConfig, self.hparams, **changes)
        return GraphNetwork(config, self.hparams["num_features"], out_dim)


class NodeClassifier(GraphModel, Classifier):
    """The class of every node of a graph, learned from those whose class is known.

    Loss: cross-entropy, mean over the nodes of the batch's ``mask``.

    Args:
        num_features, num_classes: numbers at a node, and K.
        **graph: see :class:`GraphModel` and :class:`~zoo.core.classification.Classifier`.

    Shapes: a PyG ``Data`` with x (N, F) and edge_index (2, E) → (N, K).

    Batch: ``Data`` with y (N,) and ``mask`` (N,), the nodes that count.

    Source: Kipf and Welling, Semi-supervised classification with graph convolutional networks,
    2017.
    """

    def __init__(self, num_features: int, num_classes: int, **graph: Any) -> None:
        super().__init__(num_features, num_classes=num_classes, **graph)

    def build(self) -> None:
        self.network = self.make_network(self.num_classes)

    def logits(self, x: Any) -> Tensor:
        """Scores of all nodes of a graph, (N, K); its edges may have weights, (E,), in
        ``edge_weight``."""
        return self.network(x.x, x.edge_index, x.get("edge_weight"))

    def batch_size(self, batch: Any) -> int:
        return int(batch.mask.sum())

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return batch.num_nodes, self.num_classes

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        if "mask" not in batch:
            raise InputError(
                "NodeClassifier needs one graph that says which of its nodes count: choose other "
                "data, or --data.task nodes"
            )
        return self.logits(batch)[batch.mask], batch.y[batch.mask]

    def labels(self, batch: Any) -> Any:
        return batch.y[batch.mask] if "mask" in batch else None

    def step(self, batch: Any) -> dict[str, Any]:
        return super().step(batch) | {"weight": batch.mask.sum()}


class GraphClassifier(GraphModel, Classifier):
    """The class of a whole graph, from its nodes' states after every layer.

    logits = W [pool(h⁰), pool(h¹), …, pool(h^L)], h⁰ the features themselves.

    Args:
        num_features, num_classes: numbers at a node, and K.
        pooling: over the nodes of a graph: ``sum`` (default), ``mean`` or ``max``.
        layers: L, default 4.
        normalization: default ``batch``.
        **graph: see :class:`GraphModel` and :class:`~zoo.core.classification.Classifier`; dropout is that in
            front of W.

    Shapes: a PyG ``Batch`` of G graphs → (G, K).

    Batch: a PyG ``Batch`` with y (G,).

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
        self.head = nn.Linear(
            hp["num_features"] + hp["layers"] * hp["hidden_dim"], self.num_classes
        )

    def logits(self, x: Any) -> Tensor:
        """Scores of the graphs of a batch, (G, K)."""
        states = [x.x, *self.network.layer_outputs(x.x, x.edge_index)]
        pool = POOLINGS[self.hparams["pooling"]]
        pooled = torch.cat([pool(h, x.batch, x.num_graphs) for h in states], 1)
        return self.head(F.dropout(pooled, self.hparams["dropout"], self.training))

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return batch.num_graphs, self.num_classes

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        if not hasattr(batch, "num_graphs"):
            raise InputError(
                "GraphClassifier needs many graphs, the data is one: choose other data"
            )
        return self.logits(batch), batch.y


class GraphAutoencoder(GraphModel):
    """Codes of nodes by which missing edges are found: p(i—j) = σ(z_i · z_j).

    Loss: −mean log p of the edges − mean log(1 − p) of as many pairs without an edge; with
    ``variational``, z ~ N(μ, σ²) in training and KL(N(μ, σ²) ‖ N(0, 1)) / N is added, summed over
    dimensions, mean over nodes.

    Args:
        num_features: numbers at a node.
        latent_dim: D, default 16.
        variational: default no.
        hidden_dim: default 32.
        dropout: default 0.
        **graph: see :class:`GraphModel`.

    Shapes: a PyG ``Data`` → codes (N, D).

    Batch: ``Data`` with the edges that may be seen in edge_index, and pairs that are asked for in
    ``edge_label_index`` (2, P) with ``edge_label`` (P,): 1 for an edge. In training there are edges
    alone, and pairs without an edge are drawn here, others every time.

    Source: Kipf and Welling, Variational graph auto-encoders, 2016.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "nll": "−log p of edges and of as many absent pairs, nats, summed over the two",
        "kl": "KL(q ‖ N(0, 1)), nats per node, over the number of nodes",
        "auroc": "area under the ROC curve of held-out edges against absent pairs",
        "average_precision": "area under precision over recall of the same",
    }

    def __init__(
        self,
        num_features: int,
        latent_dim: int = 16,
        variational: bool = False,
        hidden_dim: int = 32,
        dropout: float = 0.0,
        **graph: Any,
    ) -> None:
        super().__init__(num_features, hidden_dim=hidden_dim, dropout=dropout, **graph)

    def build(self) -> None:
        hp = self.hparams
        self.network = self.make_network((1 + hp["variational"]) * hp["latent_dim"])

    def posterior(self, x: Any) -> tuple[Tensor, Tensor | None]:
        """Means of the codes (N, D), and their log-variances if there are any."""
        out = self.network(x.x, x.edge_index)
        if not self.hparams["variational"]:
            return out, None
        mean, log_var = out.chunk(2, -1)
        return mean, log_var

    def encode(self, x: Any) -> Tensor:
        """Codes of all nodes, the means, (N, D)."""
        return self.posterior(x)[0]

    def forward(self, x: Any) -> Tensor:
        return self.encode(x)

    @staticmethod
    def decode(z: Tensor, pairs: Tensor) -> Tensor:
        """Scores of pairs before the sigmoid, (N, D), (2, P) → (P,)."""
        # indexing adds the gradients of a node's pairs up in any order, and so to other last digits
        # every time; index_select always in the same
        return (z.index_select(0, pairs[0]) * z.index_select(0, pairs[1])).sum(-1)

    def batch_size(self, batch: Any) -> int:
        return batch.edge_label_index.shape[1]

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return batch.num_nodes, self.hparams["latent_dim"]

    def step(self, batch: Any) -> dict[str, Any]:
        if "edge_label_index" not in batch:
            raise InputError(
                "GraphAutoencoder needs a graph with edges held out: choose other data, or "
                "--data.task links"
            )
        z, log_var = self.posterior(batch)
        kl: Tensor | None = None
        if log_var is not None:
            kl = kl_standard_normal(z, log_var).sum(-1).mean() / len(z)
            if self.training:
                z = z + (0.5 * log_var).exp() * torch.randn_like(z)
        pairs, labels = batch.edge_label_index, batch.edge_label
        if self.training:
            absent = sample_absent_edges(
                unique_undirected_edges(batch.edge_index), batch.num_nodes, pairs.shape[1]
            )
            pairs = torch.cat([pairs, absent], 1)
            labels = torch.cat([labels, torch.zeros_like(labels)])
        scores = self.decode(z, pairs)
        # mean over edges plus mean over as many absent pairs
        nll = 2 * F.binary_cross_entropy_with_logits(scores, labels)
        loss = nll if kl is None else nll + kl
        parts: dict[str, Any] = {"loss": loss, "nll": nll, "weight": len(labels)}
        if kl is not None:
            parts["kl"] = kl
        if not self.training:
            parts["outputs"] = scores.detach().sigmoid(), labels.long()
        return parts

    def make_metrics(self) -> dict[str, Metric]:
        return {"auroc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        z = self.encode(batch)
        return {"code": z, "probability": self.decode(z, batch.edge_label_index).sigmoid()}

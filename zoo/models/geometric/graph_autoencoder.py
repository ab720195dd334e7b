"""GraphAutoencoder: link prediction with latent codes of the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from zoo.core.predictions import tensor_columns
from zoo.errors import InputError, check_at_least
from zoo.functional.divergences import kl_standard_normal
from zoo.functional.graphs import sample_absent_edges, unique_undirected_edges
from zoo.functional.precision import widen
from zoo.models.geometric.graph_model import GraphModel


class GraphAutoencoder(GraphModel):
    """Graph autoencoder (GAE), or variational graph autoencoder (VGAE), for link prediction.

    An edge between two nodes has the probability p(i—j) = σ(z_i · z_j), where z_i is the code of
    node i.

    Loss: −mean log p of the edges − mean log(1 − p) of as many pairs of nodes without an edge.
    A variational model samples z ~ N(μ, σ²) in training, and adds KL(N(μ, σ²) ‖ N(0, 1)) / N,
    summed over latent dimensions, mean over the N nodes.

    Args:
        num_features: number of features of a node, F.
        latent_dim: number of latent dimensions, D, default 16.
        variational: whether the model is variational, default False.
        hidden_dim: number of features of a node between two layers, default 32.
        dropout: dropout probability of the input of every convolution, default 0.
        **graph: see :class:`~zoo.models.geometric.graph_model.GraphModel`.

    Shapes: a PyG ``Data`` with x (N, F) and edge_index (2, E) → codes (N, D).

    Batch: a ``Data`` whose ``edge_index`` contains the known edges, with pairs of nodes to predict
    in ``edge_label_index``, (2, P), and their labels in ``edge_label``, (P,): 1 for an edge, 0 for
    no edge. In training all pairs are edges, and every step samples P pairs without an edge.

    Source: Kipf and Welling, Variational graph auto-encoders, 2016.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "nll": "−log p, nats: mean over edges plus mean over as many absent edges",
        "kl": "KL(q ‖ N(0, 1)), nats per node, divided by the number of nodes",
        "auroc": "area under the ROC curve, held-out edges against absent edges",
        "average_precision": "area under the precision-recall curve, held-out against absent edges",
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
        check_at_least(1, latent_dim=latent_dim)

    def build(self) -> None:
        hp = self.hparams
        self.network = self.make_network((1 + hp["variational"]) * hp["latent_dim"])

    def posterior(self, x: Any) -> tuple[Tensor, Tensor | None]:
        """Compute the means of the codes and, if the model is variational, their log-variances.

        Returns:
            Means and log-variances, (N, D) each; the latter are None if the model is not
            variational.
        """
        out = self.network(x.x, x.edge_index)
        if not self.hparams["variational"]:
            return out, None
        mean, log_var = out.chunk(2, -1)
        return mean, log_var

    def encode(self, x: Any) -> Tensor:
        """Compute the codes of all nodes, or their means if the model is variational, (N, D)."""
        return self.posterior(x)[0]

    def forward(self, x: Any) -> Tensor:
        return self.encode(x)

    @staticmethod
    def decode(z: Tensor, pairs: Tensor) -> Tensor:
        """Compute the logits of edges between pairs of nodes.

        Args:
            z: codes of the nodes, (N, D).
            pairs: pairs of nodes, (2, P).

        Returns:
            (P,).
        """
        # z[pairs] would add up the gradients of a node in arbitrary order, with different rounding
        # in every run; index_select has a fixed order
        return (z.index_select(0, pairs[0]) * z.index_select(0, pairs[1])).sum(-1)

    def count_samples(self, batch: Any) -> int:
        return batch.edge_label_index.shape[1]

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return batch.num_nodes, self.hparams["latent_dim"]

    def step(self, batch: Any) -> dict[str, Any]:
        if "edge_label_index" not in batch:
            raise InputError(
                "GraphAutoencoder needs a graph with held-out edges: choose other data, or "
                "--data.task links"
            )
        mean, log_var = self.posterior(batch)
        z, kl = mean, None
        if log_var is not None:
            kl = kl_standard_normal(mean, log_var).sum(-1).mean() / len(mean)
            if self.training:
                z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        pairs, labels = self._labeled_pairs(batch)
        logits = widen(self.decode(z, pairs))
        # half of the pairs are edges: twice the mean is the sum of the means over the two halves
        nll = 2 * F.binary_cross_entropy_with_logits(logits, labels.to(logits))
        loss = nll if kl is None else nll + kl
        parts: dict[str, Any] = {"loss": loss, "nll": nll, "weight": len(labels)}
        if kl is not None:
            parts["kl"] = kl
        if not self.training:
            parts["outputs"] = logits.detach().sigmoid(), labels.long()
        return parts

    def _labeled_pairs(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return the pairs of a batch and their labels; in training, absent edges are sampled."""
        pairs, labels = batch.edge_label_index, batch.edge_label
        if not self.training:
            return pairs, labels
        edges = unique_undirected_edges(batch.edge_index)
        absent = sample_absent_edges(edges, batch.num_nodes, pairs.shape[1])
        return torch.cat([pairs, absent], 1), torch.cat([labels, torch.zeros_like(labels)])

    def make_metrics(self) -> dict[str, Metric]:
        return {"auroc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        z = self.encode(batch)
        return {"code": z, "probability": self.decode(z, batch.edge_label_index).sigmoid()}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return the code of each node; the pairs' probabilities are only in the tensors."""
        return tensor_columns({"code": outputs["code"]})

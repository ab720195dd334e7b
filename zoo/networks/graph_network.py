"""Stacks of graph convolutions."""

from __future__ import annotations

import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import APPNP, ChebConv, GATConv, GCNConv, GINConv, SAGEConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.norm import BatchNorm

from zoo.networks.mlp import make_activation

CONVOLUTIONS = ("gcn", "sage", "gat", "gin", "cheb", "appnp", "mlp")
WEIGHTED = ("gcn", "cheb", "appnp")  # whose edges may have weights
NORMS = ("none", "batch")
LINEAR_FIRST = ("gcn", "gat", "appnp", "mlp")  # what they do first with features is a linear map
DENSE = 0.1  # share of features other than 0 from which on a sparse product is no faster


class GraphNetwork(nn.Module):
    """h ← φ(norm(conv(dropout(h), edges))), L times; the last without norm and φ.

    Args:
        conv: ``gcn`` (Kipf and Welling, 2017), ``sage`` (Hamilton et al., 2017, mean aggregator),
            ``gat`` (Veličković et al., 2018), ``gin`` (Xu et al., 2019, ε = 0), ``cheb``
            (Defferrard et al., 2016), ``appnp`` (Gasteiger et al., 2019: an MLP whose outputs then
            spread along the edges) or ``mlp``, which looks at no edge.
        in_dim, hidden, out_dim: features of a node at the input, inside and at the output.
        layers: L.
        activation: φ, default ``relu``.
        norm: ``none`` (default) or ``batch``, over all nodes of a batch.
        dropout: probability on every convolution's input, default 0.
        attention_dropout: of ``gat``: probability at the attention weights, default 0.
        heads: of ``gat``: they share ``hidden`` in front, and are averaged in the last layer;
            default 8.
        order: of ``cheb``: the number of Chebyshev polynomials, default 2.
        steps, teleport: of ``appnp``: how often outputs spread, and the share α of a node's own
            that is mixed in each time; default 10 and 0.1.
        edge_dropout: of ``appnp``: probability at the edges' weights, drawn anew each time that
            outputs spread; default 0.

    Shapes: x (N, in_dim), edge_index (2, E), edge_weight (E,) or None → (N, out_dim).

    Raises:
        ValueError: unknown names; heads that do not divide ``hidden``; no layer; weights of edges
            for a convolution that has no use for them.
    """

    def __init__(
        self,
        conv: str,
        in_dim: int,
        hidden: int,
        out_dim: int,
        layers: int,
        activation: str = "relu",
        norm: str = "none",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        heads: int = 8,
        order: int = 2,
        steps: int = 10,
        teleport: float = 0.1,
        edge_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if conv not in CONVOLUTIONS:
            raise ValueError(f"unknown convolution {conv!r}; choose from {', '.join(CONVOLUTIONS)}")
        if norm not in NORMS:
            raise ValueError(f"unknown norm {norm!r}; choose from {', '.join(NORMS)}")
        if layers < 1:
            raise ValueError(f"a graph network needs a layer, got layers={layers}")
        if conv == "gat" and layers > 1 and hidden % heads:
            raise ValueError(f"{heads} heads cannot share {hidden} hidden features evenly")
        self.kind = conv
        self.dropout = dropout
        self.activation = make_activation(activation)

        def make(before: int, after: int, last: bool) -> nn.Module:
            if conv == "gcn":
                return GCNConv(before, after)
            if conv == "sage":
                return SAGEConv(before, after)
            if conv == "gin":
                first = nn.Linear(before, hidden, bias=norm == "none")  # a norm would remove it
                inner = nn.Sequential(first, *make_norm(norm, hidden), make_activation(activation))
                return GINConv(inner.append(nn.Linear(hidden, after)))
            if conv == "cheb":
                return ChebConv(before, after, order)
            if conv == "gat":
                width = after if last else after // heads
                return GATConv(before, width, heads, not last, dropout=attention_dropout)
            return NodeLinear(before, after)

        widths = [in_dim, *[hidden] * (layers - 1), out_dim]
        last = layers - 1
        self.convs = nn.ModuleList(make(widths[i], widths[i + 1], i == last) for i in range(layers))
        self.norms = nn.ModuleList(nn.Sequential(*make_norm(norm, hidden)) for _ in range(last))
        self.spread = Propagation(steps, teleport, edge_dropout) if conv == "appnp" else None
        self.features = FixedFeatures() if conv in LINEAR_FIRST else None

    def states(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None
    ) -> list[Tensor]:
        """What every layer gives, the last one's the output."""
        if edge_weight is not None and self.kind not in WEIGHTED:
            raise ValueError(
                f"conv={self.kind!r} ignores the weights of edges: choose {', '.join(WEIGHTED)}"
            )
        states = []
        weights = () if edge_weight is None or self.spread is not None else (edge_weight,)
        if self.features is not None:
            x = self.features(x)
        for i, conv in enumerate(self.convs):
            x = conv(self._dropped(x), edge_index, *weights)
            if i < len(self.norms):
                x = self.activation(self.norms[i](x))
            states.append(x)
        if self.spread is not None:
            states[-1] = self.spread(x, edge_index, edge_weight)
        return states

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return self.states(x, edge_index, edge_weight)[-1]

    def _dropped(self, x: Tensor) -> Tensor:
        if x.layout != torch.sparse_csr:
            return F.dropout(x, self.dropout, self.training)
        # of a 0 dropout leaves a 0
        values = F.dropout(x.values(), self.dropout, self.training)
        return torch.sparse_csr_tensor(
            x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False
        )


class FixedFeatures:
    """Features of nodes in the form in which a linear map of them is fastest.

    Words of papers and the like are nearly all 0: such features become a sparse matrix, once for as
    long as the very same tensor comes again, as it does where the whole graph is the batch. Those
    that a gradient is wanted of, and few ones, stay as they are.

    Shapes: (N, F) → the same, dense or in the CSR layout.
    """

    narrow = 64  # features up to which it does not pay to look

    def __init__(self) -> None:
        self._seen: Any = None  # a weak reference: the features may go
        self._version = 0
        self._form: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[1] <= self.narrow or x.requires_grad or torch.is_autocast_enabled(x.device.type):
            return x
        if x.is_inference():  # made for this batch alone, and without the version that is looked at
            return x
        if self._seen is None or self._seen() is not x or self._version != x._version:
            sparse = int(x.count_nonzero()) < DENSE * x.numel()
            self._form = x.to_sparse_csr() if sparse else None
            self._seen, self._version = weakref.ref(x), x._version
        return x if self._form is None else self._form

    def __reduce__(self) -> Any:  # a copy begins anew
        return FixedFeatures, ()


class Propagation(APPNP):
    """h ← (1 − α) Â h + α h⁰, K times, with Â = D^{-½} (A + I) D^{-½}.

    PyG's own drops more edges in every step, from those that are left: after ten steps with
    probability one half, nearly none are. The paper draws them anew in every step.

    Args:
        steps: K.
        teleport: α.
        edge_dropout: probability at the entries of Â in training.

    Source: Gasteiger et al., Predict then propagate, 2019, section 4.
    """

    def __init__(self, steps: int, teleport: float, edge_dropout: float) -> None:
        super().__init__(steps, teleport)
        self.edge_dropout = edge_dropout

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        edges, weights = gcn_norm(edge_index, edge_weight, x.shape[0], dtype=x.dtype)
        h = x
        for _ in range(self.K):
            dropped = F.dropout(weights, self.edge_dropout, self.training)
            x = (1 - self.alpha) * self.propagate(edges, x=x, edge_weight=dropped) + self.alpha * h
        return x


class NodeLinear(nn.Linear):
    """A linear map of each node by itself, in the place of a convolution."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def make_norm(norm: str, features: int) -> list[Any]:
    """The layers of a norm: none or one."""
    return [BatchNorm(features)] if norm == "batch" else []

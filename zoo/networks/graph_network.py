"""Stacks of graph convolutions."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import APPNP, ChebConv, GATConv, GCNConv, GINConv, SAGEConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.norm import BatchNorm

from zoo.errors import (
    InputError,
    check_at_least,
    check_choice,
    check_fraction,
    check_probability,
)
from zoo.networks.mlp import make_activation

CONVOLUTIONS = ("gcn", "sage", "gat", "gin", "cheb", "appnp", "mlp")
WEIGHTED_CONVOLUTIONS = ("gcn", "cheb", "appnp")  # those that support edge weights
LINEAR_FIRST = ("gcn", "gat", "appnp", "mlp")  # those that start with a linear map of the features
NORMALIZATIONS = ("none", "batch")
MAX_DENSITY = 0.1  # fraction of nonzero features below which a sparse product is faster


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """Settings of a stack of graph convolutions.

    Args:
        conv: ``gcn`` (default; Kipf and Welling, 2017), ``sage`` (Hamilton et al., 2017, mean
            aggregator), ``gat`` (Veličković et al., 2018), ``gin`` (Xu et al., 2019, ε = 0),
            ``cheb`` (Defferrard et al., 2016), ``appnp`` (Gasteiger et al., 2019: an MLP whose
            outputs are propagated along the edges) or ``mlp``, which ignores the edges.
        hidden_dim: number of features of a node between two layers, default 64.
        layers: number of convolutions, L, default 2.
        activation: nonlinearity φ, default ``relu``.
        normalization: ``none`` (default) or ``batch``, over all nodes of a batch.
        dropout: dropout probability of the input of every convolution, default 0.
        attention_dropout: dropout probability of the attention weights of ``gat``, default 0.
        heads: number of attention heads of ``gat``, default 8. Their outputs are concatenated to
            ``hidden_dim`` features, and averaged in the last layer.
        cheb_order: number of Chebyshev polynomials of ``cheb``, default 2.
        propagation_steps: number of propagation steps of ``appnp``, K, default 10.
        teleport_probability: teleport probability of ``appnp``, α, default 0.1.
        edge_dropout: dropout probability of the edges of ``appnp``, which are sampled
            independently in every propagation step; default 0.

    Raises:
        InputError: unknown names; values out of range; heads that do not divide ``hidden_dim``.
    """

    conv: str = "gcn"
    hidden_dim: int = 64
    layers: int = 2
    activation: str = "relu"
    normalization: str = "none"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    heads: int = 8
    cheb_order: int = 2
    propagation_steps: int = 10
    teleport_probability: float = 0.1
    edge_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("conv", self.conv, CONVOLUTIONS)
        check_choice("normalization", self.normalization, NORMALIZATIONS)
        check_at_least(
            1,
            hidden_dim=self.hidden_dim,
            layers=self.layers,
            heads=self.heads,
            cheb_order=self.cheb_order,
        )
        check_at_least(0, propagation_steps=self.propagation_steps)
        check_fraction(teleport_probability=self.teleport_probability)
        check_probability(
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            edge_dropout=self.edge_dropout,
        )
        if self.conv == "gat" and self.layers > 1 and self.hidden_dim % self.heads:
            raise InputError(
                f"heads must divide hidden_dim, got heads={self.heads} and "
                f"hidden_dim={self.hidden_dim}"
            )


class GraphNetwork(nn.Module):
    """A stack of graph convolutions, h ← φ(norm(conv(dropout(h), edges))).

    The last convolution is not followed by normalization and nonlinearity.

    Args:
        config: settings of the convolutions.
        in_dim: number of input features of a node.
        out_dim: number of output features of a node.

    Shapes: x (N, in_dim), edge_index (2, E), edge_weight (E,) or None → (N, out_dim).

    Raises:
        InputError: edge weights for a convolution that cannot use them.
    """

    def __init__(self, config: GraphConfig, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.config = config
        self.activation = make_activation(config.activation)
        widths = [in_dim, *[config.hidden_dim] * (config.layers - 1), out_dim]
        last = config.layers - 1
        self.convs = nn.ModuleList(
            self._make_conv(widths[i], widths[i + 1], i == last) for i in range(config.layers)
        )
        self.norms = nn.ModuleList(nn.Sequential(*self._make_norm()) for _ in range(last))
        self.propagation: Propagation | None = None
        if config.conv == "appnp":
            self.propagation = Propagation(
                config.propagation_steps, config.teleport_probability, config.edge_dropout
            )
        self.sparse_features = SparseFeatures() if config.conv in LINEAR_FIRST else None

    def _make_conv(self, in_dim: int, out_dim: int, is_last: bool) -> nn.Module:
        config = self.config
        if config.conv == "gcn":
            return GCNConv(in_dim, out_dim)
        if config.conv == "sage":
            return SAGEConv(in_dim, out_dim)
        if config.conv == "gin":
            bias = config.normalization == "none"  # batch normalization would cancel it
            mlp = nn.Sequential(
                nn.Linear(in_dim, config.hidden_dim, bias),
                *self._make_norm(),
                make_activation(config.activation),
                nn.Linear(config.hidden_dim, out_dim),
            )
            return GINConv(mlp)
        if config.conv == "cheb":
            return ChebConv(in_dim, out_dim, config.cheb_order)
        if config.conv == "gat":
            head_dim = out_dim if is_last else out_dim // config.heads
            return GATConv(
                in_dim, head_dim, config.heads, not is_last, dropout=config.attention_dropout
            )
        return NodeLinear(in_dim, out_dim)

    def _make_norm(self) -> list[nn.Module]:
        if self.config.normalization == "none":
            return []
        return [BatchNorm(self.config.hidden_dim)]

    def layer_outputs(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None
    ) -> list[Tensor]:
        """Return the node features after every layer; the last are the output of the network."""
        if edge_weight is not None and self.config.conv not in WEIGHTED_CONVOLUTIONS:
            raise InputError(
                f"conv={self.config.conv!r} does not support edge weights: choose from "
                f"{', '.join(WEIGHTED_CONVOLUTIONS)}, or leave the weights out with "
                "--data.weighted false"
            )
        outputs = []
        weights = () if edge_weight is None or self.propagation is not None else (edge_weight,)
        if self.sparse_features is not None:
            x = self.sparse_features(x)
        for i, conv in enumerate(self.convs):
            x = conv(self._dropout(x), edge_index, *weights)
            if i < len(self.norms):
                x = self.activation(self.norms[i](x))
            outputs.append(x)
        if self.propagation is not None:
            outputs[-1] = self.propagation(x, edge_index, edge_weight)
        return outputs

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return self.layer_outputs(x, edge_index, edge_weight)[-1]

    def _dropout(self, x: Tensor) -> Tensor:
        if x.layout != torch.sparse_csr:
            return F.dropout(x, self.config.dropout, self.training)
        # dropout leaves zeros unchanged, so it needs only the stored values
        values = F.dropout(x.values(), self.config.dropout, self.training)
        return torch.sparse_csr_tensor(
            x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False
        )


class SparseFeatures:
    """Conversion of mostly zero node features, such as bags of words, to CSR layout.

    Linear maps of sparse features are faster. The converted matrix is reused while the input is the
    same tensor, as in full-batch training. Features that are dense, few or require a gradient are
    returned unchanged, as are all features under autocast and in inference mode.

    Shapes: (N, F) → the same, dense or in CSR layout.
    """

    max_dense_dim = 64  # with this many features or fewer, the check costs more than it saves

    def __init__(self) -> None:
        self._source: Any = None  # weak reference, so the features can be freed
        self._version = 0
        self._sparse: Tensor | None = None  # None if the features are dense

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[1] <= self.max_dense_dim or x.requires_grad:
            return x
        if torch.is_autocast_enabled(x.device.type):
            return x
        if x.is_inference():  # made for this batch only, and has no version counter
            return x
        if self._source is None or self._source() is not x or self._version != x._version:
            is_sparse = int(x.count_nonzero()) < MAX_DENSITY * x.numel()
            self._sparse = x.to_sparse_csr() if is_sparse else None
            self._source, self._version = weakref.ref(x), x._version
        return x if self._sparse is None else self._sparse

    def __reduce__(self) -> Any:  # weak references cannot be copied: a copy starts empty
        return SparseFeatures, ()


class Propagation(APPNP):
    """Personalized PageRank, h ← (1 − α) Â h + α h⁰, K times, with Â = D^{-½} (A + I) D^{-½}.

    PyG's ``APPNP`` drops edges cumulatively: with probability one half, nearly none are left after
    ten steps. Here, as in the paper, the steps sample the dropped edges independently.

    Args:
        steps: number of propagation steps, K.
        teleport_probability: teleport probability, α.
        edge_dropout: dropout probability of the entries of Â.

    Shapes: x (N, F), edge_index (2, E), edge_weight (E,) or None → (N, F).

    Source: Gasteiger et al., Predict then propagate, 2019, section 4.
    """

    def __init__(self, steps: int, teleport_probability: float, edge_dropout: float) -> None:
        super().__init__(steps, teleport_probability)
        self.edge_dropout = edge_dropout

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        edges, weights = gcn_norm(edge_index, edge_weight, x.shape[0], dtype=x.dtype)
        h = x
        for _ in range(self.K):
            dropped = F.dropout(weights, self.edge_dropout, self.training)
            h = (1 - self.alpha) * self.propagate(edges, x=h, edge_weight=dropped) + self.alpha * x
        return h


class NodeLinear(nn.Linear):
    """Linear map of each node, with the arguments of a graph convolution; ignores the edges."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)

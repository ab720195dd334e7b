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
    check_non_negative,
    check_probability,
)
from zoo.networks.mlp import make_activation

CONVOLUTIONS = ("gcn", "sage", "gat", "gin", "cheb", "appnp", "mlp")
WEIGHTED = ("gcn", "cheb", "appnp")  # whose edges may have weights
NORMALIZATIONS = ("none", "batch")
LINEAR_FIRST = ("gcn", "gat", "appnp", "mlp")  # what they do first with features is a linear map
DENSE = 0.1  # share of features other than 0 from which on a sparse product is no faster


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """Settings of a stack of graph convolutions.

    Args:
        conv: ``gcn`` (default; Kipf and Welling, 2017), ``sage`` (Hamilton et al., 2017, mean
            aggregator), ``gat`` (Veličković et al., 2018), ``gin`` (Xu et al., 2019, ε = 0),
            ``cheb`` (Defferrard et al., 2016), ``appnp`` (Gasteiger et al., 2019: an MLP whose
            outputs are propagated along the edges) or ``mlp``, which ignores the edges.
        hidden_dim: features of a node between two layers, default 64.
        layers: number of convolutions, L, default 2.
        activation: φ, default ``relu``.
        normalization: ``none`` (default) or ``batch``, over all nodes of a batch.
        dropout: dropout probability of every convolution's input, default 0.
        attention_dropout: dropout probability of the attention weights of ``gat``, default 0.
        heads: attention heads of ``gat``, default 8. Their outputs are concatenated to
            ``hidden_dim`` features, and averaged in the last layer.
        cheb_order: number of Chebyshev polynomials of ``cheb``, default 2.
        propagation_steps: propagation steps of ``appnp``, K, default 10.
        teleport_probability: teleport probability of ``appnp``, α, default 0.1.
        edge_dropout: dropout probability of the edge weights of ``appnp``, drawn again in every
            propagation step, default 0.

    Raises:
        InputError: unknown names; numbers out of range; heads that do not divide ``hidden_dim``.
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
        check_non_negative(propagation_steps=self.propagation_steps)
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
    """h ← φ(norm(conv(dropout(h), edges))), L times; the last without normalization and φ.

    Args:
        config: settings of the convolutions.
        in_dim: features of a node at the input.
        out_dim: features of a node at the output.

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
        self.features = FixedFeatures() if config.conv in LINEAR_FIRST else None

    def _make_conv(self, before: int, after: int, last: bool) -> nn.Module:
        config = self.config
        if config.conv == "gcn":
            return GCNConv(before, after)
        if config.conv == "sage":
            return SAGEConv(before, after)
        if config.conv == "gin":
            bias = config.normalization == "none"  # batch normalization would cancel it
            first = nn.Linear(before, config.hidden_dim, bias=bias)
            activation = make_activation(config.activation)
            inner = nn.Sequential(first, *self._make_norm(), activation)
            return GINConv(inner.append(nn.Linear(config.hidden_dim, after)))
        if config.conv == "cheb":
            return ChebConv(before, after, config.cheb_order)
        if config.conv == "gat":
            width = after if last else after // config.heads
            return GATConv(before, width, config.heads, not last, dropout=config.attention_dropout)
        return NodeLinear(before, after)

    def _make_norm(self) -> list[nn.Module]:
        batch = self.config.normalization == "batch"
        return [BatchNorm(self.config.hidden_dim)] if batch else []

    def states(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None
    ) -> list[Tensor]:
        """What every layer gives, the last one's the output."""
        if edge_weight is not None and self.config.conv not in WEIGHTED:
            raise InputError(
                f"conv={self.config.conv!r} ignores edge weights: choose {', '.join(WEIGHTED)}"
            )
        states = []
        weights = () if edge_weight is None or self.propagation is not None else (edge_weight,)
        if self.features is not None:
            x = self.features(x)
        for i, conv in enumerate(self.convs):
            x = conv(self._dropped(x), edge_index, *weights)
            if i < len(self.norms):
                x = self.activation(self.norms[i](x))
            states.append(x)
        if self.propagation is not None:
            states[-1] = self.propagation(x, edge_index, edge_weight)
        return states

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return self.states(x, edge_index, edge_weight)[-1]

    def _dropped(self, x: Tensor) -> Tensor:
        if x.layout != torch.sparse_csr:
            return F.dropout(x, self.config.dropout, self.training)
        # of a 0 dropout leaves a 0
        values = F.dropout(x.values(), self.config.dropout, self.training)
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

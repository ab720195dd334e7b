"""Random graphs from the stochastic block model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.single_graph import GraphDataModule, split_masks
from zoo.errors import InputError, check_at_least, check_fraction, check_non_negative
from zoo.functional.graphs import symmetrize_edges


class SBM(GraphDataModule):
    """A graph from the stochastic block model, with noisy node features.

    Nodes i and j are connected independently with probability ``p_in`` within a community and
    ``p_out`` between two. The features of a node are normally distributed with unit variance around
    the mean of its community, a random vector of norm ``feature_signal``.

    Args:
        communities: number of communities, K, default 4.
        nodes: number of nodes, divided evenly among the communities, default 400.
        p_in: probability of an edge within a community, default 0.1.
        p_out: probability of an edge between two communities, default 0.01.
        features: number of features per node, default 16.
        feature_signal: norm of a community's mean feature vector, in standard deviations of the
            noise; default 1.
        train_per_class: training nodes of each community, default 5.
        val_nodes: validation nodes, default 80; all others are for testing.
        **graph: see :class:`~datamodules.single_graph.GraphDataModule`.

    Raises:
        InputError: a value out of range, or no nodes left for testing.

    Source: Holland et al., Stochastic blockmodels: first steps, 1983.
    """

    def __init__(
        self,
        communities: int = 4,
        nodes: int = 400,
        p_in: float = 0.1,
        p_out: float = 0.01,
        features: int = 16,
        feature_signal: float = 1.0,
        train_per_class: int = 5,
        val_nodes: int = 80,
        **graph: Any,
    ) -> None:
        super().__init__(**graph)
        check_at_least(2, communities=communities)
        check_at_least(1, nodes=nodes)
        check_at_least(0, val_nodes=val_nodes)
        check_at_least(1, features=features, train_per_class=train_per_class)
        check_fraction(p_in=p_in, p_out=p_out)
        check_non_negative(feature_signal=feature_signal)
        self.communities, self.nodes, self.p_in, self.p_out = communities, nodes, p_in, p_out
        self.features, self.feature_signal = features, feature_signal
        self.train_per_class, self.val_nodes = train_per_class, val_nodes

    def load(self) -> Data:
        generator = torch.Generator().manual_seed(self.seed)
        y = torch.arange(self.nodes) % self.communities
        pairs = torch.triu_indices(self.nodes, self.nodes, 1)
        p = torch.where(y[pairs[0]] == y[pairs[1]], self.p_in, self.p_out)
        pairs = pairs[:, torch.rand(len(p), generator=generator) < p]
        means = torch.randn(self.communities, self.features, generator=generator)
        means *= self.feature_signal / means.norm(dim=1, keepdim=True)
        x = means[y] + torch.randn(self.nodes, self.features, generator=generator)
        return Data(x=x, edge_index=symmetrize_edges(pairs), y=y, **self._sample_masks(y))

    def _sample_masks(self, y: Tensor) -> dict[str, Tensor]:
        """Sample the training nodes of each community and the validation nodes, by the seed."""
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(self.seed))
        by_class = [order[y[order] == k] for k in range(self.communities)]
        train = torch.cat([nodes[: self.train_per_class] for nodes in by_class])
        rest = order[~torch.isin(order, train)]
        if len(rest) <= self.val_nodes:
            raise InputError(
                f"{self.nodes} nodes leave none for testing after {len(train)} for training and "
                f"{self.val_nodes} for validation; raise nodes or lower val_nodes"
            )
        val, test = rest[: self.val_nodes], rest[self.val_nodes :]
        return split_masks(len(y), {"train": train, "val": val, "test": test})

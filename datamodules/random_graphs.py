"""Graphs from four random graph models with the same number of edges."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.graph_classification import GraphClassificationDataModule
from zoo.errors import check_at_least
from zoo.functional.graphs import sample_absent_edges, symmetrize_edges


class RandomGraphs(GraphClassificationDataModule):
    """Graphs from four random graph models; the class of a graph is its model.

    A graph with N nodes has 3 (N − 3) edges under every model:

    - Erdős–Rényi: every pair of nodes is equally likely to be connected;
    - stochastic block model: two communities of N/2 nodes, with 90% of the edges inside them;
    - Watts–Strogatz: a ring lattice in which 10% of the edges are rewired;
    - Barabási–Albert: each new node is connected to three others by preferential attachment.

    All nodes have the single feature 1.

    Args:
        num_samples: number of graphs, default 800, divided evenly among the models.
        min_nodes: smallest number of nodes of a graph, default 30.
        max_nodes: largest number of nodes of a graph, default 60.
        **graphs: see :class:`~datamodules.graph_classification.GraphClassificationDataModule`.

    Raises:
        InputError: ``min_nodes`` is below 9, or ``max_nodes`` is below ``min_nodes``.
    """

    def __init__(
        self, num_samples: int = 800, min_nodes: int = 30, max_nodes: int = 60, **graphs: Any
    ) -> None:
        super().__init__(**graphs)
        check_at_least(1, num_samples=num_samples)
        # two communities of 4 nodes have only 12 pairs, too few for 90% of the 15 edges
        check_at_least(9, min_nodes=min_nodes)
        check_at_least(min_nodes, max_nodes=max_nodes)
        self.num_samples, self.min_nodes, self.max_nodes = num_samples, min_nodes, max_nodes

    @property
    def class_names(self) -> list[str]:
        return list(RANDOM_GRAPH_MODELS)

    def load(self) -> list[Data]:
        generator = torch.Generator().manual_seed(self.seed)
        models = list(RANDOM_GRAPH_MODELS.values())
        graphs = []
        for i in range(self.num_samples):
            label = i % len(models)
            size = torch.randint(self.min_nodes, self.max_nodes + 1, (), generator=generator)
            nodes = int(size)
            edges = models[label](nodes, 3 * (nodes - 3), generator)
            x, y = torch.ones(nodes, 1), torch.tensor([label])
            graphs.append(Data(x=x, edge_index=symmetrize_edges(edges), y=y))
        return graphs


def erdos_renyi(nodes: int, edges: int, generator: torch.Generator) -> Tensor:
    """Sample distinct pairs of nodes uniformly, (2, edges)."""
    return sample_absent_edges(torch.empty(2, 0, dtype=torch.long), nodes, edges, generator)


def stochastic_block_model(nodes: int, edges: int, generator: torch.Generator) -> Tensor:
    """Sample 90% of the edges within two halves of the nodes and 10% between them, (2, edges)."""
    pairs = torch.triu_indices(nodes, nodes, 1)
    half = nodes // 2
    within = (pairs[0] < half) == (pairs[1] < half)
    count = round(0.9 * edges)
    sampled = []
    for candidates, size in ((pairs[:, within], count), (pairs[:, ~within], edges - count)):
        order = torch.randperm(candidates.shape[1], generator=generator)
        sampled.append(candidates[:, order[:size]])
    return torch.cat(sampled, 1)


def watts_strogatz(nodes: int, edges: int, generator: torch.Generator) -> Tensor:
    """Sample 90% of the edges from a ring lattice, where each node is connected to the next three,
    and 10% from all other pairs, (2, edges)."""
    first = torch.arange(nodes).repeat(3)
    step = torch.arange(1, 4).repeat_interleave(nodes)
    ring = torch.stack([first, (first + step) % nodes])
    ring = torch.stack([ring.min(0).values, ring.max(0).values])
    ring = ring[:, torch.randperm(ring.shape[1], generator=generator)]
    rewired = round(0.1 * edges)
    shortcuts = sample_absent_edges(ring, nodes, rewired, generator)
    return torch.cat([ring[:, : edges - rewired], shortcuts], 1)


def barabasi_albert(nodes: int, edges: int, generator: torch.Generator) -> Tensor:
    """Connect each node after the first three to three earlier ones, with probability proportional
    to their degree, (2, 3 (nodes − 3)).

    The number of edges follows from the number of nodes; ``edges`` is not used.
    """
    degrees = torch.zeros(nodes)
    degrees[:3] = 1  # nodes without edges would never be chosen
    pairs = []
    for new in range(3, nodes):
        chosen = torch.multinomial(degrees, 3, generator=generator)
        degrees[chosen] += 1
        degrees[new] = 3
        pairs.append(torch.stack([chosen, torch.full((3,), new)]))
    return torch.cat(pairs, 1)


RANDOM_GRAPH_MODELS = {
    "Erdős–Rényi": erdos_renyi,
    "stochastic block model": stochastic_block_model,
    "Watts–Strogatz": watts_strogatz,
    "Barabási–Albert": barabasi_albert,
}

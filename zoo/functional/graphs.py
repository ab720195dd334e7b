"""Functions of the edges of a graph.

``edge_index`` follows PyG, (2, E), with source nodes in row 0 and target nodes in row 1. Pairs,
(2, P), contain each undirected edge once, with the smaller node index in row 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def unique_undirected_edges(edge_index: Tensor) -> Tensor:
    """Return each undirected edge once, without self-loops, (2, P), the smaller node in row 0."""
    low, high = edge_index.min(0).values, edge_index.max(0).values
    return torch.stack([low, high])[:, low < high].unique(dim=1)


def symmetrize_edges(pairs: Tensor) -> Tensor:
    """Return each pair as two directed edges, (2, P) → (2, 2P)."""
    return torch.cat([pairs, pairs.flip(0)], 1)


def sample_absent_edges(
    pairs: Tensor, num_nodes: int, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Sample distinct pairs of nodes without an edge, uniformly.

    Args:
        pairs: edges of the graph, (2, P), the smaller node in row 0.
        num_nodes: number of nodes, N.
        count: number of pairs to sample.
        generator: random generator on the CPU, default the global one.

    Returns:
        (2, count), the smaller node in row 0.

    Raises:
        ValueError: the graph has fewer absent edges than ``count``.
    """
    absent = num_nodes * (num_nodes - 1) // 2 - pairs.shape[1]
    if count > absent:
        raise ValueError(f"cannot sample {count} absent edges: the graph has {absent}")
    edge_ids = pairs[0] * num_nodes + pairs[1]
    found = edge_ids.new_empty(0)
    while len(found) < count:
        ends = torch.randint(num_nodes, (2, 2 * count), generator=generator).to(pairs.device)
        low, high = ends.min(0).values, ends.max(0).values
        candidates = (low * num_nodes + high)[low < high]
        found = torch.cat([found, candidates[~torch.isin(candidates, edge_ids)]]).unique()
    chosen = found[torch.randperm(len(found), generator=generator)[:count].to(found.device)]
    return torch.stack([chosen // num_nodes, chosen % num_nodes])


def flip_edges(edge_index: Tensor, pairs: Tensor, num_nodes: int) -> Tensor:
    """Flip pairs of nodes: remove the edge of each pair that has one, add an edge to the others.

    Args:
        edge_index: edges of an undirected graph, both directions, (2, E).
        pairs: pairs of nodes to flip, (2, P), in any order; self-loops are ignored and repeated
            pairs count once.
        num_nodes: number of nodes, N.

    Returns:
        ``edge_index`` of the new graph, both directions, sorted and without repetitions, (2, E′);
        the self-loops of the input are kept.
    """
    loops = edge_index[:, edge_index[0] == edge_index[1]].unique(dim=1)
    before, flipped = unique_undirected_edges(edge_index), unique_undirected_edges(pairs)
    before_ids, flipped_ids = (p[0] * num_nodes + p[1] for p in (before, flipped))
    kept = before[:, ~torch.isin(before_ids, flipped_ids)]
    added = flipped[:, ~torch.isin(flipped_ids, before_ids)]
    edges = torch.cat([loops, symmetrize_edges(torch.cat([kept, added], 1))], 1)
    return edges.unique(dim=1)


def jaccard_similarity(x: Tensor, pairs: Tensor) -> Tensor:
    """Compute |a ∩ b| / |a ∪ b| of the sets of nonzero features of two nodes.

    Args:
        x: node features, (N, F).
        pairs: pairs of nodes, (2, P).

    Returns:
        (P,), 0 for two nodes without features.

    Source: Wu et al., Adversarial examples on graph data, 2019, section 5.
    """
    present = (x != 0).to(torch.float32)
    chunks = pairs.split(4096, 1)  # bounds the memory: a few megabytes of features at a time
    intersection = torch.cat([(present[a] * present[b]).sum(1) for a, b in chunks])
    sizes = present.sum(1)
    union = sizes[pairs[0]] + sizes[pairs[1]] - intersection
    return intersection / union.clamp(min=1)

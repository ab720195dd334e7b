"""Edges of graphs as pairs of nodes: PyG's ``edge_index``, (2, E), source above target."""

from __future__ import annotations

import torch
from torch import Tensor


def unique_undirected_edges(edge_index: Tensor) -> Tensor:
    """Each edge once, (2, P) with the smaller node above; loops are left out."""
    low, high = edge_index.min(0).values, edge_index.max(0).values
    return torch.stack([low, high])[:, low < high].unique(dim=1)


def symmetrize_edges(pairs: Tensor) -> Tensor:
    """Each pair as two edges, one for each direction, (2, P) → (2, 2P)."""
    return torch.cat([pairs, pairs.flip(0)], 1)


def sample_absent_edges(
    pairs: Tensor, num_nodes: int, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Different pairs of nodes that no edge joins, drawn evenly, (2, count), smaller node above.

    Args:
        pairs: the edges, (2, P), each with the smaller node above.
        num_nodes: N.
        count: how many.
        generator: of the draw (CPU), default the global one.

    Raises:
        ValueError: the graph has fewer absent pairs.
    """
    absent = num_nodes * (num_nodes - 1) // 2 - pairs.shape[1]
    if count > absent:
        raise ValueError(f"{count} absent pairs were asked for, the graph has {absent}")
    known = pairs[0] * num_nodes + pairs[1]
    found = known.new_empty(0)
    while len(found) < count:
        ends = torch.randint(num_nodes, (2, 2 * count), generator=generator).to(pairs.device)
        low, high = ends.min(0).values, ends.max(0).values
        codes = (low * num_nodes + high)[low < high]
        found = torch.cat([found, codes[~torch.isin(codes, known)]]).unique()
    chosen = found[torch.randperm(len(found), generator=generator)[:count].to(found.device)]
    return torch.stack([chosen // num_nodes, chosen % num_nodes])


def flip_edges(edge_index: Tensor, pairs: Tensor, num_nodes: int) -> Tensor:
    """Adds the pairs that no edge joins and removes those that one does, both directions at once.

    Args:
        edge_index: symmetric, (2, E).
        pairs: (2, P); loops do nothing, and of the same pair twice once counts.
        num_nodes: N.

    Returns:
        (2, E′), symmetric, sorted, each edge once; loops of the graph itself stay.
    """
    kept = edge_index[:, edge_index[0] == edge_index[1]].unique(dim=1)
    before, flipped = unique_undirected_edges(edge_index), unique_undirected_edges(pairs)
    old, new = (p[0] * num_nodes + p[1] for p in (before, flipped))
    left = before[:, ~torch.isin(old, new)]
    added = flipped[:, ~torch.isin(new, old)]
    edges = torch.cat([kept, symmetrize_edges(torch.cat([left, added], 1))], 1)
    return edges.unique(dim=1)


def jaccard_similarity(x: Tensor, pairs: Tensor) -> Tensor:
    """|a ∩ b| / |a ∪ b| of the features that two nodes have, (N, F), (2, P) → (P,).

    Source: Wu et al., Adversarial examples on graph data, 2019, section 5.
    """
    has = (x != 0).to(torch.float32)
    parts = pairs.split(4096, 1)  # a few megabytes of features at a time
    both = torch.cat([(has[part[0]] * has[part[1]]).sum(1) for part in parts])
    counts = has.sum(1)
    either = counts[pairs[0]] + counts[pairs[1]] - both
    return both / either.clamp(min=1)

"""Edges of graphs as pairs of nodes: PyG's ``edge_index``, (2, E), source above target."""

from __future__ import annotations

import torch
from torch import Tensor


def undirected_pairs(edge_index: Tensor) -> Tensor:
    """Each edge once, (2, P) with the smaller node above; loops are left out."""
    low, high = edge_index.min(0).values, edge_index.max(0).values
    return torch.stack([low, high])[:, low < high].unique(dim=1)


def both_directions(pairs: Tensor) -> Tensor:
    """Each pair as two edges, one for each direction, (2, P) → (2, 2P)."""
    return torch.cat([pairs, pairs.flip(0)], 1)


def absent_pairs(
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

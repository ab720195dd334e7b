"""Input-transformation defenses, which remove suspicious parts of the input before the model."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from torch import Tensor, nn

from zoo.functional.graphs import jaccard_similarity, symmetrize_edges, unique_undirected_edges
from zoo.functional.points import nearest_neighbors, replace_dropped_points


class PurifiedModel(nn.Module):
    """A model behind an input filter: z(purify(x)).

    A white-box attack on this object takes gradients through the filter where it is differentiable;
    an attack on the bare model ignores the filter and is gray-box.

    Args:
        model: a model with a ``logits`` method, or any function.
        purify: filter from inputs to inputs, x → x.
    """

    def __init__(self, model: Any, purify: Callable[[Any], Any]) -> None:
        super().__init__()
        self.model, self.purify = model, purify

    def logits(self, x: Any) -> Tensor:
        """Compute the scores of the filtered input."""
        return getattr(self.model, "logits", self.model)(self.purify(x))

    forward = logits


def jaccard_filter(data: Any, threshold: float = 0.01) -> Any:
    """Remove the edges of a graph whose endpoints have dissimilar features.

    Args:
        data: graph with edge_index (2, E) and node features x (N, F), which are compared by their
            nonzero entries.
        threshold: smallest Jaccard similarity of an edge that is kept, default 0.01.

    Source: Wu et al., Adversarial examples on graph data, 2019, section 5.
    """
    pairs = unique_undirected_edges(data.edge_index)
    is_similar = jaccard_similarity(data.x, pairs) >= threshold
    filtered = copy(data)
    filtered.edge_index = symmetrize_edges(pairs[:, is_similar])
    return filtered


def remove_outliers(points: Tensor, neighbors: int = 2, deviations: float = 1.1) -> Tensor:
    """Statistical outlier removal from point clouds.

    A point is an outlier if the mean distance to its k nearest neighbors exceeds the cloud's mean
    of these distances by more than α standard deviations. An outlier is replaced by a copy of the
    nearest inlier: clouds keep their size, and a network with max pooling ignores
    duplicates.

    Args:
        points: point clouds, (B, N, 3).
        neighbors: number of nearest neighbors, k, default 2.
        deviations: number of standard deviations, α, default 1.1.

    Source: Zhou et al., DUP-Net, 2019, section 3.1.
    """
    _, squared = nearest_neighbors(points, points, neighbors + 1)
    # the first neighbor is the point itself
    distances = squared[..., 1:].clamp(min=0).sqrt().mean(-1)  # (B, N)
    limit = distances.mean(1) + deviations * distances.std(1)
    return replace_dropped_points(points, distances > limit[:, None])

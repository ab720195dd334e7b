"""Defences of the input: what looks wrong is taken away before the model sees it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from torch import Tensor

from zoo.functional.graphs import jaccard_similarity, symmetrize_edges, unique_undirected_edges
from zoo.functional.points import nearest_neighbors, replace_dropped_points


class PurifiedModel:
    """A model that sees its input through a filter: z(purify(x)).

    An attack that sees the filter sees through it where it is differentiable; one made for the bare
    model is gray box.

    Args:
        model: one with ``logits``, or any function.
        purify: x → x.
    """

    def __init__(self, model: Any, purify: Callable[[Any], Any]) -> None:
        self.model, self.purify = model, purify

    def logits(self, x: Any) -> Tensor:
        """Scores of what the filter leaves."""
        return getattr(self.model, "logits", self.model)(self.purify(x))

    __call__ = logits


def jaccard_filter(data: Any, threshold: float = 0.01) -> Any:
    """A graph without the edges between nodes that share hardly any feature.

    Args:
        data: with x (N, F), of which only what is not 0 counts, and edge_index (2, E).
        threshold: smallest Jaccard similarity of an edge that stays, default 0.01.

    Source: Wu et al., Adversarial examples on graph data, 2019, section 5.
    """
    pairs = unique_undirected_edges(data.edge_index)
    alike = jaccard_similarity(data.x, pairs) >= threshold
    found = copy(data)
    found.edge_index = symmetrize_edges(pairs[:, alike])
    return found


def remove_outliers(points: Tensor, neighbors: int = 2, deviations: float = 1.1) -> Tensor:
    """Clouds whose outliers lie where their nearest other point does.

    A point is an outlier if its mean distance from its nearest points is more than the cloud's mean
    of that plus ``deviations`` standard deviations. Clouds keep their size: an outlier takes the
    place of the nearest point that is none, which adds nothing to a network that takes maxima.

    Args:
        points: (B, N, 3).
        neighbors: k, default 2.
        deviations: α, default 1.1.

    Source: Zhou et al., DUP-Net, 2019, section 3.1.
    """
    _, squares = nearest_neighbors(points, points, neighbors + 1)
    far = squares[..., 1:].clamp(min=0).sqrt().mean(-1)  # (B, N); the first is the point itself
    limit = far.mean(1) + deviations * far.std(1)
    return replace_dropped_points(points, far > limit[:, None])

"""Graphs laid out in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.plots.style import COLORS, INK, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def layout(pairs: Tensor, nodes: int) -> Tensor:
    """Places of nodes in the plane, (nodes, 2): edges pull, nodes push each other away.

    The same graph always gets the same places.

    Source: Fruchterman and Reingold, Graph drawing by force-directed placement, 1991; NetworkX.
    """
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(pairs.T.tolist())
    # the library's other method, which it takes for large graphs, leaves them a ring of dust
    found = networkx.spring_layout(graph, seed=0, method="force", iterations=100)
    return torch.tensor(np.array([found[i] for i in range(nodes)]))


def graph_classes(
    places: Tensor,
    pairs: Tensor,
    predicted: Tensor,
    labels: Tensor,
    known: Tensor,
    names: Sequence[str],
    title: str,
) -> Figure:
    """Nodes in the colour of their predicted class, in a red ring where that is wrong; nodes whose
    class was known in training are larger.

    Args:
        places: (N, 2).
        pairs: edges, (2, P).
        predicted, labels: classes, (N,); a label of −1 is not known.
        known: boolean, (N,).
        names: of the classes.
        title: above.
    """
    from matplotlib.collections import LineCollection

    figure = new_figure(7.2, 5.6)
    axes = figure.subplots()
    ends = places[pairs.T].numpy()  # (P, 2, 2)
    many = len(places) > 200
    axes.add_collection(
        LineCollection(list(ends), colors="#BBBBBB", linewidths=0.3 if many else 0.8, zorder=1)
    )
    size = 12 if many else 70
    wrong = (predicted != labels) & (labels >= 0)
    for k, name in enumerate(names):
        for group, area in ((~known, size), (known, 3 * size)):
            members = (predicted == k) & group
            rings = np.where(wrong[members].numpy(), "#EE0000", "white").tolist()
            x, y = places[members].T.numpy()
            axes.scatter(
                x, y, s=area, color=COLORS[k % len(COLORS)], zorder=2,
                edgecolors=rings, linewidths=0.8 if many else 2, marker=MARKERS[k // len(COLORS)],
            )  # fmt: skip
        axes.scatter([], [], s=40, color=COLORS[k % len(COLORS)], label=name)
    axes.scatter([], [], s=40, color="white", edgecolors="#EE0000", linewidths=2, label="wrong")
    axes.scatter([], [], s=100, color="white", edgecolors=INK, label="known in training")
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    figure.legend(title="predicted", loc="outside right center", fontsize=8)
    return figure

"""Graphs laid out in the plane."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.plots.style import (
    ERROR_COLOR,
    INK,
    add_figure_legend,
    class_style,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGE = 200  # nodes above which markers and lines are small


def spring_layout(edges: Tensor, num_nodes: int) -> Tensor:
    """Compute node positions by force-directed placement; the same graph gets the same positions.

    Args:
        edges: undirected edges, (2, E).
        num_nodes: number of nodes.

    Returns:
        Positions in the plane, (num_nodes, 2).

    Source: Fruchterman and Reingold, Graph drawing by force-directed placement, 1991; NetworkX.
    """
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from(edges.T.tolist())
    # The default for large graphs since NetworkX 3.5, "energy", scatters the nodes on a ring.
    # Earlier versions, the only ones for Python 3.10, have no other method than "force".
    is_a_choice = "method" in inspect.signature(networkx.spring_layout).parameters
    options: dict[str, Any] = {"method": "force"} if is_a_choice else {}
    positions = networkx.spring_layout(graph, seed=0, iterations=100, **options)
    return torch.tensor(np.array([positions[i] for i in range(num_nodes)]))


def draw_edges(axes: Axes, positions: Tensor, edges: Tensor, **style: Any) -> None:
    """Draw edges below the nodes.

    Args:
        axes: the panel.
        positions: node positions, (N, 2).
        edges: (2, E).
        **style: arguments of :class:`matplotlib.collections.LineCollection`.
    """
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(list(positions[edges.T].numpy()), zorder=1, **style))


def graph_classes(
    positions: Tensor,
    edges: Tensor,
    predicted: Tensor,
    labels: Tensor,
    train_mask: Tensor,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw a graph with each node in the color of its predicted class.

    Wrong predictions have a red ring; nodes whose label was used in training are larger.

    Args:
        positions: node positions, (N, 2).
        edges: undirected edges, (2, E).
        predicted: predicted classes, (N,).
        labels: true classes, (N,); −1 where the class is unknown.
        train_mask: whether the label of each node was used in training, (N,).
        class_names: names of the classes.
        title: figure title.
    """
    is_large = len(positions) > LARGE
    size = 12 if is_large else 70
    figure = new_figure(7.2, 5.6, title)
    axes = figure.subplots()
    draw_edges(axes, positions, edges, colors="#BBBBBB", linewidths=0.3 if is_large else 0.8)
    wrong = (predicted != labels) & (labels >= 0)
    for k, name in enumerate(class_names):
        for group, area in ((~train_mask, size), (train_mask, 3 * size)):
            members = (predicted == k) & group
            rings = np.where(wrong[members].numpy(), ERROR_COLOR, "white").tolist()
            x, y = positions[members].T.numpy()
            axes.scatter(x, y, s=area, zorder=2, edgecolors=rings,
                         linewidths=0.8 if is_large else 2, **class_style(k))  # fmt: skip
        axes.scatter([], [], s=40, label=name, **class_style(k))
    axes.scatter([], [], s=40, color="white", edgecolors=ERROR_COLOR, linewidths=2, label="Wrong")
    axes.scatter([], [], s=100, color="white", edgecolors=INK, label="Training label")
    axes.set_axis_off()
    add_figure_legend(figure, "Predicted class")
    return figure


def flipped_edges(
    positions: Tensor,
    edges: Tensor,
    flips: Tensor,
    labels: Tensor,
    misclassified: Tensor,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw a graph with the edges that an attack added and removed.

    Args:
        positions: node positions, (N, 2).
        edges: edges of the graph before the attack, (2, E), the smaller node index first.
        flips: node pairs whose edge was added or removed, (2, F), the smaller node index first.
        labels: true classes, (N,).
        misclassified: whether the attack made the model misclassify each node, (N,).
        class_names: names of the classes.
        title: figure title.
    """
    is_large = len(positions) > LARGE
    size = 8 if is_large else 60
    count = len(positions)
    removed = torch.isin(flips[0] * count + flips[1], edges[0] * count + edges[1])
    figure = new_figure(7.6, 5.6, title)
    axes = figure.subplots()
    draw_edges(axes, positions, edges, colors="#CCCCCC", linewidths=0.3 if is_large else 0.8)
    draw_edges(
        axes, positions, flips[:, removed], colors="#0077BB", linewidths=0.8 if is_large else 1.6,
        linestyles="--", label=f"Removed: {int(removed.sum())}",
    )  # fmt: skip
    draw_edges(
        axes, positions, flips[:, ~removed], colors="#CC3311", linewidths=0.5 if is_large else 1.4,
        label=f"Added: {int((~removed).sum())}",
    )  # fmt: skip
    for k, name in enumerate(class_names):
        x, y = positions[labels == k].T.numpy()
        axes.scatter(x, y, s=size, linewidths=0, zorder=2, label=name, **class_style(k))
    x, y = positions[misclassified].T.numpy()
    axes.scatter(
        x, y, s=2.5 * size, facecolors="none", edgecolors="black", linewidths=0.9, zorder=3,
        label=f"Misclassified: {int(misclassified.sum())}",
    )  # fmt: skip
    axes.set_axis_off()
    add_figure_legend(figure)
    return figure

"""Figures of graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from callbacks.figures import FigureCallback
from zoo import plots
from zoo.errors import InputError, check_at_least
from zoo.functional.graphs import unique_undirected_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class GraphClasses(FigureCallback):
    """Draw a graph in the plane with the classes that a ``NodeClassifier`` predicts.

    The accuracy in the title is that of the nodes whose label was not used in training.

    Args:
        max_nodes: largest number of nodes to draw, default 1,000; of a larger graph, the nodes with
            the fewest edges between them and a training node are drawn.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "graph_classes"

    def __init__(self, max_nodes: int = 1_000, every_n_epochs: int | None = None) -> None:
        check_at_least(1, max_nodes=max_nodes)
        super().__init__(max_nodes, every_n_epochs)
        self._graph: Any = None
        self._train_mask: Tensor | None = None
        self._positions: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._train_mask is None and "mask" in batch:
            # the mask indexes the nodes of this batch, which may be a sample of neighborhoods
            self._graph, self._train_mask = batch, batch.mask.cpu()

    def _collect(self, batch: Any) -> None:
        if "mask" not in batch:
            raise InputError(
                "GraphClasses needs a graph with labeled nodes and a mask: leave the callback out"
            )
        if self._graph is None:
            self._graph = batch

    def _draw_inputs(self, device: torch.device) -> tuple[Any, ...]:
        return () if self._graph is None else (self._graph.to(device),)

    def draw(self, model: Any, *inputs: Any) -> Figure:
        (graph,) = inputs
        predicted = model.logits(graph).argmax(1).cpu()
        edges, labels = unique_undirected_edges(graph.edge_index).cpu(), graph.y.cpu()
        train_mask = self._train_mask
        if train_mask is None:
            train_mask = torch.zeros_like(labels, dtype=torch.bool)
        nodes = nearest_nodes(edges, train_mask, self.num_samples)
        index = torch.full_like(labels, -1)
        index[nodes] = torch.arange(len(nodes))
        edges = index[edges]
        edges = edges[:, (edges >= 0).all(0)]
        if self._positions is None:
            self._positions = plots.spring_layout(edges, len(nodes))
        evaluated = (labels >= 0) & ~train_mask
        accuracy = (predicted == labels)[evaluated].float().mean()
        title = f"{type(model).__name__}: accuracy {accuracy:.2%} ({int(evaluated.sum()):,} nodes)"
        if len(nodes) < len(labels):
            title += f", {len(nodes):,} of {len(labels):,} nodes drawn"
        return plots.graph_classes(
            self._positions, edges, predicted[nodes], labels[nodes], train_mask[nodes],
            self.class_names(model.num_classes), title,
        )  # fmt: skip


def nearest_nodes(edges: Tensor, start: Tensor, count: int) -> Tensor:
    """Return the nodes with the fewest edges between them and a start node.

    Args:
        edges: undirected edges, (2, E).
        start: start nodes, boolean (N,).
        count: number of nodes to return; all N if it is larger.

    Returns:
        Node indices, ascending.
    """
    distance = torch.where(start, 0, len(start))
    both = torch.cat([edges, edges.flip(0)], 1)
    while True:
        shorter = distance.scatter_reduce(0, both[1], distance[both[0]] + 1, "amin")
        if torch.equal(shorter, distance):
            return distance.argsort(stable=True)[:count].sort().values
        distance = shorter

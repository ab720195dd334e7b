"""Pictures of graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from callbacks.figures import FigureCallback
from zoo import plots
from zoo.errors import InputError
from zoo.functional.graphs import unique_undirected_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class GraphClasses(FigureCallback):
    """A graph laid out in the plane, with the classes that a ``NodeClassifier`` sees.

    Args:
        max_nodes: of a larger graph the nodes nearest to those known in training are drawn; default
            1,000.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "graph_classes"

    def __init__(self, max_nodes: int = 1_000, every_n_epochs: int | None = None) -> None:
        super().__init__(max_nodes, every_n_epochs)
        self._graph: Any = None
        self._known: torch.Tensor | None = None
        self._places: torch.Tensor | None = None

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._known is None and "mask" in batch:
            # what was known belongs to this batch's nodes, which neighbours may have been drawn for
            self._graph, self._known = batch, batch.mask.cpu()

    def _collect(self, batch: Any) -> None:
        if "mask" not in batch:
            raise InputError(
                "GraphClasses draws a graph whose nodes are classified: leave the callback out"
            )
        if self._graph is None:
            self._graph = batch

    def _gathered(self, device: torch.device) -> tuple[Any, ...]:
        return () if self._graph is None else (self._graph.to(device),)

    def draw(self, model: Any, *inputs: Any) -> Figure:
        (graph,) = inputs
        predicted = model.logits(graph).argmax(1).cpu()
        pairs, labels = unique_undirected_edges(graph.edge_index).cpu(), graph.y.cpu()
        known = torch.zeros_like(labels, dtype=torch.bool) if self._known is None else self._known
        chosen = nearest(pairs, known, self.num_samples)
        numbers = torch.full_like(labels, -1)
        numbers[chosen] = torch.arange(len(chosen))
        inner = numbers[pairs]
        inner = inner[:, (inner >= 0).all(0)]
        if self._places is None:
            self._places = plots.layout(inner, len(chosen))
        others = (labels >= 0) & ~known
        accuracy = (predicted == labels)[others].float().mean()
        names = getattr(self.data, "classes", None) or [str(k) for k in range(model.num_classes)]
        title = f"{type(model).__name__}: accuracy {accuracy:.2%} of {int(others.sum())} nodes"
        if len(chosen) < len(labels):
            title += f"; {len(chosen):,} of {len(labels):,} nodes drawn"
        return plots.graph_classes(
            self._places, inner, predicted[chosen], labels[chosen], known[chosen], names, title
        )


def nearest(pairs: torch.Tensor, start: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers of the ``count`` nodes that the fewest edges lead to from some of the ``start`` nodes
    (N,), sorted; all where there are no more."""
    steps = torch.where(start, 0, len(start))
    both = torch.cat([pairs, pairs.flip(0)], 1)
    while True:
        nearer = steps.scatter_reduce(0, both[1], steps[both[0]] + 1, "amin")
        if torch.equal(nearer, steps):
            return steps.argsort(stable=True)[:count].sort().values
        steps = nearer

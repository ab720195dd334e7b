"""Figures of graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from matplotlib.colors import to_rgba

import callbacks
from callbacks.graphs import nearest_nodes
from datamodules import SBM, Digits, Karate
from zoo import GraphAutoencoder, MLPClassifier, NodeClassifier, plots
from zoo.errors import InputError
from zoo.plots.style import ERROR_COLOR

Trainer = Callable[..., L.Trainer]


def test_a_graph_is_drawn(trainer: Trainer, tmp_path: Path) -> None:
    callback = callbacks.GraphClasses(every_n_epochs=1)
    data = SBM(nodes=80, val_nodes=20)
    model = NodeClassifier(data.num_features, data.num_classes)
    fit = trainer(max_epochs=2, callbacks=[callback])
    fit.fit(model, data)
    found = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert found == {"graph_classes", "graph_classes-epoch0001", "graph_classes-epoch0002"}
    assert callback._train_mask is not None
    assert torch.equal(callback._train_mask, data.split("train").mask)


def test_the_graph_and_its_training_mask_come_from_one_batch() -> None:
    """With sampled neighborhoods, validation batches have other nodes than training batches."""
    callback = callbacks.GraphClasses()
    small, large = (SBM(nodes=n, val_nodes=20, seed=n).split("train") for n in (60, 80))
    callback._collect(small)
    callback.on_train_batch_end(None, None, None, large, 0)
    callback._collect(small)
    (graph,) = callback._draw_inputs(torch.device("cpu"))
    assert graph.num_nodes == 80
    assert callback._train_mask is not None
    assert torch.equal(callback._train_mask, graph.mask)


def test_a_graph_without_validation(trainer: Trainer, tmp_path: Path) -> None:
    data = Karate()
    model = NodeClassifier(data.num_features, data.num_classes)
    trainer(max_epochs=1, callbacks=[callbacks.GraphClasses()]).fit(model, data)
    assert (tmp_path / "figures" / "graph_classes.png").is_file()


def test_rings_mark_errors_and_size_marks_training_nodes() -> None:
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    predicted, labels = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, -1])
    train_mask = torch.tensor([True, False, False, False])
    positions = plots.spring_layout(edges, 4)
    assert torch.equal(positions, plots.spring_layout(edges, 4))
    figure = plots.graph_classes(
        positions, edges, predicted, labels, train_mask, ["a", "b"], "Title"
    )
    groups = [c for c in figure.axes[0].collections if len(c.get_offsets())][1:]
    assert len(figure.axes[0].collections[0].get_segments()) == 3
    sizes = [float(group.get_sizes()[0]) for group in groups if len(group.get_sizes())]
    assert max(sizes) == 3 * min(sizes)
    rings = [tuple(c) for group in groups for c in group.get_edgecolors().tolist()]
    assert rings.count(to_rgba(ERROR_COLOR)) == 1  # node 1


def test_the_nearest_nodes_of_a_path() -> None:
    edges = torch.stack([torch.arange(9), torch.arange(1, 10)])
    start = torch.zeros(10, dtype=torch.bool)
    start[4] = True
    assert nearest_nodes(edges, start, 3).tolist() == [3, 4, 5]
    assert nearest_nodes(edges, start, 5).tolist() == [2, 3, 4, 5, 6]
    assert nearest_nodes(edges, start, 50).tolist() == list(range(10))


def test_data_that_does_not_fit_is_refused(trainer: Trainer) -> None:
    data = SBM(nodes=80, val_nodes=20)
    model = NodeClassifier(data.num_features, data.num_classes)
    with pytest.raises(
        InputError, match=r"ConfusionMatrix needs batches of tensors \(x, y\), got Data"
    ):
        trainer(max_epochs=1, callbacks=[callbacks.ConfusionMatrix()]).fit(model, data)
    links = SBM(nodes=80, val_nodes=20, task="links")
    with pytest.raises(InputError, match="GraphClasses needs a graph with labeled nodes"):
        trainer(max_epochs=1, callbacks=[callbacks.GraphClasses()]).fit(
            GraphAutoencoder(links.num_features), links
        )
    digits = MLPClassifier((1, 8, 8), 10, (8,))
    with pytest.raises(InputError, match="GraphClasses needs a graph"):
        trainer(max_epochs=1, limit_train_batches=1, callbacks=[callbacks.GraphClasses()]).fit(
            digits, Digits()
        )

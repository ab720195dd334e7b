"""Pictures of graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch

import callbacks
from callbacks.graphs import nearest
from datamodules import SBM, Digits, Karate
from zoo import GraphAutoencoder, MLPClassifier, NodeClassifier, plots
from zoo.errors import InputError

Trainer = Callable[..., L.Trainer]


def test_a_graph_in_a_picture(trainer: Trainer, tmp_path: Path) -> None:
    drawn = callbacks.GraphClasses(every_n_epochs=1)
    data = SBM(nodes=80, val_nodes=20)
    model = NodeClassifier(data.num_features, data.num_classes)
    fit = trainer(max_epochs=2, callbacks=[drawn])
    fit.fit(model, data)
    found = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert found == {"graph_classes", "graph_classes-epoch0001", "graph_classes-epoch0002"}
    assert drawn._known is not None
    assert torch.equal(drawn._known, data.split("train").mask)


def test_the_graph_and_what_was_known_are_of_one_batch() -> None:
    """A validation batch of other nodes, as drawn neighbours give, does not take its place."""
    drawn = callbacks.GraphClasses()
    small, large = (SBM(nodes=n, val_nodes=20, seed=n).split("train") for n in (60, 80))
    drawn._collect(small)
    drawn.on_train_batch_end(None, None, None, large, 0)
    drawn._collect(small)
    (graph,) = drawn._gathered(torch.device("cpu"))
    assert graph.num_nodes == 80
    assert drawn._known is not None
    assert torch.equal(drawn._known, graph.mask)


def test_a_graph_without_validation(trainer: Trainer, tmp_path: Path) -> None:
    data = Karate()
    model = NodeClassifier(data.num_features, data.num_classes)
    trainer(max_epochs=1, callbacks=[callbacks.GraphClasses()]).fit(model, data)
    assert (tmp_path / "figures" / "graph_classes.png").is_file()


def test_colours_rings_and_sizes_say_what_they_should() -> None:
    pairs = torch.tensor([[0, 1, 2], [1, 2, 3]])
    predicted, labels = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, -1])
    known = torch.tensor([True, False, False, False])
    places = plots.layout(pairs, 4)
    assert torch.equal(places, plots.layout(pairs, 4))
    figure = plots.graph_classes(places, pairs, predicted, labels, known, ["a", "b"], "t")
    groups = [c for c in figure.axes[0].collections if len(c.get_offsets())][1:]
    edges = figure.axes[0].collections[0].get_segments()
    assert len(edges) == 3
    sizes = [float(group.get_sizes()[0]) for group in groups if len(group.get_sizes())]
    assert max(sizes) == 3 * min(sizes)
    rings = [tuple(c) for group in groups for c in group.get_edgecolors().tolist()]
    assert rings.count((0xEE / 255, 0.0, 0.0, 1.0)) == 1  # node 1


def test_the_nearest_nodes_of_a_path() -> None:
    pairs = torch.stack([torch.arange(9), torch.arange(1, 10)])
    start = torch.zeros(10, dtype=torch.bool)
    start[4] = True
    assert nearest(pairs, start, 3).tolist() == [3, 4, 5]
    assert nearest(pairs, start, 5).tolist() == [2, 3, 4, 5, 6]
    assert nearest(pairs, start, 50).tolist() == list(range(10))


def test_pictures_that_do_not_fit_the_data(trainer: Trainer) -> None:
    data = SBM(nodes=80, val_nodes=20)
    model = NodeClassifier(data.num_features, data.num_classes)
    with pytest.raises(InputError, match="ConfusionMatrix draws tensors, the data brings Data"):
        trainer(max_epochs=1, callbacks=[callbacks.ConfusionMatrix()]).fit(model, data)
    links = SBM(nodes=80, val_nodes=20, task="links")
    with pytest.raises(InputError, match="GraphClasses draws a graph whose nodes are classified"):
        trainer(max_epochs=1, callbacks=[callbacks.GraphClasses()]).fit(
            GraphAutoencoder(links.num_features), links
        )
    digits = MLPClassifier((1, 8, 8), 10, (8,))
    with pytest.raises(InputError, match="GraphClasses draws a graph"):
        trainer(max_epochs=1, limit_train_batches=1, callbacks=[callbacks.GraphClasses()]).fit(
            digits, Digits()
        )

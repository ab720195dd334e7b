"""Flips of edges: symmetric, within the budget, stronger than chance; and the filters."""

from __future__ import annotations

import copy
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

from callbacks import AdversarialTraining
from datamodules import SBM
from zoo import NodeClassifier
from zoo.attacks import PurifiedModel, evaluate_robustness, jaccard_filter, remove_outliers
from zoo.attacks.graphs import GRBCD, PRBCD, GraphAttack, GreedyFlips, RandomFlips
from zoo.errors import InputError
from zoo.functional.graphs import (
    flip_edges,
    jaccard_similarity,
    sample_absent_edges,
    symmetrize_edges,
    unique_undirected_edges,
)

KINDS: dict[str, Any] = {
    "random": RandomFlips,
    "greedy": lambda eps: GreedyFlips(eps=eps, rounds=4),
    "prbcd": lambda eps: PRBCD(eps=eps, epochs=15, block_size=5_000),
    "grbcd": lambda eps: GRBCD(eps=eps, epochs=15, block_size=5_000),
}


def make(name: str, eps: float) -> GraphAttack:
    return KINDS[name](eps=eps)


@pytest.fixture(scope="module")
def trained() -> tuple[NodeClassifier, Any]:
    """A GCN that knows the blocks of a graph, and that graph with its test nodes."""
    torch.manual_seed(0)
    data = SBM()
    model = NodeClassifier(data.num_features, data.num_classes, hidden_dim=16, lr=0.01)
    trainer = L.Trainer(
        max_epochs=100, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(model, data)
    data.setup("test")
    return model.eval(), next(iter(data.test_dataloader()))


def accuracy(model: Any, graph: Any) -> float:
    with torch.no_grad():
        found = getattr(model, "logits", model)(graph)[graph.mask].argmax(1)
    return float((found == graph.y[graph.mask]).double().mean())


def changed(before: Any, after: Any) -> int:
    """Unordered pairs that differ."""
    marks = [
        {tuple(pair) for pair in unique_undirected_edges(g.edge_index).T.tolist()}
        for g in (before, after)
    ]
    return len(marks[0] ^ marks[1])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("eps", [0.02, 0.2])
def test_graphs_stay_graphs(name: str, eps: float, trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    before, x = graph.edge_index.clone(), graph.x.clone()
    found = make(name, eps)(model, graph)
    assert torch.equal(graph.edge_index, before)
    assert torch.equal(graph.x, x)
    edges = found.edge_index
    assert torch.equal(edges.flip(0).unique(dim=1), edges.unique(dim=1))
    assert edges.unique(dim=1).shape == edges.shape  # each once
    assert (edges[0] != edges[1]).all()
    allowed = int(eps * unique_undirected_edges(before).shape[1])
    assert 0 < changed(graph, found) <= allowed
    again = make(name, eps)(model, graph)
    assert torch.equal(again.edge_index, edges)


@pytest.mark.parametrize("name", KINDS)
def test_no_budget_no_change(name: str, trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    assert torch.equal(make(name, 0.0)(model, graph).edge_index, graph.edge_index)


@pytest.mark.parametrize("name", KINDS)
def test_the_model_and_pygs_class_are_as_they_were(
    name: str, trained: tuple[NodeClassifier, Any]
) -> None:
    from torch_geometric.contrib.nn import GRBCDAttack, PRBCDAttack

    model, graph = copy.deepcopy(trained[0]).train(), trained[1]
    model.network.convs[0].bias.requires_grad_(False)
    settings = [dict(kind.coeffs) for kind in (PRBCDAttack, GRBCDAttack)]
    weights = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    make(name, 0.1)(model, graph)
    assert all(m.training for m in model.modules())
    assert not model.network.convs[0].bias.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert settings == [dict(kind.coeffs) for kind in (PRBCDAttack, GRBCDAttack)]


def test_gradients_beat_chance(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    clean = accuracy(model, graph)
    left = {name: accuracy(model, make(name, 0.2)(model, graph)) for name in KINDS}
    assert clean > 0.8
    assert left["random"] > clean - 0.12
    for name in ("greedy", "prbcd", "grbcd"):
        assert left[name] < left["random"] - 0.1, name
    more = accuracy(model, make("prbcd", 0.5)(model, graph))
    assert more < accuracy(model, make("prbcd", 0.05)(model, graph))


def test_robustness_of_a_classifier_of_nodes(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    kinds = [make("random", 0.0), make("prbcd", 0.0)]
    found = evaluate_robustness(model, [graph], kinds, [0.0, 0.2])
    assert found.samples == int(graph.mask.sum())
    assert found.clean == pytest.approx(accuracy(model, graph))
    assert found.accuracy["PRBCD"][0] == found.accuracy["RandomFlips"][0] == found.clean
    assert found.accuracy["PRBCD"][1] < found.accuracy["RandomFlips"][1] < found.clean


def test_in_inference_mode(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    with torch.inference_mode():
        found = PRBCD(eps=0.1, epochs=5, block_size=5_000)(model, graph)
    assert accuracy(model, found) < accuracy(model, graph)


def test_weights_of_one_change_nothing(trained: tuple[NodeClassifier, Any]) -> None:
    graph = copy.copy(trained[1])
    for conv in ("gcn", "cheb", "appnp"):
        torch.manual_seed(0)
        model = NodeClassifier(graph.num_features, 4, conv=conv).eval()
        plain = model.logits(graph)
        weighted = copy.copy(graph)
        weighted.edge_weight = torch.ones(graph.edge_index.shape[1])
        torch.testing.assert_close(model.logits(weighted), plain)
        weighted.edge_weight = torch.zeros(graph.edge_index.shape[1])
        alone = copy.copy(graph)
        alone.edge_index = graph.edge_index[:, :0]
        torch.testing.assert_close(model.logits(weighted), model.logits(alone))


@pytest.mark.parametrize("conv", ["gat", "sage", "gin", "mlp"])
def test_models_that_ignore_weights(conv: str, trained: tuple[NodeClassifier, Any]) -> None:
    graph = trained[1]
    model = NodeClassifier(graph.num_features, 4, conv=conv)
    for name in ("greedy", "prbcd"):
        with pytest.raises(InputError, match=f"conv='{conv}' ignores the weights of edges"):
            make(name, 0.1)(model, graph)
    RandomFlips(eps=0.1)(model, graph)
    with pytest.raises(InputError, match="ignores the weights of edges, whose gradients"):
        PRBCD(eps=0.1)(lambda data: data.x[:, :4] * 1.0, graph)


def test_bad_input(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    with pytest.raises(InputError, match=r"eps must not be negative, got -0\.1"):
        RandomFlips(eps=-0.1)
    bare = copy.copy(graph)
    bare.y = None
    with pytest.raises(InputError, match="the graph has no labels"):
        RandomFlips(eps=0.1)(model, bare)
    directed = copy.copy(graph)
    directed.edge_index = graph.edge_index[:, 1:]
    with pytest.raises(InputError, match="flips pairs of an undirected graph"):
        RandomFlips(eps=0.1)(model, directed)


def test_flips_by_hand() -> None:
    edges = symmetrize_edges(torch.tensor([[0, 1], [1, 2]]))
    flips = torch.tensor([[1, 0, 3, 0], [0, 2, 3, 2]])  # 0–1 goes, 0–2 comes once, the loop is none
    found = flip_edges(edges, flips, 4)
    assert {tuple(e) for e in found.T.tolist()} == {(1, 2), (2, 1), (0, 2), (2, 0)}
    assert torch.equal(flip_edges(found, flips, 4), edges.unique(dim=1))


# -- defences --------------------------------------------------------------------------------------


def test_jaccard_by_hand() -> None:
    x = torch.tensor([[1.0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    pairs = torch.tensor([[0, 0, 2, 3], [1, 2, 2, 3]])
    assert jaccard_similarity(x, pairs).tolist() == pytest.approx([1 / 3, 0, 1, 0])


def test_a_filter_takes_strange_edges_away() -> None:
    """Two groups with words of their own: added edges between them go, all others stay."""
    x = torch.zeros(40, 6)
    x[:20, :3] = x[20:, 3:] = 1.0
    inside = torch.cat(
        [sample_absent_edges(torch.empty(2, 0).long(), 20, 60) + 20 * k for k in (0, 1)], 1
    )
    between = torch.stack([torch.arange(20), torch.arange(20, 40)])
    from torch_geometric.data import Data

    graph = Data(x=x, edge_index=symmetrize_edges(torch.cat([inside, between], 1)))
    found = jaccard_filter(graph)
    assert torch.equal(found.edge_index.unique(dim=1), symmetrize_edges(inside).unique(dim=1))
    model = PurifiedModel(lambda data: data.edge_index.shape[1], jaccard_filter)
    assert model.logits(graph) == 240


def test_outliers_go_to_their_neighbours() -> None:
    torch.manual_seed(0)
    clouds = torch.nn.functional.normalize(torch.randn(3, 200, 3), dim=-1)
    spoiled = clouds.clone()
    spoiled[:, :5] = 4 * torch.nn.functional.normalize(torch.randn(3, 5, 3), dim=-1)
    found = remove_outliers(spoiled)
    assert found.shape == clouds.shape
    assert found.norm(dim=-1).max() < 1.01  # all on the sphere again

    def kept(before: Tensor, after: Tensor) -> Tensor:
        return (before == after).all(-1).double().mean()

    assert kept(spoiled[:, 5:], found[:, 5:]) > 0.95


def test_training_against_flips(trained: tuple[NodeClassifier, Any]) -> None:
    """The callback works on graphs: the model learns from other edges, the data keeps its own."""
    torch.manual_seed(0)
    data = SBM()
    model = NodeClassifier(data.num_features, data.num_classes, hidden_dim=16, lr=0.01)
    seen: list[Tensor] = []
    logits = model.logits

    def watched(x: Any) -> Tensor:
        if model.training:
            seen.append(x.edge_index)
        return logits(x)

    model.logits = watched  # type: ignore[method-assign]
    trainer = L.Trainer(
        max_epochs=4, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
        callbacks=[AdversarialTraining(RandomFlips(eps=0.1), mix=0.5)],
    )  # fmt: skip
    trainer.fit(model, data)
    edges = next(iter(data.train_dataloader())).edge_index
    assert [e.shape == edges.shape and torch.equal(e, edges) for e in seen] == [
        True, False, True, False,
    ]  # fmt: skip
    assert "val/robust_accuracy" in trainer.callback_metrics

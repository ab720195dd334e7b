"""Attacks on the edges of graphs, defenses against them, and outlier removal."""

from __future__ import annotations

import copy
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

from callbacks import AdversarialTraining
from datamodules import SBM
from tests.attacks.conftest import Case
from zoo import NodeClassifier
from zoo.attacks import PGD, PurifiedModel, evaluate_robustness, jaccard_filter, remove_outliers
from zoo.attacks.graphs import GRBCD, PRBCD, GraphAttack, GreedyEdgeFlips, RandomEdgeFlips
from zoo.errors import InputError
from zoo.functional.graphs import (
    flip_edges,
    jaccard_similarity,
    sample_absent_edges,
    symmetrize_edges,
    unique_undirected_edges,
)

ATTACKS: dict[str, Any] = {
    "random": RandomEdgeFlips,
    "greedy": lambda eps: GreedyEdgeFlips(eps=eps, rounds=4),
    "prbcd": lambda eps: PRBCD(eps=eps, epochs=15, block_size=5_000),
    "grbcd": lambda eps: GRBCD(eps=eps, epochs=15, block_size=5_000),
}


def make(name: str, eps: float) -> GraphAttack:
    return ATTACKS[name](eps=eps)


@pytest.fixture(scope="module")
def trained() -> tuple[NodeClassifier, Any]:
    """A GCN trained on a stochastic block model, and the graph with its test nodes."""
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


def test_weighted_graphs_are_refused(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    weighted = copy.copy(graph)
    weighted.edge_weight = torch.ones(graph.num_edges)
    with pytest.raises(InputError, match="choose a graph without weights"):
        RandomEdgeFlips(eps=0.1)(model, weighted)


def accuracy(model: Any, graph: Any) -> float:
    with torch.no_grad():
        predicted = getattr(model, "logits", model)(graph)[graph.mask].argmax(1)
    return float((predicted == graph.y[graph.mask]).double().mean())


def count_flips(before: Any, after: Any) -> int:
    """Count the unordered pairs that are an edge in only one of two graphs."""
    pairs = [
        {tuple(pair) for pair in unique_undirected_edges(g.edge_index).T.tolist()}
        for g in (before, after)
    ]
    return len(pairs[0] ^ pairs[1])


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("eps", [0.02, 0.2])
def test_attacked_graphs_are_simple_and_undirected(
    name: str, eps: float, trained: tuple[NodeClassifier, Any]
) -> None:
    model, graph = trained
    before, x = graph.edge_index.clone(), graph.x.clone()
    attacked = make(name, eps)(model, graph)
    assert torch.equal(graph.edge_index, before)
    assert torch.equal(graph.x, x)
    edges = attacked.edge_index
    assert torch.equal(edges.flip(0).unique(dim=1), edges.unique(dim=1))
    assert edges.unique(dim=1).shape == edges.shape  # no duplicates
    assert (edges[0] != edges[1]).all()
    allowed = int(eps * unique_undirected_edges(before).shape[1])
    assert 0 < count_flips(graph, attacked) <= allowed
    again = make(name, eps)(model, graph)
    assert torch.equal(again.edge_index, edges)


@pytest.mark.parametrize("name", ATTACKS)
def test_zero_eps_changes_nothing(name: str, trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    assert torch.equal(make(name, 0.0)(model, graph).edge_index, graph.edge_index)


def test_no_more_flips_than_pairs() -> None:
    """A complete graph has no pair to connect; all of its pairs can be flipped only once."""
    from torch_geometric.data import Data

    edges = symmetrize_edges(torch.triu_indices(5, 5, 1))
    graph = Data(x=torch.randn(5, 4), edge_index=edges, y=torch.arange(5) % 2)
    model = NodeClassifier(4, 2)
    assert torch.equal(RandomEdgeFlips(eps=3.0)(model, graph).edge_index, edges.unique(dim=1))
    assert GreedyEdgeFlips(eps=3.0, rounds=2)(model, graph).edge_index.shape == (2, 0)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_model_and_the_class_of_pyg_are_left_unchanged(
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


def test_gradient_attacks_are_stronger_than_random_flips(
    trained: tuple[NodeClassifier, Any],
) -> None:
    model, graph = trained
    clean = accuracy(model, graph)
    remaining = {name: accuracy(model, make(name, 0.2)(model, graph)) for name in ATTACKS}
    assert clean > 0.8
    assert remaining["random"] > clean - 0.12
    for name in ("greedy", "prbcd", "grbcd"):
        assert remaining[name] < remaining["random"] - 0.1, name
    more = accuracy(model, make("prbcd", 0.5)(model, graph))
    assert more < accuracy(model, make("prbcd", 0.05)(model, graph))


def test_robustness_of_a_node_classifier(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    attacks = [make("random", 0.0), make("prbcd", 0.0)]
    report = evaluate_robustness(model, [graph], attacks, [0.0, 0.2])
    prbcd, random = report.robust_accuracy["PRBCD"], report.robust_accuracy["RandomEdgeFlips"]
    assert report.num_samples == int(graph.mask.sum())
    assert report.clean_accuracy == pytest.approx(accuracy(model, graph))
    assert prbcd[0] == random[0] == report.clean_accuracy
    assert prbcd[1] < random[1] < report.clean_accuracy


def test_in_inference_mode(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    with torch.inference_mode():
        attacked = PRBCD(eps=0.1, epochs=5, block_size=5_000)(model, graph)
    assert accuracy(model, attacked) < accuracy(model, graph)


def test_edge_weights_of_one_and_zero(trained: tuple[NodeClassifier, Any]) -> None:
    graph = copy.copy(trained[1])
    for conv in ("gcn", "cheb", "appnp"):
        torch.manual_seed(0)
        model = NodeClassifier(graph.num_features, 4, conv=conv).eval()
        plain = model.logits(graph)
        weighted = copy.copy(graph)
        weighted.edge_weight = torch.ones(graph.edge_index.shape[1])
        torch.testing.assert_close(model.logits(weighted), plain)
        weighted.edge_weight = torch.zeros(graph.edge_index.shape[1])
        edgeless = copy.copy(graph)
        edgeless.edge_index = graph.edge_index[:, :0]
        torch.testing.assert_close(model.logits(weighted), model.logits(edgeless))


@pytest.mark.parametrize("conv", ["gat", "sage", "gin", "mlp"])
def test_models_that_ignore_edge_weights(conv: str, trained: tuple[NodeClassifier, Any]) -> None:
    graph = trained[1]
    model = NodeClassifier(graph.num_features, 4, conv=conv)
    for name in ("greedy", "prbcd"):
        with pytest.raises(InputError, match=f"conv='{conv}' does not support edge weights"):
            make(name, 0.1)(model, graph)
    RandomEdgeFlips(eps=0.1)(model, graph)
    with pytest.raises(InputError, match="ignores edge weights, whose gradients"):
        PRBCD(eps=0.1)(lambda data: data.x[:, :4] * 1.0, graph)


def test_bad_input(trained: tuple[NodeClassifier, Any]) -> None:
    model, graph = trained
    with pytest.raises(InputError, match=r"eps must not be negative, got -0\.1"):
        RandomEdgeFlips(eps=-0.1)
    bare = copy.copy(graph)
    bare.y = None
    with pytest.raises(InputError, match="the graph has no labels"):
        RandomEdgeFlips(eps=0.1)(model, bare)
    directed = copy.copy(graph)
    directed.edge_index = graph.edge_index[:, 1:]
    with pytest.raises(InputError, match="needs an undirected graph with each edge once"):
        RandomEdgeFlips(eps=0.1)(model, directed)


def test_flips_by_hand() -> None:
    edges = symmetrize_edges(torch.tensor([[0, 1], [1, 2]]))
    # 0–1 is removed, 0–2 is added once, and the loop is ignored
    flips = torch.tensor([[1, 0, 3, 0], [0, 2, 3, 2]])
    flipped = flip_edges(edges, flips, 4)
    assert {tuple(e) for e in flipped.T.tolist()} == {(1, 2), (2, 1), (0, 2), (2, 0)}
    assert torch.equal(flip_edges(flipped, flips, 4), edges.unique(dim=1))


# -- defenses --------------------------------------------------------------------------------------


def test_jaccard_by_hand() -> None:
    x = torch.tensor([[1.0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    pairs = torch.tensor([[0, 0, 2, 3], [1, 2, 2, 3]])
    assert jaccard_similarity(x, pairs).tolist() == pytest.approx([1 / 3, 0, 1, 0])


def test_the_jaccard_filter_removes_added_edges() -> None:
    """Two groups without common words: edges between them are removed, all others kept."""
    x = torch.zeros(40, 6)
    x[:20, :3] = x[20:, 3:] = 1.0
    inside = torch.cat(
        [sample_absent_edges(torch.empty(2, 0).long(), 20, 60) + 20 * k for k in (0, 1)], 1
    )
    between = torch.stack([torch.arange(20), torch.arange(20, 40)])
    from torch_geometric.data import Data

    graph = Data(x=x, edge_index=symmetrize_edges(torch.cat([inside, between], 1)))
    filtered = jaccard_filter(graph)
    assert torch.equal(filtered.edge_index.unique(dim=1), symmetrize_edges(inside).unique(dim=1))
    model = PurifiedModel(lambda data: data.edge_index.shape[1], jaccard_filter)
    assert model.logits(graph) == 240


def test_purified_models_are_attacked_in_evaluation_mode(images: Case) -> None:
    model, x, y = images
    expected = PGD(eps=0.1)(model, x, y)
    model.train()
    state = copy.deepcopy(model.state_dict())
    x_adv = PGD(eps=0.1)(PurifiedModel(model, torch.clone), x, y)
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-12)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_outliers_are_replaced_by_their_neighbors() -> None:
    torch.manual_seed(0)
    clouds = torch.nn.functional.normalize(torch.randn(3, 200, 3), dim=-1)
    corrupted = clouds.clone()
    corrupted[:, :5] = 4 * torch.nn.functional.normalize(torch.randn(3, 5, 3), dim=-1)
    filtered = remove_outliers(corrupted)
    assert filtered.shape == clouds.shape
    assert filtered.norm(dim=-1).max() < 1.01  # all points are on the sphere again

    def kept(before: Tensor, after: Tensor) -> Tensor:
        return (before == after).all(-1).double().mean()

    assert kept(corrupted[:, 5:], filtered[:, 5:]) > 0.95


def test_adversarial_training_on_graphs(trained: tuple[NodeClassifier, Any]) -> None:
    """The model is trained on perturbed edges, while the data keeps its own."""
    torch.manual_seed(0)
    data = SBM()
    model = NodeClassifier(data.num_features, data.num_classes, hidden_dim=16, lr=0.01)
    seen: list[Tensor] = []
    logits = model.logits

    def recorded(x: Any) -> Tensor:
        if model.training:
            seen.append(x.edge_index)
        return logits(x)

    model.logits = recorded  # type: ignore[method-assign]
    trainer = L.Trainer(
        max_epochs=4, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
        callbacks=[AdversarialTraining(RandomEdgeFlips(eps=0.1), adversarial_fraction=0.5)],
    )  # fmt: skip
    trainer.fit(model, data)
    edges = next(iter(data.train_dataloader())).edge_index
    assert [e.shape == edges.shape and torch.equal(e, edges) for e in seen] == [
        True, False, True, False,
    ]  # fmt: skip
    assert "val/robust_accuracy" in trainer.callback_metrics

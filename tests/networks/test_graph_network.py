"""Graph convolutions: permutations of the nodes, batches, receptive fields, formulas; float64."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo.errors import InputError
from zoo.functional.graphs import sample_absent_edges, symmetrize_edges, unique_undirected_edges
from zoo.networks.graph_network import (
    CONVOLUTIONS,
    LINEAR_FIRST,
    WEIGHTED_CONVOLUTIONS,
    GraphConfig,
    GraphNetwork,
    SparseFeatures,
)

N, F = 20, 6


def make(conv: str, **options: Any) -> GraphNetwork:
    settings: dict[str, Any] = {"hidden_dim": 8, "layers": 2, "heads": 4, **options}
    return GraphNetwork(GraphConfig(conv=conv, **settings), F, 5).double().eval()


def random_graph(nodes: int = N, edges: int = 40) -> tuple[Tensor, Tensor]:
    pairs = sample_absent_edges(torch.empty(2, 0, dtype=torch.long), nodes, edges)
    return torch.randn(nodes, F, dtype=torch.float64), symmetrize_edges(pairs)


def permute(x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Permute the nodes and shuffle the edges of a graph; the first result is the permutation."""
    order = torch.randperm(len(x))
    new_index = order.argsort()
    shuffled = torch.randperm(edges.shape[1])
    return order, x[order], new_index[edges][:, shuffled]


@pytest.mark.parametrize("normalization", ["none", "batch"])
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_outputs_are_permuted_with_the_nodes(conv: str, normalization: str) -> None:
    network = make(conv, normalization=normalization)
    x, edges = random_graph()
    order, permuted_x, permuted_edges = permute(x, edges)
    assert not torch.equal(permuted_edges.sort(1).values, edges.sort(1).values)
    outputs, permuted_outputs = network(x, edges), network(permuted_x, permuted_edges)
    torch.testing.assert_close(permuted_outputs, outputs[order], atol=1e-12, rtol=0)


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_only_the_mlp_ignores_the_edges(conv: str) -> None:
    network = make(conv)
    x, edges = random_graph()
    same = torch.equal(network(x, edges), network(x, edges[:, :-20]))
    assert same == (conv == "mlp")


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_the_receptive_field_grows_by_one_step_per_layer(conv: str) -> None:
    """On a path graph, a change reaches as many nodes as there are layers, or steps of APPNP."""
    pairs = torch.stack([torch.arange(N - 1), torch.arange(1, N)])
    x = torch.randn(N, F, dtype=torch.float64)
    network = make(conv, propagation_steps=2)
    changed = x.clone()
    changed[0] += 1
    edges = symmetrize_edges(pairs)
    difference = (network(changed, edges) - network(x, edges)).abs().amax(1)
    # nodes, the changed one included; K Chebyshev polynomials reach K − 1 steps, here one
    reached = 1 if conv == "mlp" else 3
    assert bool((difference[:reached] > 0).all())
    assert bool((difference[reached:] == 0).all())


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_batch_equals_its_graphs_one_by_one(conv: str) -> None:
    network = make(conv)
    graphs = [Data(x=x, edge_index=edges) for x, edges in (random_graph(n, 12) for n in (7, 9, 6))]
    batch = Batch.from_data_list(graphs)
    together = network(batch.x, batch.edge_index)
    alone = torch.cat([network(graph.x, graph.edge_index) for graph in graphs])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)


def test_gcn_equals_its_formula() -> None:
    """D^-½ (A + I) D^-½ H W, where D has the degrees of A + I."""
    network = make("gcn", layers=1)
    x, edges = random_graph()
    adjacency = torch.eye(N, dtype=torch.float64).index_put(
        (edges[1], edges[0]), torch.ones(()).double()
    )
    root = adjacency.sum(1).rsqrt()
    conv: Any = network.convs[0]
    expected = root[:, None] * adjacency * root @ (x @ conv.lin.weight.T) + conv.bias
    torch.testing.assert_close(network(x, edges), expected, atol=1e-12, rtol=0)


def test_appnp_converges_to_its_fixed_point() -> None:
    """Z = α (I − (1 − α) Â)⁻¹ H (Gasteiger et al. 2019, equation 3)."""
    x, edges = random_graph()
    network = make("appnp", propagation_steps=400, teleport_probability=0.2)
    mlp = make("mlp")
    mlp.load_state_dict(network.state_dict())
    adjacency = torch.eye(N).double().index_put((edges[1], edges[0]), torch.ones(()).double())
    root = adjacency.sum(1).rsqrt()
    normalized = root[:, None] * adjacency * root
    inverse = 0.2 * torch.linalg.inv(torch.eye(N).double() - 0.8 * normalized)
    torch.testing.assert_close(network(x, edges), inverse @ mlp(x, edges), atol=1e-12, rtol=0)


def test_every_propagation_step_samples_the_dropped_edges_again() -> None:
    """Outputs then have the mean of outputs without dropout, even after ten steps.

    If edges stayed dropped, only α h would be left.
    """
    x, edges = random_graph()
    network = make("appnp", propagation_steps=10, edge_dropout=0.5, dropout=0.0)
    expected = network(x, edges)
    network.train()
    outputs = torch.stack([network(x, edges) for _ in range(3000)])
    assert not torch.equal(outputs[0], outputs[1])
    tolerance = 0.1 * float(expected.detach().std())
    torch.testing.assert_close(outputs.mean(0), expected, rtol=0.1, atol=tolerance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "gnc"}, "unknown conv 'gnc'"),
        ({"normalization": "layer"}, "unknown normalization 'layer'"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"teleport_probability": 1.5}, "teleport_probability must be between 0 and 1, got 1.5"),
        (
            {"conv": "gat", "heads": 3},
            "heads must divide hidden_dim, got heads=3 and hidden_dim=8",
        ),
    ],
)
def test_invalid_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**{"conv": "gcn", **options})


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_edge_weights(conv: str) -> None:
    """Weights of 1 change nothing; convolutions that cannot use weights refuse them."""
    network = make(conv)
    x, edges = random_graph()
    weights = torch.ones(edges.shape[1], dtype=torch.float64)
    if conv not in WEIGHTED_CONVOLUTIONS:
        with pytest.raises(InputError, match=f"conv='{conv}' does not support edge weights"):
            network(x, edges, weights)
        return
    torch.testing.assert_close(network(x, edges, weights), network(x, edges), atol=1e-12, rtol=0)
    assert not torch.allclose(network(x, edges, 1 + torch.rand_like(weights)), network(x, edges))


def test_conversions_between_pairs_and_directed_edges() -> None:
    edges = torch.tensor([[0, 1, 2, 2, 3], [1, 0, 2, 3, 2]])
    assert unique_undirected_edges(edges).tolist() == [[0, 2], [1, 3]]
    assert symmetrize_edges(torch.tensor([[0], [1]])).tolist() == [[0, 1], [1, 0]]


def test_absent_pairs_are_absent_and_sampled_uniformly() -> None:
    pairs = torch.tensor([[0, 0, 1], [1, 2, 3]])
    generator = torch.Generator().manual_seed(0)
    seen = torch.zeros(5, 5)
    for _ in range(2_000):
        sampled = sample_absent_edges(pairs, 5, 3, generator)
        assert sampled.shape == (2, 3)
        seen.index_put_((sampled[0], sampled[1]), torch.ones(()), accumulate=True)
    assert bool((seen[pairs[0], pairs[1]] == 0).all())
    assert bool((seen.tril() == 0).all())
    fractions = seen[seen > 0] / 2_000
    torch.testing.assert_close(fractions, torch.full((7,), 3 / 7), atol=0.05, rtol=0)
    assert sample_absent_edges(pairs, 5, 7).shape == (2, 7)  # all absent pairs
    with pytest.raises(ValueError, match="cannot sample 8 absent edges: the graph has 7"):
        sample_absent_edges(pairs, 5, 8)


@pytest.mark.parametrize("conv", LINEAR_FIRST)
def test_sparse_features_give_the_outputs_and_gradients_of_dense_ones(conv: str) -> None:
    """Dropout keeps zeros and the mean of the other features."""
    torch.manual_seed(0)
    network = GraphNetwork(GraphConfig(conv=conv, hidden_dim=8, heads=4), 200, 5).double()
    x = (torch.rand(N, 200) < 0.03).double()
    _, edges = random_graph()
    assert network.sparse_features is not None
    assert network.sparse_features(x).layout == torch.sparse_csr

    def run(dense: bool) -> tuple[Tensor, list[Tensor]]:
        features = x.clone().requires_grad_(dense)  # features that require a gradient stay dense
        output = network(features, edges)
        gradients = torch.autograd.grad(output.square().sum(), list(network.parameters()))
        return output, list(gradients)

    (dense_output, dense_gradients), (output, gradients) = run(True), run(False)
    torch.testing.assert_close(output, dense_output, rtol=0, atol=1e-12)
    for gradient, expected in zip(gradients, dense_gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-10)
    network.config = dataclasses.replace(network.config, dropout=0.5)
    values = network._dropout(network.sparse_features(x)).to_dense()
    assert set(values.unique().tolist()) == {0.0, 2.0}
    assert 0.3 < float((values > 0).sum() / (x > 0).sum()) < 0.7
    assert bool((values[x == 0] == 0).all())


def test_features_are_converted_once_and_again_when_they_change() -> None:
    sparse_features = SparseFeatures()
    x = (torch.rand(N, 200) < 0.03).float()
    first = sparse_features(x)
    assert sparse_features(x) is first
    x[0, 0] = 7.0
    assert float(sparse_features(x).to_dense()[0, 0]) == 7.0
    other = (torch.rand(N, 200) < 0.03).float()
    assert torch.equal(sparse_features(other).to_dense(), other)
    dense = torch.randn(N, 200)
    assert sparse_features(dense) is dense
    narrow = torch.zeros(N, 64)
    assert sparse_features(narrow) is narrow
    with torch.autocast("cpu", torch.bfloat16):
        assert sparse_features(other) is other
    with torch.inference_mode():  # as in a validation loop
        batch = other.clone()
        assert sparse_features(batch) is batch
        assert torch.equal(sparse_features(other).to_dense(), other)
    copied = copy.deepcopy(sparse_features)
    assert torch.equal(copied(other).to_dense(), other)

"""Graph convolutions: symmetry under relabelling, batches, what edges they look at; float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo.functional.graphs import sample_absent_edges, symmetrize_edges, unique_undirected_edges
from zoo.networks.graph_network import (
    CONVOLUTIONS,
    LINEAR_FIRST,
    FixedFeatures,
    GraphConfig,
    GraphNetwork,
)

N, F = 20, 6


def make(conv: str, **options: Any) -> GraphNetwork:
    settings: dict[str, Any] = {"hidden_dim": 8, "layers": 2, "heads": 4, **options}
    return GraphNetwork(GraphConfig(conv=conv, **settings), F, 5).double().eval()


def random_graph(nodes: int = N, edges: int = 40) -> tuple[Tensor, Tensor]:
    pairs = sample_absent_edges(torch.empty(2, 0, dtype=torch.long), nodes, edges)
    return torch.randn(nodes, F, dtype=torch.float64), symmetrize_edges(pairs)


def relabeled(x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same graph with other numbers for its nodes, its edges in another order."""
    order = torch.randperm(len(x))
    place = order.argsort()
    shuffled = torch.randperm(edges.shape[1])
    return order, x[order], place[edges][:, shuffled]


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_other_numbers_for_the_nodes_change_nothing(conv: str, norm: str) -> None:
    network = make(conv, norm=norm)
    x, edges = random_graph()
    order, x2, edges2 = relabeled(x, edges)
    assert not torch.equal(edges2.sort(1).values, edges.sort(1).values)
    before, after = network(x, edges), network(x2, edges2)
    torch.testing.assert_close(after, before[order], atol=1e-12, rtol=0)


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_the_edges_matter(conv: str) -> None:
    network = make(conv)
    x, edges = random_graph()
    same = torch.equal(network(x, edges), network(x, edges[:, :-20]))
    assert same == (conv == "mlp")


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_node_is_reached_by_as_many_steps_as_there_are_layers(conv: str) -> None:
    """On a path, what lies further away than the layers (or APPNP's steps) see has no part."""
    pairs = torch.stack([torch.arange(N - 1), torch.arange(1, N)])
    x = torch.randn(N, F, dtype=torch.float64)
    network = make(conv, steps=2)
    changed = x.clone()
    changed[0] += 1
    edges = symmetrize_edges(pairs)
    difference = (network(changed, edges) - network(x, edges)).abs().amax(1)
    reach = {"mlp": 1}.get(conv, 3)  # nodes, itself included
    # a Chebyshev polynomial of order K reaches K − 1 steps
    assert bool((difference[:reach] > 0).all())
    assert bool((difference[reach:] == 0).all())


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_batch_is_its_graphs_one_by_one(conv: str) -> None:
    network = make(conv)
    graphs = [Data(x=x, edge_index=edges) for x, edges in (random_graph(n, 12) for n in (7, 9, 6))]
    batch = Batch.from_data_list(graphs)
    together = network(batch.x, batch.edge_index)
    alone = torch.cat([network(graph.x, graph.edge_index) for graph in graphs])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)


def test_gcn_is_its_formula() -> None:
    """D^-½ (A + I) D^-½ H W, D the degrees of A + I."""
    network = make("gcn", layers=1)
    x, edges = random_graph()
    adjacency = torch.eye(N, dtype=torch.float64).index_put(
        (edges[1], edges[0]), torch.ones(()).double()
    )
    root = adjacency.sum(1).rsqrt()
    conv: Any = network.convs[0]
    expected = root[:, None] * adjacency * root @ (x @ conv.lin.weight.T) + conv.bias
    torch.testing.assert_close(network(x, edges), expected, atol=1e-12, rtol=0)


def test_appnp_is_its_fixed_point_in_the_end() -> None:
    """Z = α (I − (1 − α) Â)⁻¹ H (Gasteiger et al. 2019, equation 3)."""
    x, edges = random_graph()
    network = make("appnp", steps=400, teleport=0.2)
    h = make("mlp")
    h.load_state_dict(network.state_dict())
    adjacency = torch.eye(N).double().index_put((edges[1], edges[0]), torch.ones(()).double())
    root = adjacency.sum(1).rsqrt()
    spread = root[:, None] * adjacency * root
    inverse = 0.2 * torch.linalg.inv(torch.eye(N).double() - 0.8 * spread)
    torch.testing.assert_close(network(x, edges), inverse @ h(x, edges), atol=1e-12, rtol=0)


def test_edges_are_dropped_anew_in_every_step() -> None:
    """Each step's mean is that of all edges: outputs keep their size over ten steps, where edges
    that stay dropped would leave α h alone."""
    x, edges = random_graph()
    network = make("appnp", steps=10, edge_dropout=0.5)
    expected = network(x, edges)
    network.train()
    network.dropout = 0.0
    found = torch.stack([network(x, edges) for _ in range(3000)])
    assert not torch.equal(found[0], found[1])
    torch.testing.assert_close(found.mean(0), expected, rtol=0.1, atol=0.1 * float(expected.std()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "gnc"}, "unknown convolution 'gnc'"),
        ({"norm": "layer"}, "unknown norm 'layer'"),
        ({"layers": 0}, "needs a layer"),
        ({"conv": "gat", "heads": 3}, "3 heads cannot share 8 hidden features"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**{"conv": "gcn", **options})


def test_pairs_and_edges() -> None:
    edges = torch.tensor([[0, 1, 2, 2, 3], [1, 0, 2, 3, 2]])
    assert unique_undirected_edges(edges).tolist() == [[0, 2], [1, 3]]
    assert symmetrize_edges(torch.tensor([[0], [1]])).tolist() == [[0, 1], [1, 0]]


def test_absent_pairs_are_absent_and_evenly_drawn() -> None:
    pairs = torch.tensor([[0, 0, 1], [1, 2, 3]])
    generator = torch.Generator().manual_seed(0)
    seen = torch.zeros(5, 5)
    for _ in range(2_000):
        drawn = sample_absent_edges(pairs, 5, 3, generator)
        assert drawn.shape == (2, 3)
        seen.index_put_((drawn[0], drawn[1]), torch.ones(()), accumulate=True)
    assert bool((seen[pairs[0], pairs[1]] == 0).all())
    assert bool((seen.tril() == 0).all())
    shares = seen[seen > 0] / 2_000
    torch.testing.assert_close(shares, torch.full((7,), 3 / 7), atol=0.05, rtol=0)
    assert sample_absent_edges(pairs, 5, 7).shape == (2, 7)  # all that there are
    with pytest.raises(ValueError, match="cannot sample 8 absent edges: the graph has 7"):
        sample_absent_edges(pairs, 5, 8)


@pytest.mark.parametrize("conv", LINEAR_FIRST)
def test_features_that_are_mostly_0(conv: str) -> None:
    """As a sparse matrix they give the same outputs and gradients, and dropout's mean is theirs."""
    torch.manual_seed(0)
    network = GraphNetwork(GraphConfig(conv=conv, hidden_dim=8, heads=4), 200, 5).double()
    x = (torch.rand(N, 200) < 0.03).double()
    _, edges = random_graph()
    assert network.features is not None
    assert network.features(x).layout == torch.sparse_csr

    def outputs(dense: bool) -> tuple[Tensor, list[Tensor]]:
        given = x.clone().requires_grad_(dense)  # which keeps them dense
        found = network(given, edges)
        slopes = torch.autograd.grad(found.square().sum(), list(network.parameters()))
        return found, list(slopes)

    (one, slopes), (other, others) = outputs(True), outputs(False)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    for slope, expected in zip(slopes, others, strict=True):
        torch.testing.assert_close(slope, expected, rtol=0, atol=1e-10)
    network.dropout = 0.5
    values = network._dropped(network.features(x)).to_dense()
    assert set(values.unique().tolist()) == {0.0, 2.0}
    assert 0.3 < float((values > 0).sum() / (x > 0).sum()) < 0.7
    assert bool((values[x == 0] == 0).all())


def test_the_sparse_form_follows_the_features() -> None:
    features = FixedFeatures()
    x = (torch.rand(N, 200) < 0.03).float()
    first = features(x)
    assert features(x) is first  # made once
    x[0, 0] = 7.0
    assert float(features(x).to_dense()[0, 0]) == 7.0
    other = (torch.rand(N, 200) < 0.03).float()
    assert torch.equal(features(other).to_dense(), other)
    full = torch.randn(N, 200)
    assert features(full) is full
    narrow = torch.zeros(N, 64)
    assert features(narrow) is narrow
    with torch.autocast("cpu", torch.bfloat16):
        assert features(other) is other
    with torch.inference_mode():  # a batch that a validation loop has made
        made = other.clone()
        assert features(made) is made
        assert torch.equal(features(other).to_dense(), other)
    again = copy.deepcopy(features)
    assert torch.equal(again(other).to_dense(), other)

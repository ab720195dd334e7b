"""Models of graphs: permutation invariance, expressive power, masks, link prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Batch, Data

from datamodules import SBM, Karate, RandomGraphs
from zoo import GraphAutoencoder, GraphClassifier, NodeClassifier
from zoo.functional.graphs import symmetrize_edges
from zoo.models.geometric.graph_classifier import POOLINGS
from zoo.networks.graph_network import CONVOLUTIONS

TWO_TRIANGLES = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 3]])
HEXAGON = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])


def graph(pairs: torch.Tensor, x: torch.Tensor | None = None) -> Data:
    num_nodes = int(pairs.max()) + 1
    features = torch.ones(num_nodes, 1).double() if x is None else x
    return Data(x=features, edge_index=symmetrize_edges(pairs), y=torch.tensor([0]))


def classifier(**options: Any) -> GraphClassifier:
    settings: dict[str, Any] = {"conv": "gin", "hidden_dim": 16, "layers": 3, "heads": 4, **options}
    model = GraphClassifier(num_features=1, num_classes=2, **settings).double().eval()
    for parameter in model.parameters():  # with the initial weights, differences are too small
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_graph_classifiers_are_invariant_to_the_order_of_nodes(conv: str, pooling: str) -> None:
    torch.manual_seed(0)
    model = classifier(conv=conv, pooling=pooling)
    data = RandomGraphs(num_samples=4).graphs
    graphs = [Data(x=torch.randn(len(g.x), 1).double(), edge_index=g.edge_index) for g in data]
    permuted = []
    for g in graphs:
        order = torch.randperm(len(g.x))
        edges = order.argsort()[g.edge_index][:, torch.randperm(g.edge_index.shape[1])]
        permuted.append(Data(x=g.x[order], edge_index=edges))
    logits = model.logits(Batch.from_data_list(graphs))
    logits_permuted = model.logits(Batch.from_data_list(permuted))
    torch.testing.assert_close(logits_permuted, logits, atol=1e-10, rtol=1e-12)
    logits_alone = torch.cat([model.logits(Batch.from_data_list([g])) for g in graphs])
    torch.testing.assert_close(logits_alone, logits, atol=1e-10, rtol=1e-12)
    assert logits.std(0).min() > 1e-3  # different graphs have different logits


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_two_triangles_look_like_a_hexagon(conv: str) -> None:
    """Every node has two neighbors in both graphs. The Weisfeiler-Lehman test cannot distinguish
    them, and neither can message passing without features (Xu et al. 2019, section 4)."""
    model = classifier(conv=conv, pooling="max")
    one, other = graph(TWO_TRIANGLES), graph(HEXAGON)
    first, second = (model.logits(Batch.from_data_list([g])) for g in (one, other))
    torch.testing.assert_close(first, second, atol=1e-12, rtol=1e-12)
    if conv == "mlp":
        return
    torch.manual_seed(0)
    x = torch.randn(6, 1).double()  # with features, the graphs can be distinguished
    one, other = graph(TWO_TRIANGLES, x), graph(HEXAGON, x)
    first, second = (model.logits(Batch.from_data_list([g])) for g in (one, other))
    assert (first - second).abs().max() > 1e-3


def test_gin_counts_neighbors_and_a_mean_does_not() -> None:
    """Stars with three and four leaves that have the same features are distinguished by the sum
    over the neighbors, but not by their mean (Xu et al. 2019, section 5)."""
    stars = [graph(torch.stack([torch.zeros(n).long(), torch.arange(1, n + 1)])) for n in (3, 4)]

    def difference(conv: str) -> float:
        model = classifier(conv=conv, pooling="max")
        first, second = (model.logits(Batch.from_data_list([star])) for star in stars)
        return float((first - second).detach().abs().max())

    assert difference("sage") < 1e-12
    assert difference("gin") > 1e-3


def test_only_nodes_in_the_mask_count() -> None:
    torch.manual_seed(0)
    data = SBM(nodes=60, val_nodes=10, seed=1)
    batch = data.split("train")
    model = NodeClassifier(data.num_features, data.num_classes, dropout=0.0)
    parts = model.step(batch)
    logits = model.logits(batch)
    expected = F.cross_entropy(logits[batch.mask], batch.y[batch.mask])
    torch.testing.assert_close(parts["loss"], expected)
    assert int(parts["weight"]) == int(batch.mask.sum()) == model.count_samples(batch) == 20
    changed = batch.clone()
    changed.y = torch.where(batch.mask, batch.y, 0)
    torch.testing.assert_close(model.step(changed)["loss"], parts["loss"], atol=0, rtol=0)


def test_edges_are_needed_where_features_are_weak(trainer: Callable[..., L.Trainer]) -> None:
    """Communities with weak features are found with the edges, and not without them."""

    def accuracy(conv: str) -> float:
        torch.manual_seed(0)
        data = SBM(feature_signal=1.0)
        model = NodeClassifier(
            data.num_features, data.num_classes, conv=conv, lr=0.01, weight_decay=5e-4
        )
        fit = trainer(max_epochs=60)
        fit.fit(model, data)
        return fit.test(model, data, verbose=False)[0]["test/accuracy"]

    assert accuracy("gcn") > 0.85
    assert accuracy("mlp") < 0.6


def test_the_karate_club(trainer: Callable[..., L.Trainer]) -> None:
    """At most the ninth member is misclassified, as by Zachary's network flow."""
    torch.manual_seed(0)
    data = Karate()
    model = NodeClassifier(
        data.num_features, data.num_classes, hidden_dim=16, dropout=0.0, lr=0.01, weight_decay=5e-4
    )
    trainer(max_epochs=200).fit(model, data)
    batch = data.split("test")
    wrong = (model.eval().logits(batch).argmax(1) != batch.y) & batch.mask
    assert wrong.nonzero()[:, 0].tolist() in ([], [8])


def test_held_out_edges_are_predicted(trainer: Callable[..., L.Trainer]) -> None:
    for variational in (False, True):
        torch.manual_seed(0)
        data = SBM(task="links", p_in=0.3)
        model = GraphAutoencoder(data.num_features, variational=variational, lr=0.01)
        fit = trainer(max_epochs=100, limit_val_batches=0)
        fit.fit(model, data)
        (metrics,) = fit.test(model, data, verbose=False)
        # all pairs within a community have the same probability, which limits the metrics
        assert metrics["test/auroc"] > 0.75
        assert metrics["test/average_precision"] > 0.7


def test_the_loss_of_the_variational_autoencoder_by_hand() -> None:
    torch.manual_seed(0)
    data = SBM(nodes=60, val_nodes=10, task="links")
    model = GraphAutoencoder(data.num_features, latent_dim=4, variational=True).eval()
    batch = data.split("test")
    mean, log_var = model.posterior(batch)
    assert log_var is not None
    kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum() / 60 / 60
    p = torch.sigmoid((mean @ mean.T)[batch.edge_label_index[0], batch.edge_label_index[1]])
    is_edge = batch.edge_label == 1
    nll = -p[is_edge].log().mean() - (1 - p[~is_edge]).log().mean()
    parts = model.step(batch)
    torch.testing.assert_close(parts["kl"], kl)
    torch.testing.assert_close(parts["nll"], nll)
    torch.testing.assert_close(parts["loss"], nll + kl)
    torch.testing.assert_close(model.encode(batch), mean)


def test_training_samples_codes_and_as_many_absent_edges_as_edges() -> None:
    data = SBM(nodes=60, val_nodes=10, task="links")
    model = GraphAutoencoder(data.num_features, latent_dim=4, variational=True).double().train()
    batch = model.on_after_batch_transfer(data.split("train"), 0)
    edges = batch.edge_label_index
    count = edges.shape[1]
    adjacency = torch.zeros(60, 60, dtype=torch.bool)
    adjacency[batch.edge_index[0], batch.edge_index[1]] = True
    pairs, labels = model._labeled_pairs(batch)
    assert torch.equal(pairs[:, :count], edges)
    assert labels.tolist() == [1] * count + [0] * count
    absent = pairs[:, count:]
    assert not adjacency[absent[0], absent[1]].any()
    assert not adjacency[absent[1], absent[0]].any()
    assert (absent[0] != absent[1]).all()
    # the loss of these pairs, with the same noise
    model._labeled_pairs = lambda _: (pairs, labels)  # type: ignore[method-assign]
    torch.manual_seed(3)
    parts = model.step(batch)
    torch.manual_seed(3)
    mean, log_var = model.posterior(batch)
    assert log_var is not None
    z = mean + log_var.exp().sqrt() * torch.randn_like(mean)
    p = (z @ z.T).sigmoid()
    nll = -p[edges[0], edges[1]].log().mean() - (1 - p[absent[0], absent[1]]).log().mean()
    torch.testing.assert_close(parts["nll"], nll)
    assert parts["weight"] == 2 * count
    vars(model).pop("_labeled_pairs")
    prediction, target = model.eval().step(data.split("test").apply(_to_double))["outputs"]
    batch = data.split("test").apply(_to_double)
    z = model.encode(batch)
    p = (z @ z.T).sigmoid()[batch.edge_label_index[0], batch.edge_label_index[1]]
    torch.testing.assert_close(prediction, p)
    assert torch.equal(target, batch.edge_label.long())
    probability = model.predict_step(batch)["probability"]
    torch.testing.assert_close(probability, p)


def _to_double(value: torch.Tensor) -> torch.Tensor:
    return value.double() if value.is_floating_point() else value


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("sum", lambda h: h.sum(0)),
        ("mean", lambda h: h.mean(0)),
        ("max", lambda h: h.max(0).values),
    ],
)
def test_graph_logits_by_their_formula(
    pooling: str, pool: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """W [pool(h⁰), …, pool(h^L)] + b, with the features of one graph at a time."""
    model = classifier(pooling=pooling, dropout=0.5)
    graphs = [Data(x=torch.randn(len(g.x), 1).double(), edge_index=g.edge_index)
              for g in RandomGraphs(num_samples=4).graphs]  # fmt: skip
    for g, logits in zip(graphs, model.logits(Batch.from_data_list(graphs)), strict=True):
        features = [g.x, *model.network.layer_outputs(g.x, g.edge_index)]
        pooled = torch.cat([pool(h) for h in features])
        torch.testing.assert_close(logits, model.head.weight @ pooled + model.head.bias)


def test_edge_weights_of_a_graph_convolution() -> None:
    """With one layer, D^−½ (A + I) D^−½ X W + b for the weighted adjacency matrix A."""
    batch = SBM(nodes=60, val_nodes=10).split("train").apply(_to_double)
    pairs = batch.edge_index[:, batch.edge_index[0] < batch.edge_index[1]]
    weights = torch.rand(pairs.shape[1]).double()
    a = torch.zeros(60, 60).double()
    a[pairs[0], pairs[1]] = a[pairs[1], pairs[0]] = weights
    batch.edge_index, batch.edge_weight = symmetrize_edges(pairs), weights.repeat(2)
    model = NodeClassifier(batch.x.shape[1], 3, conv="gcn", layers=1).double().eval()
    a += torch.eye(60)
    scale = a.sum(1).rsqrt()
    normalized = scale[:, None] * a * scale
    (weight, bias) = sorted(model.parameters(), key=lambda p: -p.ndim)
    torch.testing.assert_close(model.logits(batch), normalized @ batch.x @ weight.T + bias)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_precisions(precision: Any, trainer: Callable[..., L.Trainer]) -> None:
    data = SBM(nodes=80, val_nodes=20)
    model = NodeClassifier(data.num_features, data.num_classes, lr=0.01)
    fit = trainer(max_epochs=30, precision=precision)
    fit.fit(model, data)
    (metrics,) = fit.test(model, data, verbose=False)
    assert metrics["test/accuracy"] > 0.5
    assert data.graph.x.dtype == torch.float32


def test_data_for_the_other_task_are_refused() -> None:
    data = SBM(nodes=60, val_nodes=10)
    with pytest.raises(ValueError, match="needs a graph with held-out edges"):
        GraphAutoencoder(data.num_features).step(data.split("train"))
    links = SBM(nodes=60, val_nodes=10, task="links")
    with pytest.raises(ValueError, match="needs one graph with a mask of its nodes"):
        NodeClassifier(data.num_features, 4).step(links.split("train"))


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("gcn", "digits", "NodeClassifier needs num_features, which Digits does not have"),
        ("gcn", "random_graphs", "NodeClassifier needs one graph with a mask of its nodes"),
        ("graph_autoencoder", "karate", "needs a graph with held-out edges"),
        ("gin", "karate", "GraphClassifier needs a batch of graphs, but the data is one graph"),
        ("pointnet", "karate", "PointClassifier needs point clouds"),
        ("pointnet", "digits", "PointClassifier needs point clouds"),
    ],
)
def test_data_that_do_not_fit_the_model(
    model: str, data: str, message: str, fails: Callable[..., str]
) -> None:
    assert message in fails(f"--model={model}", f"--data={data}", "--trainer.accelerator=cpu")


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="unknown pooling 'median'"):
        GraphClassifier(1, 2, pooling="median")
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        GraphAutoencoder(1, latent_dim=0)
    with pytest.raises(ValueError, match="NodeClassifier does not support mixup"):
        NodeClassifier(1, 2, mixup=0.2)


def test_gradients_of_edge_logits_are_deterministic() -> None:
    """If threads added to a row in arbitrary order, every run would round differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(0)
        z = torch.randn(200, 16, requires_grad=True)
        pairs, weights = torch.randint(200, (2, 4_000)), torch.randn(4_000)

        def gradient() -> torch.Tensor:
            logits = GraphAutoencoder.decode(z, pairs)
            return torch.autograd.grad((logits * weights).sum(), z)[0]

        first = gradient()
        assert all(torch.equal(first, gradient()) for _ in range(50))
    finally:
        torch.set_num_threads(threads)

"""Data modules of graphs: splits, shards of processes, official files, tables, folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import pytest
import torch
from torch_geometric.data import Data

from datamodules import SBM, Karate, Planetoid, RandomGraphs, TUDataset, single_graph
from tests.official_files import PLANETOID_TEST, write_planetoid, write_tudataset
from zoo.errors import DataError, InputError
from zoo.functional.graphs import unique_undirected_edges

SPLITS = ("train", "val", "test")


def pairs_of(edges: torch.Tensor) -> set[tuple[int, int]]:
    """Return the undirected edges as pairs of nodes."""
    return set(map(tuple, unique_undirected_edges(edges).T.tolist()))


# -- a single graph --------------------------------------------------------------------------------


def test_karate_club_matches_networkx() -> None:
    graph = Karate().graph
    assert graph.num_nodes == 34
    assert len(pairs_of(graph.edge_index)) == 78
    assert graph.y.bincount().tolist() == [17, 17]
    assert graph.y[[0, 33]].tolist() == [0, 1]  # the instructor and the president
    assert graph.train_mask.nonzero()[:, 0].tolist() == [0, 33]
    assert int(graph.test_mask.sum()) == 32
    club = networkx.karate_club_graph()
    assert pairs_of(graph.edge_index) == {tuple(sorted(pair)) for pair in club.edges}
    sides = [("Mr. Hi", "Officer").index(club.nodes[i]["club"]) for i in range(34)]
    assert graph.y.tolist() == sides
    communities = Karate("communities").graph
    assert int(communities.train_mask.sum()) == 4
    assert communities.y[communities.train_mask].sort().values.tolist() == [0, 1, 2, 3]
    assert Karate().class_names == ["instructor", "president"]
    assert Karate("communities").class_names == ["1", "2", "3", "4"]
    with pytest.raises(InputError, match="unknown labels 'clubs'; choose from factions, commun"):
        Karate("clubs")


def test_sbm_has_the_requested_statistics() -> None:
    data = SBM(nodes=2_000, p_in=0.05, p_out=0.01, feature_signal=3.0, features=200)
    graph = data.graph
    same = graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]
    within, across = 4 * 500 * 499, 2_000 * 1_500
    assert float(same.sum()) / within == pytest.approx(0.05, rel=0.02)
    assert float((~same).sum()) / across == pytest.approx(0.01, rel=0.02)
    means = torch.stack([graph.x[graph.y == k].mean(0) for k in range(4)])
    # the noise of 200 means over 500 nodes adds 200/500 to the squared norm
    assert (means.square().sum(1) - 0.4).sqrt().tolist() == pytest.approx([3.0] * 4, rel=0.1)
    assert (data.num_features, data.num_classes) == (200, 4)
    assert data.class_names == ["0", "1", "2", "3"]


@pytest.mark.parametrize("make", [Karate, SBM])
def test_masks_are_disjoint_and_depend_on_the_seed(make: Callable[..., Any]) -> None:
    one, again, other = (make(seed=seed) for seed in (0, 0, 1))
    total = sum(one.split(name).mask.long() for name in SPLITS)
    assert int(total.max()) == 1
    for name in SPLITS:
        assert torch.equal(one.split(name).mask, again.split(name).mask)
    if make is SBM:
        assert int(total.min()) == 1
        assert not torch.equal(one.split("train").mask, other.split("train").mask)
        assert one.graph.y[one.split("train").mask].bincount().tolist() == [5] * 4


def test_held_out_links_are_hidden() -> None:
    data = SBM(task="links")
    all_edges = pairs_of(data.graph.edge_index)
    known = pairs_of(data.split("train").edge_index)
    present_in = {}
    for name in SPLITS:
        batch = data.split(name)
        assert pairs_of(batch.edge_index) == known
        present = batch.edge_label_index[:, batch.edge_label == 1]
        absent = batch.edge_label_index[:, batch.edge_label == 0]
        present_in[name] = pairs_of(present)
        assert not pairs_of(absent) & all_edges
        assert absent.shape[1] == (0 if name == "train" else present.shape[1])
    assert present_in["train"] == known
    assert not present_in["val"] & present_in["test"]
    assert present_in["val"] | present_in["test"] == all_edges - known
    assert len(present_in["test"]) == round(0.1 * len(all_edges))


@pytest.mark.parametrize("task", single_graph.TASKS)
@pytest.mark.parametrize("name", SPLITS)
def test_shards_of_processes_cover_a_split_once(task: str, name: str) -> None:
    batch = SBM(task=task).split(name)
    shards = [single_graph._shard(batch, rank, 3) for rank in range(3)]
    if task == "nodes":
        assert torch.equal(sum(shard.mask.long() for shard in shards), batch.mask.long())
        return
    found = torch.cat([shard.edge_label_index for shard in shards], 1)
    assert found.shape == batch.edge_label_index.shape
    assert set(map(tuple, found.T.tolist())) == set(map(tuple, batch.edge_label_index.T.tolist()))


def test_more_processes_than_training_nodes() -> None:
    with pytest.raises(DataError, match="2 nodes cannot be divided among 3 processes"):
        single_graph._shard(Karate().split("train"), 0, 3)


def test_neighbor_sampling_requires_pyg_lib() -> None:
    if single_graph.WITH_PYG_LIB or single_graph.WITH_TORCH_SPARSE:
        batch = next(iter(SBM(num_neighbors=[3, 3], batch_size=8).train_dataloader()))
        assert int(batch.mask.sum()) == 8
        return
    with pytest.raises(InputError, match="needs the package pyg-lib"):
        SBM(num_neighbors=[3, 3])


def test_neighbor_sampling_is_for_nodes_only() -> None:
    with pytest.raises(InputError, match="leave it out for task=links"):
        SBM(num_neighbors=[3, 3], task="links")


def test_subgraphs_are_sampled_around_the_nodes_of_the_sampler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stand-in for pyg-lib returns the whole graph, with the requested nodes first."""

    class WholeGraphLoader:
        def __init__(self, graph: Data, num_neighbors: list[int], batch_size: int) -> None:
            self.graph = graph

        def __call__(self, nodes: torch.Tensor) -> Data:
            rest = torch.arange(self.graph.num_nodes)
            order = torch.cat([nodes, rest[~torch.isin(rest, nodes)]])
            edges = order.argsort()[self.graph.edge_index]
            return Data(x=self.graph.x[order], y=self.graph.y[order], edge_index=edges)

    monkeypatch.setattr("torch_geometric.loader.NeighborLoader", WholeGraphLoader)
    monkeypatch.setattr(single_graph, "WITH_PYG_LIB", True)
    data = SBM(num_neighbors=[3, 3], batch_size=6)
    batches = list(data.train_dataloader())
    assert [int(batch.mask.sum()) for batch in batches] == [6, 6, 6, 2]
    seen = torch.cat([batch.x[batch.mask] for batch in batches])
    whole = data.split("train")
    expected = whole.x[whole.mask]
    assert torch.equal(seen[seen[:, 0].argsort()], expected[expected[:, 0].argsort()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "edges"}, "unknown task 'edges'"),
        ({"communities": 1}, "communities must be at least 2"),
        ({"feature_signal": -1.0}, "feature_signal must not be negative, got -1.0"),
        ({"train_per_class": 0}, "train_per_class must be at least 1, got 0"),
        ({"val_link_fraction": 5}, "val_link_fraction must be between 0 and 1, got 5"),
        ({"p_in": 2.0}, "p_in must be between 0 and 1, got 2.0"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SBM(**options)


def test_too_few_nodes_or_edges() -> None:
    with pytest.raises(InputError, match="40 nodes leave none for testing after 20 for training"):
        SBM(nodes=40, val_nodes=30).setup()
    with pytest.raises(DataError, match=r"0 of \d+ edges would be held out"):
        SBM(task="links", val_link_fraction=0.0, test_link_fraction=0.0).setup()


def test_planetoid_from_official_files(tmp_path: Path) -> None:
    write_planetoid(tmp_path)
    data = Planetoid(root=str(tmp_path))
    assert (data.num_features, data.num_classes) == (12, 7)
    sizes = [int(data.split(name).mask.sum()) for name in SPLITS]
    assert sizes == [14, 500, PLANETOID_TEST]
    sums = data.graph.x.sum(1)
    assert sums[sums > 0].tolist() == pytest.approx([1.0] * int((sums > 0).sum()))


def test_unknown_planetoid_names() -> None:
    assert Planetoid("citeseer").name == "CiteSeer"
    message = r"unknown name 'Kora'; did you mean 'Cora'\? \(choose from Cora, CiteSeer, PubMed\)"
    with pytest.raises(InputError, match=message):
        Planetoid("Kora")
    with pytest.raises(InputError, match="unknown split 'random'; choose from public, full"):
        Planetoid(split="random")


def test_missing_planetoid_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.datasets.Planetoid.download", download)
    with pytest.raises(DataError, match=r"put its files ind\.cora\.\* into .*Cora.raw"):
        Planetoid(root=str(tmp_path)).setup()


# -- many graphs -----------------------------------------------------------------------------------


def test_random_graph_models_have_the_same_number_of_edges() -> None:
    data = RandomGraphs(num_samples=40)
    assert len(data.graphs) == 40
    for graph in data.graphs:
        nodes = graph.num_nodes
        assert 30 <= nodes <= 60
        assert len(pairs_of(graph.edge_index)) == 3 * (nodes - 3)
        assert graph.edge_index.shape[1] == 6 * (nodes - 3)  # no duplicate edges, no self-loops
        assert int(graph.edge_index.max()) < nodes
    assert data.num_classes == len(data.class_names) == 4
    small = RandomGraphs(num_samples=40, min_nodes=9, max_nodes=11).graphs
    assert {graph.num_nodes for graph in small} == {9, 10, 11}
    assert all(graph.num_edges == 6 * (graph.num_nodes - 3) for graph in small)


def test_folds_partition_the_graphs() -> None:
    tested = [RandomGraphs(num_samples=80, fold=fold).split_indices["test"] for fold in range(10)]
    assert sorted(i for part in tested for i in part) == list(range(80))
    splits = RandomGraphs(num_samples=80, fold=3).split_indices
    assert sorted(i for part in splits.values() for i in part) == list(range(80))
    assert splits["val"] == tested[4]
    assert [len(splits[name]) for name in SPLITS] == [64, 8, 8]
    without = RandomGraphs(num_samples=80, fold=3, validate=False)
    assert len(without.split_indices["train"]) == 72
    assert without.val_dataloader() == []
    with pytest.raises(DataError, match="8 graphs cannot be divided into 10 folds"):
        RandomGraphs(num_samples=8).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 10}, "fold must be between 0 and 9 for 10 folds, got 10"),
        ({"folds": 2}, "folds must be at least 3, got 2"),
        ({"min_nodes": 8}, "min_nodes must be at least 9, got 8"),
        ({"max_nodes": 20}, "max_nodes must be at least 30, got 20"),
    ],
)
def test_bad_arguments_of_random_graphs(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RandomGraphs(**options)


def test_batches_of_graphs_resume_in_mid_epoch() -> None:
    data = RandomGraphs(num_samples=80, batch_size=16)
    loader = data.train_dataloader()
    whole = [batch.x.shape[0] for batch in loader]
    assert len(whole) == 4
    first = data.train_dataloader()
    iterator = iter(first)
    sizes = [next(iterator).x.shape[0] for _ in range(2)]
    state = first.state_dict()
    second = data.train_dataloader()
    second.load_state_dict(state)
    assert sizes + [batch.x.shape[0] for batch in second] == whole


def test_tudataset_from_official_files(tmp_path: Path) -> None:
    write_tudataset(tmp_path)
    data = TUDataset(root=str(tmp_path))
    assert (len(data.graphs), data.num_features, data.num_classes) == (40, 3, 2)
    assert data.class_names == ["0", "1"]
    batch = next(iter(data.test_dataloader()))
    assert batch.num_graphs == 4
    assert batch.x.shape == (20, 3)
    write_tudataset(tmp_path, "PLAIN", labels=False)
    plain = TUDataset("PLAIN", root=str(tmp_path))
    assert plain.num_features == 1
    assert bool((plain.graphs[0].x == 1).all())


def test_missing_tudataset_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.datasets.TUDataset.download", download)
    with pytest.raises(DataError, match=r"put its files MUTAG_\*\.txt into .*MUTAG.raw"):
        _ = TUDataset(root=str(tmp_path)).split_indices


# -- checkpoints and predictions -------------------------------------------------------------------


def test_the_state_keeps_the_split_of_a_generated_graph() -> None:
    one, other = SBM(seed=3), SBM(seed=0)
    with pytest.warns(UserWarning, match="seed=3 of the checkpoint is used instead of 0"):
        other.load_state_dict(one.state_dict())
    assert torch.equal(other.split("test").mask, one.split("test").mask)
    narrow = SBM(seed=3, features=8)
    narrow.load_state_dict(one.state_dict())
    with pytest.raises(DataError, match="with features per node 16, not 8: choose that data"):
        _ = narrow.graph
    members = Karate("communities")
    members.load_state_dict(Karate().state_dict())
    with pytest.raises(DataError, match=r"classes \(instructor, president\), not \(1, 2, 3, 4\)"):
        _ = members.graph


def test_the_state_keeps_the_test_fold() -> None:
    one, other = RandomGraphs(num_samples=40, fold=3), RandomGraphs(num_samples=40)
    with pytest.warns(UserWarning, match="fold=3 of the checkpoint is used instead of 0"):
        other.load_state_dict(one.state_dict())
    assert other.prediction_ids() == {"graph": one.split_indices["test"]}
    loader = other.predict_dataloader()
    assert sum(batch.num_graphs for batch in loader) == len(one.split_indices["test"])


def test_names_of_the_nodes_that_are_predicted() -> None:
    data = Karate()
    assert data.prediction_ids() == {"node": [i for i in range(34) if i not in (0, 33)]}
    links = SBM(task="links")
    assert links.prediction_ids() == {"node": list(range(400))}


def test_shards_name_their_part_of_the_predictions() -> None:
    data = SBM()
    mask = data.split("predict").mask.nonzero()[:, 0]
    positions = torch.arange(len(mask))[1::3]
    shard = single_graph._shard(data.split("predict"), 1, 3)
    assert torch.equal(shard.mask.nonzero()[:, 0], mask[positions])
    loader = single_graph.FullBatchLoader(shard, positions)
    assert torch.cat(list(loader.sampler)).tolist() == positions.tolist()

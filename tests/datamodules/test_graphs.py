"""Graphs: splits, shares of processes, official files, tables of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import pytest
import torch
from torch_geometric.data import Data

from datamodules import SBM, GraphCSV, Karate, Planetoid, RandomGraphs, TUDataset, graphs
from tests.official_files import PLANETOID_TEST, write_planetoid, write_tudataset
from zoo.errors import DataError
from zoo.functional.graphs import unique_undirected_edges

SPLITS = ("train", "val", "test")


def pairs_of(edges: torch.Tensor) -> set[tuple[int, int]]:
    return set(map(tuple, unique_undirected_edges(edges).T.tolist()))


# -- one graph -------------------------------------------------------------------------------------


def test_the_karate_club_is_the_real_one() -> None:
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


def test_blocks_are_drawn_as_they_should_be() -> None:
    data = SBM(nodes=2_000, p_in=0.05, p_out=0.01, signal=3.0, features=200)
    graph = data.graph
    same = graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]
    within, across = 4 * 500 * 499, 2_000 * 1_500
    assert float(same.sum()) / within == pytest.approx(0.05, rel=0.02)
    assert float((~same).sum()) / across == pytest.approx(0.01, rel=0.02)
    means = torch.stack([graph.x[graph.y == k].mean(0) for k in range(4)])
    # 200 means of 500 normal numbers add 200/500 to the square of the length
    assert (means.square().sum(1) - 0.4).sqrt().tolist() == pytest.approx([3.0] * 4, rel=0.1)
    assert (data.num_features, data.num_classes) == (200, 4)


@pytest.mark.parametrize("make", [Karate, SBM])
def test_masks_do_not_overlap_and_are_the_seeds(make: Callable[..., Any]) -> None:
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
    everything = pairs_of(data.graph.edge_index)
    known = pairs_of(data.split("train").edge_index)
    asked = {}
    for name in SPLITS:
        batch = data.split(name)
        assert pairs_of(batch.edge_index) == known
        present = batch.edge_label_index[:, batch.edge_label == 1]
        absent = batch.edge_label_index[:, batch.edge_label == 0]
        asked[name] = pairs_of(present)
        assert not pairs_of(absent) & everything
        assert absent.shape[1] == (0 if name == "train" else present.shape[1])
    assert asked["train"] == known
    assert not asked["val"] & asked["test"]
    assert asked["val"] | asked["test"] == everything - known
    assert len(asked["test"]) == round(0.1 * len(everything))


@pytest.mark.parametrize("task", graphs.TASKS)
@pytest.mark.parametrize("name", SPLITS)
def test_processes_share_what_is_asked_for(task: str, name: str) -> None:
    batch = SBM(task=task).split(name)
    shares = [graphs._share(batch, rank, 3) for rank in range(3)]
    if task == "nodes":
        assert torch.equal(sum(share.mask.long() for share in shares), batch.mask.long())
        return
    found = torch.cat([share.edge_label_index for share in shares], 1)
    assert found.shape == batch.edge_label_index.shape
    assert set(map(tuple, found.T.tolist())) == set(map(tuple, batch.edge_label_index.T.tolist()))


def test_more_processes_than_known_nodes() -> None:
    with pytest.raises(DataError, match="2 samples cannot be shared out to 3 processes"):
        graphs._share(Karate().split("train"), 0, 3)


def test_drawing_neighbours_says_early_what_it_needs() -> None:
    if graphs.WITH_PYG_LIB or graphs.WITH_TORCH_SPARSE:
        batch = next(iter(SBM(neighbors=[3, 3], batch_size=8).train_dataloader()))
        assert int(batch.mask.sum()) == 8
        return
    with pytest.raises(DataError, match="needs the package pyg-lib"):
        SBM(neighbors=[3, 3])


def test_neighbours_and_links() -> None:
    with pytest.raises(DataError, match="leave them out with task=links"):
        SBM(neighbors=[3, 3], task="links")


def test_surroundings_are_those_of_a_plans_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pyg-lib draws is replaced by the whole graph, with the nodes asked for in front."""

    class Neighbours:
        def __init__(self, graph: Data, neighbors: list[int], batch_size: int) -> None:
            self.graph = graph

        def __call__(self, nodes: torch.Tensor) -> Data:
            rest = torch.arange(self.graph.num_nodes)
            order = torch.cat([nodes, rest[~torch.isin(rest, nodes)]])
            edges = order.argsort()[self.graph.edge_index]
            return Data(x=self.graph.x[order], y=self.graph.y[order], edge_index=edges)

    monkeypatch.setattr("torch_geometric.loader.NeighborLoader", Neighbours)
    monkeypatch.setattr(graphs, "WITH_PYG_LIB", True)
    data = SBM(neighbors=[3, 3], batch_size=6)
    batches = list(data.train_dataloader())
    assert [int(batch.mask.sum()) for batch in batches] == [6, 6, 6, 2]
    seen = torch.cat([batch.x[batch.mask] for batch in batches])
    whole = data.split("train")
    wanted = whole.x[whole.mask]
    assert torch.equal(seen[seen[:, 0].argsort()], wanted[wanted[:, 0].argsort()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "edges"}, "unknown task 'edges'"),
        ({"communities": 1}, "communities must be at least 2"),
        ({"p_in": 2.0}, "p_in must be a probability, got 2.0"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SBM(**options)


def test_too_few_nodes_or_edges() -> None:
    with pytest.raises(DataError, match="40 nodes of known class leave none for test"):
        SBM(nodes=40, val_nodes=30).setup()
    with pytest.raises(DataError, match="0 and 0 of"):
        SBM(task="links", val_links=0.0, test_links=0.0).setup()


def test_citations_from_official_files(tmp_path: Path) -> None:
    write_planetoid(tmp_path)
    data = Planetoid(root=str(tmp_path))
    assert (data.num_features, data.num_classes) == (12, 7)
    sizes = [int(data.split(name).mask.sum()) for name in SPLITS]
    assert sizes == [14, 500, PLANETOID_TEST]
    sums = data.graph.x.sum(1)
    assert sums[sums > 0].tolist() == pytest.approx([1.0] * int((sums > 0).sum()))


def test_names_of_citations() -> None:
    with pytest.raises(ValueError, match="unknown name 'Kora'; choose from Cora, CiteSeer, PubMed"):
        Planetoid("Kora")
    with pytest.raises(ValueError, match="unknown split 'random'"):
        Planetoid(split="random")


def test_missing_citations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.datasets.Planetoid.download", download)
    with pytest.raises(DataError, match=r"put its files ind\.cora\.\* into .*Cora.raw"):
        Planetoid(root=str(tmp_path)).setup()


# -- a table of one's own --------------------------------------------------------------------------

NODES = "id,label,height\na,x,1\nb,y,2\nc,x,3\nd,y,4\ne,x,5\nf,,6\n"
EDGES = "from,to\na,b\nb,a\nb,c\nc,d\nd,e\n"


def table(tmp_path: Path, nodes: str = NODES, edges: str = EDGES, **options: Any) -> GraphCSV:
    (tmp_path / "nodes.csv").write_text(nodes)
    (tmp_path / "edges.csv").write_text(edges)
    return GraphCSV(str(tmp_path / "nodes.csv"), str(tmp_path / "edges.csv"), **options)


def test_a_table_becomes_a_graph(tmp_path: Path) -> None:
    data = table(tmp_path)
    graph = data.graph
    assert graph.x.tolist() == [[1], [2], [3], [4], [5], [6]]
    assert graph.y.tolist() == [0, 1, 0, 1, 0, -1]
    assert data.classes == ["x", "y"]
    assert pairs_of(graph.edge_index) == {(0, 1), (1, 2), (2, 3), (3, 4)}
    assert graph.edge_index.shape == (2, 8)  # each edge once in each direction
    total = sum(data.split(name).mask.long() for name in SPLITS)
    assert total.tolist() == [1, 1, 1, 1, 1, 0]
    assert table(tmp_path, directed=True).graph.edge_index.shape == (2, 5)


def test_a_column_of_splits_and_no_features(tmp_path: Path) -> None:
    nodes = "id;label;split\na;x;train\nb;y;train\nc;x;val\nd;y;test\ne;x;\nf;;\n"
    data = table(tmp_path, nodes)
    assert torch.equal(data.graph.x, torch.eye(6))
    found = [data.split(name).mask.nonzero()[:, 0].tolist() for name in SPLITS]
    assert found == [[0, 1], [2], [3]]


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("", EDGES, "nodes.csv has no rows below its header"),
        ("name,label\na,x\n", EDGES, "nodes.csv has no column 'id': it has name, label"),
        (NODES + "a,x,7\n", EDGES, "nodes.csv, line 8: node 'a' comes twice"),
        (NODES + "g,x,\n", EDGES, "nodes.csv, line 8, column 'height': there is a gap"),
        (NODES + "g,x,tall\n", EDGES, "line 8, column 'height': 'tall' is no number"),
        (NODES + "g,x\n", EDGES, "nodes.csv, line 8: expected 3 values, got 2"),
        ("id,label\na,x\nb,x\n", EDGES, "labels of 1 classes: two are needed"),
        (NODES, EDGES + "a,z\n", "edges.csv, line 7: node 'z' is not in .*nodes.csv"),
        (NODES, "from\na\n", "edges.csv has 1 column: two ids are needed"),
        ("id,label\na,x\nb,y\n", "from,to\na,b\n", "has 2 labelled nodes, too few"),
        (
            "id,label,split\na,x,train\nb,y,tset\n",
            "from,to\na,b\n",
            "nodes.csv, line 3: split 'tset' is none of train, val, test",
        ),
        (
            "id,label,split\na,x,train\nb,y,train\nc,,test\n",
            "from,to\na,b\n",
            "nodes.csv, line 4: a test node has no label",
        ),
        (
            "id,label,split\na,x,train\nb,y,train\n",
            "from,to\na,b\n",
            "nodes.csv has no test nodes in its column 'split'",
        ),
    ],
)
def test_faulty_tables(tmp_path: Path, nodes: str, edges: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, nodes, edges).setup()


def test_sizes_that_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must leave nodes for training"):
        table(tmp_path, val_size=0.5, test_size=0.5)


# -- many graphs -----------------------------------------------------------------------------------


def test_kinds_of_graphs_have_equally_many_edges() -> None:
    data = RandomGraphs(num_samples=40)
    assert len(data.graphs) == 40
    for graph in data.graphs:
        nodes = graph.num_nodes
        assert 30 <= nodes <= 60
        assert len(pairs_of(graph.edge_index)) == 3 * (nodes - 3)
        assert graph.edge_index.shape[1] == 6 * (nodes - 3)  # no edge twice, no loops
        assert int(graph.edge_index.max()) < nodes
    assert data.num_classes == len(data.classes) == 4


def test_folds_share_out_the_graphs() -> None:
    tested = [RandomGraphs(num_samples=80, fold=fold).parts["test"] for fold in range(10)]
    assert sorted(i for part in tested for i in part) == list(range(80))
    parts = RandomGraphs(num_samples=80, fold=3).parts
    assert sorted(i for part in parts.values() for i in part) == list(range(80))
    assert parts["val"] == tested[4]
    assert [len(parts[name]) for name in SPLITS] == [64, 8, 8]
    without = RandomGraphs(num_samples=80, fold=3, validate=False)
    assert len(without.parts["train"]) == 72
    assert without.val_dataloader() == []
    with pytest.raises(ValueError, match="fold 10 of 10"):
        RandomGraphs(fold=10)


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


def test_a_collection_from_official_files(tmp_path: Path) -> None:
    write_tudataset(tmp_path)
    data = TUDataset(root=str(tmp_path))
    assert (len(data.graphs), data.num_features, data.num_classes) == (40, 3, 2)
    batch = next(iter(data.test_dataloader()))
    assert batch.num_graphs == 4
    assert batch.x.shape == (20, 3)
    write_tudataset(tmp_path, "PLAIN", labels=False)
    plain = TUDataset("PLAIN", root=str(tmp_path))
    assert plain.num_features == 1
    assert bool((plain.graphs[0].x == 1).all())


def test_a_missing_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.datasets.TUDataset.download", download)
    with pytest.raises(DataError, match=r"put its files MUTAG_\*\.txt into .*MUTAG.raw"):
        TUDataset(root=str(tmp_path)).parts

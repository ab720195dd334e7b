"""GraphCSV: node and edge tables, new graphs for a checkpoint, predictions with the user's ids."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import GraphCSV
from tests.datamodules.test_graphs import SPLITS, pairs_of
from zoo import NodeClassifier
from zoo.errors import DataError, InputError

NODES = "id,label,height\na,x,1\nb,y,2\nc,x,3\nd,y,4\ne,x,5\nf,,6\n"
EDGES = "from,to\na,b\nb,a\nb,c\nc,d\nd,e\n"


def table(tmp_path: Path, nodes: str = NODES, edges: str = EDGES, **options: Any) -> GraphCSV:
    (tmp_path / "nodes.csv").write_text(nodes)
    (tmp_path / "edges.csv").write_text(edges)
    return GraphCSV(str(tmp_path / "nodes.csv"), str(tmp_path / "edges.csv"), **options)


def test_graph_from_tables(tmp_path: Path) -> None:
    data = table(tmp_path, standardize=False)
    graph = data.graph
    assert graph.x.tolist() == [[1], [2], [3], [4], [5], [6]]
    assert graph.y.tolist() == [0, 1, 0, 1, 0, -1]
    assert table(tmp_path).class_names == ["x", "y"]  # loads the graph itself
    assert data.class_names == ["x", "y"]
    assert pairs_of(graph.edge_index) == {(0, 1), (1, 2), (2, 3), (3, 4)}
    assert graph.edge_index.shape == (2, 8)  # each edge once in each direction
    assert "edge_weight" not in graph
    total = sum(data.split(name).mask.long() for name in SPLITS)
    assert total.tolist() == [1, 1, 1, 1, 1, 0]
    assert table(tmp_path, directed=True).graph.edge_index.shape == (2, 5)


def test_given_splits_and_no_features(tmp_path: Path) -> None:
    nodes = "id;label;split\na;x;train\nb;y;train\nc;x;val\nd;y;test\ne;x;\nf;;\n"
    data = table(tmp_path, nodes)
    assert torch.equal(data.graph.x, torch.eye(6))
    found = [data.split(name).mask.nonzero()[:, 0].tolist() for name in SPLITS]
    assert found == [[0, 1], [2], [3]]


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("", EDGES, "nodes.csv has neither a header nor rows"),
        (
            "name,label\na,x\n",
            EDGES,
            "nodes.csv has no column 'id', which is required; its columns are name, label",
        ),
        (
            NODES + "a,x,7\n",
            EDGES,
            "nodes.csv, line 8: duplicate node id 'a', first used in line 2",
        ),
        (
            NODES + "g,x,tall\n",
            EDGES,
            "nodes.csv, line 8, column 'height': 'tall' is not a number",
        ),
        (NODES + ",x,7\n", EDGES, "nodes.csv, line 8: the node has no id"),
        (NODES + "g,x\n", EDGES, "nodes.csv, line 8: expected 3 values, got 2"),
        (
            "id,label\na,x\nb,x\n",
            EDGES,
            "column 'label': the target has only one class, 'x'; at least 2 are needed",
        ),
        (
            NODES,
            EDGES + "a,z\n",
            "edges.csv, line 7: unknown node id 'z'; every node needs a row in .*nodes.csv",
        ),
        (NODES, "from\na\n", "edges.csv has 1 column; two columns of node ids are needed"),
        ("id,label\na,x\nb,y\n", "from,to\na,b\n", "has 2 labeled nodes, too few for val_size=0.2"),
        (
            "id,label,split\na,x,train\nb,y,tset\n",
            "from,to\na,b\n",
            r"nodes.csv, line 3: unknown split 'tset'; did you mean 'test'\?",
        ),
        (
            "id,label,split\na,x,train\nb,y,train\nc,,test\n",
            "from,to\na,b\n",
            "nodes.csv, line 4: the node is in split 'test' but has no label",
        ),
        (
            "id,label,split\na,x,train\nb,y,train\n",
            "from,to\na,b\n",
            "nodes.csv: the column 'split' assigns no nodes to 'test'",
        ),
    ],
)
def test_faulty_tables(tmp_path: Path, nodes: str, edges: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, nodes, edges).setup()


def test_fractions_that_leave_no_training_nodes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must leave nodes for training and testing"):
        table(tmp_path, val_size=0.5, test_size=0.5)


# -- edges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ("source,target\na,b\nb,c\nc,d\nd,e\n", ""),
        ("edge_id,source,target\n7,a,b\n8,b,c\n9,c,d\n10,d,e\n", ""),
        ("Target,kind,Source\nb,k,a\nc,k,b\nd,k,c\ne,k,d\n", ""),
        ("id;from_id;to_id\na;a;b\nb;b;c\nc;c;d\nd;d;e\n", ""),
        ("dst\tsrc\nb\ta\nc\tb\nd\tc\ne\td\n", ""),
        ("u v\na b\nb c\nc d\nd e\n", ""),
        ("number,Source Node,Target Node\n1,a,b\n2,b,c\n3,c,d\n4,d,e\n", ""),
        ("a,b\nb,c\nc,d\nd,e\n", "has no header: the first two columns are source and target"),
        ("a b\nb c\nc d\nd e\n", "has no header: the first two columns are source and target"),
        ("# a graph\n# a b\na\tb\nb\tc\nc\td\nd\te\n", "has no header"),
        ("a,b,k\nb,c,k\nc,d,k\nd,e,k\n", "source and target; 1 other column left out"),
        ("x,end,begin\n1,b,a\n2,c,b\n3,d,c\n4,e,d\n", "'end' and 'begin' are taken as source"),
        ("one,two\na,b\nb,c\nc,d\nd,e\n", "'one' and 'two' are taken as source and target"),
        ("source,target\na,b\nb,c\na,b\nc,d\nd,e\nb,a\n", "2 repeated edges left out"),
        ("source,target\na,b\nb,c\nc,c\nc,d\nd,e\n", "1 self-loop left out"),
        ("source,target\na,b\nb,a\nb,c\nc,b\nc,d\nd,c\nd,e\ne,d\n", ""),
    ],
)
def test_nodes_of_an_edge_are_found_by_name(tmp_path: Path, edges: str, said: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = table(tmp_path, edges=edges, standardize=False).graph
    assert pairs_of(graph.edge_index) == {(0, 1), (1, 2), (2, 3), (3, 4)}
    assert graph.edge_index.shape == (2, 8)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == bool(said)
    assert all(said in message for message in messages)


def test_nodes_that_are_called_like_columns(tmp_path: Path) -> None:
    nodes = "id,label,height\nsource,x,1\ntarget,y,2\nu,x,3\nv,y,4\ne,x,5\n"
    data = table(tmp_path, nodes, "source,target\nu,v\n", standardize=False)
    assert pairs_of(data.graph.edge_index) == {(2, 3)}
    with pytest.warns(UserWarning, match="has no header"):
        graph = table(tmp_path, nodes, "u,v\nv,e\n", standardize=False).graph
    assert pairs_of(graph.edge_index) == {(2, 3), (3, 4)}


def test_numeric_ids_without_a_header(tmp_path: Path) -> None:
    nodes = "id,label,height\n1,x,1\n2,y,2\n3,x,3\n4,y,4\n5,x,5\n"
    with pytest.warns(UserWarning, match="has no header"):
        graph = table(tmp_path, nodes, "1,2\n2,3\n", standardize=False).graph
    assert pairs_of(graph.edge_index) == {(0, 1), (1, 2)}


def test_ids_that_a_spreadsheet_wrote_as_decimals(tmp_path: Path) -> None:
    nodes = "id,label,height\n1.0,x,1\n2.0,y,2\n3.0,x,3\n4.0,y,4\n5.0,x,5\n"
    data = table(tmp_path, nodes, "source,target\n1,2\n2,3.0\n", standardize=False)
    assert pairs_of(data.graph.edge_index) == {(0, 1), (1, 2)}
    assert data.prediction_ids() == {"node": ["1", "2", "3", "4", "5"]}


def test_weights_of_edges(tmp_path: Path) -> None:
    edges = "weight,source,target\n2,a,b\n4,b,a\n0.5,b,c\n"
    with pytest.warns(UserWarning, match="weights of 1 repeated edge are averaged"):
        graph = table(tmp_path, edges=edges, standardize=False).graph
    pairs = map(tuple, graph.edge_index.T.tolist())
    weights = dict(zip(pairs, graph.edge_weight.tolist(), strict=True))
    assert weights == {(0, 1): 3.0, (1, 0): 3.0, (1, 2): 0.5, (2, 1): 0.5}
    without = table(tmp_path, edges=edges, weighted=False, standardize=False)
    assert "edge_weight" not in without.graph
    assert "edge_weight" not in without.split("train")
    directed = table(tmp_path, edges=edges, directed=True, standardize=False).split("train")
    assert directed.edge_index.tolist() == [[0, 1, 1], [1, 0, 2]]
    assert directed.edge_weight.tolist() == [2.0, 4.0, 0.5]


def test_the_third_column_without_a_header_contains_weights(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="and the third one as weights"):
        graph = table(tmp_path, edges="a,b,2\nb,c,3\n", standardize=False).graph
    assert sorted(graph.edge_weight.tolist()) == [2, 2, 3, 3]


def test_weights_change_the_predictions_of_models_that_use_them(tmp_path: Path) -> None:
    edges = "source,target,weight\na,b,1\nb,c,9\nc,d,1\n"
    weighted = table(tmp_path, edges=edges, standardize=False).split("test")
    plain = table(tmp_path, edges=edges, weighted=False, standardize=False).split("test")
    gcn = NodeClassifier(num_features=1, num_classes=2, dropout=0.0).eval()
    assert not torch.allclose(gcn.logits(weighted), gcn.logits(plain))
    gat = NodeClassifier(num_features=1, num_classes=2, conv="gat").eval()
    with pytest.raises(InputError, match=r"leave the weights out with --data\.weighted false"):
        gat.logits(weighted)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ("source,target,weight\na,b,1\nb,c,\n", "line 3, column 'weight': expected a weight that"),
        ("source,target,weight\na,b,-1\n", "at least 0, found '-1'; correct it, or leave the we"),
        ("source,target\na,q\nb,r\n", r"line 2: unknown node id 'q' \(2 unknown ids in all\)"),
        ("a,b\nb,q\n", "line 2: unknown node id 'q'; every node needs a row in .*nodes.csv"),
        ("a,q\nb,c\n", "line 1: unknown node id 'q'"),
        ("one,two,three\na,b,c\n", "the columns with the nodes of an edge are unknown; name them"),
        ("source,target\na,a\n", "edges.csv has no edges between different nodes"),
        ("source,target\n", "edges.csv has no edges between different nodes"),
        ("", "edges.csv has neither a header nor rows"),
        ("source,target\na,b,c\n", "edges.csv, line 2: expected 2 values, got 3"),
        ("a b\nb\n", "edges.csv, line 2: expected 2 values, as in other lines"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_faulty_edges(tmp_path: Path, edges: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _ = table(tmp_path, edges=edges).graph


@pytest.mark.parametrize("missing", ["nodes.csv", "edges.csv"])
def test_files_that_do_not_exist(tmp_path: Path, missing: str) -> None:
    data = table(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=f"there is no file .*{missing}"):
        _ = data.graph


# -- labels and features ---------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["NaN", "NA", "None", "-1", "null", "?", "-1.0"])
def test_unknown_labels(tmp_path: Path, word: str) -> None:
    nodes = NODES.replace("f,,6", f"f,{word},6")
    data = table(tmp_path, nodes, standardize=False)
    with pytest.warns(UserWarning, match=re.escape(f"1 of 6 nodes have no label ({word})")):
        graph = data.graph
    assert data.class_names == ["x", "y"]
    assert graph.y.tolist() == [0, 1, 0, 1, 0, -1]


def test_minus_one_as_a_class(tmp_path: Path) -> None:
    nodes = "id,label,height\na,1,1\nb,-1,2\nc,1,3\n"
    data = table(tmp_path, nodes, "source,target\na,b\nb,c\n")
    with (
        pytest.warns(UserWarning, match="if -1 is a class, give it another name"),
        pytest.raises(DataError, match="the target has only one class, '1'"),
    ):
        _ = data.graph


def test_numbers_as_classes(tmp_path: Path) -> None:
    nodes = "id,label,height\na,10,1\nb,9,2\nc,10.0,3\nd,2,4\ne,9,5\nf,2.0,6\n"
    data = table(tmp_path, nodes, standardize=False)
    assert data.class_names == ["2", "9", "10"]
    assert data.graph.y.tolist() == [2, 1, 2, 0, 1, 0]


def test_a_class_without_training_nodes_is_reported(tmp_path: Path) -> None:
    nodes = "id,label,split\na,x,train\nb,y,train\nc,z,test\n"
    with pytest.warns(UserWarning, match=r"no training node has the class\(es\) z"):
        _ = table(tmp_path, nodes, "source,target\na,b\nb,c\n").graph


def test_features_are_standardized_over_all_nodes(tmp_path: Path) -> None:
    nodes = (
        "id,label,income,age,member\na,x,10000,20,1\nb,y,30000,40,0\nc,x,20000,60,1\nd,y,,20,0\n"
    )
    data = table(tmp_path, nodes, "source,target\na,b\nb,c\nc,d\n")
    with pytest.warns(UserWarning, match="standardized by the mean and standard deviation of all"):
        x = data.graph.x
    income = torch.tensor([10_000.0, 30_000, 20_000])
    expected = (income - income.mean()) / income.std(correction=0)
    assert torch.allclose(x[:3, 0], expected)
    assert x[3, 0] == 0  # the mean
    assert x[:, 1].tolist() == [0, 0, 0, 1]  # the income is missing
    assert x[:, 2].mean().item() == pytest.approx(0, abs=1e-6)
    assert x[:, 2].square().mean().item() == pytest.approx(1)
    assert x[:, 3].tolist() == [1, 0, 1, 0]  # binary features stay as they are


def test_words_as_features(tmp_path: Path) -> None:
    nodes = "id,label,color\na,x,red\nb,y,blue\nc,x,red\nd,y,green\ne,x,blue\n"
    data = table(tmp_path, nodes, "source,target\na,b\nb,c\nc,d\n")
    assert data.graph.x.tolist() == [[0, 1], [0, 0], [0, 1], [1, 0], [0, 0]]  # green, red


def test_other_gaps_and_columns_to_leave_out(tmp_path: Path) -> None:
    nodes = "id,label,age,note\na,x,-999,u\nb,y,40,v\nc,x,60,w\n"
    options = {"missing_values": [-999], "ignore": ["note"], "standardize": False}
    data = table(tmp_path, nodes, "source,target\na,b\nb,c\n", **options)
    with pytest.warns(UserWarning, match=r"1 missing value\(s\) are replaced by the mean"):
        assert data.graph.x.tolist() == [[50, 1], [40, 0], [60, 0]]
    with pytest.raises(DataError, match=r"-999 seems to stand for a gap.*--data\.missing_values"):
        _ = table(tmp_path, nodes, ignore=["note"]).graph


# -- the state, and other graphs -------------------------------------------------------------------


def restored(data: GraphCSV, tmp_path: Path, nodes: str, edges: str = EDGES) -> GraphCSV:
    """Return another graph that is read with the state of ``data``."""
    folder = tmp_path / "other"
    folder.mkdir(exist_ok=True)
    state = data.state_dict()
    torch.save(state, folder / "state.pt")
    other = table(folder, nodes, edges)
    other.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return other


@pytest.mark.filterwarnings("ignore:.*standardized", "ignore:.*repeated edge")
def test_another_graph_is_read_as_the_training_graph(tmp_path: Path) -> None:
    nodes = "id,label,height,age\na,x,1,9\nb,y,2,8\nc,x,3,7\nd,y,4,6\ne,x,5,5\n"
    data = table(tmp_path, nodes)
    mean, std = data.graph.x.new_tensor([3.0, 7.0]), torch.tensor(2.0).sqrt()
    other = restored(data, tmp_path, "id,age,label,height\nq,100,y,7\nr,9,,3\n", "q,r\n")
    with pytest.warns(UserWarning, match="has no header"):
        graph = other.graph
    assert torch.allclose(graph.x, (torch.tensor([[7.0, 100], [3, 9]]) - mean) / std)
    assert graph.y.tolist() == [1, -1]
    assert other.class_names == ["x", "y"]
    with pytest.warns(UserWarning, match="are not the training data: all 1 labeled nodes are eval"):
        other.setup("test")
    assert next(iter(other.test_dataloader())).mask.tolist() == [True, False]
    assert next(iter(other.predict_dataloader())).mask.tolist() == [True, True]
    assert other.prediction_ids() == {"node": ["q", "r"]}


@pytest.mark.parametrize("edges", ["source,target\n", "source target\n", "source,target\nq,q\n"])
@pytest.mark.filterwarnings("ignore")
def test_another_graph_may_have_no_edges(tmp_path: Path, edges: str) -> None:
    data = table(tmp_path, "id,label,height\na,x,1\nb,y,2\nc,x,3\nd,y,4\ne,x,5\n")
    other = restored(data, tmp_path, "id,height\nq,3\n", edges)
    other.setup("predict")
    batch = next(iter(other.predict_dataloader()))
    assert batch.x.tolist() == [[0.0]]
    assert batch.edge_index.shape == (2, 0)
    model = NodeClassifier(1, 2).eval()
    assert model.predict_step(batch)["probabilities"].shape == (1, 2)
    with pytest.raises(DataError, match=r"edges\.csv has no edges between different nodes"):
        other.setup("fit")


@pytest.mark.filterwarnings("ignore:.*standardized", "ignore:.*repeated edge")
def test_the_training_graph_keeps_its_split(tmp_path: Path) -> None:
    data = table(tmp_path)
    other = restored(data, tmp_path, NODES)
    other.setup("test")
    for name in SPLITS:
        assert torch.equal(other.split(name).mask, data.split(name).mask)
    assert int(other.split("test").mask.sum()) == 1


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("id,label,height\nq,zebra,1\nr,x,2\n", "line 2, column 'label': 'zebra' is not one of"),
        ("id,label\nq,x\nr,y\n", "has no column 'height', which the model was trained on"),
        ("id,label,height\nq,x,tall\nr,y,2\n", "line 2, column 'height': 'tall' is not a number"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_graphs_that_do_not_fit_the_state(tmp_path: Path, nodes: str, message: str) -> None:
    other = restored(table(tmp_path), tmp_path, nodes, "source,target\nq,r\n")
    with pytest.raises(DataError, match=message):
        _ = other.graph


@pytest.mark.filterwarnings("ignore:.*standardized", "ignore:.*repeated edge")
def test_differences_of_another_graph_are_reported(tmp_path: Path) -> None:
    edges = "source,target,weight\na,b,2\nb,c,3\n"
    other = restored(table(tmp_path), tmp_path, NODES.replace("a,x,1", "a,x,9"), edges)
    with pytest.warns(UserWarning, match="weights are left out, as the model was trained without"):
        assert "edge_weight" not in other.graph
    other = restored(table(tmp_path, edges=edges), tmp_path, NODES, "source,target\na,b\n")
    with pytest.warns(UserWarning, match="has no weights, which the model was trained with"):
        _ = other.graph
    nodes = "id,label,height,extra\nq,x,1,2\nr,y,2,3\n"
    other = restored(table(tmp_path), tmp_path, nodes, "source,target\nq,r\n")
    with pytest.warns(UserWarning, match="not trained on, left out: 'extra'"):
        assert other.graph.x.shape == (2, 1)


@pytest.mark.filterwarnings("ignore:.*repeated edge")
def test_nodes_without_features_are_known_by_their_ids(tmp_path: Path) -> None:
    data = table(tmp_path, "id,label\na,x\nb,y\nc,x\nd,y\ne,x\n")
    part = restored(data, tmp_path, "id,label\nc,x\na,y\n", "source,target\na,c\n")
    assert part.graph.x.tolist() == [[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]
    other = restored(data, tmp_path, "id,label\nc,x\nq,y\n", "source,target\nq,c\n")
    with pytest.raises(DataError, match="line 3: node 'q' was not in the training graph"):
        _ = other.graph


@pytest.mark.filterwarnings("ignore")
def test_graphs_without_labels(tmp_path: Path) -> None:
    nodes = "id,height\nq,1\nr,2\n"
    other = restored(table(tmp_path), tmp_path, nodes, "source,target\nq,r\n")
    other.setup("predict")
    assert other.graph.y.tolist() == [-1, -1]
    with pytest.raises(DataError, match="has no labeled nodes to test: fill in the column 'label'"):
        other.setup("test")
    links = table(
        tmp_path, "id,height\na,1\nb,2\nc,3\nd,4\ne,5\n", task="links", test_link_fraction=0.25
    )
    assert links.split("train").edge_index.shape[1] > 0
    assert links.prediction_ids() == {"node": ["a", "b", "c", "d", "e"]}


@pytest.mark.filterwarnings("ignore")
def test_predictions_of_all_nodes_with_their_ids(run: Callable[..., Path]) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, edges = [], []
    for i in range(60):
        rich = i % 2
        income = (20_000 + 60_000 * rich) * (1 + 0.1 * float(torch.randn((), generator=generator)))
        label = ("", "poor", "rich")[0 if i % 10 == 9 else 1 + rich]
        rows.append(f"person {i},{income:.0f},{20 + i % 7},{label}")
        edges += [f"person {i},person {(i + 2) % 60}", f"person {i},person {(i + 4) % 60}"]
    Path("nodes.csv").write_text("\n".join(["id,income,age,label", *rows]))
    Path("edges.csv").write_text("\n".join(edges))
    options = ["--model", "gcn", "--data", "graph_csv", "--data.path", "nodes.csv"]
    options += ["--data.edges", "edges.csv", "--trainer.max_epochs", "60"]
    folder = run(*options, "--checkpoint.monitor", "val/accuracy", "--trainer.callbacks", "null")
    checkpoint = folder / "checkpoints" / "best.ckpt"
    predicted = run("predict", *options, "--ckpt_path", str(checkpoint))
    with (predicted / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["node"] for row in table] == [f"person {i}" for i in range(60)]
    assert [row["class"] for row in table] == ["poor", "rich"] * 30
    assert list(table[0]) == ["node", "class", "probability", "p(poor)", "p(rich)"]

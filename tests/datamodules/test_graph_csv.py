"""GraphCSV: node and edge tables, new graphs for a checkpoint, predictions with the user's ids."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import GraphCSV
from tests.datamodules.test_graphs import SPLITS, pairs_of
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
        ("", EDGES, "nodes.csv has no rows below its header"),
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

"""Graphs: a karate club, citations, communities drawn at random, and a table of your own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.files import parse_number, read_table
from datamodules.graphs import SPLITS, GraphDataModule, cut, masks
from zoo.errors import DataError
from zoo.functional.graphs import symmetrize_edges

#: members of Zachary's club who stayed with the instructor, numbered from 0
INSTRUCTORS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21)


class Karate(GraphDataModule):
    """Zachary's karate club: 34 members, 78 friendships, embedded.

    A node's features say which member it is, and nothing else. ``labels="factions"``: the two clubs
    after the split, where the instructor's and the president's are known.
    ``labels="communities"``: four groups found by modularity, one member of each known. All others
    are for test.

    Args:
        labels: ``factions`` (default) or ``communities``.
        **graph: see :class:`~datamodules.graphs.GraphDataModule`.

    Sources: Zachary, An information flow model for conflict and fission in small groups, 1977; the
    communities as in Kipf and Welling, 2017.
    """

    def __init__(self, labels: str = "factions", **graph: Any) -> None:
        super().__init__(**graph)
        if labels not in ("factions", "communities"):
            raise ValueError(f"unknown labels {labels!r}; choose from factions, communities")
        self.labels = labels
        sides = ["instructor", "president"]
        self.class_names = sides if labels == "factions" else ["1", "2", "3", "4"]

    def load(self) -> Data:
        from torch_geometric.datasets import KarateClub

        club = KarateClub()[0]
        y, train = club.y, club.train_mask.nonzero()[:, 0]
        if self.labels == "factions":
            y = torch.ones(34, dtype=torch.long).index_fill(0, torch.tensor(INSTRUCTORS), 0)
            train = torch.tensor([0, 33])
        everyone = torch.arange(34)
        rest = everyone[~torch.isin(everyone, train)]
        parts = masks(34, {"train": train, "val": rest[:0], "test": rest})
        return Data(x=torch.eye(34), edge_index=club.edge_index, y=y, **parts)


class SBM(GraphDataModule):
    """Communities drawn from the stochastic block model, with features that tell little.

    Nodes i and j are joined with probability ``p_in`` within a community and ``p_out`` between two,
    independently. A node's features are normal with variance 1 around its community's mean, a
    random vector of length ``signal``.

    Args:
        communities: K, default 4.
        nodes: of all communities together, default 400, evenly shared.
        p_in, p_out: default 0.1 and 0.01.
        features: numbers at a node, default 16.
        signal: distance of a community's mean from 0, in standard deviations of the noise; default
            1.
        per_class: training nodes of each community, default 5.
        val_nodes: validation nodes, default 80; all others are for test.
        **graph: see :class:`~datamodules.graphs.GraphDataModule`.

    Source: Holland et al., Stochastic blockmodels: first steps, 1983.
    """

    def __init__(
        self,
        communities: int = 4,
        nodes: int = 400,
        p_in: float = 0.1,
        p_out: float = 0.01,
        features: int = 16,
        signal: float = 1.0,
        per_class: int = 5,
        val_nodes: int = 80,
        **graph: Any,
    ) -> None:
        super().__init__(**graph)
        for name, p in (("p_in", p_in), ("p_out", p_out)):
            if not 0 <= p <= 1:
                raise ValueError(f"{name} must be a probability, got {p}")
        if communities < 2:
            raise ValueError(f"communities must be at least 2, got {communities}")
        self.communities, self.nodes, self.p_in, self.p_out = communities, nodes, p_in, p_out
        self.features, self.signal = features, signal
        self.per_class, self.val_nodes = per_class, val_nodes

    def load(self) -> Data:
        generator = torch.Generator().manual_seed(self.seed)
        y = torch.arange(self.nodes) % self.communities
        pairs = torch.triu_indices(self.nodes, self.nodes, 1)
        p = torch.where(y[pairs[0]] == y[pairs[1]], self.p_in, self.p_out)
        pairs = pairs[:, torch.rand(len(p), generator=generator) < p]
        means = torch.randn(self.communities, self.features, generator=generator)
        means *= self.signal / means.norm(dim=1, keepdim=True)
        x = means[y] + torch.randn(self.nodes, self.features, generator=generator)
        parts = cut(y, self.per_class, self.val_nodes, self.seed)
        return Data(x=x, edge_index=symmetrize_edges(pairs), y=y, **parts)


class Planetoid(GraphDataModule):
    """Papers that cite each other, with the words of their abstracts: Cora, CiteSeer or PubMed.

    The public split: 20 papers of each class for training, 500 for validation, 1,000 for test. The
    features of each paper are divided by their sum. Lies in ``root/Planetoid``; downloaded when it
    is missing.

    Args:
        name: ``Cora`` (default), ``CiteSeer`` or ``PubMed``.
        split: ``public`` (default), or ``full``: all papers that are neither for validation nor for
            test are for training.
        **graph: see :class:`~datamodules.graphs.GraphDataModule`.

    Source: Yang et al., Revisiting semi-supervised learning with graph embeddings, 2016.
    """

    def __init__(self, name: str = "Cora", split: str = "public", **graph: Any) -> None:
        super().__init__(**graph)
        known = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
        if name.lower() not in known:
            raise ValueError(f"unknown name {name!r}; choose from {', '.join(known.values())}")
        if split not in ("public", "full"):
            raise ValueError(f"unknown split {split!r}; choose from public, full")
        self.name, self.way = known[name.lower()], split

    def load(self) -> Data:
        from torch_geometric.datasets import Planetoid as Official

        folder = self.root / "Planetoid"
        try:
            graph = Official(str(folder), self.name, split=self.way)[0]
        except OSError as error:
            raise DataError(
                f"{self.name} is neither in {folder} nor can it be downloaded ({error}): put its "
                f"files ind.{self.name.lower()}.* into {folder / self.name / 'raw'}"
            ) from None
        graph.x = graph.x / graph.x.sum(1, keepdim=True).clamp(min=1)
        return graph


class GraphCSV(GraphDataModule):
    """A graph of your own: ``--data graph_csv --data.path nodes.csv --data.edges edges.csv``.

    The table of nodes has a header with ``id``, ``label`` (empty where it is not known) and, where
    you wish, ``split`` (train, val, test or empty); all other columns are features. Without any, a
    node's features say which node it is. The table of edges has a header and two columns of ids.

    Properties that models ask for: ``num_features``, ``num_classes``; and ``class_names``, their names.

    Args:
        path: table of nodes, with commas, semicolons, tabs or bars between its cells.
        edges: table of edges.
        directed: whether an edge leads from its first to its second node alone, default no.
        val_size, test_size: fractions of the labelled nodes, where there is no column ``split``;
            default 0.2 and 0.2.
        **graph: see :class:`~datamodules.graphs.GraphDataModule`.

    Raises:
        DataError: names the file and line of what is wrong.
    """

    def __init__(
        self,
        path: str,
        edges: str,
        directed: bool = False,
        val_size: float = 0.2,
        test_size: float = 0.2,
        **graph: Any,
    ) -> None:
        super().__init__(**graph)
        if val_size < 0 or test_size <= 0 or val_size + test_size >= 1:
            raise ValueError(
                f"val_size={val_size} and test_size={test_size} must leave nodes for training and "
                "for test"
            )
        self.path, self.edges, self.directed = Path(path), Path(edges), directed
        self.val_size, self.test_size = val_size, test_size
        self.class_names: list[str] = []

    def load(self) -> Data:
        header, rows = read_table(self.path)
        for name in ("id", "label"):
            if name not in header:
                raise DataError(f"{self.path} has no column {name!r}: it has {', '.join(header)}")
        places = {name: header.index(name) for name in header}
        ids: dict[str, int] = {}
        for line, row in rows:
            node = row[places["id"]]
            if node in ids:
                raise DataError(f"{self.path}, line {line}: node {node!r} comes twice")
            ids[node] = len(ids)
        labels = [row[places["label"]] for _, row in rows]
        self.class_names = sorted(set(labels) - {""})
        if len(self.class_names) < 2:
            raise DataError(
                f"{self.path} has labels of {len(self.class_names)} classes: two are needed"
            )
        y = torch.tensor([self.class_names.index(label) if label else -1 for label in labels])
        names = [name for name in header if name not in ("id", "label", "split")]
        x = torch.tensor(list(self._numbers(rows, places, names))) if names else torch.eye(len(y))
        graph = Data(x=x, y=y, edge_index=self._edges(ids))
        splits = [row[places["split"]] for _, row in rows] if "split" in places else None
        parts = self._cut(y) if splits is None else self._given(y, splits, rows)
        for name, mask in parts.items():
            graph[name] = mask
        return graph

    def _numbers(
        self, rows: list[tuple[int, list[str]]], places: dict[str, int], names: list[str]
    ) -> Iterator[list[float]]:
        for line, row in rows:
            numbers = []
            for name in names:
                cell = row[places[name]]
                value = parse_number(cell)
                if value is None or not math.isfinite(value):
                    what = f"{cell!r} is no number" if cell else "there is a gap"
                    raise DataError(f"{self.path}, line {line}, column {name!r}: {what}")
                numbers.append(value)
            yield numbers

    def _edges(self, ids: dict[str, int]) -> Tensor:
        header, rows = read_table(self.edges)
        if len(header) < 2:
            raise DataError(f"{self.edges} has {len(header)} column: two ids are needed")
        ends = []
        for line, row in rows:
            for node in row[:2]:
                if node not in ids:
                    raise DataError(
                        f"{self.edges}, line {line}: node {node!r} is not in {self.path}"
                    )
            ends.append([ids[node] for node in row[:2]])
        edges = torch.tensor(ends).T
        return edges if self.directed else symmetrize_edges(edges).unique(dim=1)

    def _given(
        self, y: Tensor, splits: list[str], rows: list[tuple[int, list[str]]]
    ) -> dict[str, Tensor]:
        for (line, _), split, label in zip(rows, splits, y.tolist(), strict=True):
            if split and split not in SPLITS:
                raise DataError(
                    f"{self.path}, line {line}: split {split!r} is none of {', '.join(SPLITS)}"
                )
            if split and label < 0:
                raise DataError(f"{self.path}, line {line}: a {split} node has no label")
        parts = {
            name: torch.tensor([i for i, split in enumerate(splits) if split == name]).long()
            for name in SPLITS
        }
        for name in ("train", "test"):
            if not len(parts[name]):
                raise DataError(f"{self.path} has no {name} nodes in its column 'split'")
        return masks(len(y), parts)

    def _cut(self, y: Tensor) -> dict[str, Tensor]:
        known = (y >= 0).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(self.seed)
        order = known[torch.randperm(len(known), generator=generator)]
        val, test = (round(size * len(known)) for size in (self.val_size, self.test_size))
        if not test or val + test >= len(known):
            raise DataError(f"{self.path} has {len(known)} labelled nodes, too few to be divided")
        parts = {"val": order[:val], "test": order[val : val + test], "train": order[val + test :]}
        return masks(len(y), parts)

"""A user's own graph from two tables, of nodes and of edges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.files import parse_number, read_table
from datamodules.single_graph import SPLITS, GraphDataModule, split_masks
from zoo.errors import DataError, InputError, check_fraction, unknown
from zoo.functional.graphs import symmetrize_edges

Rows = list[tuple[int, list[str]]]  # line numbers and cells


class GraphCSV(GraphDataModule):
    """Your own graph: ``--data graph_csv --data.path nodes.csv --data.edges edges.csv``.

    The node table has a header with the columns ``id``, ``label`` (empty where unknown) and,
    optionally, ``split`` (train, val, test or empty). All other columns are numeric features;
    without any, the features are one-hot vectors that identify the nodes. The edge table has a
    header and two columns of node ids; further columns are ignored.

    Args:
        path: node table, separated by commas, semicolons, tabs or vertical bars.
        edges: edge table, in the same format.
        directed: whether edges lead from the first node to the second only, default False.
        val_size: fraction of the labeled nodes for validation, default 0.2; ignored if there is a
            column ``split``.
        test_size: fraction of the labeled nodes for testing, default 0.2; ignored if there is a
            column ``split``.
        **graph: see :class:`~datamodules.single_graph.GraphDataModule`.

    Raises:
        InputError: fractions that leave no nodes for training or testing.
        DataError: a fault in a table; the message names the file and the line.
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
        check_fraction(val_size=val_size, test_size=test_size)
        if test_size == 0 or val_size + test_size >= 1:
            raise InputError(
                "val_size and test_size must leave nodes for training and testing: test_size above "
                f"0 and a sum below 1, got {val_size} and {test_size}"
            )
        self.path, self.edges, self.directed = Path(path), Path(edges), directed
        self.val_size, self.test_size = val_size, test_size
        self._class_names: list[str] = []

    @property
    def class_names(self) -> list[str]:
        """Distinct labels, sorted."""
        _ = self.graph
        return self._class_names

    def load(self) -> Data:
        header, rows = read_table(self.path)
        for name in ("id", "label"):
            if name not in header:
                raise DataError(
                    f"{self.path} has no column {name!r}, which is required; its columns are "
                    f"{', '.join(header)}"
                )
        columns = {name: [cells[i] for _, cells in rows] for i, name in enumerate(header)}
        indices = self._index_nodes(columns["id"], rows)
        labels = columns["label"]
        self._class_names = sorted(set(labels) - {""})
        if len(self._class_names) < 2:
            raise DataError(
                f"{self.path}: the column 'label' must contain at least 2 classes, found "
                f"{len(self._class_names)}"
            )
        y = torch.tensor([self._class_names.index(label) if label else -1 for label in labels])
        x = self._read_features(header, rows)
        graph = Data(x=x, y=y, edge_index=self._read_edges(indices))
        splits = columns.get("split")
        masks = self._sample_masks(y) if splits is None else self._read_masks(y, splits, rows)
        for name, mask in masks.items():
            graph[name] = mask
        return graph

    def _index_nodes(self, ids: list[str], rows: Rows) -> dict[str, int]:
        """Return the index of each node, by its id."""
        indices: dict[str, int] = {}
        for node, (line, _) in zip(ids, rows, strict=True):
            if node in indices:
                first = rows[indices[node]][0]
                raise DataError(
                    f"{self.path}, line {line}: duplicate node id {node!r}, first used in line "
                    f"{first}"
                )
            indices[node] = len(indices)
        return indices

    def _read_features(self, header: list[str], rows: Rows) -> Tensor:
        """Return the node features (N, F); one-hot vectors if there are no feature columns."""
        columns = [i for i, name in enumerate(header) if name not in ("id", "label", "split")]
        if not columns:
            return torch.eye(len(rows))
        features = []
        for line, cells in rows:
            values = [parse_number(cells[i]) for i in columns]
            for i, value in zip(columns, values, strict=True):
                if value is None or not math.isfinite(value):
                    found = repr(cells[i]) if cells[i] else "an empty cell"
                    raise DataError(
                        f"{self.path}, line {line}, column {header[i]!r}: expected a number, found "
                        f"{found}"
                    )
            features.append(values)
        return torch.tensor(features)

    def _read_edges(self, indices: dict[str, int]) -> Tensor:
        """Return edge_index (2, E) of the edge table."""
        header, rows = read_table(self.edges)
        if len(header) < 2:
            raise DataError(
                f"{self.edges} has {len(header)} column; two columns of node ids are needed"
            )
        pairs = []
        for line, cells in rows:
            for node in cells[:2]:
                if node not in indices:
                    raise DataError(
                        f"{self.edges}, line {line}: unknown node id {node!r}; every node needs a "
                        f"row in {self.path}"
                    )
            pairs.append([indices[node] for node in cells[:2]])
        edges = torch.tensor(pairs).T
        return edges if self.directed else symmetrize_edges(edges).unique(dim=1)

    def _read_masks(self, y: Tensor, splits: list[str], rows: Rows) -> dict[str, Tensor]:
        """Return the masks that the column ``split`` specifies."""
        for (line, _), split, label in zip(rows, splits, y.tolist(), strict=True):
            if split and split not in SPLITS:
                raise DataError(f"{self.path}, line {line}: {unknown('split', split, SPLITS)}")
            if split and label < 0:
                raise DataError(
                    f"{self.path}, line {line}: the node is in split {split!r} but has no label"
                )
        nodes = {
            name: torch.tensor([i for i, split in enumerate(splits) if split == name]).long()
            for name in SPLITS
        }
        for name in ("train", "test"):
            if not len(nodes[name]):
                raise DataError(f"{self.path}: the column 'split' assigns no nodes to {name!r}")
        return split_masks(len(y), nodes)

    def _sample_masks(self, y: Tensor) -> dict[str, Tensor]:
        """Split the labeled nodes at random, by the seed."""
        labeled = (y >= 0).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(self.seed)
        order = labeled[torch.randperm(len(labeled), generator=generator)]
        num_val, num_test = (round(f * len(labeled)) for f in (self.val_size, self.test_size))
        if not num_test or num_val + num_test >= len(labeled):
            raise DataError(
                f"{self.path} has {len(labeled)} labeled nodes, too few for val_size="
                f"{self.val_size} and test_size={self.test_size}"
            )
        sizes = [num_val, num_test, len(labeled) - num_val - num_test]
        val, test, train = order.split(sizes)
        return split_masks(len(y), {"train": train, "val": val, "test": test})

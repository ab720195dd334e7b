"""A user's own graph from two tables, of nodes and of edges."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.graph_edges import read_edges
from datamodules.node_table import NodeTable, read_nodes
from datamodules.single_graph import SPLITS, GraphDataModule, split_masks
from datamodules.table_columns import Array
from datamodules.table_schema import Schema, TableOptions
from zoo.errors import DataError, InputError, check_fraction, unknown


class GraphCSV(GraphDataModule):
    """Your own graph: ``--data graph_csv --data.path nodes.csv --data.edges edges.csv``.

    The node table has a header with the columns ``id``, ``label`` (empty, ``-1``, ``NA``, ``NaN``
    or ``None`` where unknown) and, optionally, ``split`` (train, val, test or empty). All other
    columns are numeric features; without any, the features are one-hot vectors that identify the
    nodes.

    The edge table has the columns ``source`` and ``target``, or others of such names (``from`` and
    ``to``, ``u`` and ``v``, …), and optionally ``weight``; further columns are ignored. Without a
    header the nodes are in the first two columns.

    A checkpoint contains the names, scaling and order of the features and the names of the classes,
    and a graph from other tables is read by them. Such a graph is tested on all of its labeled
    nodes. ``predict`` predicts every node of the table, labeled or not. A graph without edges has
    an edge table of only a header.

    Args:
        path: node table, separated by commas, semicolons, tabs, vertical bars or spaces.
        edges: edge table, in the same format.
        directed: whether edges lead from the first node to the second only, default False.
        weighted: whether to use the edge weights, default True.
        standardize: whether to scale features to mean 0 and variance 1 over all nodes, default
            True. Features that contain only 0 and 1 are not scaled.
        ignore: names of columns of the node table to leave out, default none.
        keep: names of columns to use although they look like identifiers, have only one value, or
            contain numbers such as −999 that may be gaps; default none.
        missing_values: other text or numbers that mark gaps, such as −999; default none.
        decimal: decimal sign of numbers, ``.`` or ``,``; detected by default.
        val_size: fraction of the labeled nodes for validation, default 0.2; ignored if there is a
            column ``split``.
        test_size: fraction of the labeled nodes for testing, default 0.2; ignored if there is a
            column ``split``.
        **graph: see :class:`~datamodules.single_graph.GraphDataModule`.

    Raises:
        InputError: fractions that leave no nodes for training or testing.
        DataError: a fault in a table; the message names the file and the line.
    """

    learned_settings = (
        *GraphDataModule.learned_settings, "directed", "weighted", "standardize", "ignore", "keep",
        "missing_values", "val_size", "test_size",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        edges: str,
        directed: bool = False,
        weighted: bool = True,
        standardize: bool = True,
        ignore: list[str] | None = None,
        keep: list[str] | None = None,
        missing_values: list[str | float] | None = None,
        decimal: str | None = None,
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
        self.weighted, self.standardize = weighted, standardize
        self.ignore, self.keep = list(ignore or []), list(keep or [])
        self.missing_values, self.decimal = [str(text) for text in missing_values or []], decimal
        self.val_size, self.test_size = val_size, test_size
        self._is_training_graph = True
        self._encoded: Array | None = None

    # -- state ----------------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        nodes = self._nodes
        if nodes.label is None and self.task == "nodes":
            raise DataError(
                f"{self.path} has no column 'label', which is required; its other columns are "
                f"{', '.join(nodes.feature_columns)}: rename the one with the classes, or set "
                "--data.task links"
            )
        targets = [nodes.label] if nodes.label is not None and self.task == "nodes" else []
        ignore = [*self.ignore, *(name for name in [nodes.label] if name and not targets)]
        options = TableOptions(targets, "classification", ignore, self.keep, self.decimal)
        schema = nodes.learn(options)
        self._encoded = nodes.encode_features(schema)
        mean, std = self._scaling(self._encoded)
        return {
            "schema": schema.to_state(),
            "columns": nodes.feature_columns,
            "mean": torch.from_numpy(mean),
            "std": torch.from_numpy(std),
            "node_ids": [] if schema.features else list(nodes.ids),  # of the one-hot features
            "class_names": schema.class_names,
            "is_weighted": self._edges[1] is not None,
            "fingerprint": self._fingerprint(),
        }

    @cached_property
    def _schema(self) -> Schema:
        return Schema.from_state(self.learned["schema"])

    def forget(self) -> None:
        super().forget()
        self._encoded = None

    def _fingerprint(self) -> str:
        """Return a checksum of both tables."""
        contents = [path.read_bytes() for path in (self.path, self.edges)]
        return hashlib.sha256(b"\0".join(contents)).hexdigest()

    def _check_fit(self) -> None:
        """Do nothing: features and classes are matched by name while they are read."""

    # -- reading --------------------------------------------------------------------------------

    @cached_property
    def _nodes(self) -> NodeTable:
        return read_nodes(self.path, self.missing_values)

    @cached_property
    def _edges(self) -> tuple[Tensor, Tensor | None]:
        return read_edges(self.edges, self._nodes.indices, self.path, self.directed, self.weighted)

    @property
    def class_names(self) -> list[str]:
        """Distinct labels; numbers are sorted as numbers."""
        return list(self.learned["class_names"])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def node_ids(self) -> Sequence[str]:
        """Ids of the nodes, in the order of the table."""
        return self._nodes.ids

    def load(self) -> Data:
        x, y = self._read_features(), self._nodes.encode_labels(self._schema)
        edge_index, weights = self._edges
        if not self.has_loaded_state:
            self._check_edges(edge_index)
        graph = Data(x=x, y=y, edge_index=edge_index)
        graph.predict_mask = torch.ones(len(y), dtype=torch.bool)
        if weights is not None and self._uses_weights():
            graph.edge_weight = weights
        if weights is None and self.learned["is_weighted"]:
            self._say(f"{self.edges} has no weights, which the model was trained with: all are 1")
        self._is_training_graph = (
            not self.has_loaded_state or self.learned["fingerprint"] == self._fingerprint()
        )
        self._set_masks(graph)
        return graph

    def _check_edges(self, edge_index: Tensor) -> None:
        """Refuse to train on a graph without edges."""
        if not edge_index.numel():
            raise DataError(f"{self.edges} has no edges between different nodes")

    def _uses_weights(self) -> bool:
        if self.task == "links":
            self._say(f"{self.edges}: link prediction does not use the weights")
            return False
        if not self.learned["is_weighted"]:
            self._say(
                f"{self.edges}: the weights are left out, as the model was trained without any"
            )
            return False
        return True

    def setup(self, stage: str | None = None) -> None:
        graph = self.graph
        if stage == "fit":
            self._check_edges(graph.edge_index)
        if stage == "fit" and not self._is_training_graph:
            self._is_training_graph = True  # from now on
            self._set_masks(graph)
            self._batches.clear()
        super().setup(stage)
        if stage in ("validate", "test") and not self._is_training_graph and self.task == "nodes":
            self._say_all_labeled(graph)

    def _say_all_labeled(self, graph: Data) -> None:
        count = int(graph.test_mask.sum())
        if not count:
            raise DataError(
                f"{self.path} has no labeled nodes to test: fill in the column 'label', or use "
                "the command predict"
            )
        self._say(
            f"{self.path} and {self.edges} are not the training data: all {count} labeled nodes "
            "are evaluated"
        )

    # -- features -------------------------------------------------------------------------------

    def _scaling(self, x: Array) -> tuple[Array, Array]:
        """Return the mean and the divisor of each feature; NaN divides unscaled features."""
        with warnings.catch_warnings():
            # NumPy warns about a feature without any value, whose mean becomes 0
            warnings.simplefilter("ignore", RuntimeWarning)
            mean, std = np.nan_to_num(np.nanmean(x, axis=0)), np.nanstd(x, axis=0)
        known = np.nan_to_num(x)
        is_binary = ((known == 0) | (known == 1)).all(axis=0)
        is_scaled = ~is_binary & (std > 1e-12 * np.maximum(1, np.abs(mean)))
        if self.standardize and is_scaled.any():
            self._say(
                f"{self.path}: features are standardized by the mean and standard deviation of all "
                f"{len(x)} nodes; --data.standardize false leaves them as they are"
            )
        gaps = int(np.isnan(x).sum())
        if gaps:
            self._say(
                f"{self.path}: {gaps} missing value(s) are replaced by the mean of their column"
            )
        if not self.standardize:
            is_scaled[:] = False
        return mean, np.where(is_scaled, std, np.nan)

    def _read_features(self) -> Tensor:
        """Return the node features, (N, F); one-hot vectors without feature columns."""
        learned, nodes, schema = self.learned, self._nodes, self._schema
        if learned["node_ids"]:
            return self._identity_features(learned["node_ids"])
        extra = [name for name in nodes.feature_columns if name not in learned["columns"]]
        if extra:
            self._say(
                f"{self.path} has columns that the model was not trained on, left out: "
                f"{', '.join(map(repr, extra))}"
            )
        x, self._encoded = self._encoded, None  # has been encoded to learn the scaling
        if x is None:
            x = nodes.encode_features(schema, nodes.formats(schema, self.decimal))
        mean, std = learned["mean"].numpy(), learned["std"].numpy()
        x = np.where(np.isnan(x), mean, x)
        return torch.from_numpy(np.where(np.isnan(std), x, (x - mean) / std)).float()

    def _identity_features(self, known: Sequence[str]) -> Tensor:
        positions = {node: i for i, node in enumerate(known)}
        for line, node in zip(self._nodes.lines, self._nodes.ids, strict=True):
            if node not in positions:
                raise DataError(
                    f"{self.path}, line {line}: node {node!r} was not in the training graph, and "
                    "without feature columns the model knows nodes by their ids only"
                )
        return torch.eye(len(known))[[positions[node] for node in self._nodes.ids]]

    # -- splits ---------------------------------------------------------------------------------

    def _set_masks(self, graph: Data) -> None:
        """Add the masks of the splits; a graph other than the training graph is evaluated whole."""
        y, splits = graph.y, self._nodes.splits
        labeled, none = (y >= 0).nonzero()[:, 0], y.new_empty(0)
        if self.task == "links":
            masks = split_masks(len(y), dict.fromkeys(SPLITS, none))
        elif not self._is_training_graph:
            masks = split_masks(len(y), {"train": none, "val": labeled, "test": labeled})
        else:
            masks = self._sample_masks(y) if splits is None else self._read_masks(y, splits)
            self._say_absent_classes(y[masks["train_mask"]])
        for name, mask in masks.items():
            graph[name] = mask

    def _say_absent_classes(self, y: Tensor) -> None:
        present = set(y.tolist())
        absent = [name for k, name in enumerate(self.class_names) if k not in present]
        if absent:
            self._say(f"{self.path}: no training node has the class(es) {', '.join(absent)}")

    def _read_masks(self, y: Tensor, splits: Sequence[str]) -> dict[str, Tensor]:
        """Return the masks that the column ``split`` specifies."""
        for line, split, label in zip(self._nodes.lines, splits, y.tolist(), strict=True):
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

    @staticmethod
    def _say(message: str) -> None:
        warnings.warn(message, stacklevel=3)

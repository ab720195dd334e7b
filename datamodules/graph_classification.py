"""Base class of data modules for graph classification."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from datamodules.base import default_root
from datamodules.class_weights import ClassWeights, Weighting
from datamodules.graph_lists import GraphListDataModule
from datamodules.single_graph import check_fit
from zoo.errors import DataError, InputError, check_at_least


class GraphClassificationDataModule(ClassWeights, GraphListDataModule):
    """Base class of data modules for graph classification, split by stratified k-fold.

    A subclass implements ``load``. The graphs are divided into folds of equal size and equal class
    proportions; one is for testing, the next one for validation. Batches are PyG ``Batch`` with
    x (N, F), edge_index (2, E), batch (N,) and y (G,).

    Properties for models: ``num_features``, ``num_classes``; for figures: ``class_names``. A
    checkpoint contains them, and the folds, so that its model is tested on the graphs of its own
    test fold.

    Args:
        batch_size: training graphs per batch and process, default 32.
        folds: number of folds, default 10.
        fold: index of the test fold, from 0, default 0.
        validate: whether the fold after the test fold is held out for validation, default True;
            otherwise it is used for training.
        seed: random seed of the folds and of the batches, default 0.
        root: data folder, default the environment variable ``ZOO_DATA``, else ``data``.
        class_weights: weights of the classes in a classifier's loss: ``balanced``, or weights by
            class name; default none.

    Raises:
        InputError: fewer than 3 folds, or no such fold.
    """

    learned_settings = ("seed", "folds", "fold", "validate")

    def __init__(
        self,
        batch_size: int = 32,
        folds: int = 10,
        fold: int = 0,
        validate: bool = True,
        seed: int = 0,
        root: str | None = None,
        class_weights: Weighting = None,
    ) -> None:
        super().__init__()
        self.weight_classes(class_weights)
        check_at_least(3, folds=folds)
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, fold=fold, seed=seed)
        if not 0 <= fold < folds:
            raise InputError(
                f"fold must be between 0 and {folds - 1} for {folds} folds, got {fold}"
            )
        self.batch_size, self.folds, self.fold, self.validate = batch_size, folds, fold, validate
        self.seed = seed
        self.root = Path(root or default_root())

    def load(self) -> list[Data]:
        """Return all graphs, each with x, edge_index and y (1,)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load()")

    def learn(self) -> dict[str, Any]:
        return {"num_features": self.num_features, "class_names": self.class_names}

    @cached_property
    def graphs(self) -> list[Data]:
        """All graphs, loaded at first access."""
        return self.load()

    @property
    def num_features(self) -> int:
        """Number of features per node."""
        return self.graphs[0].num_node_features

    @property
    def num_classes(self) -> int:
        """Number of graph classes."""
        return int(max(graph.y for graph in self.graphs)) + 1

    @property
    def class_names(self) -> list[str]:
        """Names of the graph classes, by default their indices."""
        return [str(k) for k in range(self.num_classes)]

    def training_labels(self) -> Tensor:
        return torch.cat([graph.y.flatten() for graph in self.split("train")])

    @cached_property
    def split_indices(self) -> dict[str, list[int]]:
        """Indices of the graphs of each split, by its name.

        Raises:
            DataError: fewer graphs in every class than folds.
        """
        from sklearn.model_selection import StratifiedKFold

        labels = [int(graph.y) for graph in self.graphs]
        folds = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
        try:
            parts = [part.tolist() for _, part in folds.split(labels, labels)]
        except ValueError as error:
            raise DataError(
                f"{len(labels)} graphs cannot be divided into {self.folds} folds ({error}); lower "
                "folds or add graphs"
            ) from None
        test = parts[self.fold]
        val = parts[(self.fold + 1) % self.folds] if self.validate else []
        train = sorted(set(range(len(labels))) - {*test, *val})
        return {"train": train, "val": val, "test": test}

    def prediction_ids(self) -> dict[str, Sequence[int]]:
        """Return the indices of the graphs of the test fold."""
        return {"graph": self.split_indices["test"]}

    def split(self, name: str) -> list[Data]:
        return [self.graphs[i] for i in self.split_indices[name]]

    def prepare_data(self) -> None:
        if self.has_loaded_state:
            check_fit(self)
        _ = self.graphs

    def setup(self, stage: str | None = None) -> None:
        _ = self.split_indices

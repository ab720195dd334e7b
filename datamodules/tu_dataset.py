"""Graph classification data sets of the TU Dortmund collection."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric.data import Data

from datamodules.graph_classification import GraphClassificationDataModule
from datamodules.locks import preparing
from datamodules.pickles import check_processed
from zoo.errors import DataError, check_folder_name


class TUDataset(GraphClassificationDataModule):
    """A data set of the TU Dortmund collection: molecules, proteins or social networks.

    Node features are those of the data set; where it has none, they are the constant 1. The data is
    read from ``root/TUDataset`` and downloaded if it is not there.

    Args:
        name: name of the data set, default ``MUTAG``.
        **graphs: see :class:`~datamodules.graph_classification.GraphClassificationDataModule`.

    Raises:
        InputError: ``name`` is not the name of a folder.
        DataError: the files are missing and cannot be downloaded.

    Source: Morris et al., TUDataset: A collection of benchmark datasets for learning with graphs,
    2020.
    """

    def __init__(self, name: str = "MUTAG", **graphs: Any) -> None:
        super().__init__(**graphs)
        check_folder_name("name", name)
        self.name = name

    def load(self) -> list[Data]:
        from torch_geometric.datasets import TUDataset as PyGTUDataset

        folder = self.root / "TUDataset"
        try:
            with preparing(folder):
                check_processed(folder / self.name)
                graphs = list(PyGTUDataset(str(folder), self.name))
        except OSError as error:
            raise DataError(
                f"{self.name} was not found in {folder} and could not be downloaded ({error}); "
                f"put its files {self.name}_*.txt into {folder / self.name / 'raw'}"
            ) from None
        for graph in graphs:
            if graph.x is None:
                graph.x = torch.ones(graph.num_nodes, 1)
        return graphs

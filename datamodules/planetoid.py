"""Planetoid citation graphs: Cora, CiteSeer and PubMed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from datamodules.locks import preparing
from datamodules.pickles import check_pickles, check_processed
from datamodules.single_graph import GraphDataModule
from zoo.errors import DataError, check_choice, unknown

NAMES = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}


class Planetoid(GraphDataModule):
    """Citation graphs with bag-of-words node features: Cora, CiteSeer or PubMed.

    The public split has 20 papers of each class for training, 500 for validation and 1,000 for
    testing. The features of each paper are divided by their sum. The data is read from
    ``root/Planetoid`` and downloaded if it is not there.

    Args:
        name: ``Cora`` (default), ``CiteSeer`` or ``PubMed``.
        split: ``public`` (default), or ``full``: every paper outside the public validation and test
            sets is for training.
        **graph: see :class:`~datamodules.single_graph.GraphDataModule`.

    Raises:
        InputError: unknown name or split.
        DataError: the files are missing and cannot be downloaded; they are damaged, or contain
            Python objects other than arrays.

    Source: Yang et al., Revisiting semi-supervised learning with graph embeddings, 2016.
    """

    def __init__(self, name: str = "Cora", split: str = "public", **graph: Any) -> None:
        super().__init__(**graph)
        if name.lower() not in NAMES:
            raise unknown("name", name, NAMES.values())
        check_choice("split", split, ("public", "full"))
        self.name, self.split_type = NAMES[name.lower()], split

    def load(self) -> Data:
        from torch_geometric.datasets import Planetoid as PyGPlanetoid

        folder = self.root / "Planetoid"
        try:
            with preparing(folder):
                self._check_files(folder / self.name)
                graph = PyGPlanetoid(str(folder), self.name, split=self.split_type)[0]
        except OSError as error:
            raise DataError(
                f"{self.name} was not found in {folder} and could not be downloaded ({error}); "
                f"put its files ind.{self.name.lower()}.* into {folder / self.name / 'raw'}"
            ) from None
        graph.x = graph.x / graph.x.sum(1, keepdim=True).clamp(min=1)
        return graph

    def _check_files(self, folder: Path) -> None:
        """Check the files that are there, all of them pickled but ``test.index``."""
        check_processed(folder)
        files = sorted((folder / "raw").glob(f"ind.{self.name.lower()}.*"))
        check_pickles(path for path in files if path.suffix != ".index")

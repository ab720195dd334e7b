"""Many graphs, each with a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import Batch, Data

from datamodules.base import default_root
from datamodules.loader import DistributedBatchSampler, ResumableLoader
from zoo.errors import DataError
from zoo.functional.graphs import sample_absent_edges, symmetrize_edges


class GraphLists(LightningDataModule):
    """Lists of PyG graphs, or of meshes, in batches; one list for each split.

    A subclass has ``batch_size`` and ``seed``, and implements ``split``.
    """

    batch_size: int
    seed: int
    eval_batch = 256  # graphs per evaluation batch: it changes the speed, not the figures

    def __str__(self) -> str:
        return f"{type(self).__name__}()"

    def split(self, name: str) -> list[Data]:
        """The graphs of ``train``, ``val`` or ``test``."""
        raise NotImplementedError(f"{type(self).__name__} has no split(name)")

    def prepare_training(self, batch: Any, generator: torch.Generator) -> Any:
        """What is done to each training batch; the generator depends on seed, epoch and batch."""
        return batch

    def prepare_evaluation(self, batch: Any, generator: torch.Generator) -> Any:
        """What is done to each evaluation batch, without random numbers."""
        return batch

    def train_dataloader(self) -> Any:
        return self._loader("train")

    def val_dataloader(self) -> Any:
        return self._loader("val") if self.split("val") else []

    def test_dataloader(self) -> Any:
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        return self._loader("test")

    def _loader(self, name: str) -> GraphLoader:
        trainer, training = self.trainer, name == "train"
        graphs = self.split(name)
        sampler = DistributedBatchSampler(
            len(graphs),
            self.batch_size if training else max(self.batch_size, self.eval_batch),
            shuffle=training,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        prepare = self.prepare_training if training else self.prepare_evaluation
        return GraphLoader(graphs, sampler, device, prepare, training)


class GraphSetDataModule(GraphLists):
    """Graphs in batches: PyG ``Batch`` with x (N, F), edge_index (2, E), batch (N,) and y (G,).

    A data set implements ``load``. Of ``folds`` parts of equal size and equal shares of the classes
    one is for test and the next one for validation.

    Properties that models ask for: ``num_features``, ``num_classes``.

    Args:
        batch_size: training graphs per batch and process, default 32.
        folds: how many parts, default 10.
        fold: the one for test, from 0, default 0.
        validate: whether there is a validation part; default yes. Without, the graphs of the part
            that follows are for training too.
        seed: of the parts and of the order of batches, default 0.
        root: folder of the data, default the environment variable ``ZOO_DATA``, else ``data``.

    Raises:
        ValueError: no such fold.
    """

    def __init__(
        self,
        batch_size: int = 32,
        folds: int = 10,
        fold: int = 0,
        validate: bool = True,
        seed: int = 0,
        root: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= fold < folds or folds < 3:
            raise ValueError(f"fold {fold} of {folds}: at least 3 folds, numbered from 0")
        self.batch_size, self.folds, self.fold, self.validate = batch_size, folds, fold, validate
        self.seed = seed
        self.root = Path(root or default_root())

    def load(self) -> list[Data]:
        """All graphs, each with x, edge_index and y (1,)."""
        raise NotImplementedError(f"{type(self).__name__} has no load()")

    @cached_property
    def graphs(self) -> list[Data]:
        """All graphs, loaded when they are first asked for."""
        return self.load()

    @property
    def num_features(self) -> int:
        """Numbers at each node."""
        return self.graphs[0].num_node_features

    @property
    def num_classes(self) -> int:
        """Classes of graphs."""
        return int(max(graph.y for graph in self.graphs)) + 1

    @cached_property
    def parts(self) -> dict[str, list[int]]:
        """Numbers of the graphs of each split."""
        from sklearn.model_selection import StratifiedKFold

        classes = [int(graph.y) for graph in self.graphs]
        cut = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
        tested = [test.tolist() for _, test in cut.split(classes, classes)]
        test = tested[self.fold]
        val = tested[(self.fold + 1) % self.folds] if self.validate else []
        train = sorted(set(range(len(classes))) - {*test, *val})
        return {"train": train, "val": val, "test": test}

    def split(self, name: str) -> list[Data]:
        return [self.graphs[i] for i in self.parts[name]]

    def prepare_data(self) -> None:
        _ = self.graphs


class GraphLoader(ResumableLoader):
    """Batches of graphs.

    Args:
        graphs: graphs that the sampler's indices refer to.
        sampler, prepare, is_random: see :class:`~datamodules.loader.ResumableLoader`.
        device: where batches are wanted.
    """

    def __init__(
        self,
        graphs: list[Data],
        sampler: DistributedBatchSampler,
        device: torch.device,
        prepare: Callable[[Any, torch.Generator], Any] | None = None,
        is_random: bool = False,
    ) -> None:
        super().__init__(sampler, prepare, is_random)
        self.graphs, self.device = graphs, device

    def load_batches(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        for indices in batches:
            chosen = [self.graphs[i] for i in indices.tolist()]
            yield Batch.from_data_list(chosen).to(self.device)


class TUDataset(GraphSetDataModule):
    """A collection of the TU Dortmund benchmark: molecules, proteins, social networks.

    Features of nodes are those of the collection, else the constant 1. Lies in ``root/TUDataset``;
    downloaded when it is missing.

    Args:
        name: of the collection, default ``MUTAG``.
        **graphs: see :class:`GraphSetDataModule`.

    Source: Morris et al., TUDataset, 2020.
    """

    def __init__(self, name: str = "MUTAG", **graphs: Any) -> None:
        super().__init__(**graphs)
        self.name = name

    def load(self) -> list[Data]:
        from torch_geometric.datasets import TUDataset as Official

        folder = self.root / "TUDataset"
        try:
            graphs = list(Official(str(folder), self.name))
        except OSError as error:
            raise DataError(
                f"{self.name} is neither in {folder} nor can it be downloaded ({error}): put its "
                f"files {self.name}_*.txt into {folder / self.name / 'raw'}"
            ) from None
        for graph in graphs:
            if graph.x is None:
                graph.x = torch.ones(graph.num_nodes, 1)
        return graphs


class RandomGraphs(GraphSetDataModule):
    """Graphs of four kinds with equally many edges: how they grew is what is to be told.

    ``uniform``: every pair of nodes is as likely to be joined (Erdős and Rényi); ``communities``:
    two halves, with nine tenths of the edges inside; ``small_world``: a ring whose neighbours are
    joined, one edge in ten led elsewhere (Watts and Strogatz); ``attachment``: each new node joins
    three others, those with many edges more often (Barabási and Albert). All nodes have the
    feature 1.

    Properties that models ask for: ``num_features``, ``num_classes``; and ``class_names``.

    Args:
        num_samples: graphs, default 800, as many of each kind.
        smallest, largest: nodes of a graph, default 30 and 60.
        **graphs: see :class:`GraphSetDataModule`.
    """

    classes = ("uniform", "communities", "small_world", "attachment")

    def __init__(
        self, num_samples: int = 800, smallest: int = 30, largest: int = 60, **graphs: Any
    ) -> None:
        super().__init__(**graphs)
        if not 8 <= smallest <= largest:
            raise ValueError(f"a graph of {smallest} to {largest} nodes: from 8 on, in order")
        self.num_samples, self.smallest, self.largest = num_samples, smallest, largest

    def load(self) -> list[Data]:
        source = torch.Generator().manual_seed(self.seed)
        makers = (uniform, communities, small_world, attachment)
        graphs = []
        for i in range(self.num_samples):
            kind = i % len(makers)
            nodes = int(torch.randint(self.smallest, self.largest + 1, (), generator=source))
            pairs = makers[kind](nodes, 3 * (nodes - 3), source)
            x, y = torch.ones(nodes, 1), torch.tensor([kind])
            graphs.append(Data(x=x, edge_index=symmetrize_edges(pairs), y=y))
        return graphs


def uniform(nodes: int, edges: int, source: torch.Generator) -> Tensor:
    """Pairs of nodes, all equally likely, (2, edges)."""
    return sample_absent_edges(torch.empty(2, 0, dtype=torch.long), nodes, edges, source)


def communities(nodes: int, edges: int, source: torch.Generator) -> Tensor:
    """Two halves with nine tenths of the edges inside them, (2, edges)."""
    pairs = torch.triu_indices(nodes, nodes, 1)
    half = nodes // 2
    inside = (pairs[0] < half) == (pairs[1] < half)
    parts = []
    for group, count in ((inside, round(0.9 * edges)), (~inside, edges - round(0.9 * edges))):
        among = pairs[:, group]
        parts.append(among[:, torch.randperm(among.shape[1], generator=source)[:count]])
    return torch.cat(parts, 1)


def small_world(nodes: int, edges: int, source: torch.Generator) -> Tensor:
    """A ring in which each node is joined to its next three, one edge in ten led elsewhere,
    (2, edges)."""
    first = torch.arange(nodes).repeat(3)
    step = torch.arange(1, 4).repeat_interleave(nodes)
    ring = torch.stack([first, (first + step) % nodes])
    ring = torch.stack([ring.min(0).values, ring.max(0).values])
    ring = ring[:, torch.randperm(ring.shape[1], generator=source)]
    elsewhere = round(0.1 * edges)
    return torch.cat(
        [ring[:, : edges - elsewhere], sample_absent_edges(ring, nodes, elsewhere, source)], 1
    )


def attachment(nodes: int, edges: int, source: torch.Generator) -> Tensor:
    """Each node after the first three joins three others, by their edges so far,
    (2, 3 · (nodes − 3))."""
    degrees = torch.zeros(nodes)
    degrees[:3] = 1  # so that the first ones can be chosen
    pairs = []
    for new in range(3, nodes):
        chosen = torch.multinomial(degrees, 3, generator=source)
        degrees[chosen] += 1
        degrees[new] = 3
        pairs.append(torch.stack([chosen, torch.full((3,), new)]))
    return torch.cat(pairs, 1)

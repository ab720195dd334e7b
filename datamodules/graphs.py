"""One graph: its nodes' classes, or the edges that are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

from datamodules.base import default_root
from datamodules.loader import DistributedBatchSampler, ResumableLoader
from zoo.errors import DataError
from zoo.functional.graphs import sample_absent_edges, symmetrize_edges, unique_undirected_edges

SPLITS = ("train", "val", "test")
TASKS = ("nodes", "links")


class GraphDataModule(LightningDataModule):
    """One graph, whose nodes or whose edges are divided into training, validation and test.

    A data set implements ``load``. A batch is the whole graph, a PyG ``Data`` with x (N, F) and
    edge_index (2, E):

    - ``task="nodes"``: with y (N,) and ``mask`` (N,), the nodes of the split that is asked for;
    - ``task="links"``: edge_index has the training edges alone, ``edge_label_index`` (2, P) the
      pairs of nodes asked for and ``edge_label`` (P,) 1 for an edge, 0 for a pair without one: in
      training all edges and nothing else, in evaluation as many absent pairs as edges held out.

    With several processes each has its share of the nodes or pairs.

    Properties that models ask for: ``num_features``, ``num_classes``.

    Args:
        task: ``nodes`` (default) or ``links``.
        neighbors: for graphs too large for one step: neighbours drawn for each node, for each
            layer of the network, such as ``[10, 10]``; a batch is then the surroundings of
            ``batch_size`` nodes, and their mask. Default none: the whole graph.
        batch_size: nodes of a batch where neighbours are drawn, default 512.
        val_links, test_links: fractions of edges held out for ``task="links"``, default 0.05 and
            0.1.
        seed: of everything random, default 0.
        root: folder of the data, default the environment variable ``ZOO_DATA``, else ``data``.

    Raises:
        ValueError: unknown task.
        DataError: ``neighbors`` without the package pyg-lib, which draws them, or with links.
    """

    def __init__(
        self,
        task: str = "nodes",
        neighbors: list[int] | None = None,
        batch_size: int = 512,
        val_links: float = 0.05,
        test_links: float = 0.1,
        seed: int = 0,
        root: str | None = None,
    ) -> None:
        super().__init__()
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; choose from {', '.join(TASKS)}")
        if neighbors is not None:
            check_sampling(task)
        self.task, self.neighbors, self.batch_size = task, neighbors, batch_size
        self.val_links, self.test_links, self.seed = val_links, test_links, seed
        self.root = Path(root or default_root())
        self._graph: Data | None = None
        self._batches: dict[str, Data] = {}

    def __str__(self) -> str:
        return f"{type(self).__name__}()"

    # -- what a data set provides ---------------------------------------------------------------

    def load(self) -> Data:
        """The graph: x, y, edge_index with both directions of every edge, and train_mask, val_mask
        and test_mask. A node whose y is −1 has no known class, and is in no mask."""
        raise NotImplementedError(f"{type(self).__name__} has no load()")

    # -- what models ask for --------------------------------------------------------------------

    @property
    def graph(self) -> Data:
        """The graph, loaded when it is first asked for."""
        if self._graph is None:
            self._graph = self.load()
        return self._graph

    @property
    def num_features(self) -> int:
        """Numbers at each node."""
        return self.graph.num_node_features

    @property
    def num_classes(self) -> int:
        """Classes of nodes."""
        return int(self.graph.y.max()) + 1

    # -- splits ---------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        _ = self.graph

    def setup(self, stage: str | None = None) -> None:
        if not self._batches:
            make = self._by_links if self.task == "links" else self._by_nodes
            self._batches = make(self.graph)

    def _by_nodes(self, graph: Data) -> dict[str, Data]:
        batches = {}
        for name in SPLITS:
            mask = graph[f"{name}_mask"]
            batches[name] = Data(x=graph.x, edge_index=graph.edge_index, y=graph.y, mask=mask)
        return batches

    def _by_links(self, graph: Data) -> dict[str, Data]:
        pairs = unique_undirected_edges(graph.edge_index)
        generator = torch.Generator().manual_seed(self.seed)
        order = pairs[:, torch.randperm(pairs.shape[1], generator=generator)]
        val, test = (round(part * pairs.shape[1]) for part in (self.val_links, self.test_links))
        if not 0 < val + test < pairs.shape[1]:
            raise DataError(
                f"{val} and {test} of {pairs.shape[1]} edges are held out: change val_links or "
                "test_links"
            )
        held_out = {"val": order[:, :val], "test": order[:, val : val + test]}
        known = order[:, val + test :]
        absent = sample_absent_edges(pairs, graph.num_nodes, val + test, generator)
        batches = {"train": _links(graph, known, known, known[:, :0])}
        for name, part in zip(held_out, absent.split([val, test], 1), strict=True):
            batches[name] = _links(graph, known, held_out[name], part)
        return batches

    # -- Lightning ------------------------------------------------------------------------------

    def train_dataloader(self) -> Any:
        return self._loader("train")

    def val_dataloader(self) -> Any:
        batch = self.split("val")
        known = batch.mask.sum() if "mask" in batch else len(batch.edge_label)
        return self._loader("val") if known else []

    def test_dataloader(self) -> Any:
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        return self._loader("test")

    def split(self, name: str) -> Data:
        """The graph as a batch of ``train``, ``val`` or ``test`` has it."""
        self.setup()
        return self._batches[name]

    def _loader(self, name: str) -> Any:
        batch, trainer = self.split(name), self.trainer
        rank = trainer.global_rank if trainer else 0
        world_size = trainer.world_size if trainer else 1
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        if self.neighbors is None:
            return WholeGraph(_share(batch, rank, world_size).to(device))
        nodes = batch.mask.nonzero()[:, 0]
        sampler = DistributedBatchSampler(
            len(nodes), self.batch_size, name == "train", self.seed, False, rank, world_size
        )
        return NeighborSubgraphLoader(batch, nodes, self.neighbors, sampler, device)


class WholeGraph:
    """A loader with one batch: the graph."""

    def __init__(self, graph: Data) -> None:
        self.graph = graph

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Data]:
        yield self.graph


class NeighborSubgraphLoader(ResumableLoader):
    """Batches of nodes with as many of their neighbours as were asked for, in each step outwards.

    Args:
        graph: a batch of the whole graph.
        nodes: nodes that the sampler's indices refer to.
        neighbors: for each step outwards, how many.
        sampler: see :class:`~datamodules.loader.ResumableLoader`.
        device: where batches are wanted.
    """

    def __init__(
        self,
        graph: Data,
        nodes: Tensor,
        neighbors: list[int],
        sampler: DistributedBatchSampler,
        device: torch.device,
    ) -> None:
        super().__init__(sampler, is_random=False)
        from torch_geometric.loader import NeighborLoader

        self.nodes, self.device = nodes, device
        plain = Data(x=graph.x, edge_index=graph.edge_index, y=graph.y)
        self.draw = NeighborLoader(plain, neighbors, batch_size=sampler.batch_size)

    def load_batches(self, batches: Sequence[Tensor]) -> Iterator[Data]:
        for indices in batches:
            batch = self.draw(self.nodes[indices])
            batch.mask = torch.arange(batch.num_nodes) < len(indices)  # they come first
            yield batch.to(self.device)


def check_sampling(task: str) -> None:
    """Makes sure that neighbours can be drawn.

    Raises:
        DataError: see :class:`GraphDataModule`.
    """
    if task == "links":
        raise DataError("neighbors are drawn for nodes: leave them out with task=links")
    if not (WITH_PYG_LIB or WITH_TORCH_SPARSE):
        raise DataError(
            "drawing neighbours needs the package pyg-lib, which is not installed (see PyG's "
            "installation page for the file that fits your torch); without neighbors the whole "
            "graph is one batch"
        )


def _share(batch: Data, rank: int, world_size: int) -> Data:
    """A process's part of the nodes or pairs of a batch: every one belongs to one process.

    Raises:
        DataError: fewer of them than processes.
    """
    if world_size == 1:
        return batch
    asked = batch.mask.nonzero()[:, 0] if "mask" in batch else batch.edge_label
    if len(asked) < world_size:
        raise DataError(f"{len(asked)} samples cannot be shared out to {world_size} processes")
    batch = batch.clone()
    if "mask" in batch:
        mine = asked[rank::world_size]
        batch.mask = torch.zeros_like(batch.mask).index_fill(0, mine, True)
        return batch
    batch.edge_label_index = batch.edge_label_index[:, rank::world_size]
    batch.edge_label = batch.edge_label[rank::world_size]
    return batch


def _links(graph: Data, known: Tensor, present: Tensor, absent: Tensor) -> Data:
    labels = torch.cat([torch.ones(present.shape[1]), torch.zeros(absent.shape[1])])
    return Data(
        x=graph.x, edge_index=symmetrize_edges(known),
        edge_label_index=torch.cat([present, absent], 1), edge_label=labels,
    )  # fmt: skip


def cut(y: Tensor, per_class: int, val: int, seed: int) -> dict[str, Tensor]:
    """Masks of nodes: ``per_class`` of each class for training, ``val`` others for validation, the
    rest for test.

    Args:
        y: classes (N,), −1 where none is known.
        per_class, val: how many.
        seed: of the draw.

    Raises:
        DataError: none would be left for test.
    """
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    order = order[y[order] >= 0]
    train = torch.cat([order[y[order] == k][:per_class] for k in range(int(y.max()) + 1)])
    others = order[~torch.isin(order, train)]
    if len(others) <= val:
        raise DataError(
            f"{len(order)} nodes of known class leave none for test beside {len(train)} for "
            f"training and {val} for validation"
        )
    return masks(len(y), {"train": train, "val": others[:val], "test": others[val:]})


def masks(count: int, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Lists of nodes as masks over all ``count`` nodes, named as :meth:`GraphDataModule.load` has
    them."""
    empty = torch.zeros(count, dtype=torch.bool)
    return {f"{name}_mask": empty.index_fill(0, part, True) for name, part in parts.items()}

"""Base class of data modules for a single graph: node classification and link prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE
from torch_geometric.utils import index_to_mask, mask_to_index

from datamodules.base import default_root
from datamodules.class_weights import ClassWeights, Weighting
from datamodules.loader import DistributedBatchSampler, ResumableLoader, process_settings
from zoo.errors import DataError, InputError, check_at_least, check_choice, check_fraction
from zoo.functional.graphs import sample_absent_edges, symmetrize_edges, unique_undirected_edges

SPLITS = ("train", "val", "test")
TASKS = ("nodes", "links")


class GraphDataModule(ClassWeights, LightningDataModule):
    """Base class of data modules for a single graph whose nodes or edges are split.

    A subclass implements ``load``. Each split is one batch: the whole graph as a PyG ``Data`` with
    x (N, F) and edge_index (2, E), and

    - for ``task="nodes"``, y (N,) and ``mask`` (N,), true at the nodes of the split;
    - for ``task="links"``, ``edge_label_index`` (2, P), the node pairs of the split, and
      ``edge_label`` (P,), 1 for an edge and 0 for a pair without one. edge_index contains the
      training edges only. The training pairs are these edges; the validation and test pairs are
      the held-out edges and equally many absent pairs.

    With several processes, each receives a part of the nodes or pairs. ``edge_weight`` (E,) is in
    the batch if the graph has it.

    A checkpoint contains the number of features and the class names; a graph with others is refused
    by the model's checkpoint.

    Properties for models: ``num_features``, ``num_classes``; for figures: ``class_names``.

    Args:
        task: ``nodes`` (default) for node classification, ``links`` for link prediction.
        num_neighbors: numbers of neighbors to sample around each node, one for each layer of the
            network, such as ``[10, 10]``; for graphs too large for one step. A batch is then the
            subgraph sampled around ``batch_size`` nodes, which its ``mask`` marks. Default: no
            sampling, the whole graph is one batch.
        batch_size: nodes per batch when neighbors are sampled, default 512.
        val_link_fraction: fraction of the edges held out for validation with ``task="links"``,
            default 0.05.
        test_link_fraction: fraction of the edges held out for testing with ``task="links"``,
            default 0.1.
        seed: random seed of generated graphs, splits and batches, default 0.
        root: data folder, default the environment variable ``ZOO_DATA``, else ``data``.
        class_weights: weights of the classes in a classifier's loss: ``balanced``, or weights by
            class name; default none.

    Raises:
        InputError: unknown task; a fraction outside [0, 1]; ``num_neighbors`` without the package
            pyg-lib or with ``task="links"``.
    """

    learned_settings: tuple[str, ...] = ("seed", "val_link_fraction", "test_link_fraction")

    def __init__(
        self,
        task: str = "nodes",
        num_neighbors: list[int] | None = None,
        batch_size: int = 512,
        val_link_fraction: float = 0.05,
        test_link_fraction: float = 0.1,
        seed: int = 0,
        root: str | None = None,
        class_weights: Weighting = None,
    ) -> None:
        super().__init__()
        self.weight_classes(class_weights)
        check_choice("task", task, TASKS)
        check_fraction(val_link_fraction=val_link_fraction, test_link_fraction=test_link_fraction)
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, seed=seed)
        if num_neighbors is not None:
            check_at_least(-1, num_neighbors=num_neighbors)
            _check_neighbor_sampling(task)
        self.task, self.num_neighbors, self.batch_size = task, num_neighbors, batch_size
        self.val_link_fraction, self.test_link_fraction = val_link_fraction, test_link_fraction
        self.seed = seed
        self.root = Path(root or default_root())
        self._graph: Data | None = None
        self._batches: dict[str, Data] = {}

    def __str__(self) -> str:
        return f"{type(self).__name__}()"

    # -- to be implemented by a subclass --------------------------------------------------------

    def load(self) -> Data:
        """Return the graph: x, y, edge_index with both directions of every edge, and the masks
        train_mask, val_mask and test_mask. A node of unknown class has y = −1 and is in no mask.
        Optional: edge_weight (E,), and predict_mask, the nodes to predict, by default the test
        nodes."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load()")

    # -- state ----------------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        return {"num_features": self.num_features, "class_names": self.class_names}

    def forget(self) -> None:
        super().forget()
        self._graph = None
        self._batches.clear()

    def _check_fit(self) -> None:
        check_fit(self)

    # -- properties for models ------------------------------------------------------------------

    @property
    def graph(self) -> Data:
        """The graph, loaded at first access."""
        if self._graph is None:
            self._graph = self.load()
            if self.has_loaded_state:
                self._check_fit()
        return self._graph

    @property
    def node_ids(self) -> Sequence[Any]:
        """Names of the nodes, by default their indices."""
        return range(self.graph.num_nodes)

    @property
    def num_features(self) -> int:
        """Number of features per node."""
        return self.graph.num_node_features

    @property
    def num_classes(self) -> int:
        """Number of node classes."""
        return int(self.graph.y.max()) + 1

    @property
    def class_names(self) -> list[str]:
        """Names of the node classes, by default their indices."""
        return [str(k) for k in range(self.num_classes)]

    def training_labels(self) -> Tensor:
        if self.task != "nodes":
            raise InputError("class_weights needs task=nodes: pairs of nodes have no classes")
        return self.graph.y[self.graph.train_mask]

    # -- splits ---------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        _ = self.graph

    def setup(self, stage: str | None = None) -> None:
        if not self._batches:
            split = self._split_links if self.task == "links" else self._split_nodes
            self._batches = split(self.graph)

    def _split_nodes(self, graph: Data) -> dict[str, Data]:
        masks = {name: graph[f"{name}_mask"] for name in SPLITS}
        masks["predict"] = graph.get("predict_mask", graph.test_mask)
        shared = {name: graph[name] for name in ("x", "edge_index", "y")} | _edge_weights(graph)
        return {name: Data(**shared, mask=mask) for name, mask in masks.items()}

    def _split_links(self, graph: Data) -> dict[str, Data]:
        edges = unique_undirected_edges(graph.edge_index)
        count = edges.shape[1]
        val, test = round(self.val_link_fraction * count), round(self.test_link_fraction * count)
        if not 0 < val + test < count:
            raise DataError(
                f"{val + test} of {count} edges would be held out, which must leave edges for "
                "training and for evaluation; change val_link_fraction or test_link_fraction"
            )
        generator = torch.Generator().manual_seed(self.seed)
        order = edges[:, torch.randperm(count, generator=generator)]
        held_out = {"val": order[:, :val], "test": order[:, val : val + test]}
        known = order[:, val + test :]
        absent = sample_absent_edges(edges, graph.num_nodes, val + test, generator)
        batches = {"train": _link_batch(graph, known, known, known[:, :0])}
        for name, part in zip(held_out, absent.split([val, test], 1), strict=True):
            batches[name] = _link_batch(graph, known, held_out[name], part)
        return batches | {"predict": batches["test"]}

    def split(self, name: str) -> Data:
        """Return the batch of a split: ``train``, ``val``, ``test`` or ``predict``."""
        self.setup()
        return self._batches[name]

    # -- Lightning ------------------------------------------------------------------------------

    def train_dataloader(self) -> Any:
        return self._loader("train")

    def val_dataloader(self) -> Any:
        return self._loader("val") if len(_labeled(self.split("val"))) else []

    def test_dataloader(self) -> Any:
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        """Return the names of the nodes that are predicted; of all nodes for ``task="links"``."""
        batch = self.split("predict")
        nodes = mask_to_index(batch.mask).tolist() if "mask" in batch else range(batch.num_nodes)
        return {"node": [self.node_ids[i] for i in nodes]}

    def _loader(self, name: str) -> Any:
        batch, trainer = self.split(name), self.trainer
        rank = trainer.global_rank if trainer else 0
        world_size = trainer.world_size if trainer else 1
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        if self.num_neighbors is None:
            positions = torch.arange(len(_labeled(batch)))[rank::world_size]
            return FullBatchLoader(_shard(batch, rank, world_size).to(device), positions)
        nodes = mask_to_index(batch.mask)
        sampler = DistributedBatchSampler(
            len(nodes),
            self.batch_size,
            shuffle=name == "train",
            seed=self.seed,
            **process_settings(trainer),
        )
        return NeighborSamplingLoader(batch, nodes, self.num_neighbors, sampler, device)


class FullBatchLoader:
    """A loader with a single batch: the whole graph.

    Args:
        graph: the batch.
        positions: positions of this process's nodes or pairs among those of all processes.
    """

    def __init__(self, graph: Data, positions: Tensor) -> None:
        self.graph = graph
        self.sampler = [positions]
        self.batch_sampler = None  # Lightning reads this attribute as well as ``sampler``

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Data]:
        yield self.graph


class NeighborSamplingLoader(ResumableLoader):
    """Loader of sampled subgraphs: the nodes of a batch and sampled neighbors around them.

    Args:
        graph: the whole graph, as a batch of node classification.
        nodes: indices of the nodes to which the sampler refers.
        num_neighbors: neighbors to sample per node, one number for each hop.
        sampler: see :class:`~datamodules.loader.ResumableLoader`.
        device: device of the batches.

    Source: Hamilton et al., Inductive representation learning on large graphs, 2017.
    """

    def __init__(
        self,
        graph: Data,
        nodes: Tensor,
        num_neighbors: list[int],
        sampler: DistributedBatchSampler,
        device: torch.device,
    ) -> None:
        super().__init__(sampler, is_random=False)
        from torch_geometric.loader import NeighborLoader

        self.nodes, self.device = nodes, device
        unmasked = Data(x=graph.x, edge_index=graph.edge_index, y=graph.y, **_edge_weights(graph))
        self.sample_subgraph = NeighborLoader(
            unmasked, num_neighbors, batch_size=sampler.batch_size
        )

    def load_batches(self, batches: Sequence[Tensor]) -> Iterator[Data]:
        for indices in batches:
            batch = self.sample_subgraph(self.nodes[indices])
            # PyG puts the requested nodes first
            batch.mask = torch.arange(batch.num_nodes) < len(indices)
            yield batch.to(self.device)


def _check_neighbor_sampling(task: str) -> None:
    """Raise InputError where neighbors cannot be sampled."""
    if task == "links":
        raise InputError("num_neighbors works with task=nodes only; leave it out for task=links")
    if not (WITH_PYG_LIB or WITH_TORCH_SPARSE):
        raise InputError(
            "num_neighbors needs the package pyg-lib, which is not installed; install the build "
            "for your torch version (see PyG's installation page), or leave num_neighbors out"
        )


def check_fit(data: Any) -> None:
    """Raise DataError if the model of the checkpoint cannot use a graph, or several.

    Args:
        data: data module that has loaded the checkpoint's state.
    """
    for name, description in (("num_features", "features per node"), ("class_names", "classes")):
        found, expected = getattr(data, name), data.learned[name]
        if found == expected:
            continue
        if isinstance(found, list):
            found, expected = f"({', '.join(found)})", f"({', '.join(expected)})"
        raise DataError(
            f"{type(data).__name__}: the checkpoint's model was trained on other data, with "
            f"{description} {expected}, not {found}: choose that data"
        )


def _edge_weights(graph: Data) -> dict[str, Tensor]:
    return {"edge_weight": graph.edge_weight} if "edge_weight" in graph else {}


def _labeled(batch: Data) -> Tensor:
    """Return the nodes in the batch's mask, or the labels of its node pairs."""
    return mask_to_index(batch.mask) if "mask" in batch else batch.edge_label


def _shard(batch: Data, rank: int, world_size: int) -> Data:
    """Return one process's part of a batch: each node of the mask, or pair, is in one part only.

    Raises:
        DataError: fewer nodes or pairs than processes.
    """
    if world_size == 1:
        return batch
    labeled = _labeled(batch)
    if len(labeled) < world_size:
        kind = "nodes" if "mask" in batch else "node pairs"
        raise DataError(
            f"{len(labeled)} {kind} cannot be divided among {world_size} processes; lower "
            "--trainer.devices"
        )
    batch = batch.clone()
    if "mask" in batch:
        batch.mask = index_to_mask(labeled[rank::world_size], batch.num_nodes)
        return batch
    batch.edge_label_index = batch.edge_label_index[:, rank::world_size]
    batch.edge_label = batch.edge_label[rank::world_size]
    return batch


def _link_batch(graph: Data, known: Tensor, present: Tensor, absent: Tensor) -> Data:
    """Return a batch with the edges ``known``, whose pairs are ``present`` and ``absent`` edges."""
    labels = torch.cat([torch.ones(present.shape[1]), torch.zeros(absent.shape[1])])
    return Data(
        x=graph.x, edge_index=symmetrize_edges(known),
        edge_label_index=torch.cat([present, absent], 1), edge_label=labels,
    )  # fmt: skip


def split_masks(num_nodes: int, splits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the masks that :meth:`GraphDataModule.load` needs.

    Args:
        num_nodes: number of nodes, N.
        splits: node indices of each split, by its name.

    Returns:
        Boolean masks (N,), named ``train_mask``, ``val_mask`` and ``test_mask``.
    """
    return {f"{name}_mask": index_to_mask(nodes, num_nodes) for name, nodes in splits.items()}

"""Base class of data modules for lists of graphs or meshes, and their loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import Batch, Data

from datamodules.loader import DistributedBatchSampler, ResumableLoader, process_settings


class GraphListDataModule(LightningDataModule):
    """Base class of data modules that serve lists of PyG graphs or meshes in batches.

    A subclass has ``batch_size`` and ``seed``, and implements ``split``.
    """

    batch_size: int
    seed: int
    #: smallest number of graphs per evaluation batch; it affects the speed, not the metrics
    eval_batch_size = 256

    def __str__(self) -> str:
        return f"{type(self).__name__}()"

    def split(self, name: str) -> list[Data]:
        """Return the graphs of a split: ``train``, ``val`` or ``test``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement split(name)")

    def prepare_training(self, batch: Any, generator: torch.Generator) -> Any:
        """Return a training batch ready for the model.

        Args:
            batch: PyG ``Batch``.
            generator: CPU generator whose seed depends only on the seed, epoch, batch and process.
        """
        return batch

    def prepare_evaluation(self, batch: Any, generator: torch.Generator) -> Any:
        """Return an evaluation batch ready for the model; the generator must not be used."""
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
            self.batch_size if training else max(self.batch_size, self.eval_batch_size),
            shuffle=training,
            seed=self.seed,
            **process_settings(trainer),
        )
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        prepare = self.prepare_training if training else self.prepare_evaluation
        return GraphLoader(graphs, sampler, device, prepare, training)


class GraphLoader(ResumableLoader):
    """Loader of PyG batches from a list of graphs.

    Args:
        graphs: the graphs to whose indices the sampler refers.
        sampler, prepare, is_random: see :class:`~datamodules.loader.ResumableLoader`.
        device: device of the batches.
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
            graphs = [self.graphs[i] for i in indices.tolist()]
            yield Batch.from_data_list(graphs).to(self.device)

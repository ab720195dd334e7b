"""TensorDataModule: data sets of aligned tensors, with reproducible splits and a fast loader."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.class_weights import ClassWeights, Weighting
from datamodules.loader import Batch, DistributedBatchSampler, TensorLoader, process_settings
from zoo.errors import DataError, check_at_least, check_count_or_fraction

EVAL_BATCH_SIZE = 512  # large evaluation batches are faster; the metrics do not depend on the size


def default_root() -> str:
    """Return the folder of the data: the environment variable ``ZOO_DATA``, else ``data``."""
    return os.environ.get("ZOO_DATA", "data")


class TensorDataModule(ClassWeights, LightningDataModule):
    """A data set of aligned tensors, such as inputs and labels, whose batches are tuples.

    A subclass implements ``load(train)``, and ``download()`` if its files can be downloaded. It may
    override ``split_indices``, and ``prepare_training`` and ``prepare_evaluation``, which turn
    stored samples into the batches that models receive. If the samples have classes, it also has
    ``num_classes`` and ``class_names``.

    Args:
        batch_size: training samples per batch and process, default 128.
        val_size: validation samples held out from the training split: a count (≥ 1) or a fraction
            (< 1), default 0.1.
        seed: random seed of the validation split and of the order of batches, default 0.
        root: folder of the data, default the environment variable ``ZOO_DATA``, else ``data``.
        drop_last: whether to drop the last training batch if it is not full, default False.
        on_device: whether to keep the data on the training device; by default it is kept there if
            it takes less than half of the free memory.
        num_workers: number of worker processes that read data not kept on the device, default 2.
        class_weights: weights of the classes in a classifier's loss: ``balanced``, inversely
            proportional to their numbers of training samples, or weights by class name, such as
            ``{cat: 1, dog: 5}``; default none.

    Raises:
        InputError: an argument is out of range.
    """

    input_shape: tuple[int, ...]
    num_classes: int

    def __init__(
        self,
        batch_size: int = 128,
        val_size: float = 0.1,
        seed: int = 0,
        root: str | None = None,
        drop_last: bool = False,
        on_device: bool | None = None,
        num_workers: int = 2,
        class_weights: Weighting = None,
    ) -> None:
        super().__init__()
        self.weight_classes(class_weights)
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, num_workers=num_workers, seed=seed)
        check_count_or_fraction(val_size=val_size)
        self.batch_size = batch_size
        self.val_size = val_size
        self.seed = seed
        self.root = Path(root or default_root())
        self.drop_last = drop_last
        self.on_device = on_device
        self.num_workers = num_workers
        self._splits: dict[str, tuple[Batch, Tensor]] = {}  # tensors, and a split's indices in them

    def __str__(self) -> str:
        # LightningDataModule.__str__ would load all data to describe it
        return f"{type(self).__name__}()"

    learned_settings: tuple[str, ...] = ("seed", "val_size")

    # -- to be implemented by a subclass --------------------------------------------------------

    def download(self) -> None:
        """Download missing files; called by one process per machine."""

    def load(self, train: bool) -> Batch:
        """Return the tensors of the official training or test split, such as (x, y)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load(train)")

    def split_indices(self, train: bool, num_samples: int) -> Tensor:
        """Return the indices of the split's samples among those of ``load(train)``, default all.

        Args:
            train: True for the training split, False for the test split.
            num_samples: number of samples that ``load(train)`` returned.
        """
        return torch.arange(num_samples)

    def hold_out_validation(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Return the indices of the remaining and of the validation samples of the training split.

        Args:
            num_samples: number of samples in the training split.
        """
        return hold_out(num_samples, self.val_size, self.seed)

    def prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return a training batch made from stored samples, by default as for evaluation.

        Args:
            batch: stored samples, on the training device.
            generator: CPU generator whose seed depends only on the seed, epoch, batch and process.
        """
        return self.prepare_evaluation(batch, generator)

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return an evaluation batch made from stored samples, by default unchanged."""
        return batch

    @property
    def is_training_random(self) -> bool:
        """True if ``prepare_training`` uses its generator."""
        return False

    def make_sampler(
        self, split: str, num_samples: int, **settings: Any
    ) -> DistributedBatchSampler:
        """Return the sampler of a split's batches.

        Args:
            split: ``train``, ``val`` or ``test``.
            num_samples: number of samples in the split.
            **settings: other arguments of :class:`~datamodules.loader.DistributedBatchSampler`.
        """
        return DistributedBatchSampler(num_samples, **settings)

    # -- Lightning ------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        self.download()

    def setup(self, stage: str | None = None) -> None:
        if stage in ("fit", "validate", None) and "train" not in self._splits:
            tensors = self.load(train=True)
            indices = self.split_indices(True, len(tensors[0]))
            train, val = self.hold_out_validation(len(indices))
            self._splits |= {"train": (tensors, indices[train]), "val": (tensors, indices[val])}
        if stage in ("test", "predict", None) and "test" not in self._splits:
            tensors = self.load(train=False)
            self._splits["test"] = tensors, self.split_indices(False, len(tensors[0]))

    def train_dataloader(self) -> TensorLoader:
        return self._loader("train")

    def val_dataloader(self) -> TensorLoader | list[TensorLoader]:
        return self._loader("val") if len(self._stored("val")[1]) else []

    def test_dataloader(self) -> TensorLoader:
        return self._loader("test")

    def predict_dataloader(self) -> TensorLoader:
        return self._loader("test")

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        if batch[0].device == device:  # TensorLoader has moved it
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def forget(self) -> None:
        super().forget()
        self._splits.clear()

    def training_labels(self) -> Tensor:
        tensors, indices = self._stored("train")
        labels = tensors[1][indices]
        return labels if labels.is_floating_point() else labels.flatten()

    # -- access to the samples ------------------------------------------------------------------

    def split(self, name: str) -> Batch:
        """Return the samples of ``train``, ``val`` or ``test`` as stored; pixels are uint8."""
        tensors, indices = self._stored(name)
        return tuple(t.index_select(0, indices) for t in tensors)

    def evaluation_samples(self, name: str) -> Batch:
        """Return all samples of a split as in evaluation batches; pixels are floats in [0, 1]."""
        return self.prepare_evaluation(self.split(name), torch.Generator())

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        """Return columns that name the samples of ``predict_dataloader``, in its order."""
        return {"sample": range(len(self._stored("test")[1]))}

    def _stored(self, name: str) -> tuple[Batch, Tensor]:
        if name not in self._splits:
            self.prepare_data()
            self.setup(name if name in ("test", "predict") else "fit")
        return self._splits[name]

    def _loader(self, name: str) -> TensorLoader:
        tensors, indices = self._stored(name)
        is_training = name == "train"
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        sampler = self.make_sampler(
            name,
            num_samples=len(indices),
            batch_size=self.batch_size if is_training else max(self.batch_size, EVAL_BATCH_SIZE),
            shuffle=is_training,
            seed=self.seed,
            drop_last=self.drop_last,
            **process_settings(trainer),
        )
        return TensorLoader(
            tensors,
            sampler,
            device,
            self.prepare_training if is_training else self.prepare_evaluation,
            indices,
            on_device=_fits(tensors, device) if self.on_device is None else self.on_device,
            num_workers=self.num_workers,
            is_random=is_training and self.is_training_random,
        )


# -- splits ----------------------------------------------------------------------------------------


def stage_splits(stage: str | None) -> tuple[str, ...]:
    """Return the names of the splits that a stage of the Trainer uses; None means all stages."""
    stages = {None: ("train", "val", "test"), "fit": ("train", "val"), "validate": ("val",)}
    return stages.get(stage, ("test",))


def split_count(size: float, num_samples: int) -> int:
    """Return a split size, given as a count (≥ 1) or a fraction (< 1), as a number of samples."""
    return int(size) if size >= 1 else round(size * num_samples)


def hold_out(
    num_samples: int, size: float, seed: int, argument: str = "val_size"
) -> tuple[Tensor, Tensor]:
    """Return the indices of the remaining and of the held-out samples, both sorted.

    Args:
        num_samples: number of samples.
        size: samples to hold out: a count (≥ 1) or a fraction (< 1).
        seed: random seed of the choice.
        argument: name of the argument that gave ``size``, for the error message.

    Raises:
        DataError: no sample would remain.
    """
    count = split_count(size, num_samples)
    if count >= num_samples:
        raise DataError(
            f"{argument}={size:g} leaves none of {num_samples} samples for training; lower it"
        )
    order = torch.randperm(num_samples, generator=torch.Generator().manual_seed(seed))
    return order[count:].sort().values, order[:count].sort().values


def _fits(tensors: Batch, device: torch.device) -> bool:
    """Return whether tensors take less than half of a device's free memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    elif hasattr(os, "sysconf"):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:  # Windows has no sysconf, but the tensors were just loaded into its memory
        return True
    return sum(t.numel() * t.element_size() for t in tensors) < free / 2

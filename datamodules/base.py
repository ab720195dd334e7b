"""TensorDataModule: a data set that is a pair of tensors, served fast to any Trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.augment import Augmentation
from datamodules.loader import Batch, BatchPlan, TensorLoader
from zoo.errors import DataError

EVAL_BATCH = 512  # samples per evaluation batch: it changes the speed, not the figures


def default_root() -> str:
    """Where data lies: the environment variable ``ZOO_DATA``, else ``data``."""
    return os.environ.get("ZOO_DATA", "data")


class TensorDataModule(LightningDataModule):
    """Images and labels as two tensors, with splits, augmentation and a device-resident loader.

    A data set implements ``load(train)`` and the properties below; ``download`` where it has one.
    Training batches are (x, y) with x float32 in [0, 1], (B, C, H, W), and y int64, (B,).

    Properties that models ask for: ``input_shape``, ``num_classes``, ``levels``.

    Args:
        batch_size: training samples per batch and process, default 128.
        val_size: validation samples cut from the training split: a count (≥ 1) or a fraction
            (< 1), default 0.1.
        seed: of the validation cut and of the order of batches, default 0.
        augment: random changes to training images, default none.
        root: folder of the data, default the environment variable ``ZOO_DATA``, else ``data``.
        drop_last: leaves out a last training batch that is not full, default no.
        resident: whether the data lives on the training device; by default it does when it takes
            less than half of the free memory there.
        num_workers: processes that fetch batches when the data is not resident, default 2.
    """

    input_shape: tuple[int, ...]
    num_classes: int
    #: value of a white pixel in what ``load`` returns
    white = 255

    @property
    def levels(self) -> int:
        """Grey levels of a pixel."""
        return self.white + 1

    def __init__(
        self,
        batch_size: int = 128,
        val_size: float = 0.1,
        seed: int = 0,
        augment: Augmentation | None = None,
        root: str | None = None,
        drop_last: bool = False,
        resident: bool | None = None,
        num_workers: int = 2,
    ) -> None:
        super().__init__()
        if val_size < 0:
            raise ValueError(f"val_size must not be negative, got {val_size}")
        self.batch_size = batch_size
        self.val_size = val_size
        self.seed = seed
        self.augment = augment
        self.root = Path(root or default_root())
        self.drop_last = drop_last
        self.resident = resident
        self.num_workers = num_workers
        self._splits: dict[str, tuple[Batch, Tensor]] = {}  # tensors, and the rows that belong

    def __str__(self) -> str:
        # Lightning's own asks loaders for their length, and fails on ours
        return f"{type(self).__name__}()"

    # -- what a data set provides ---------------------------------------------------------------

    def download(self) -> None:
        """Makes the files be there; called on one process per machine."""

    def load(self, train: bool) -> Batch:
        """The official training or test split: x uint8 (N, C, H, W), y int64 (N,)."""
        raise NotImplementedError(f"{type(self).__name__} has no load(train)")

    def rows(self, train: bool, samples: int) -> Tensor:
        """Which of the ``samples`` that ``load(train)`` returns make up the split: all of them."""
        return torch.arange(samples)

    # -- Lightning ------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        self.download()

    def setup(self, stage: str | None = None) -> None:
        if stage in ("fit", "validate", None) and "train" not in self._splits:
            tensors = self.load(train=True)
            train, val = self._cut(self.rows(True, len(tensors[0])))
            self._splits |= {"train": (tensors, train), "val": (tensors, val)}
        if stage in ("test", "predict", None) and "test" not in self._splits:
            tensors = self.load(train=False)
            self._splits["test"] = tensors, self.rows(False, len(tensors[0]))

    def _cut(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Training and validation rows of the training split, by the seed."""
        samples = len(rows)
        held_out = int(self.val_size if self.val_size >= 1 else round(self.val_size * samples))
        if held_out >= samples:
            raise DataError(
                f"val_size={self.val_size} leaves nothing of {samples} training samples"
            )
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(self.seed))
        return rows[order[held_out:].sort().values], rows[order[:held_out].sort().values]

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
        if batch[0].device == device:  # the zoo's loader has put it there
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def split(self, name: str) -> Batch:
        """The samples of ``train``, ``val`` or ``test`` as they are kept: pixels are uint8."""
        tensors, rows = self._stored(name)
        return tuple(t.index_select(0, rows) for t in tensors)

    def evaluation_samples(self, name: str) -> Batch:
        """The samples of a split as evaluation batches bring them: pixels are floats in [0, 1]."""
        return self._prepare_evaluation(self.split(name), torch.Generator())

    def _stored(self, name: str) -> tuple[Batch, Tensor]:
        if name not in self._splits:
            self.prepare_data()
            self.setup("test" if name == "test" else "fit")
        return self._splits[name]

    def _loader(self, name: str) -> TensorLoader:
        tensors, rows = self._stored(name)
        training = name == "train"
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        plan = self.make_plan(
            name,
            samples=len(rows),
            batch_size=self.batch_size if training else max(self.batch_size, EVAL_BATCH),
            shuffle=training,
            seed=self.seed,
            drop_last=self.drop_last,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        resident = _fits(tensors, device) if self.resident is None else self.resident
        prepare = self._prepare_training if training else self._prepare_evaluation
        random = training and self.draws
        return TensorLoader(
            tensors, plan, device, prepare, rows, resident, self.num_workers, random
        )

    def make_plan(self, split: str, samples: int, **settings: Any) -> BatchPlan:
        """Which samples of a split make up which batch."""
        return BatchPlan(samples, **settings)

    @property
    def draws(self) -> bool:
        """Whether training batches are prepared with random numbers."""
        return self.augment is not None

    def _prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, *rest = self._prepare_evaluation(batch, generator)
        return (self.augment(x, generator) if self.augment else x, *rest)

    def _prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, *rest = batch
        return (to_float(x, self.white), *rest)


def to_float(x: Tensor, white: int) -> Tensor:
    """Stored pixels as float32 in [0, 1]."""
    return x.float().div_(white)


def _fits(tensors: Batch, device: torch.device) -> bool:
    """Whether the data takes less than half of the device's free memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    elif hasattr(os, "sysconf"):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:  # Windows does not say; what was loaded is there
        return True
    return sum(t.numel() * t.element_size() for t in tensors) < free / 2

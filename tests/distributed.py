"""Training jobs on one or two processes, whose results test_distributed.py compares.

Usage: python -m tests.distributed FOLDER PROCESSES JOB ...
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from callbacks import AdversarialTraining, Checkpoint, Samples
from datamodules import (
    SBM,
    Augmentation,
    Digits,
    ParallelText,
    RandomGraphs,
    Table,
    TableDataModule,
)
from tests.core.test_resume import _KeepFirst
from zoo import (
    GAN,
    IWAE,
    PCA,
    VAE,
    VQVAE,
    Autoencoder,
    ConditionalGAN,
    DenoisingAutoencoder,
    GraphClassifier,
    LinearRegression,
    LogisticRegression,
    MCDropout,
    MLPClassifier,
    NodeClassifier,
    Translator,
)
from zoo.attacks import FGSM
from zoo.core.checkpoints import AtomicCheckpointIO
from zoo.core.distributed import destroy_process_group


class Recorder(Autoencoder):
    """Records the labels of its batches, which are the indices of the samples."""

    def __init__(self, **autoencoder: Any) -> None:
        super().__init__(**autoencoder)
        self.seen: dict[str, list[Tensor]] = {"train": [], "val": [], "test": []}

    def step(self, batch: Any) -> dict[str, Tensor]:
        stage = "train" if self.training else "test" if self.trainer.testing else "val"
        if not self.trainer.sanity_checking:
            self.seen[stage].append(batch[1])
        # the average of this metric is exact only if every sample counts once
        return super().step(batch) | {"number": batch[1].float().mean()}


class NumberedDigits(Digits):
    """Digits whose labels are the indices of the samples."""

    def load(self, train: bool) -> tuple[Tensor, ...]:
        x, _ = super().load(train)
        return x, torch.arange(len(x))


class FromData(GAN):
    """A GAN whose latent codes are pixels of the batch, which do not depend on the process."""

    def labels(self, batch: Any) -> Tensor:
        return batch[0].flatten(1)[:, 18:26] - 0.5

    def sample_latent_given(self, n: int, y: Tensor | None) -> Tensor:
        assert y is not None
        return y

    def discriminate(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return super().discriminate(x)


class NanOnOne(VAE):
    """A VAE that diverges on the second process only."""

    def step(self, batch: Any) -> dict[str, Tensor]:
        parts = super().step(batch)
        if self.training and self.global_rank == 1 and self.global_step == 3:
            parts["loss"] = parts["loss"] * float("nan")
        return parts


def make_trainer(processes: int, folder: Path, **options: Any) -> L.Trainer:
    return L.Trainer(
        **{
            "accelerator": "cpu",
            "devices": processes,
            "strategy": "ddp" if processes > 1 else "auto",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": folder,
            "plugins": [AtomicCheckpointIO()],
        }
        | options
    )


def gradients(folder: Path, processes: int) -> None:
    """Take three steps of gradient descent in double precision on the same global batches."""
    for name, make in (
        ("mlp", make_mlp),
        ("attacked", make_mlp),
        ("ae", lambda: Autoencoder((1, 8, 8), 4, hidden_dims=(16,), **SGD)),
        ("vq", make_vq_vae),
        ("tokens", lambda: Translator(**translation_sizes(), dim=8, layers=1, heads=2, **SLOW)),
        (
            "gan",
            lambda: FromData(
                (1, 8, 8), 8, penalty="r1", discriminator_steps=2, hidden_dims=(16,), **SLOW
            ),
        ),
        ("nodes", lambda: NodeClassifier(16, 3, dropout=0.0, **SGD)),
        ("graphs", lambda: GraphClassifier(1, 4, "sum", 2, "none", dropout=0.0, **SLOW)),
    ):
        torch.manual_seed(0)
        model = make()
        size = 96 // processes
        data = make_data(name, size)
        trainer = make_trainer(processes, folder, max_steps=3, precision="64-true")
        if name == "attacked":  # each process attacks its part of the batch
            trainer.callbacks.append(AdversarialTraining(FGSM(eps=0.1)))
        trainer.fit(model, data)
        if trainer.is_global_zero:
            state = dict(model.named_parameters())
            if name == "vq":  # moving averages of the whole batch
                state["codebook"] = model.codebook.vectors
            if name == "gan":
                state |= dict(model.ema.named_buffers())
            torch.save(state, folder / f"{name}-{processes}.pt")


def make_mlp() -> MLPClassifier:
    return MLPClassifier((1, 8, 8), 10, (16,), dropout=0, input_dropout=0, **SGD)


def make_data(name: str, size: int) -> L.LightningDataModule:
    """Create the data of a model of :func:`gradients`."""
    if name == "tokens":
        return dates(size)
    if name == "nodes":  # 15 training nodes: an unequal number for each process
        return SBM(communities=3)
    return RandomGraphs(batch_size=size) if name == "graphs" else Digits(batch_size=size)


def dates(batch_size: int) -> ParallelText:
    """Create sentences of unequal length, so that token counts differ between processes."""
    return ParallelText(num_samples=700, batch_size=batch_size, target_tokenizer_type="words")


def translation_sizes() -> dict[str, int]:
    names = ("vocab_size", "target_vocab_size", "length", "target_length")
    return {name: getattr(dates(1), name) for name in names}


def make_vq_vae() -> VQVAE:
    """Create a VQ-VAE that never samples codebook vectors from a batch."""
    model = VQVAE((1, 8, 8), 8, 4, (4, 4), prior_width=8, **(SGD | {"lr": 1e-3}))
    model.codebook.started.fill_(True)
    model.codebook.revive_below = 0.0
    return model


SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.5, "optimizer_options": {"momentum": 0.0}}
SLOW = SGD | {"lr": 0.01}


def samples(folder: Path, processes: int) -> None:
    """Train two epochs and test; every process saves the indices of its samples."""
    torch.manual_seed(0)
    model = Recorder(input_shape=(1, 8, 8), hidden_dims=(8,))
    trainer = make_trainer(processes, folder, max_epochs=2)
    data = NumberedDigits(batch_size=50, val_size=101)
    trainer.fit(model, data)
    metrics = {k: v.item() for k, v in trainer.callback_metrics.items()}
    trainer.test(model, data, verbose=False)
    metrics |= {k: v.item() for k, v in trainer.callback_metrics.items()}
    rank = trainer.global_rank
    torch.save({"seen": model.seen, "metrics": metrics}, folder / f"seen-{rank}.pt")


def files(folder: Path, processes: int) -> None:
    """Train with checkpoints and figures."""
    saver = Checkpoint("last", dirpath=str(folder / "checkpoints"))
    trainer = make_trainer(
        processes, folder, max_epochs=1, enable_checkpointing=True, callbacks=[saver, Samples()]
    )
    trainer.fit(VAE((1, 8, 8), hidden_dims=(8,)), Digits(batch_size=200))


def batch_norms(folder: Path, processes: int) -> None:
    """Train a convolutional GAN with batch normalization; every process saves its state."""
    torch.manual_seed(0)
    model = GAN((1, 8, 8), 8, network="dcgan", hidden_dims=(4, 8), normalization="batch")
    trainer = make_trainer(processes, folder, max_epochs=1)
    trainer.fit(model, Digits(batch_size=65))
    torch.save(model.state_dict(), folder / f"state-{trainer.global_rank}.pt")


def resume(folder: Path, processes: int) -> None:
    """Train without interruption, and resume from the seventh step; each process has its noise."""
    states = []
    for name, ckpt_path in (("whole", None), ("resumed", folder / "whole" / "kept.ckpt")):
        torch.manual_seed(0)
        model = VAE((1, 8, 8), hidden_dims=(8,), schedule="cosine", warmup=2)
        data = Digits(batch_size=65, augment=Augmentation(noise=0.1))
        keep = _KeepFirst(7, folder / name)
        trainer = make_trainer(processes, folder, max_epochs=2, callbacks=[keep])
        trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        states.append({k: v.clone() for k, v in model.state_dict().items()})
    if trainer.is_global_zero:
        torch.save(states, folder / "states.pt")


class Plane(TableDataModule):
    """Noisy values of a linear function, or whether they are above their mean."""

    def __init__(self, classes: tuple[str, ...] = ()) -> None:
        super().__init__(batch_size=7, val_size=0, test_size=0)
        self.names = classes

    def load_table(self) -> Table:
        random = np.random.default_rng(0)
        x = random.normal(10, 1, (60, 4))
        y = x @ np.arange(4.0)[:, None] + random.normal(0, 1, (60, 1))
        target = (y[:, 0] > y.mean()).astype(np.int64) if self.names else y
        return Table(x, target, list("abcd"), self.names)


def exact(folder: Path, processes: int) -> None:
    """Solve linear models from sums over all processes."""
    for name, model, data in (
        ("linear", LinearRegression((4,), 1), Plane()),
        ("logistic", LogisticRegression((4,), 2, l2=0.01), Plane(("below", "above"))),
        ("pca", PCA((4,), 2), Plane()),
        ("pca_svd", PCA((4,), 2, solver="svd"), Plane()),
    ):
        trainer = make_trainer(processes, folder, max_epochs=25, precision="64-true")
        trainer.fit(model, data)
        if trainer.is_global_zero:
            torch.save(dict(model.named_parameters()), folder / f"{name}-{processes}.pt")


def metrics(folder: Path, processes: int) -> None:
    """Compute test metrics of models; some are not means over batches, some are of random codes."""
    found = {}
    for make in (
        lambda: MLPClassifier((1, 8, 8), 10, (16,)),
        lambda: MCDropout((1, 8, 8), 10, num_passes=2),
        lambda: VAE((1, 8, 8), hidden_dims=(8,), binarization="stochastic"),
        lambda: IWAE((1, 8, 8), hidden_dims=(8,), num_samples=3),
        lambda: DenoisingAutoencoder((1, 8, 8), hidden_dims=(8,), corruption="gaussian"),
        lambda: ConditionalGAN((1, 8, 8), 10, 8, hidden_dims=(8,)),
    ):
        torch.manual_seed(0)
        model = make()
        trainer = make_trainer(processes, folder)
        (values,) = trainer.test(model, Digits(), verbose=False)
        found |= {f"{type(model).__name__} {name}": value for name, value in values.items()}
    if trainer.is_global_zero:
        torch.save(found, folder / f"metrics-{processes}.pt")


def nan(folder: Path, processes: int) -> None:
    """Train until one process diverges."""
    trainer = make_trainer(processes, folder, max_epochs=50, log_every_n_steps=5)
    trainer.fit(NanOnOne((1, 8, 8), hidden_dims=(8,)), Digits(batch_size=65))


if __name__ == "__main__":
    jobs = {
        f.__name__: f for f in (gradients, samples, files, batch_norms, resume, exact, metrics, nan)
    }
    for name in sys.argv[3:]:
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        jobs[name](folder, int(sys.argv[2]))
    destroy_process_group()

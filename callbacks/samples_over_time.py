"""Samples of a generative model during training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.figures import evaluation_mode, save_animation, save_figure, writes_files
from zoo import plots
from zoo.errors import InputError, check_at_least, check_integer
from zoo.models.latent.base import LatentModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, COLUMNS = 8, 12  # snapshots in the figure, and images in each
NUM_POINTS = 1_000  # two-dimensional samples in a snapshot

Snapshot = tuple[int, Tensor]  # number of training batches, samples


class SamplesOverTime(Callback):
    """Sample from the same latent codes repeatedly during training.

    Snapshot k of n is taken after the fraction (k / (n − 1))² of all training batches, so that the
    beginning, where most changes happen, has more of them. At the end of ``fit``, eight of the
    snapshots are drawn in ``figures/samples_over_time.png``, and all of them in
    ``figures/samples_over_time.gif``. Snapshots are part of checkpoints, so the figures of a
    resumed run cover the whole training.

    Args:
        num_images: number of images in a snapshot, default 48; the figure shows the first twelve.
            A snapshot of points in the plane always has 1,000.
        num_snapshots: number of snapshots n, default 32.
        seed: random seed of the codes, default 0.

    Raises:
        InputError: ``num_snapshots`` is less than 2; training has no end; the model is not a
            ``LatentModel``; samples are neither images nor points in the plane.
    """

    def __init__(self, num_images: int = 48, num_snapshots: int = 32, seed: int = 0) -> None:
        check_at_least(1, num_images=num_images)
        check_at_least(2, num_snapshots=num_snapshots)
        check_integer(seed=seed)
        self.num_images, self.num_snapshots, self.seed = num_images, num_snapshots, seed
        self.snapshots: list[Snapshot] = []
        self._due: list[int] = []  # numbers of training batches

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if not isinstance(pl_module, LatentModel):
            raise InputError(
                f"SamplesOverTime needs a latent model, got {type(pl_module).__name__}: leave the "
                "callback out"
            )
        shape = pl_module.input_shape
        if len(shape) != 3 and shape != (2,):
            raise InputError(
                f"SamplesOverTime shows images (C, H, W) or points (2,), got samples of shape "
                f"{shape}: leave the callback out"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = trainer.estimated_stepping_batches
        if total == math.inf:
            raise InputError("SamplesOverTime needs an end: set trainer.max_epochs or max_steps")
        total *= trainer.accumulate_grad_batches  # from optimizer steps to batches
        last = self.num_snapshots - 1
        self._due = [round(total * (k / last) ** 2) for k in range(self.num_snapshots)]
        if not self.snapshots:
            self._take_snapshot(0, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        batches = trainer.fit_loop.total_batch_idx + 1
        if batches in self._due:
            self._take_snapshot(batches, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = trainer.fit_loop.total_batch_idx + 1
        if self.snapshots[-1][0] != batches:  # training stopped early, or within an accumulation
            self._take_snapshot(batches, pl_module)

    def _take_snapshot(self, batches: int, model: Any) -> None:
        has_images = len(model.input_shape) == 3
        generator = torch.Generator(model.device).manual_seed(self.seed)
        with evaluation_mode(model):
            count = self.num_images if has_images else NUM_POINTS
            samples = model.sample(count, generator=generator)
        if has_images:  # in checkpoints, a quarter of the size of float32
            samples = (samples.clamp(0, 1) * 255).round().to(torch.uint8)
        self.snapshots.append((batches, samples.cpu()))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.snapshots or not writes_files(trainer):
            return
        model = type(pl_module).__name__
        snapshots = [(batches, _to_float(samples)) for batches, samples in self.snapshots]
        save_figure(trainer, draw_snapshots(snapshots, model), "samples_over_time")
        last = snapshots[-1][1]
        frames = [draw_snapshot(snapshot, last, model) for snapshot in snapshots]
        save_animation(trainer, frames, "samples_over_time")

    def state_dict(self) -> dict[str, Any]:
        return {"frames": [list(snapshot) for snapshot in self.snapshots]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.snapshots = [(batches, samples) for batches, samples in state_dict["frames"]]


def draw_snapshots(snapshots: Sequence[Snapshot], model: str) -> Figure:
    """Draw eight snapshots, from the first to the last, in one figure.

    Args:
        snapshots: all snapshots; images in [0, 1], or points on the scale of the last snapshot.
        model: name of the model.
    """
    count = min(ROWS, len(snapshots))
    indices = [round(i * (len(snapshots) - 1) / max(1, count - 1)) for i in range(count)]
    chosen = [snapshots[i] for i in indices]
    labels = [f"Step {batches:,}" for batches, _ in chosen]
    title = f"{model}: samples from the same codes during training"
    last = snapshots[-1][1]
    if last.ndim == 2:
        return plots.scatter_panels([points for _, points in chosen], None, labels, title, last)
    return plots.image_rows([images[:COLUMNS] for _, images in chosen], labels, title)


def draw_snapshot(snapshot: Snapshot, last: Tensor, model: str) -> Figure:
    """Draw one snapshot as a frame of the animation.

    Args:
        snapshot: the snapshot.
        last: samples of the last snapshot, which set the scale of points.
        model: name of the model.
    """
    batches, samples = snapshot
    title = f"{model}: step {batches:,}"
    if samples.ndim == 2:
        return plots.scatter_panels([samples], None, [""], title, last)
    return plots.image_grid(samples, title)


def _to_float(samples: Tensor) -> Tensor:
    """Return images with values in [0, 1]; points unchanged."""
    return samples / 255 if samples.dtype == torch.uint8 else samples

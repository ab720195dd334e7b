"""What samples look like as training goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.figures import evaluation_mode, save_animation, save_figure
from zoo import plots
from zoo.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, COLUMNS = 8, 12  # moments in the figure, images of each
POINTS = 1_000  # samples in the plane


class SamplesOverTime(Callback):
    """Samples from the same codes again and again during training, as a figure and an animation.

    The moments lie at the squares of equal steps, so that the beginning, where most happens, has
    more of them. The end of ``fit`` writes ``figures/samples_over_time.png`` (eight moments, one
    below the other; points in the plane side by side) and ``samples_over_time.gif`` (all). The
    samples are part of checkpoints: a resumed run shows the whole training.

    Args:
        num_images: images in the animation, default 48; the figure has the first twelve. Of points
            in the plane there are 1,000.
        moments: default 32.
        seed: of the codes, default 0.

    Raises:
        ValueError: fewer than two moments.
        InputError: training without an end.
    """

    def __init__(self, num_images: int = 48, moments: int = 32, seed: int = 0) -> None:
        if moments < 2:
            raise ValueError(f"moments must be at least 2, got {moments}")
        self.num_images, self.moments, self.seed = num_images, moments, seed
        self.frames: list[tuple[int, Tensor]] = []  # (batches so far, samples)
        self._due: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = trainer.estimated_stepping_batches
        if total == math.inf:
            raise InputError("SamplesOverTime needs an end: set trainer.max_epochs or max_steps")
        total *= trainer.accumulate_grad_batches  # in batches, as moments are counted
        last = self.moments - 1
        self._due = [round(total * (k / last) ** 2) for k in range(self.moments)]
        if not self.frames:
            self._take(0, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        done = trainer.fit_loop.total_batch_idx + 1
        if done in self._due:
            self._take(done, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = trainer.fit_loop.total_batch_idx + 1
        if self.frames[-1][0] != done:  # training ended before its time, or on part of a window
            self._take(done, pl_module)

    def _take(self, done: int, model: Any) -> None:
        images = len(model.input_shape) == 3
        generator = torch.Generator(model.device).manual_seed(self.seed)
        with evaluation_mode(model):
            samples = model.sample(self.num_images if images else POINTS, generator=generator)
        if images:  # a quarter of the size in checkpoints
            samples = (samples.clamp(0, 1) * 255).round().to(torch.uint8)
        self.frames.append((done, samples.cpu()))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run and self.frames:
            name = type(pl_module).__name__
            frames = [(done, _values(samples)) for done, samples in self.frames]
            last = frames[-1][1]
            save_figure(trainer, over_time(frames, last, name), "samples_over_time")
            pictures = [moment(*frame, last, name) for frame in frames]
            save_animation(trainer, pictures, "samples_over_time")

    def state_dict(self) -> dict[str, Any]:
        return {"frames": [list(frame) for frame in self.frames]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.frames = [(frame[0], frame[1]) for frame in state_dict["frames"]]


def over_time(frames: Sequence[tuple[int, Tensor]], last: Tensor, name: str) -> Figure:
    """A few of the moments in one figure, from the first to the last; points on the scale of
    ``last``."""
    count = min(ROWS, len(frames))
    chosen = [frames[round(i * (len(frames) - 1) / max(1, count - 1))] for i in range(count)]
    labels = [f"step {done:,}" for done, _ in chosen]
    title = f"{name}: the same codes during training"
    if last.ndim == 2:
        return plots.point_panels([points for _, points in chosen], None, labels, title, last)
    return plots.image_rows([images[:COLUMNS] for _, images in chosen], labels, title)


def moment(done: int, samples: Tensor, last: Tensor, name: str) -> Figure:
    """One picture of the animation."""
    title = f"{name}: step {done:,}"
    if samples.ndim == 2:
        return plots.point_panels([samples], None, [title], like=last)
    return plots.image_grid(samples, title)


def _values(samples: Tensor) -> Tensor:
    """Pixels in [0, 1], or points as they are."""
    return samples / 255 if samples.dtype == torch.uint8 else samples

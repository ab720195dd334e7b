"""Where figures go: one function for every callback, disk and logger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.plots.style import write_gif

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run_dir(trainer: Trainer) -> Path:
    """The run's folder: that of the first logger which has one, else ``default_root_dir``."""
    for logger in trainer.loggers:
        if logger.log_dir:
            return Path(logger.log_dir)
    return Path(trainer.default_root_dir)


def save_figure(trainer: Trainer, figure: Figure, name: str) -> Path | None:
    """Writes ``figures/NAME.png`` in the run's folder and hands the figure to every logger.

    Weights & Biases and TensorBoard get it as ``figures/NAME``. Only the first process writes;
    ``fast_dev_run`` writes nothing.

    Returns:
        The file, or None where nothing was written.
    """
    if not trainer.is_global_zero or trainer.fast_dev_run:
        return None
    path = run_dir(trainer) / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(f"figures/{name}", [str(path)])
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(f"figures/{name}", figure, trainer.global_step)
    return path


def save_animation(trainer: Trainer, pictures: Sequence[Figure], name: str) -> Path | None:
    """Writes ``figures/NAME.gif``, an eighth of a second a picture and two for the last.

    All pictures have one size. Weights & Biases gets it too; TensorBoard takes no animation.

    Returns:
        The file, or None where nothing was written.
    """
    if not trainer.is_global_zero or trainer.fast_dev_run:
        return None
    path = run_dir(trainer) / "figures" / f"{name}.gif"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gif(pictures, path)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_video(f"figures/{name}", [str(path)], format=["gif"])
    return path


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every submodule's own mode comes back afterwards."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for submodule, mode in modes.items():
            submodule.training = mode


def named(found: int, true: int, names: Sequence[str]) -> str:
    """What was found, and what it should have been where that is something else."""
    return names[found] if found == true else f"{names[found]}, not {names[true]}"


class FigureCallback(Callback):
    """Draws a figure of the model and some evaluation inputs.

    At the end of ``fit`` from validation inputs, at the end of ``test`` from test inputs, and,
    where asked, during training. A subclass sets ``name`` and implements ``draw``.

    Args:
        num_samples: evaluation inputs to keep, the first ones.
        every_n_epochs: also draws after every so many epochs, as ``NAME-epochNNNN``; by default
            only at the end.
    """

    name: str

    def __init__(self, num_samples: int, every_n_epochs: int | None = None) -> None:
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}")
        self.num_samples = num_samples
        self.every_n_epochs = every_n_epochs
        self._stage: str | None = None
        self._inputs: list[Tensor] = []
        self._labels: list[Tensor] = []
        self.data: Any = None  # the data module while drawing: names of classes, a known truth

    def draw(self, model: Any, *inputs: Any) -> Figure | None:
        """The figure of inputs x and classes y, or None where this model has nothing to show; the
        model is in evaluation mode, without gradients."""
        raise NotImplementedError(f"{type(self).__name__} has no draw(model, *inputs)")

    # -- collecting -----------------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin("validation")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin("test")

    def _begin(self, stage: str) -> None:
        if stage != self._stage:
            self._stage, self._inputs, self._labels = stage, [], []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._collect(batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._collect(batch)

    def _collect(self, batch: Any) -> None:
        if not isinstance(batch, tuple | list):
            raise InputError(
                f"{type(self).__name__} draws tensors, the data brings {type(batch).__name__}: "
                "leave the callback out"
            )
        missing = self.num_samples - sum(map(len, self._inputs))
        if missing > 0:
            self._inputs.append(batch[0][:missing].cpu())
            self._labels.append(batch[1][:missing].cpu())

    # -- drawing --------------------------------------------------------------------------------

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        due = self.every_n_epochs and epoch % self.every_n_epochs == 0
        if due and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._draw(trainer, pl_module, f"{self.name}-epoch{epoch:04d}")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, self.name)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, self.name)

    def _gathered(self, device: torch.device) -> tuple[Any, ...]:
        """What ``draw`` takes beside the model; nothing where there is nothing to draw."""
        if not self._inputs:
            return ()
        return torch.cat(self._inputs).to(device), torch.cat(self._labels)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        inputs = self._gathered(pl_module.device)
        if not inputs:
            return
        self.data = getattr(trainer, "datamodule", None)
        with evaluation_mode(pl_module):
            figure = self.draw(pl_module, *inputs)
        if figure is not None:
            save_figure(trainer, figure, name)

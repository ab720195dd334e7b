"""Figures of a run: where they are saved, and the base class of the callbacks that draw them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from zoo.core.files import replacing
from zoo.errors import InputError, check_at_least
from zoo.plots.files import write_figure, write_gif

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of the first logger that has one, else ``default_root_dir``."""
    for logger in trainer.loggers:
        if logger.log_dir:
            return Path(logger.log_dir)
    return Path(trainer.default_root_dir)


def writes_files(trainer: Trainer) -> bool:
    """Return whether this process writes files: only the first one, and not in ``fast_dev_run``."""
    return trainer.is_global_zero and not trainer.fast_dev_run


def save_figure(trainer: Trainer, figure: Figure, name: str) -> Path | None:
    """Write ``figures/NAME.png`` in the run folder and log the figure.

    Weights & Biases and TensorBoard receive it as ``figures/NAME``.

    Args:
        trainer: the run's trainer.
        figure: the figure.
        name: file name without extension.

    Returns:
        Path of the file; None if this process writes no files (see :func:`writes_files`).
    """
    if not writes_files(trainer):
        return None
    path = run_folder(trainer) / "figures" / f"{name}.png"
    with replacing(path) as partial:
        write_figure(figure, partial, dpi=120, bbox_inches="tight")
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(f"figures/{name}", [str(path)])
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(f"figures/{name}", figure, trainer.global_step)
    return path


def save_animation(trainer: Trainer, frames: Sequence[Figure], name: str) -> Path | None:
    """Write ``figures/NAME.gif`` in the run folder: 1/8 second per frame, 2 seconds for the last.

    Weights & Biases receives it too; TensorBoard does not.

    Args:
        trainer: the run's trainer.
        frames: figures of equal size.
        name: file name without extension.

    Returns:
        Path of the file; None if this process writes no files (see :func:`writes_files`).
    """
    if not writes_files(trainer):
        return None
    path = run_folder(trainer) / "figures" / f"{name}.gif"
    with replacing(path) as partial:
        write_gif(frames, partial)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_video(f"figures/{name}", [str(path)], format=["gif"])
    return path


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode without gradients; restore the mode of every submodule on exit."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for submodule, mode in modes.items():
            submodule.training = mode


def prediction_label(predicted: int, label: int, class_names: Sequence[str]) -> str:
    """Return the name of the predicted class, followed by the true class where they differ."""
    name = class_names[predicted]
    return name if predicted == label else f"{name} (true: {class_names[label]})"


class FigureCallback(Callback):
    """Base class of callbacks that draw a figure from the model and some evaluation samples.

    A subclass sets ``name`` and implements :meth:`draw`. The figure is saved as
    ``figures/NAME.png`` at the end of ``fit``, from validation samples, and at the end of
    ``test``, from test samples. With ``defer_to_test``, ``fit`` does not draw it.

    Args:
        num_samples: number of evaluation samples to keep, starting from the first.
        every_n_epochs: also draw after every n-th epoch, as ``figures/NAME-epochNNNN.png``; by
            default only at the end.
    """

    #: file name of the figure, without extension
    name: str
    #: attributes that the model must have, and the name of such a model in messages
    needs: tuple[str, ...] = ()
    made_for: str = "a model"
    #: whether the final figure is drawn by the test that follows ``fit``, not by ``fit``
    defer_to_test: bool = False

    def __init__(self, num_samples: int, every_n_epochs: int | None = None) -> None:
        check_at_least(1, num_samples=num_samples, every_n_epochs=every_n_epochs)
        self.num_samples = num_samples
        self.every_n_epochs = every_n_epochs
        self.data: Any = None  # the data module, set before ``draw`` is called
        self._stage: str | None = None
        self._inputs: list[Any] = []
        self._labels: list[Tensor] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not all(hasattr(pl_module, name) for name in self.needs):
            raise self.misfit(type(pl_module).__name__)

    def misfit(self, found: str) -> InputError:
        """Return the error for a model or data that the figure is not made for.

        Args:
            found: the model or data that was given.
        """
        name = type(self).__name__
        return InputError(f"{name} needs {self.made_for}, got {found}: leave the callback out")

    def draw(self, model: Any, *inputs: Any) -> Figure | None:
        """Draw the figure.

        Args:
            model: the model, in evaluation mode and without gradients.
            *inputs: samples x on the model's device and labels y on the CPU, unless a subclass
                collects other inputs.

        Returns:
            The figure, or None if the model has nothing to show.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement draw(model, *inputs)")

    def class_names(self, num_classes: int) -> list[str]:
        """Return the data module's class names, or indices if their number is different."""
        names = list(getattr(self.data, "class_names", None) or [])
        return names if len(names) == num_classes else [str(k) for k in range(num_classes)]

    # -- collecting samples ---------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin_stage("validation")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin_stage("test")

    def _begin_stage(self, stage: str) -> None:
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
        """Keep the samples of an evaluation batch until there are ``num_samples``."""
        if not isinstance(batch, tuple | list):
            raise InputError(
                f"{type(self).__name__} needs batches of tensors (x, y), got "
                f"{type(batch).__name__}: leave the callback out"
            )
        missing = self.num_samples - sum(map(len, self._inputs))
        if missing > 0:
            self._inputs.append(batch[0][:missing].cpu())
            self._labels.append(batch[1][:missing].cpu())

    def _draw_inputs(self, device: torch.device) -> tuple[Any, ...]:
        """Return the inputs of :meth:`draw`; empty if nothing was collected."""
        if not self._inputs:
            return ()
        return torch.cat(self._inputs).to(device), torch.cat(self._labels)

    # -- drawing --------------------------------------------------------------------------------

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        is_due = self.every_n_epochs and epoch % self.every_n_epochs == 0
        if is_due and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer, pl_module, f"{self.name}-epoch{epoch:04d}")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # with limit_test_batches=0 Lightning skips the test and its hooks
        if not (self.defer_to_test and trainer.limit_test_batches):
            self._save(trainer, pl_module, self.name)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, pl_module, self.name)

    def _save(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        """Draw the figure and save it as ``figures/NAME.png``."""
        inputs = self._draw_inputs(pl_module.device)
        if not inputs or not writes_files(trainer):
            return
        self.data = getattr(trainer, "datamodule", None)
        with evaluation_mode(pl_module):
            figure = self.draw(pl_module, *inputs)
        if figure is not None:
            save_figure(trainer, figure, name)


def defer_figures_to_test(trainer: Trainer) -> None:
    """Make the trainer's callbacks draw their figures in the test that follows ``fit``."""
    for callback in trainer.callbacks:
        if isinstance(callback, FigureCallback):
            callback.defer_to_test = True

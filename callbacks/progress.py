"""A single progress bar for the whole training."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from tqdm.auto import tqdm

from zoo.errors import check_non_negative

LAYOUT = (
    "{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} "
    "[{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)


class ProgressBar(LightningProgressBar):
    """Progress bar that stays on one line from the first training step to the last.

    Lightning's own bars restart in every epoch and every validation, and drawing them can take
    longer than a training step of a small model. Evaluation has a bar only if it takes more than
    two seconds.

    Args:
        interval: seconds between updates, default 0.25.
    """

    def __init__(self, interval: float = 0.25) -> None:
        super().__init__()
        check_non_negative(interval=interval)
        self.interval = interval
        self._enabled = True
        self._bar: tqdm[Any] | None = None
        self._epoch_info: dict[str, str] = {}  # epoch and validation loss, next to the bar

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    @property
    def is_enabled(self) -> bool:
        """True if the bar is shown; read by ``LightningModule.print``."""
        return self._enabled

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Print above the bar."""
        tqdm.write(sep.join(map(str, args)), **kwargs)

    def _open(self, name: str, total: float, done: int = 0, delay: float = 0.0) -> tqdm[Any]:
        """Create a bar.

        Args:
            name: text before the bar.
            total: number of steps, infinite if unknown.
            done: number of steps already done, default 0.
            delay: seconds before the bar appears, default 0; a delayed bar disappears at its end.
        """
        is_finite = total < float("inf")
        return tqdm(
            desc=name,
            total=int(total) if is_finite else None,
            initial=done,
            mininterval=self.interval,
            delay=delay,
            disable=not self._enabled,
            leave=delay == 0,
            bar_format=LAYOUT if is_finite else None,
            unit="step",
            dynamic_ncols=True,
        )

    # -- training -------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = float("inf")
        if trainer.max_epochs not in (None, -1):
            total = trainer.num_training_batches * trainer.max_epochs
        if trainer.max_steps != -1:
            total = min(total, trainer.max_steps * trainer.accumulate_grad_batches)
        self._epoch_info = {}
        self._bar = self._open("train", total, trainer.fit_loop.total_batch_idx + 1)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._bar is not None and self._bar.update(1):
            self._show(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_info = {"epoch": f"{trainer.current_epoch + 1}"}
        if "val/loss" in trainer.callback_metrics:
            self._epoch_info["val"] = f"{trainer.callback_metrics['val/loss'].item():.4g}"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:
            self._show(trainer)
        self._close()

    def _show(self, trainer: Trainer) -> None:
        losses = {name: f"{value:.4g}" for name, value in trainer.progress_bar_metrics.items()}
        if self._bar is not None:
            self._bar.set_postfix(self._epoch_info | losses, refresh=False)

    # -- evaluation -----------------------------------------------------------------------------

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar = self._open("test", sum(trainer.num_test_batches), delay=2)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._bar = self._open("validate", sum(trainer.num_val_batches), delay=2)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar = self._open("predict", sum(trainer.num_predict_batches), delay=2)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._advance()

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._advance()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        if trainer.state.fn == "validate":
            self._advance()

    def _advance(self) -> None:
        if self._bar is not None:
            self._bar.update(1)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._close()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

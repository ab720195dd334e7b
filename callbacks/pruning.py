"""Pruning by sensitivity, with fine-tuning after each round."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.utils import prune

from callbacks.figures import save_figure
from zoo import plots
from zoo.core.report import print_rank_zero
from zoo.errors import InputError, check_at_least, unknown


class _Weight(NamedTuple):
    """A weight tensor: its full name, its module and its name in the module.

    ``torch.nn.utils.prune`` replaces a pruned weight NAME with the parameter NAME_orig and the
    buffer NAME_mask; the names here are without these suffixes.
    """

    full_name: str
    module: nn.Module
    name: str

    @property
    def mask(self) -> Tensor | None:
        return getattr(self.module, f"{self.name}_mask", None)

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter that the optimizer updates."""
        return getattr(self.module, self.name if self.mask is None else f"{self.name}_orig")

    def set_mask(self, mask: Tensor) -> None:
        if self.mask is None:
            prune.custom_from_mask(self.module, self.name, mask)
        else:
            self.mask.copy_(mask)


class SensitivityPruning(Callback):
    """Set the least important weights to zero in several rounds, each followed by fine-tuning.

    The sensitivity of a weight is |w · ∂L/∂w|, the first-order change of the loss when the weight
    is removed, averaged over the steps of an epoch. At the end of epoch ``start_epoch``, and then
    of every ``every_n_epochs``-th epoch, the weights with the smallest sensitivity in that epoch
    are pruned (``torch.nn.utils.prune``), across all chosen layers, up to the next of
    ``sparsities``. Training and all rounds take ``start_epoch + every_n_epochs · len(sparsities)``
    epochs.

    ``history`` has (sparsity, metric) after each round's fine-tuning, the unpruned model first. At
    the end of ``fit`` it is printed and drawn in ``figures/pruning.png``; loggers receive it as
    ``pruned/SPARSITY``. Checkpoints contain plain weights, zeros included, and load without this
    callback; the masks are part of the callback's own state.

    Args:
        sparsities: fractions of the weights that are zero after each round, ascending, below 1;
            default (0.5, 0.8, 0.9, 0.95, 0.98).
        start_epoch: epochs of training before the first round, default 5.
        every_n_epochs: epochs of fine-tuning after each round, default 3.
        parameters: glob pattern of the parameters' names, default ``*weight``. Frozen parameters
            and those with one dimension, as in normalization layers, are never pruned.
        metric: metric to record, default ``val/accuracy``.

    Raises:
        InputError: ``sparsities`` are not ascending between 0 and 1; no parameter matches; the
            metric does not exist.

    Source: Mozer and Smolensky, Skeletonization, 1989; Molchanov et al., 2017, for the criterion.
    """

    def __init__(
        self,
        sparsities: Sequence[float] = (0.5, 0.8, 0.9, 0.95, 0.98),
        start_epoch: int = 5,
        every_n_epochs: int = 3,
        parameters: str = "*weight",
        metric: str = "val/accuracy",
    ) -> None:
        if not all(a < b for a, b in pairwise([0.0, *sparsities, 1.0])):
            raise InputError(
                f"sparsities must be ascending, above 0 and below 1, got {list(sparsities)}"
            )
        check_at_least(1, start_epoch=start_epoch, every_n_epochs=every_n_epochs)
        self.sparsities = list(sparsities)
        self.start_epoch, self.every_n_epochs = start_epoch, every_n_epochs
        self.parameters = parameters
        self.metric = metric
        self.rounds = 0  # completed rounds, the unpruned training included
        self.history: list[tuple[float, float]] = []
        self._sensitivity: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}

    def _weights(self, model: nn.Module) -> list[_Weight]:
        """Return the weights to prune."""
        weights = []
        for path, module in model.named_modules():
            for name, p in module.named_parameters(recurse=False):
                name = name.removesuffix("_orig")
                full_name = f"{path}.{name}" if path else name
                if p.requires_grad and p.ndim >= 2 and fnmatchcase(full_name, self.parameters):
                    weights.append(_Weight(full_name, module, name))
        if not weights:
            raise InputError(f"SensitivityPruning: no weight matches {self.parameters!r}")
        return weights

    # -- rounds ---------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for weight in self._weights(pl_module):
            mask = self._masks.get(weight.full_name)
            if mask is not None and weight.mask is None:  # a resumed run
                weight.set_mask(mask.to(weight.parameter))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        if self.rounds == len(self.sparsities) or not self._ends_round(trainer):
            return
        for weight in self._weights(pl_module):
            p = weight.parameter
            if p.grad is None:
                continue
            change = (p.detach() * p.grad).abs()
            total = self._sensitivity.get(weight.full_name)
            if total is not None:
                change.add_(total.to(change))
            self._sensitivity[weight.full_name] = change

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._ends_round(trainer):
            return
        self._record(trainer, pl_module)
        if self.rounds < len(self.sparsities):
            self._prune(trainer, pl_module, self.sparsities[self.rounds])
        self.rounds += 1

    def _ends_round(self, trainer: Trainer) -> bool:
        """Return whether a round ends with the current epoch."""
        epochs = trainer.current_epoch + 1 - self.start_epoch
        if epochs < 0 or epochs % self.every_n_epochs:
            return False
        return epochs // self.every_n_epochs == self.rounds <= len(self.sparsities)

    def _record(self, trainer: Trainer, model: LightningModule) -> None:
        if self.metric not in trainer.callback_metrics:
            raise unknown("metric", self.metric, sorted(trainer.callback_metrics))
        sparsity = self.sparsities[self.rounds - 1] if self.rounds else 0.0
        value = float(trainer.callback_metrics[self.metric])
        self.history.append((sparsity, value))
        model.log(f"pruned/{sparsity:g}", value, rank_zero_only=True)

    def _prune(self, trainer: Trainer, model: LightningModule, sparsity: float) -> None:
        """Mask the least sensitive weights, so that ``sparsity`` of all are zero."""
        weights = self._weights(model)
        scores = [self._score(trainer, weight) for weight in weights]
        flat = torch.cat([score.flatten() for score in scores])
        keep = torch.ones_like(flat)
        keep[flat.argsort(stable=True)[: round(sparsity * len(flat))]] = 0
        masks = keep.split([score.numel() for score in scores])
        for weight, score, mask in zip(weights, scores, masks, strict=True):
            mask = mask.view_as(score)
            self._masks[weight.full_name] = mask.cpu()
            weight.set_mask(mask)
        self._sensitivity = {}

    def _score(self, trainer: Trainer, weight: _Weight) -> Tensor:
        """Return the sensitivities of a weight, summed over processes; −1 where it is pruned."""
        sensitivity = self._sensitivity.get(weight.full_name)
        if sensitivity is None:  # no gradient: the loss does not depend on the weight
            score = torch.zeros_like(weight.parameter)
        else:
            score = sensitivity.to(weight.parameter.device, copy=True)
        score = trainer.strategy.reduce(score, reduce_op="sum")
        return score if weight.mask is None else torch.where(weight.mask > 0, score, -1.0)

    # -- end of training ------------------------------------------------------------------------

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for weight in self._weights(pl_module):
            if weight.mask is not None:
                prune.remove(weight.module, weight.name)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.history:
            return
        title = f"{type(pl_module).__name__}: pruned by sensitivity, fine-tuned after each round"
        sparsities, values = zip(*self.history, strict=True)
        save_figure(trainer, plots.pruning_curve(sparsities, values, self.metric, title), "pruning")
        rows = [f"{sparsity:>8.0%}   {value:.4f}" for sparsity, value in self.history]
        print_rank_zero("\n".join([f"\n  pruned   {self.metric}", *rows]))

    # -- checkpoints ----------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["state_dict"]
        for name in self._masks:
            if f"{name}_orig" in state:
                state[name] = state.pop(f"{name}_orig") * state.pop(f"{name}_mask")

    def state_dict(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "history": [list(row) for row in self.history],
            "sensitivity": {k: v.cpu() for k, v in self._sensitivity.items()},
            "masks": self._masks,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rounds = state_dict["rounds"]
        self.history = [(row[0], row[1]) for row in state_dict["history"]]
        self._sensitivity = state_dict["sensitivity"]
        self._masks = state_dict["masks"]

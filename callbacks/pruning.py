"""Pruning by sensitivity, with fine-tuning in between."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.utils import prune

from callbacks.figures import save_figure
from zoo import plots
from zoo.core.report import print_rank_zero
from zoo.errors import InputError


class SensitivityPruning(Callback):
    """Sets the weights that matter least to zero, in rounds, and trains the others on.

    The sensitivity of a weight is |w · ∂L/∂w|, the first-order change of the loss when it is
    removed, averaged over the batches of an epoch. At the end of epoch ``start`` and of every
    ``every_n_epochs`` after it, the weights of all chosen layers together that were least sensitive
    in that epoch are pruned (``torch.nn.utils.prune``) up to the next of ``sparsities``.

    ``history`` has (sparsity, metric) at the end of each round's fine-tuning, the unpruned model
    first; the end of ``fit`` prints it, ``figures/pruning.png`` draws it, and the loggers get it as
    ``pruned/SPARSITY``. A run must last
    ``start + every_n_epochs · len(sparsities)`` epochs for all rounds. Checkpoints hold plain
    weights, zeros included, so that they load without this callback; masks are its own state.

    Args:
        sparsities: shares of the weights that are zero after each round, rising, below 1.
        start: epochs of training before the first round.
        every_n_epochs: of fine-tuning after each round.
        parameters: pattern of the weights' names, default ``*weight``; frozen weights and those of
            one dimension (norms) are never pruned.
        metric: what is recorded, default ``val/accuracy``.

    Raises:
        ValueError: sparsities that do not rise from 0 to below 1.
        InputError: no weight of that name; no such metric.

    Source: Mozer and Smolensky, Skeletonization, 1989; Molchanov et al., 2017, for the criterion.
    """

    def __init__(
        self,
        sparsities: Sequence[float] = (0.5, 0.8, 0.9, 0.95, 0.98),
        start: int = 5,
        every_n_epochs: int = 3,
        parameters: str = "*weight",
        metric: str = "val/accuracy",
    ) -> None:
        steps = [0.0, *sparsities, 1.0]
        if any(a >= b for a, b in zip(steps[:-1], steps[1:], strict=True)):
            raise ValueError(f"sparsities must rise from 0 to below 1, got {list(sparsities)}")
        if start < 1 or every_n_epochs < 1:
            raise ValueError("start and every_n_epochs must be at least 1")
        self.sparsities = list(sparsities)
        self.start, self.every_n_epochs = start, every_n_epochs
        self.parameters = parameters
        self.metric = metric
        self.rounds = 0
        self.history: list[tuple[float, float]] = []
        self._sensitivity: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}

    # -- what is pruned -------------------------------------------------------------------------

    def _chosen(self, model: nn.Module) -> list[tuple[str, nn.Module, str]]:
        """(parameter's plain name, module, its name there)."""
        chosen = []
        for path, module in model.named_modules():
            for name, p in module.named_parameters(recurse=False):
                plain = name.removesuffix("_orig")
                full = f"{path}.{plain}" if path else plain
                if p.requires_grad and p.ndim >= 2 and fnmatchcase(full, self.parameters):
                    chosen.append((full, module, plain))
        if not chosen:
            raise InputError(f"SensitivityPruning: no weight is called {self.parameters!r}")
        return chosen

    @staticmethod
    def _trained(module: nn.Module, name: str) -> Tensor:
        """The parameter that the optimiser holds."""
        pruned = hasattr(module, f"{name}_mask")
        return getattr(module, f"{name}_orig" if pruned else name)

    # -- Lightning ------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        chosen = self._chosen(pl_module)
        for full, module, name in chosen:
            if full in self._masks and not hasattr(module, f"{name}_mask"):  # a resumed run
                mask = self._masks[full].to(getattr(module, name))
                prune.custom_from_mask(module, name, mask)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        if self.rounds == len(self.sparsities) or not self._due(trainer):
            return
        for full, module, name in self._chosen(pl_module):
            p = self._trained(module, name)
            if p.grad is None:
                continue
            change = (p.detach() * p.grad).abs()
            known = self._sensitivity.get(full)
            self._sensitivity[full] = change if known is None else change.add_(known.to(change))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._due(trainer):
            return
        self._record(trainer, pl_module)
        if self.rounds < len(self.sparsities):
            self._prune(trainer, pl_module, self.sparsities[self.rounds])
        self.rounds += 1

    def _due(self, trainer: Trainer) -> bool:
        """Whether a round ends with this epoch."""
        done = trainer.current_epoch + 1 - self.start
        if done < 0 or done % self.every_n_epochs:
            return False
        return done // self.every_n_epochs == self.rounds <= len(self.sparsities)

    def _record(self, trainer: Trainer, model: LightningModule) -> None:
        if self.metric not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise InputError(f"SensitivityPruning: there is no {self.metric!r} among {known}")
        sparsity = self.sparsities[self.rounds - 1] if self.rounds else 0.0
        value = float(trainer.callback_metrics[self.metric])
        self.history.append((sparsity, value))
        model.log(f"pruned/{sparsity:g}", value, rank_zero_only=True)

    def _prune(self, trainer: Trainer, model: LightningModule, sparsity: float) -> None:
        chosen = self._chosen(model)
        scores = {}
        for full, module, name in chosen:
            score = trainer.strategy.reduce(self._sensitivity[full].clone(), reduce_op="sum")
            mask = getattr(module, f"{name}_mask", None)
            scores[full] = score if mask is None else torch.where(mask > 0, score, -1.0)
        everything = torch.cat([score.flatten() for score in scores.values()])
        count = round(sparsity * len(everything))
        keep = torch.ones_like(everything)
        keep[everything.argsort(stable=True)[:count]] = 0
        sizes = [score.numel() for score in scores.values()]
        for (full, module, name), part in zip(chosen, keep.split(sizes), strict=True):
            mask = part.view_as(scores[full])
            self._masks[full] = mask.cpu()
            if hasattr(module, f"{name}_mask"):
                getattr(module, f"{name}_mask").copy_(mask)
            else:
                prune.custom_from_mask(module, name, mask)
        self._sensitivity = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for _, module, name in self._chosen(pl_module):
            if hasattr(module, f"{name}_mask"):
                prune.remove(module, name)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.history:
            return
        title = f"{type(pl_module).__name__}: pruned by sensitivity, fine-tuned after each round"
        sparsities, values = zip(*self.history, strict=True)
        figure = plots.pruning_curve(sparsities, values, self.metric, title)
        save_figure(trainer, figure, "pruning")
        rows = [f"{sparsity:>8.0%}   {value:.4f}" for sparsity, value in self.history]
        print_rank_zero("\n".join([f"\n  pruned   {self.metric}", *rows]))

    # -- checkpoints ----------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["state_dict"]
        for full in list(self._masks):
            if f"{full}_orig" in state:
                state[full] = state.pop(f"{full}_orig") * state.pop(f"{full}_mask")

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

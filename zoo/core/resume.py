"""Exact resumption of training: what a Task adds to its checkpoints, and how it continues.

A resumed run does what the uninterrupted run would have done: the same batches, random numbers,
evaluations and logged values. Lightning alone forgets the values that were about to be logged, and
the validation that was due, when a checkpoint was written after the last batch of an epoch.
"""

from __future__ import annotations

import copy
import json
import warnings
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from zoo.core.distributed import all_gather_objects, random_state, set_random_state
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.core.task import Task

#: entries that a Task adds to a checkpoint
RESUME_KEYS = ("train_means", "random_state", "loader", "progress")
#: hyper-parameters that decide how the optimizer and the schedule are created
OPTIMIZER_ARGUMENTS = ("optimizer", "optimizer_options")
RATE_ARGUMENTS = ("lr", "discriminator_lr", "weight_decay")
SCHEDULE_ARGUMENTS = ("schedule", "warmup", "schedule_options")


def without_functions(state: Any) -> Any:
    """Return a state without the entries of dictionaries that are functions.

    A function is pickled by its name, which ``torch.load(weights_only=True)`` refuses. SWALR of
    torch 2.6 saves its ``anneal_func``, which it has anyway once it is created again.
    """
    if type(state) is dict:
        items = state.items()
        return {k: without_functions(v) for k, v in items if not isinstance(v, FunctionType)}
    return [without_functions(item) for item in state] if type(state) is list else state


class Resumption:
    """State of a Task for exact resumption, within a fit of the Trainer.

    Args:
        task: the model.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._state: dict[str, Any] = {}  # entries of the checkpoint, until training starts
        self._changed: dict[str, Any] = {}  # changed hyper-parameters, with the checkpoint's values
        self._optimizer_states: list[dict[str, Any]] = []  # set if hyper-parameters have changed
        self._schedule_states: list[dict[str, Any]] = []
        self._new_schedules: list[dict[str, Any]] = []
        self._global_step = 0
        self._epochs = 0  # complete epochs before the checkpoint
        self._configured_steps: float | None = None  # per epoch, when optimizers were created
        self._max_steps: int | None = None  # the Trainer's limit, while the last epoch is completed
        self._is_at_epoch_end = False

    # -- saving ---------------------------------------------------------------------------------

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Add the state to a checkpoint that is written within ``fit``."""
        task, trainer = self._task, self._task.trainer
        for key in checkpoint.keys() & {"callbacks", "lr_schedulers"}:
            checkpoint[key] = without_functions(checkpoint[key])
        checkpoint["train_means"] = task._train_means.state_dict()
        checkpoint["random_state"] = all_gather_objects(random_state(), trainer.world_size)
        if hasattr(trainer.train_dataloader, "state_dict"):
            checkpoint["loader"] = trainer.train_dataloader.state_dict()
        checkpoint["progress"] = {
            "batches_per_epoch": trainer.num_training_batches,
            "steps_per_epoch": task.steps_per_epoch(),
            "metrics": {name: value.cpu() for name, value in trainer.callback_metrics.items()},
            "unlogged": self._unlogged(),
        }
        rows = [logger.num_rows for logger in trainer.loggers if hasattr(logger, "num_rows")]
        if rows:
            checkpoint["progress"]["rows"] = rows[0]

    def _unlogged(self) -> dict[str, Any] | None:
        """Return the values that the Trainer is going to log once the checkpoint is written."""
        trainer = self._task.trainer
        connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
        if not trainer.training or not trainer._results:
            return None
        step = loop._batches_that_stepped
        if connector._first_loop_iter is None:  # at the end of an epoch
            step -= 1
        elif loop._should_accumulate() or not connector.should_update_logs:
            return None
        values = {name: torch.as_tensor(v).cpu() for name, v in connector.metrics["log"].items()}
        return {"values": values, "epoch": trainer.current_epoch, "step": step} if values else None

    # -- loading --------------------------------------------------------------------------------

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Take the state from a checkpoint, before the Trainer restores its own part of it.

        Raises:
            InputError: the checkpoint contains weights only.
        """
        task = self._task
        self._state = {key: checkpoint[key] for key in RESUME_KEYS if key in checkpoint}
        self._changed, self._optimizer_states, self._schedule_states = {}, [], []
        if task._trainer is None or task.trainer.state.fn != "fit":
            return
        if not {"optimizer_states", "lr_schedulers", "global_step"} <= checkpoint.keys():
            raise InputError(
                "the checkpoint contains weights only, without the state of the optimizer: resume "
                "from best.ckpt or last.ckpt of a run, or start from these weights with --init_from"
            )
        self._global_step = checkpoint["global_step"]
        fit_loop = checkpoint.get("loops", {}).get("fit_loop", {})
        self._epochs = fit_loop.get("epoch_progress", {}).get("current", {}).get("processed", 0)
        self._configured_steps = checkpoint.get("progress", {}).get("steps_per_epoch")
        self._mark_position(fit_loop)
        self._schedule_states = copy.deepcopy(checkpoint["lr_schedulers"])
        self._changed = self._find_changes(checkpoint.get("hyper_parameters", {}))
        if self._changed:  # on_fit_start restores them
            self._optimizer_states = checkpoint["optimizer_states"]
            checkpoint["optimizer_states"], checkpoint["lr_schedulers"] = [], []

    def _mark_position(self, fit_loop: dict[str, Any]) -> None:
        """Note what remained to be done after the batch, and correct Lightning's counters.

        Lightning considers an epoch complete after its last batch, even if its validation and the
        hooks at its end have not run.
        """
        batches = fit_loop.get("epoch_loop.batch_progress")
        self._state["after_batch"] = self._state["in_validation"] = False
        if batches is None:
            return
        total = batches["total"]
        validation = fit_loop["epoch_loop.val_loop.batch_progress"]
        if total["processed"] == total["completed"] + 1:  # saved in on_train_batch_end
            self._state["after_batch"] = True
            for counter in (total, batches["current"]):
                counter["completed"] += 1
        elif validation["total"]["ready"] > validation["total"]["completed"]:
            self._state["in_validation"] = True  # it starts again from its first batch
            for name, count in validation["current"].items():
                validation["total"][name] -= count
                validation["current"][name] = 0

    def _find_changes(self, saved: dict[str, Any]) -> dict[str, Any]:
        names = (*OPTIMIZER_ARGUMENTS, *RATE_ARGUMENTS, *SCHEDULE_ARGUMENTS)
        own = self._task.hparams
        return {
            name: saved[name]
            for name in names
            if name in saved and name in own and _plain(saved[name]) != _plain(own[name])
        }

    def total_steps(self, estimate: float) -> float:
        """Return the number of optimizer steps of the whole training, for schedules.

        Args:
            estimate: the number if all epochs are as long as the current one; those before the
                checkpoint may have had another length.
        """
        trainer, before = self._task.trainer, self._state.get("progress", {}).get("steps_per_epoch")
        self._configured_steps = now = self._task.steps_per_epoch()
        if before in (None, now) or trainer.max_epochs in (None, -1):
            return estimate
        total = self._global_step + max(0, trainer.max_epochs - self._epochs) * now
        return total if trainer.max_steps == -1 else min(total, trainer.max_steps)

    # -- before training: optimizers and schedules ----------------------------------------------

    def on_fit_start(self) -> None:
        """Transfer the optimizer states of the checkpoint to changed hyper-parameters."""
        task = self._task
        self._new_schedules = [copy.deepcopy(s.state_dict()) for s in _schedules(task)]
        if self._state.get("after_batch"):
            loop = task.trainer.fit_loop.epoch_loop
            if loop.max_steps == self._global_step:  # the epoch must still be completed
                self._max_steps, loop.max_steps = loop.max_steps, -1
        if not self._changed:
            return
        changes = ", ".join(f"{k} {old} → {task.hparams[k]}" for k, old in self._changed.items())
        is_fresh = any(name in self._changed for name in OPTIMIZER_ARGUMENTS)
        if not is_fresh:
            self._transfer_optimizer_states()
        state = "; the optimizer starts with a fresh state" if is_fresh else ""
        _say(f"resumed with other settings than the checkpoint's: {changes}{state}")

    def _transfer_optimizer_states(self) -> None:
        """Give each parameter its state in the checkpoint; groups keep their new settings."""
        task = self._task
        new = {name: task.hparams[name] for name in self._changed}
        task.hparams.update(self._changed)
        try:
            optimizers = _optimizers_of(task.configure_optimizers())
        finally:
            task.hparams.update(new)
        states = self._optimizer_states
        for own, old, state in zip(task.trainer.optimizers, optimizers, states, strict=True):
            old.load_state_dict(state)
            own.state.update(old.state)

    def on_train_start(self) -> None:
        """Continue where the checkpoint was written; the Trainer has restored its part."""
        task, trainer = self._task, self._task.trainer
        state, self._state = self._state, {}
        is_new = trainer.global_step == 0 and not self._changed
        if is_new and self._configured_steps not in (None, task.steps_per_epoch()):
            trainer.strategy.setup_optimizers(trainer)  # the batch-size finder changes their number
            self._new_schedules = [copy.deepcopy(s.state_dict()) for s in _schedules(task)]
        if "train_means" in state:
            task._train_means.load_state_dict(state["train_means"], task.device)
            task._window_start -= len(task._train_means)
        progress = state.get("progress", {})
        self._check_epoch_length(progress, state)
        self._continue_schedules()
        # Lightning loses the loader's state if the length of training was asked for before
        # (Lightning #20550), so the position is stored with the model
        if "loader" in state and hasattr(trainer.train_dataloader, "load_state_dict"):
            trainer.train_dataloader.load_state_dict(state["loader"])
        states = state.get("random_state", [])
        if len(states) == trainer.world_size:
            set_random_state(states[task.global_rank])
        trainer.callback_metrics.update(
            {name: value.to(task.device) for name, value in progress.get("metrics", {}).items()}
        )
        if unlogged := progress.get("unlogged"):
            values = unlogged["values"] | {"epoch": torch.tensor(unlogged["epoch"])}
            step = int(values.pop("step", unlogged["step"]))
            trainer._logger_connector.log_metrics(values, step)
        if state.get("after_batch") or state.get("in_validation"):
            self._continue_after_batch()
        if state:
            self._continue_averaging()

    def _continue_averaging(self) -> None:
        """Create the schedule of stochastic weight averaging, which Lightning does only at the
        start of an epoch; the learning rates are those of the checkpoint."""
        trainer = self._task.trainer
        for callback in trainer.callbacks:
            is_swa = isinstance(callback, StochasticWeightAveraging)
            if not is_swa or callback._scheduler_state is None:
                continue
            if trainer.current_epoch <= callback.swa_end:
                groups = trainer.optimizers[0].param_groups
                rates = [group["lr"] for group in groups]
                callback.on_train_epoch_start(trainer, self._task)
                for group, rate in zip(groups, rates, strict=True):
                    group["lr"] = rate

    def _continue_after_batch(self) -> None:
        """Validate if the checkpoint was written before or in a validation."""
        trainer = self._task.trainer
        fit_loop, loop = trainer.fit_loop, trainer.fit_loop.epoch_loop
        is_last = loop.batch_progress.is_last_batch or self._max_steps is not None
        if loop._should_check_val_fx(fit_loop._data_fetcher):
            loop.val_loop._restarting = False  # from its first batch
            loop.val_loop._restart_stage = _stage().RESTARTED_MID_EVALUATION
            return
        loop._batches_that_stepped += not loop._should_accumulate()
        if is_last:  # nothing is left but the end of the epoch
            self._is_at_epoch_end = True
            loop.val_loop._has_run = loop.batch_progress.is_last_batch = True

    def on_validation_start(self) -> None:
        """Restore the limit on steps that the validation due was allowed to ignore."""
        if self._max_steps is not None:
            loop = self._task.trainer.fit_loop.epoch_loop
            loop.max_steps, self._max_steps = self._max_steps, None

    def on_train_epoch_end(self) -> None:
        """Finish an epoch that was resumed after its last batch."""
        self.on_validation_start()
        if self._is_at_epoch_end:
            self._is_at_epoch_end = False
            loop = self._task.trainer.fit_loop.epoch_loop
            loop.on_iteration_done()
            loop.val_loop.on_iteration_done()

    def _check_epoch_length(self, progress: dict[str, Any], state: dict[str, Any]) -> None:
        """Warn if the number of batches per epoch has changed.

        Raises:
            InputError: it has changed in the middle of an epoch, whose remaining batches are then
                undefined.
        """
        before = progress.get("batches_per_epoch")
        now = self._task.trainer.num_training_batches
        if before is None or before == now:
            return
        loader = state.get("loader", {})
        if 0 < loader.get("next", 0) < before:
            raise InputError(
                f"the checkpoint was written after batch {loader['next']} of an epoch of {before} "
                f"batches, which has {now} batches with these settings: keep batch_size, devices "
                "and limits, or resume from a checkpoint at the end of an epoch, such as best.ckpt"
            )
        _say(f"an epoch now has {now} batches instead of {before}")

    def _continue_schedules(self) -> None:
        """Move schedules that differ from the checkpoint's to the checkpoint's position."""
        schedules = _schedules(self._task)
        names = {*RATE_ARGUMENTS, *SCHEDULE_ARGUMENTS, *OPTIMIZER_ARGUMENTS}
        is_changed = bool(names & set(self._changed))
        before, now = (
            [state.get("total_steps") for state in states]
            for states in (self._schedule_states, self._new_schedules)
        )
        is_longer = bool(before) and None not in before and before != now
        if not schedules or not (is_changed or is_longer):
            return
        positions = [state["last_epoch"] for state in self._schedule_states]
        positions = positions or self._task.schedule_positions(self._global_step)
        pairs = zip(schedules, self._new_schedules, positions, strict=True)
        for schedule, new, position in pairs:
            schedule.load_state_dict(new)
            set_position(schedule, position)
        rate = schedules[0].optimizer.param_groups[0]["lr"]
        name, progress = self._task.hparams["schedule"], positions[0] / max(1, now[0] or 1)
        is_same_kind = is_longer and "schedule" not in self._changed
        _say(
            f"schedule {name} now covers {now[0]} steps instead of {before[0]}: it continues at "
            f"{progress:.0%} with learning rate {rate:.3g}"
            if is_same_kind
            else f"schedule {name} continues at step {positions[0]} with learning rate {rate:.3g}"
        )


def set_position(schedule: LRScheduler, step: int) -> None:
    """Put a schedule at a step, as if it had been stepped that often, and set the rates."""
    schedule.last_epoch = step - 1
    with warnings.catch_warnings():
        # the optimizer's steps were taken by the run that wrote the checkpoint
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        schedule.step()


def _schedules(task: Task) -> list[Any]:
    return [config.scheduler for config in task.trainer.lr_scheduler_configs]


def _optimizers_of(configured: Any) -> list[Optimizer]:
    """Return the optimizers in the result of ``configure_optimizers``."""
    if isinstance(configured, Optimizer):
        return [configured]
    if isinstance(configured, dict):
        return [configured["optimizer"]]
    return list(configured[0])


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list)


def _stage() -> Any:
    from lightning.pytorch.loops.evaluation_loop import RestartStage

    return RestartStage


@rank_zero_only
def _say(text: str) -> None:
    warnings.warn(text, stacklevel=2)

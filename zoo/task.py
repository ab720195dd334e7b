"""Task: what every model of the zoo shares, written once.

A family implements one method, ``step(batch) -> {"loss": ..., named parts}``, and training,
validation and test all use it, so that their numbers are on one scale.
"""

from __future__ import annotations

import os
import random
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor

from zoo.errors import DivergedError
from zoo.metrics import RunningMeans
from zoo.optim import make_optimizer, make_schedule

FLUSH_EVERY = 50  # steps kept as references at most, where the Trainer does not log
RESUME_KEYS = ("train_means", "random_state", "loader")  # what a Task adds to a checkpoint


class Task(LightningModule):
    """Optimiser, schedule, metrics and logging for one loss.

    Override ``step``; optionally ``batch_size``, ``parameter_groups``, and the ``make_*`` methods
    of the family. Every ``__init__`` argument, a subclass's own included, is saved as a
    hyper-parameter: keep them to numbers, strings and tuples, so that a checkpoint can be read
    without running code.

    Args:
        optimizer: ``sgd``, ``adam`` (default), ``adamw``, ``muon`` or ``lbfgs``.
        lr: learning rate, default 1e-3.
        weight_decay: of weights with two or more dimensions (biases and norms have none),
            default 0. Decoupled in ``adamw`` and ``muon``, an L2 gradient in the others.
        optimizer_options: further keyword arguments of the optimiser.
        schedule: ``constant`` (default), ``linear``, ``inverse``, ``exponential``, ``cosine`` or
            ``one_cycle``; see :func:`zoo.optim.make_schedule`.
        warmup: steps (≥ 1) or fraction of training (< 1) of linear warm-up, default 0.
        schedule_options: keyword arguments of the schedule.

    Metrics: ``train/X`` (mean over the epoch), ``train/X_step`` (mean since the last row),
    ``val/X`` and ``test/X`` for every X in the dictionary that ``step`` returns.
    """

    #: what each part of ``step`` means, with its unit, for tables
    metric_notes: ClassVar[dict[str, str]] = {"loss": "what training minimises"}

    def __init__(
        self,
        optimizer: str = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer_options: dict[str, Any] | None = None,
        schedule: str = "constant",
        warmup: float = 0.0,
        schedule_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()  # of the whole chain of constructors, subclasses included
        self._train_means = RunningMeans()
        self._eval_means = RunningMeans()
        self._window_start = 0
        self._last_logged = -1
        self._generator: torch.Generator | None = None
        self._resume: dict[str, Any] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the running hook here over forty times a step, and nn.Module would look
        # each time whether a parameter is being set: a third of the loop's own cost
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # -- what a family provides -----------------------------------------------------------------

    def step(self, batch: Any) -> dict[str, Tensor]:
        """One batch's loss and named parts: scalars, means over the batch.

        The key ``weight``, where present, is the number of elements the means were taken over
        (tokens, nodes); otherwise it is ``batch_size(batch)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step(batch)")

    def batch_size(self, batch: Any) -> int:
        """Samples in a batch: graphs of a PyG batch, rows of dense data."""
        if hasattr(batch, "num_graphs"):
            return int(batch.num_graphs)
        return len(batch[0])

    def describe_metrics(self) -> dict[str, str]:
        """For each metric of the closing table: meaning, unit, settings that it depends on."""
        return {k: v for base in reversed(type(self).__mro__) for k, v in _notes(base).items()}

    @property
    def generator(self) -> torch.Generator | None:
        """Source of noise inside ``step``: the global one in training; in evaluation one that
        restarts with every batch, so that evaluating twice gives the same numbers."""
        return self._generator

    # -- loops ----------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        parts = self.step(batch)
        self.record(parts, batch)
        return parts["loss"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)

    def record(self, parts: dict[str, Tensor], batch: Any) -> None:
        """Takes the numbers of a training step; writes their means every ``log_every_n_steps``."""
        weight = parts.pop("weight", None)
        self._train_means.update(parts, self.batch_size(batch) if weight is None else weight)
        step = self.global_step
        due = (step + 1) % (self.trainer.log_every_n_steps or FLUSH_EVERY) == 0
        if not due or step == self._last_logged:
            return
        self._last_logged = step
        means = self._flush()
        if not self.trainer.barebones:
            self.log_dict({f"train/{k}_step": v for k, v in means.items()}, batch_size=1)
            self.log("loss", means["loss"], prog_bar=True, logger=False, batch_size=1)

    def _evaluate(self, batch: Any, batch_idx: int) -> None:
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(batch_idx * self.trainer.world_size + self.global_rank)
        try:
            parts = self.step(batch)
        finally:
            self._generator = None
        weight = parts.pop("weight", None)
        self._eval_means.update(parts, self.batch_size(batch) if weight is None else weight)
        if len(self._eval_means._values) >= FLUSH_EVERY:
            self._eval_means.flush()

    def on_train_start(self) -> None:
        self._window_start = self.trainer.fit_loop.total_batch_idx + 1
        if "train_means" in self._resume:
            self._train_means.load_state_dict(self._resume["train_means"], self.device)
        # Lightning forgets the loader's state when the length of training was asked for before
        # (Lightning #20550), so the position travels with the model
        if "loader" in self._resume and hasattr(self.trainer.train_dataloader, "load_state_dict"):
            self.trainer.train_dataloader.load_state_dict(self._resume["loader"])
        states = self._resume.get("random_state", [])
        if len(states) == self.trainer.world_size:
            set_random_state(states[self.global_rank])
        self._resume = {}

    def on_train_epoch_end(self) -> None:
        self._flush()
        self._log_means("train", self._train_means)

    def on_validation_epoch_start(self) -> None:
        self._eval_means.reset()

    def on_validation_epoch_end(self) -> None:
        self._log_means("val", self._eval_means)

    def on_test_epoch_start(self) -> None:
        self._eval_means.reset()

    def on_test_epoch_end(self) -> None:
        self._log_means("test", self._eval_means)

    def _log_means(self, stage: str, means: RunningMeans) -> None:
        values = means.compute(self._sum_over_processes)
        means.reset()
        self.log_dict({f"{stage}/{k}": v for k, v in values.items()}, sync_dist=True)

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(sums, reduce_op="sum")

    # -- faults ---------------------------------------------------------------------------------

    def _flush(self) -> dict[str, Tensor]:
        """Means since the last flush, after making sure that every loss was finite."""
        bad = self._train_means.first_nonfinite("loss") if self._train_means.names else None
        strategy = self.trainer.strategy
        if strategy.reduce_boolean_decision(bad is not None, all=False):
            position = f"batch {self._window_start + bad}" if bad is not None else "a recent batch"
            raise self._diverged(f"the loss became nan or infinite at {position} of training")
        self._window_start = self.trainer.fit_loop.total_batch_idx + 1
        return self._train_means.flush()

    def _diverged(self, what: str) -> DivergedError:
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        saved = [getattr(c, "best_model_path", "") for c in self.trainer.checkpoint_callbacks]
        newest = max(filter(os.path.isfile, saved), key=os.path.getmtime, default="none yet")
        return DivergedError(
            f"{what} (counted from 0; epoch {self.current_epoch}, learning rate {rate:.3g}); last "
            f"good checkpoint: {newest}; a lower lr or trainer.gradient_clip_val may help"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what exact resumption needs; refuses to write a diverged model."""
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        if self._trainer is None or self.trainer.state.fn != "fit" or not self.trainer.optimizers:
            return
        self._flush()
        batch = self.trainer.fit_loop.total_batch_idx
        for name, p in self.named_parameters():
            if not bool(p.isfinite().all()):
                raise self._diverged(f"weight {name} became nan or infinite by batch {batch}")
        checkpoint["train_means"] = self._train_means.state_dict()
        checkpoint["random_state"] = _gather(random_state(), self.trainer.world_size)
        if hasattr(self.trainer.train_dataloader, "state_dict"):
            checkpoint["loader"] = self.trainer.train_dataloader.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resume = {key: checkpoint[key] for key in RESUME_KEYS if key in checkpoint}

    # -- optimisation ---------------------------------------------------------------------------

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters as optimiser groups; only weights of ≥ 2 dimensions decay."""
        trainable = [p for p in self.parameters() if p.requires_grad]
        decay = self.hparams["weight_decay"]
        if not decay:
            return [{"params": trainable}]
        matrices = [p for p in trainable if p.ndim >= 2]
        others = [p for p in trainable if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": decay},
            {"params": others, "weight_decay": 0},
        ]
        return [group for group in groups if group["params"]]

    def configure_optimizers(self) -> Any:
        hp = self.hparams
        optimizer = make_optimizer(
            hp["optimizer"],
            self.parameter_groups(),
            hp["lr"],
            hp["optimizer_options"],
            self._fused(),
        )
        total = self.trainer.estimated_stepping_batches
        schedule = make_schedule(
            hp["schedule"], optimizer, total, hp["warmup"], hp["schedule_options"]
        )
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _fused(self) -> bool:
        """Fused kernels where they exist; a gradient scaler cannot clip through them."""
        clips_scaled = self.trainer.gradient_clip_val and "mixed" in str(self.trainer.precision)
        kinds = {p.device.type for p in self.parameters()}
        floats = all(p.is_floating_point() for p in self.parameters())
        return floats and kinds <= {"cpu", "cuda"} and not clips_scaled


class Classifier(Task):
    """A task whose network gives one score per class: cross-entropy and accuracy.

    Loss: −Σ_k q_k log softmax(logits)_k, with q the one-hot label smoothed by ``label_smoothing``.

    Args:
        num_classes: K.
        label_smoothing: mass spread evenly over all classes in the training loss, default 0.
        **task: see :class:`Task`.

    Batch: (x, y) with y int64 class indices, (B,).
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "nll": "cross-entropy, nats",
        "accuracy": "fraction of samples classified correctly",
    }

    def __init__(self, num_classes: int, label_smoothing: float = 0.0, **task: Any) -> None:
        super().__init__(**task)
        if num_classes < 2:
            raise ValueError(
                f"a classifier needs at least two classes, got num_classes={num_classes}"
            )
        self.num_classes = num_classes

    def logits(self, x: Tensor) -> Tensor:
        """Scores before the softmax, (B, ...) → (B, K): no logging, no state, differentiable."""
        raise NotImplementedError(f"{type(self).__name__} has no logits(x)")

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, y = batch
        logits = self.logits(x)  # (B, K)
        nll = F.cross_entropy(logits, y)
        smoothing = self.hparams["label_smoothing"]
        loss = F.cross_entropy(logits, y, label_smoothing=smoothing) if smoothing else nll
        return {"loss": loss, "nll": nll, "accuracy": (logits.argmax(1) == y).float().mean()}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        logits = self.logits(batch[0])
        return {"class": logits.argmax(1), "probabilities": logits.softmax(1)}


def _notes(cls: type) -> dict[str, str]:
    return cls.__dict__.get("metric_notes", {})


def random_state() -> dict[str, Any]:
    """State of the global random generators that training draws from, on this process's devices."""
    version, internal, gauss = random.getstate()
    state = {"python": [version, list(internal), gauss], "torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def _gather(value: Any, world_size: int) -> list[Any]:
    """``value`` of every process, in the order of their ranks."""
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values

"""Task: the base class of every model of the zoo.

A family implements one method, ``step(batch) -> {"loss": ..., named parts}``. Training, validation
and test all use it, so that their metrics are on the same scale.
"""

from __future__ import annotations

import inspect
import math
import os
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import DoublePrecision
from torch import Tensor

import zoo
from zoo.core.constructor import ModelMeta, save_arguments, storable_arguments
from zoo.core.distributed import weight_correction
from zoo.core.input_checks import InputChecks
from zoo.core.optim import (
    can_fuse,
    check_optimizer,
    check_schedule,
    decay_groups,
    make_optimizer,
    make_schedule,
)
from zoo.core.randomness import RandomNumbers
from zoo.core.regularization import Strength, apply_max_norm, penalty
from zoo.core.resume import Resumption
from zoo.core.speed import FastHookName
from zoo.core.weights import match_compiled
from zoo.errors import DivergedError, check_count_or_fraction, check_non_negative, check_positive
from zoo.metrics import RunningMeans

if TYPE_CHECKING:
    from torchmetrics import Metric

FLUSH_EVERY = 50  # steps after which stored values are summed, unless logging does it earlier


class Task(RandomNumbers, InputChecks, FastHookName, LightningModule, metaclass=ModelMeta):
    """A loss with its optimizer, learning-rate schedule, metrics and logging.

    A subclass overrides ``step``; optionally ``build``, ``count_samples``, ``forward_inputs``,
    ``parameter_groups``, and the ``make_*`` methods of its family. Every argument of ``__init__``,
    a subclass's own included, is saved as a hyper-parameter. Hyper-parameters are numbers, strings,
    tuples and dictionaries of them, so that a checkpoint can be read without running code.

    Args:
        optimizer: ``sgd``, ``adam`` (default), ``adamw``, ``muon`` or ``lbfgs``.
        lr: learning rate, default 1e-3.
        weight_decay: weight decay of parameters with two or more dimensions (biases and
            normalization layers have none), default 0. Decoupled for ``adamw`` and ``muon``, an L2
            gradient for the others.
        optimizer_options: additional keyword arguments of the optimizer, default none.
        schedule: ``constant`` (default), ``linear``, ``inverse``, ``exponential``, ``cosine`` or
            ``one_cycle``; see :func:`zoo.core.optim.make_schedule`.
        warmup: steps (≥ 1) or fraction of training (< 1) of linear warm-up, default 0.
        schedule_options: keyword arguments of the schedule, default none.
        l1: strength λ of the penalty λ Σ|w|, default 0. A number applies to all weights with two or
            more dimensions; ``{pattern: λ}`` to the parameters whose name matches, such as
            ``{"network.1.*": 1e-4}``. Unlike ``weight_decay``, penalties are part of the loss, as
            the part ``penalty``, with every optimizer.
        l2: strength λ of the penalty λ Σ w², default 0; see ``l1``.
        lp: strength λ of the penalty λ Σ|w|^p, default 0; see ``l1``.
        p: exponent of ``lp``, default 0.5.
        max_norm: largest Euclidean norm of a unit's incoming weights, default none; larger ones are
            rescaled after every step (Srivastava et al. 2014, section 5.1). A number or
            ``{pattern: limit}``.

    Metrics: ``train/X`` (mean over the epoch), ``train/X_step`` (mean since the last logged step),
    ``val/X`` and ``test/X`` for every X in the dictionary that ``step`` returns.

    Raises:
        InputError: unknown names or options, or numbers out of range.
    """

    #: meaning and unit of each part that ``step`` returns, for tables
    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "training objective",
        "penalty": "norm penalties on weights, part of the loss",
    }

    def __init__(
        self,
        optimizer: str = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer_options: dict[str, Any] | None = None,
        schedule: str = "constant",
        warmup: float = 0.0,
        schedule_options: dict[str, Any] | None = None,
        l1: Strength = 0.0,
        l2: Strength = 0.0,
        lp: Strength = 0.0,
        p: float = 0.5,
        max_norm: Strength | None = None,
    ) -> None:
        super().__init__()
        check_optimizer(optimizer, optimizer_options)
        check_schedule(schedule, schedule_options)
        check_non_negative(lr=lr, weight_decay=weight_decay, l1=l1, l2=l2, lp=lp)
        check_count_or_fraction(warmup=warmup)
        check_positive(p=p, max_norm=max_norm)
        save_arguments(self, inspect.currentframe())
        self._train_means = RunningMeans()
        self._eval_means = RunningMeans()
        self._metrics: dict[str, Metric] = {}
        self._window_start = 0
        self._last_logged = -1
        self._resumption = Resumption(self)

    if not TYPE_CHECKING:  # type checkers use nn.Module's __getattr__

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                if "_is_built" not in self.__dict__:
                    raise AttributeError(
                        f"{type(self).__name__} has no {name!r} yet: networks are built after all "
                        "constructors have run; do this in an overridden build() instead"
                    ) from None
                raise

    # -- for subclasses -------------------------------------------------------------------------

    def build(self) -> None:
        """Create the networks from ``self.hparams`` and attributes, by the ``make_*`` methods.

        Called once, after the outermost constructor has returned: attributes that a subclass sets
        before or after ``super().__init__()`` can be used here.
        """

    def step(self, batch: Any) -> dict[str, Any]:
        """Compute the loss and named parts of one batch.

        Returns:
            ``loss`` and other scalars, each a mean over the batch, or None for a part that was not
            computed for this batch. Two keys are special: ``weight``, the number of elements that
            the means were taken over (tokens, nodes), by default ``count_samples(batch)``; and
            ``outputs``, a pair (prediction, target) for the metrics of ``make_metrics``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step(batch)")

    def make_metrics(self) -> dict[str, Metric]:
        """Create the evaluation metrics that are not means over samples, by name."""
        return {}

    def count_samples(self, batch: Any) -> int:
        """Return the number of samples in a batch: graphs of a PyG batch, rows of dense data."""
        if hasattr(batch, "num_graphs"):
            return int(batch.num_graphs)
        return len(batch[0])

    def forward_inputs(self, batch: Any) -> tuple[Any, ...]:
        """Return the arguments of ``forward`` for a batch."""
        return (batch[0],)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        """Return the shape of ``forward``'s output for a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no output_shape(batch)")

    def describe_metrics(self) -> dict[str, str]:
        """Return the meaning and unit of each metric in the table at the end of a run."""
        return {
            k: v
            for base in reversed(type(self).__mro__)
            for k, v in base.__dict__.get("metric_notes", {}).items()
        }

    def remarks(self, metrics: dict[str, float]) -> list[str]:
        """Return conclusions from the metrics of an evaluation, printed below them, one per line.

        Args:
            metrics: value of each metric, by its name without the stage.
        """
        return []

    @property
    def evaluation_counts(self) -> dict[str, float]:
        """Number of samples, tokens or nodes of each mean of the latest evaluation, by name."""
        return self._eval_means.counts

    # -- training and evaluation ----------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        parts = self.step(batch)
        correction = weight_correction(self.trainer, parts)
        parts = self._penalized(parts)
        loss = parts["loss"] + correction
        self.record(parts, batch)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)

    def record(self, parts: dict[str, Any], batch: Any) -> None:
        """Add the parts of a training step to the running means, which are logged every
        ``log_every_n_steps`` steps."""
        parts.pop("outputs", None)
        weight = parts.pop("weight", None)
        self._train_means.update(parts, self.count_samples(batch) if weight is None else weight)
        step = self.logged_step()
        due = (step + 1) % (self.trainer.log_every_n_steps or FLUSH_EVERY) == 0
        if not due or step == self._last_logged:
            return
        self._last_logged = step
        means = self._flush()
        if not self.trainer.barebones:
            self._forget_logged(set(self._train_means.names) - set(means))
            self.log_dict({f"train/{k}_step": v for k, v in means.items()}, batch_size=1)
            self.log("loss", means["loss"], prog_bar=True, logger=False, batch_size=1)

    def _forget_logged(self, names: set[str]) -> None:
        """Keep Lightning from logging the latest values again of parts without new ones."""
        for name in names:
            self.trainer._results.pop(f"training_step.train/{name}_step", None)

    def logged_step(self) -> int:
        """Return the number of steps before this batch, as the Trainer counts them for logging."""
        return self.global_step

    def steps_per_epoch(self) -> float:
        """Return the number of optimizer steps in an epoch, as the Trainer counts them."""
        steps = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        return math.ceil(steps) if math.isfinite(steps) else math.inf

    def schedule_positions(self, global_step: int) -> list[int]:
        """Return the number of steps of each schedule once the Trainer has counted so many."""
        return [global_step]

    def _evaluate(self, batch: Any, batch_idx: int) -> None:
        with self.seeded_for(batch, batch_idx):
            parts = self._penalized(self.step(batch))
        outputs = parts.pop("outputs", ())
        for metric in self._metrics.values():
            metric.update(*outputs)
        weight = parts.pop("weight", None)
        self._eval_means.update(parts, self.count_samples(batch) if weight is None else weight)
        if len(self._eval_means) >= FLUSH_EVERY:
            self._eval_means.flush()

    def on_train_start(self) -> None:
        self._window_start = self.trainer.fit_loop.total_batch_idx + 1
        self._train_means.reset()  # an earlier run may have been interrupted
        self._resumption.on_train_start()

    def on_fit_start(self) -> None:
        self._resumption.on_fit_start()

    def on_train_epoch_end(self) -> None:
        self._resumption.on_train_epoch_end()
        self._flush()
        self._log_means("train", self._train_means)

    def _penalized(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Add the norm penalties, if there are any, to the loss."""
        hp = self.hparams
        norms = [(hp["l1"], 1.0), (hp["l2"], 2.0), (hp["lp"], hp["p"])]
        terms = [penalty(self, strength, p) for strength, p in norms if strength]
        if not terms:
            return parts
        total = torch.stack([term.to(parts["loss"]) for term in terms]).sum()
        return parts | {"loss": parts["loss"] + total, "penalty": total}

    def _begin_evaluation(self) -> None:
        self._eval_means.reset()
        self._metrics = {name: m.to(self.device) for name, m in self.make_metrics().items()}

    def on_validation_epoch_start(self) -> None:
        self._resumption.on_validation_start()
        self._begin_evaluation()

    def on_validation_epoch_end(self) -> None:
        self._log_means("val", self._eval_means, self._metrics)

    def on_test_epoch_start(self) -> None:
        self._begin_evaluation()

    def on_test_epoch_end(self) -> None:
        self._log_means("test", self._eval_means, self._metrics)

    def _log_means(
        self, stage: str, means: RunningMeans, metrics: dict[str, Metric] | None = None
    ) -> None:
        values = means.compute(self._sum_over_processes)
        values |= {name: metric.compute().float() for name, metric in (metrics or {}).items()}
        means.reset()
        self.log_dict({f"{stage}/{k}": v for k, v in values.items()}, sync_dist=True)

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(sums, reduce_op="sum")

    # -- divergence and checkpoints -------------------------------------------------------------

    def _flush(self) -> dict[str, Tensor]:
        """Return the means since the last flush, after checking that every loss was finite."""
        self._check_losses()
        self._window_start = self.trainer.fit_loop.total_batch_idx + 1
        return self._train_means.flush()

    def _check_losses(self) -> None:
        """Raise :class:`DivergedError` if a loss since the last flush was not finite."""
        bad = self._train_means.first_nonfinite("loss") if self._train_means.names else None
        strategy = self.trainer.strategy
        if strategy.reduce_boolean_decision(bad is not None, all=False):
            position = f"batch {self._window_start + bad}" if bad is not None else "a recent batch"
            raise self._diverged(f"the loss became nan or infinite at {position} of training")

    def _diverged(self, what: str) -> DivergedError:
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        saved = [getattr(c, "best_model_path", "") for c in self.trainer.checkpoint_callbacks]
        newest = max(filter(os.path.isfile, saved), key=os.path.getmtime, default="none yet")
        return DivergedError(
            f"{what} (counted from 0; epoch {self.current_epoch}, learning rate {rate:.3g}); last "
            f"good checkpoint: {newest}; try a lower lr or trainer.gradient_clip_val"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the class and the state for exact resumption.

        Raises:
            DivergedError: a weight is not finite; nothing is saved.
        """
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint["zoo_version"] = zoo.__version__
        checkpoint["hyper_parameters"] = storable_arguments(self)
        if self._trainer is None or self.trainer.state.fn != "fit" or not self.trainer.optimizers:
            return
        self._check_losses()
        batch = self.trainer.fit_loop.total_batch_idx
        for name, p in self.named_parameters():
            if not bool(p.isfinite().all()):
                raise self._diverged(f"weight {name} became nan or infinite by batch {batch}")
        self._resumption.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None and isinstance(self.trainer.precision_plugin, DoublePrecision):
            self.double()  # the Trainer would do so after it has loaded the weights in float32
        checkpoint["state_dict"] = match_compiled(checkpoint["state_dict"], self)
        self._resumption.load(checkpoint)

    # -- optimization ---------------------------------------------------------------------------

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the trainable parameters as optimizer groups; biases and normalization layers
        have no weight decay."""
        return decay_groups(self, self.hparams["weight_decay"])

    def configure_optimizers(self) -> Any:
        hp = self.hparams
        optimizer = make_optimizer(
            hp["optimizer"],
            self.parameter_groups(),
            hp["lr"],
            hp["optimizer_options"],
            self._fused(),
        )
        total = self._resumption.total_steps(self.trainer.estimated_stepping_batches)
        schedule = make_schedule(
            hp["schedule"], optimizer, total, hp["warmup"], hp["schedule_options"]
        )
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.hparams["max_norm"]:
            apply_max_norm(self, self.hparams["max_norm"])

    def _fused(self) -> bool:
        return can_fuse(self)

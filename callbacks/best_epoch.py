"""Choice of the best epoch: direction of the metric, and differences within its noise."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

#: words in the names of metrics to maximize; all other metrics are minimized
HIGHER_IS_BETTER = frozenset({
    "acc", "accuracy", "ap", "auc", "auprc", "auroc", "bleu", "chrf", "dice", "exact", "f1", "iou",
    "map", "miou", "precision", "psnr", "r2", "recall", "ssim",
})  # fmt: skip


def metric_mode(monitor: str, model: Any = None) -> str:
    """Return ``max`` if higher values of a metric are better, else ``min``.

    A metric of ``model.make_metrics()`` has this property itself; otherwise the words of the name
    decide: ``val/robust_accuracy`` is maximized, ``val/loss`` minimized.

    Args:
        monitor: name under which the metric is logged, such as ``val/accuracy``.
        model: the LightningModule that logs it, default unknown.
    """
    name = monitor.rsplit("/", 1)[-1]
    metrics = model.make_metrics() if hasattr(model, "make_metrics") else {}
    higher = getattr(metrics.get(name), "higher_is_better", None)
    if higher is None:
        higher = not HIGHER_IS_BETTER.isdisjoint(name.lower().replace("-", "_").split("_"))
    return "max" if higher else "min"


def insignificant_difference(mean: float, count: float) -> float:
    """Return the largest difference of two means of n values in [0, 1] that chance may explain.

    It is √(m (1 − m) / n) / 2 + 1 / n, where the root is the standard error of an accuracy m. The
    root is halved, since two epochs are evaluated on the same samples and their difference varies
    less than either; 1 / n is one sample, a continuity correction.

    Args:
        mean: the mean m; outside [0, 1], the result is 0.
        count: number n of values; 0 means unknown, and the result is 0.
    """
    if not (0 <= mean <= 1 and count > 0):
        return 0.0
    return 0.5 * math.sqrt(mean * (1 - mean) / count) + 1 / count


class EpochScore(NamedTuple):
    """Evaluation of an epoch: the monitored metric, and the loss on the same samples."""

    metric: float
    loss: float = math.nan  # unknown


def replaces(new: EpochScore, kept: EpochScore, peak: float, mode: str, tolerance: float) -> bool:
    """Return whether a new epoch is better than the one that is kept.

    Epochs whose metric is within ``tolerance`` of the peak are candidates. Among these, the lowest
    loss decides; if losses are equal or unknown, the metric; if metrics are equal, the later epoch
    is kept.

    Args:
        new: scores of the new epoch.
        kept: scores of the kept epoch.
        peak: best metric of all epochs, including the new one.
        mode: ``min`` or ``max``.
        tolerance: largest difference that is not significant.
    """
    sign = 1.0 if mode == "max" else -1.0
    limit = sign * peak - (1 + 1e-4) * tolerance  # metrics are rounded to float32
    if math.isnan(new.metric) or sign * new.metric < limit:
        return False
    if math.isnan(kept.metric) or sign * kept.metric < limit:
        return True
    if new.loss < kept.loss or new.loss > kept.loss:
        return new.loss < kept.loss
    return sign * new.metric >= sign * kept.metric


class BestEpochCheckpoint(ModelCheckpoint):
    """Lightning's ``ModelCheckpoint`` that keeps one epoch and is not misled by small samples.

    The accuracy on a few hundred samples is uncertain by one or two percent. On graphs its peak is
    often a chance event while the network is nearly untrained and its loss is that of guessing.
    Maximized metrics between 0 and 1 are therefore compared by a variant of the one-standard-error
    rule: of the epochs whose difference from the best is insignificant, see
    :func:`insignificant_difference`, the one with the lowest loss is kept. Other metrics are
    compared exactly. Between equals, the later epoch is kept.

    The loss has the same prefix as the metric: ``val/loss`` for ``val/accuracy``. The number of
    samples is in the model's ``evaluation_counts``; without it, metrics are compared exactly.

    Args:
        monitor: metric whose best epoch is kept; None (default) keeps the latest checkpoint.
        mode: ``min`` or ``max``, default by the metric, see :func:`metric_mode`.
        **lightning: other arguments of ``ModelCheckpoint``.

    Source of the rule: Breiman et al., Classification and regression trees, 1984, section 3.4.3.
    """

    def __init__(
        self, monitor: str | None = None, mode: str | None = None, **lightning: Any
    ) -> None:
        super().__init__(monitor=monitor, mode=mode or "min", **lightning)
        self._infers_mode = mode is None
        self._kept = EpochScore(math.nan)
        self._peak = math.nan

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.monitor is not None and self._infers_mode:
            self.mode = metric_mode(self.monitor, pl_module)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        if current is None:
            return False
        new = EpochScore(float(current), self._loss(trainer))
        best_of = max if self.mode == "max" else min
        known = [value for value in (self._peak, new.metric) if not math.isnan(value)]
        self._peak = best_of(known, default=math.nan)
        is_first = not self.best_k_models
        is_better = is_first or replaces(
            new, self._kept, self._peak, self.mode, self._tolerance(trainer)
        )
        if trainer.strategy.reduce_boolean_decision(is_better):
            self._kept = new
            return True
        return False

    def _loss(self, trainer: Trainer) -> float:
        """Return the loss on the samples of the monitored metric; NaN if it was not logged."""
        prefix, separator, _ = str(self.monitor).rpartition("/")
        return float(trainer.callback_metrics.get(f"{prefix}{separator}loss", math.nan))

    def _tolerance(self, trainer: Trainer) -> float:
        if self.mode == "min":
            return 0.0
        counts = getattr(trainer.lightning_module, "evaluation_counts", {})
        name = str(self.monitor).rsplit("/", 1)[-1]
        return insignificant_difference(self._peak, counts.get(name, counts.get("loss", 0)))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"kept": tuple(self._kept), "peak": self._peak}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        score = state_dict.get("best_model_score")
        default = math.nan if score is None else float(score)
        self._kept = EpochScore(*state_dict.get("kept", (default,)))
        self._peak = state_dict.get("peak", default)

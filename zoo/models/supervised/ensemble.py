"""Base classes of ensembles: models whose prediction is the mean of the members' predictions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.core.classification import Classifier
from zoo.core.create import create_model
from zoo.core.registry import import_class, recipe_for
from zoo.core.regression import Regressor
from zoo.errors import InputError


class EnsembleClassifier(Classifier):
    """Base class of classifiers that average the members' predictions: p(k|x) = (1/M) Σ_m p_m(k|x).

    A subclass implements ``member_outputs``. ``logits`` returns log p(k|x), so that attacks and
    calibration diagrams treat the ensemble as one classifier. The loss is the sum of the members'
    losses.

    Args:
        input_shape: shape of one sample.
        num_classes: number of classes, K.
        member: name of the recipe of the members, a classifier of the zoo; default ``mlp``.
        member_settings: arguments of the members, default those of the recipe; the loss, optimizer
            and schedule are arguments of the ensemble instead.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Raises:
        InputError: members that are not classifiers.

    Source: Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation using
    deep ensembles, 2017, section 2.4.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "sum of the members' losses",
        "nll": "cross-entropy of the mean prediction, nats",
        "accuracy": "fraction classified correctly by the mean prediction",
        "brier": "Σ_k (p_k − [y = k])², mean over samples",
        "entropy": "entropy of the mean prediction, nats",
        "member_nll": "cross-entropy of a member, mean over members, nats",
        "member_accuracy": "accuracy of a member, mean over members",
    }

    has_output_per_class: ClassVar[bool] = False

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        member: str = "mlp",
        member_settings: dict[str, Any] | None = None,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        self.input_shape = tuple(input_shape)

    def make_member(self) -> Classifier:
        """Create a member with its own random initial weights."""
        data = {
            "input_shape": self.input_shape,
            "num_classes": self.num_classes,
            "class_weights": None,  # the ensemble computes the loss
        }
        return _make_member(self.hparams, Classifier, data)

    def member_outputs(self, x: Tensor) -> Tensor:
        """Compute the logits of every member, (B, ...) → (M, B, K)."""
        raise NotImplementedError(f"{type(self).__name__} has no member_outputs(x)")

    def scores(self, x: Tensor) -> Tensor:
        return self.member_outputs(x).log_softmax(2)

    def logits(self, x: Tensor) -> Tensor:
        return mean_log_prob(self.scores(x))

    def probabilities(self, scores: Tensor) -> Tensor:
        return mean_log_prob(scores).exp()

    def parts(self, scores: Tensor, y: Tensor) -> dict[str, Tensor]:
        members = len(scores)
        member_scores = scores.flatten(0, 1)  # (M·B, K)
        member_labels = y.repeat(members)
        loss = self.cross_entropy(member_scores, member_labels)
        log_mean = mean_log_prob(scores)  # (B, K)
        p = log_mean.exp()
        return {
            "loss": members * loss,
            "nll": F.nll_loss(log_mean, y),
            "accuracy": (log_mean.argmax(1) == y).float().mean(),
            "brier": (p - F.one_hot(y, self.num_classes)).square().sum(1).mean(),
            "entropy": -torch.special.xlogy(p, p).sum(1).mean(),
            "member_nll": F.nll_loss(member_scores, member_labels),
            "member_accuracy": (member_scores.argmax(1) == member_labels).float().mean(),
        }


class EnsembleRegressor(Regressor):
    """Base class of regressors that average the members' predictions.

    Members that predict variances form a mixture of Gaussians, (1/M) Σ_m N(μ_m, σ_m²). It is
    approximated by the Gaussian with its mean μ = (1/M) Σ μ_m and variance
    (1/M) Σ (σ_m² + μ_m²) − μ², which combines the predicted noise and the members' disagreement.

    A subclass implements ``member_outputs`` and ``member_loss``.

    Args:
        input_shape: shape of one sample.
        num_targets: number of targets per sample, T.
        target_mean: mean of the targets, one number or one for each target, default 0.
        target_std: standard deviation of the targets, one number or one for each target, default
            1.
        member: name of the recipe of the members, a regressor of the zoo; default
            ``mlp_regressor``.
        member_settings: arguments of the members, default those of the recipe; the optimizer and
            schedule are arguments of the ensemble instead.
        **regressor: see :class:`zoo.core.regression.Regressor`.

    Raises:
        InputError: members that are not regressors.

    Source: Lakshminarayanan et al., 2017, section 2.4.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "sum of the members' losses",
        "nll": "−log N(y; mean, variance) of the mixture, nats per sample, summed over targets",
        "spread": "standard deviation of the members' means, mean over samples and targets, in the "
        "targets' units",
        "member_mse": "squared error of a member, mean over members, in the targets' units²",
        "member_nll": "−log N(y; mean, variance) of a member, mean over members, nats per sample",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_targets: int,
        target_mean: float | tuple[float, ...] = 0.0,
        target_std: float | tuple[float, ...] = 1.0,
        member: str = "mlp_regressor",
        member_settings: dict[str, Any] | None = None,
        **regressor: Any,
    ) -> None:
        super().__init__(num_targets, **regressor)
        self.input_shape = tuple(input_shape)

    def make_member(self) -> Regressor:
        """Create a member with its own random initial weights."""
        names = ("input_shape", "num_targets", "target_mean", "target_std")
        return _make_member(self.hparams, Regressor, {name: self.hparams[name] for name in names})

    def member_outputs(self, x: Tensor) -> Tensor:
        """Compute the moments predicted by every member, (B, ...) → (M, B, T, 1 or 2)."""
        raise NotImplementedError(f"{type(self).__name__} has no member_outputs(x)")

    def member_loss(self, moments: Tensor, y: Tensor) -> Tensor:
        """Compute a member's loss, the mean over a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no member_loss(moments, y)")

    def moments(self, x: Tensor) -> Tensor:
        return mixture_moments(self.member_outputs(x))

    def predict(self, x: Tensor) -> Tensor:
        return self.moments(x)[..., 0]

    def step(self, batch: Any) -> dict[str, Any]:
        member_moments = self.member_outputs(batch[0])  # (M, B, T, 1 or 2)
        mixture = mixture_moments(member_moments)
        prediction = mixture[..., 0]
        y = self._targets(batch[1], prediction)
        member_parts = [self.parts(moments, y) for moments in member_moments]
        member_means = {
            f"member_{name}": torch.stack([parts[name] for parts in member_parts]).mean()
            for name in ("mse", "nll")
            if name in member_parts[0]
        }
        losses = [self.member_loss(moments, y) for moments in member_moments]
        return {
            **self.parts(mixture, y),
            **member_means,
            "loss": torch.stack(losses).sum(),
            "spread": member_moments[..., 0].std(0, correction=0).mean(),
            "outputs": (prediction.detach(), y),
        }


def mean_log_prob(log_probs: Tensor) -> Tensor:
    """Compute the logarithm of the members' mean probability, (M, B, K) → (B, K)."""
    return log_probs.logsumexp(0) - math.log(len(log_probs))


def mixture_moments(moments: Tensor) -> Tensor:
    """Compute the moments of the members' mixture, (M, ..., P) → (..., P).

    P is 1 for means only, and 2 for means and variances.
    """
    mean = moments[..., 0].mean(0)
    if moments.shape[-1] == 1:
        return mean[..., None]
    # in this form the variance of the means is not a difference of two large numbers
    variance = moments[..., 1].mean(0) + moments[..., 0].var(0, correction=0)
    return torch.stack([mean, variance], dim=-1)


def _make_member(hparams: Any, base: type, data: dict[str, Any]) -> Any:
    """Create a model from the settings of its recipe, of ``member_settings`` and of the data.

    Raises:
        InputError: the recipe's model is not a subclass of ``base``.
    """
    _, recipe = recipe_for(hparams["member"])
    cls = import_class(recipe["model"]["class_path"])
    if not issubclass(cls, base):
        raise InputError(f"member must be a {base.__name__}, got {cls.__name__}")
    return create_model(hparams["member"], **{**(hparams["member_settings"] or {}), **data})

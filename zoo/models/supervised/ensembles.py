"""Ensembles: several networks' predictions as one, and what they disagree on."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.core.create import create_model
from zoo.core.registry import import_class, recipe_for
from zoo.core.regression import Regressor
from zoo.core.task import Task
from zoo.errors import InputError, check_at_least
from zoo.models.supervised.cnn import ConvClassifier
from zoo.models.supervised.mlp import MLPClassifier
from zoo.networks.ensemble import forward_with_dropout, vmap_members
from zoo.networks.grouped_ensemble import can_group, grouped_forward

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class EnsembleClassifier(Classifier):
    """A classifier whose prediction is the mean of several members': p(k|x) = (1/M) Σ_m p_m(k|x).

    A subclass provides ``member_outputs``. ``logits`` is log p(k|x), so that an attack or a
    calibration diagram sees the ensemble as one classifier.

    Args:
        input_shape, num_classes: of the data.
        member: name of a classifier of the zoo, default ``mlp``.
        member_settings: its arguments; what concerns training (loss, optimiser, schedule) is the
            ensemble's own.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Raises:
        ValueError: a member that is no classifier.

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
        """A member with its own initial weights."""
        needs = {"input_shape": self.input_shape, "num_classes": self.num_classes}
        return _make_member(self.hparams, Classifier, needs)

    def member_outputs(self, x: Tensor) -> Tensor:
        """Logits of every member, (B, ...) → (M, B, K)."""
        raise NotImplementedError(f"{type(self).__name__} has no member_outputs(x)")

    def scores(self, x: Tensor) -> Tensor:
        return self.member_outputs(x).log_softmax(2)

    def logits(self, x: Tensor) -> Tensor:
        return mean_log_prob(self.scores(x))

    def probabilities(self, scores: Tensor) -> Tensor:
        return mean_log_prob(scores).exp()

    def parts(self, scores: Tensor, y: Tensor) -> dict[str, Tensor]:
        members = len(scores)
        every = scores.flatten(0, 1)  # (M·B, K)
        target = y.repeat(members)
        smoothing = self.hparams["label_smoothing"]
        loss = members * F.cross_entropy(every, target, label_smoothing=smoothing)
        log_mean = mean_log_prob(scores)  # (B, K)
        p = log_mean.exp()
        return {
            "loss": loss,
            "nll": F.nll_loss(log_mean, y),
            "accuracy": (log_mean.argmax(1) == y).float().mean(),
            "brier": (p - F.one_hot(y, self.num_classes)).square().sum(1).mean(),
            "entropy": -torch.special.xlogy(p, p).sum(1).mean(),
            "member_nll": F.nll_loss(every, target),
            "member_accuracy": (every.argmax(1) == target).float().mean(),
        }


class EnsembleRegressor(Regressor):
    """A regressor whose prediction is the mean of several members'.

    Members that predict a variance make a mixture of Gaussians, (1/M) Σ_m N(μ_m, σ_m²), which is
    taken as the Gaussian of its mean μ = (1/M) Σ μ_m and variance (1/M) Σ (σ_m² + μ_m²) − μ²: what
    the members say of the noise, and what they disagree on.

    A subclass provides ``member_outputs``.

    Args:
        input_shape, num_targets, target_mean, target_std: of the data.
        member: name of a regressor of the zoo, default ``mlp_regressor``.
        member_settings: its arguments, but for what concerns training.
        **regressor: see :class:`zoo.core.regression.Regressor`.

    Raises:
        ValueError: a member that is no regressor.

    Source: Lakshminarayanan et al., 2017, section 2.4.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "sum of the members' losses",
        "nll": "−log N(y; mean, variance) of the mixture, nats per sample, summed over targets",
        "spread": "standard deviation among the members' means, mean over samples and targets",
        "member_mse": "squared error of a member, mean over members",
        "member_nll": "−log N(y; mean, variance) of a member, mean over members",
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
        """A member with its own initial weights."""
        names = ("input_shape", "num_targets", "target_mean", "target_std")
        return _make_member(self.hparams, Regressor, {name: self.hparams[name] for name in names})

    def member_outputs(self, x: Tensor) -> Tensor:
        """Moments of every member, (B, ...) → (M, B, T, 1 or 2)."""
        raise NotImplementedError(f"{type(self).__name__} has no member_outputs(x)")

    def member_loss(self, moments: Tensor, y: Tensor) -> Tensor:
        """A member's loss, the mean over a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no member_loss(moments, y)")

    def moments(self, x: Tensor) -> Tensor:
        return mixture_moments(self.member_outputs(x))

    def predict(self, x: Tensor) -> Tensor:
        return self.moments(x)[..., 0]

    def step(self, batch: Any) -> dict[str, Any]:
        every = self.member_outputs(batch[0])  # (M, B, T, 1 or 2)
        mixture = mixture_moments(every)
        prediction = mixture[..., 0]
        y = self._targets(batch[1], prediction)
        members = [self.parts(moments, y) for moments in every]
        of_members = {
            f"member_{name}": torch.stack([parts[name] for parts in members]).mean()
            for name in ("mse", "nll")
            if name in members[0]
        }
        return {
            **self.parts(mixture, y),
            **of_members,
            "loss": torch.stack([self.member_loss(moments, y) for moments in every]).sum(),
            "spread": every[..., 0].std(0, correction=0).mean(),
            "outputs": (prediction.detach(), y),
        }


class _JointlyTrained(Task):
    """Several models, computed together."""

    members: nn.ModuleList

    def build(self) -> None:
        self.members = self.make_members()

    def make_members(self) -> nn.ModuleList:
        """``num_members`` members, each with its own initial weights."""
        return nn.ModuleList(self.make_member() for _ in range(self.hparams["num_members"]))

    def member_outputs(self, x: Tensor) -> Tensor:
        member = self.members[0]
        if isinstance(member, Regressor):
            return vmap_members(self.members, x, "moments")
        # a model of the user's may compute its logits otherwise than by its network alone
        plain = getattr(type(member), "logits", None) in (
            MLPClassifier.logits,
            ConvClassifier.logits,
        )
        if plain:
            networks: list[Any] = [m.network for m in self.members]
            if can_group(networks[0]):
                return grouped_forward(networks, x)
        return vmap_members(self.members, x)


class DeepEnsemble(_JointlyTrained, EnsembleClassifier):
    """K classifiers of the zoo with different initial weights, trained in one vectorised step.

    Each step computes all members at once on the same batch: ``torch.func.vmap`` over their stacked
    weights, or, for chains of common layers, grouped convolutions and batched matrix products. The
    loss is the sum of the members' own, so that each is trained exactly as it would be alone.
    ``members[k]`` is an ordinary model.

    Args:
        input_shape, num_classes: of the data.
        num_members: K, default 5.
        **ensemble: see :class:`EnsembleClassifier`.

    Source: Lakshminarayanan et al., 2017.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, num_members: int = 5, **ensemble: Any
    ) -> None:
        super().__init__(input_shape, num_classes, **ensemble)
        check_at_least(1, num_members=num_members)


class DeepEnsembleRegressor(_JointlyTrained, EnsembleRegressor):
    """K regressors of the zoo with different initial weights, trained in one vectorised step.

    Args:
        input_shape, num_targets: of the data.
        num_members: K, default 5.
        **ensemble: see :class:`EnsembleRegressor`.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_targets: int, num_members: int = 5, **ensemble: Any
    ) -> None:
        super().__init__(input_shape, num_targets, **ensemble)
        check_at_least(1, num_members=num_members)

    def member_loss(self, moments: Tensor, y: Tensor) -> Tensor:
        return self.members[0].loss(moments, y)  # type: ignore[operator]


class _DropoutSampled(Task):
    """One model, evaluated several times with its dropout at work."""

    model: Task

    def build(self) -> None:
        self.model = self.make_member()
        if not any(isinstance(m, DROPOUTS) and m.p > 0 for m in self.model.modules()):
            raise InputError(
                f"MC dropout needs a model with dropout, and {self.hparams['member']} with these "
                "settings has none: set its dropout in member_settings"
            )

    def member_outputs(self, x: Tensor) -> Tensor:
        method = "moments" if isinstance(self.model, Regressor) else "logits"
        if self.training:
            return getattr(self.model, method)(x)[None]
        seed = self.rng.initial_seed() if self.rng else self.hparams["seed"]
        passes = self.hparams["num_passes"]
        return forward_with_dropout(self.model, x, passes, DROPOUTS, seed, method)


class MCDropout(_DropoutSampled, EnsembleClassifier):
    """A classifier with dropout at work in evaluation too: the mean over random masks.

    The same input in the same place of a batch meets the same masks every time.

    Args:
        input_shape, num_classes: of the data.
        num_passes: evaluation passes, default 20.
        seed: of the masks outside of Lightning's loops, default 0.
        **ensemble: see :class:`EnsembleClassifier`; the member is the model with dropout.

    Raises:
        ValueError: a model without dropout.

    Source: Gal and Ghahramani, Dropout as a Bayesian approximation, 2016.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        num_passes: int = 20,
        seed: int = 0,
        **ensemble: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **ensemble)
        check_at_least(1, num_passes=num_passes)


class MCDropoutRegressor(_DropoutSampled, EnsembleRegressor):
    """A regressor with dropout at work in evaluation too: the mean over random masks.

    Args:
        input_shape, num_targets: of the data.
        num_passes, seed: as in :class:`MCDropout`.
        **ensemble: see :class:`EnsembleRegressor`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_targets: int,
        num_passes: int = 20,
        seed: int = 0,
        **ensemble: Any,
    ) -> None:
        super().__init__(input_shape, num_targets, **ensemble)
        check_at_least(1, num_passes=num_passes)

    def member_loss(self, moments: Tensor, y: Tensor) -> Tensor:
        return self.model.loss(moments, y)


def mean_log_prob(log_probs: Tensor) -> Tensor:
    """log of the members' mean probability: (M, B, K) → (B, K)."""
    return log_probs.logsumexp(0) - math.log(len(log_probs))


def mixture_moments(moments: Tensor) -> Tensor:
    """Mean, and variance where there is one, of the members' mixture: (M, ..., P) → (..., P)."""
    mean = moments[..., 0].mean(0)
    if moments.shape[-1] == 1:
        return mean[..., None]
    # the variance of the means is not the difference of two large numbers
    variance = moments[..., 1].mean(0) + moments[..., 0].var(0, correction=0)
    return torch.stack([mean, variance], dim=-1)


def _make_member(hp: Any, kind: type, needs: dict[str, Any]) -> Any:
    """A fresh model of the zoo with the recipe's settings, those given, and what the data says.

    Raises:
        ValueError: it is not of that kind.
    """
    _, recipe = recipe_for(hp["member"])
    cls = import_class(recipe["model"]["class_path"])
    if not issubclass(cls, kind):
        raise InputError(f"member must be a {kind.__name__}, got {cls.__name__}")
    return create_model(hp["member"], **{**(hp["member_settings"] or {}), **needs})

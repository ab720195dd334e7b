"""Multilayer perceptrons for classification and regression."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.core.regression import Regressor
from zoo.errors import InputError, check_at_least, check_finite, check_positive, check_probability
from zoo.functional.precision import HALF
from zoo.networks import MLP


class MLPClassifier(Classifier):
    """Multilayer perceptron: logits W_L φ(… φ(W_1 x + b_1) …) + b_L of the flattened input.

    The defaults of both dropouts are those of Srivastava et al., Dropout: A simple way to prevent
    neural networks from overfitting, 2014, appendix A.1.

    Args:
        input_shape: shape of one sample, such as (1, 28, 28).
        num_classes: number of classes, K.
        hidden_dims: widths of the hidden layers, default (512, 512).
        activation: nonlinearity φ, default ``relu``; see :data:`zoo.networks.mlp.ACTIVATIONS`.
        dropout: dropout probability after each hidden layer, or one for each layer; default 0.5.
        input_dropout: dropout probability of the input, default 0.2.
        normalization: ``none`` (default), ``batch``, ``layer``, ``instance`` or ``group``, before
            each nonlinearity.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Shapes: (B, *input_shape) → logits (B, K).
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        hidden_dims: tuple[int, ...] = (512, 512),
        activation: str = "relu",
        dropout: float | tuple[float, ...] = 0.5,
        input_dropout: float = 0.2,
        normalization: str = "none",
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        check_at_least(1, hidden_dims=hidden_dims)
        check_probability(dropout=dropout, input_dropout=input_dropout)

    def build(self) -> None:
        self.network = self.make_network()

    def make_network(self) -> nn.Module:
        """Create the network that maps inputs to logits."""
        return _make_mlp(self.hparams, self.hparams["num_classes"])

    def logits(self, x: Tensor) -> Tensor:
        return self.network(x)


class MLPRegressor(Regressor):
    """Multilayer perceptron: ŷ = m + s · (W_L φ(… φ(W_1 x + b_1) …) + b_L) of the flattened input.

    The network predicts standardized targets, and its loss is that of the standardized targets:
    (1/BT) Σ ((ŷ − y)/s)², or with ``predict_variance`` the negative log-likelihood of y/s.
    Predictions and metrics are in the original units of the targets.

    Args:
        input_shape: shape of one sample.
        num_targets: number of targets per sample, T.
        target_mean: mean m of the targets, one number or one for each target, default 0; data
            modules provide the mean of the training data.
        target_std: standard deviation s of the targets, one number or one for each target, default
            1; data modules provide the standard deviation of the training data.
        hidden_dims: widths of the hidden layers, default (64, 64).
        activation: nonlinearity φ, default ``relu``; see :data:`zoo.networks.mlp.ACTIVATIONS`.
        dropout: dropout probability after each hidden layer, or one for each layer; default 0.
        input_dropout: dropout probability of the input, default 0.
        normalization: ``none`` (default), ``batch``, ``layer``, ``instance`` or ``group``, before
            each nonlinearity.
        predict_variance: whether the network also predicts the variance of the noise,
            σ² = s² softplus(·), as a function of x; default False (Nix and Weigend, Estimating the
            mean and variance of the target probability distribution, 1994).
        **regressor: see :class:`zoo.core.regression.Regressor`.

    Shapes: (B, *input_shape) → (B, T).

    Raises:
        InputError: a standard deviation that is not positive; a mean or standard deviation that
            does not have one number for each target.
    """

    min_variance = 1e-6  # smallest predicted variance, in units of s²
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_targets: int,
        target_mean: float | tuple[float, ...] = 0.0,
        target_std: float | tuple[float, ...] = 1.0,
        hidden_dims: tuple[int, ...] = (64, 64),
        activation: str = "relu",
        dropout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        normalization: str = "none",
        predict_variance: bool = False,
        **regressor: Any,
    ) -> None:
        super().__init__(num_targets, **regressor)
        check_at_least(1, hidden_dims=hidden_dims)
        check_probability(dropout=dropout, input_dropout=input_dropout)
        check_finite(target_mean=target_mean)
        check_positive(target_std=target_std)
        for name, value in (("target_mean", target_mean), ("target_std", target_std)):
            count = torch.tensor(value).numel()
            if count not in (1, num_targets):
                raise InputError(f"{name} has {count} values for {num_targets} targets")

    def build(self) -> None:
        for name in ("mean", "std"):
            value = torch.tensor(self.hparams[f"target_{name}"])
            self.register_buffer(name, value, persistent=False)
        self.network = self.make_network()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        if self.mean.dtype in HALF:  # a mean of 250,037 would become 249,856
            for name in ("mean", "std"):
                exact = torch.tensor(self.hparams[f"target_{name}"], dtype=torch.float32)
                setattr(self, name, exact.to(self.mean.device))
        return self

    def make_network(self) -> nn.Module:
        """Create the network that maps inputs to standardized targets, followed by variances."""
        count = 2 if self.hparams["predict_variance"] else 1
        return _make_mlp(self.hparams, count * self.hparams["num_targets"])

    def predict(self, x: Tensor) -> Tensor:
        return self.moments(x)[..., 0]

    def moments(self, x: Tensor) -> Tensor:
        outputs = self.network(x).to(self.mean)
        mean = self.mean + self.std * outputs[:, : self.num_targets]
        if not self.hparams["predict_variance"]:
            return mean[..., None]
        variance = F.softplus(outputs[:, self.num_targets :]) + self.min_variance
        return torch.stack([mean, self.std.square() * variance], dim=-1)

    def loss(self, moments: Tensor, y: Tensor) -> Tensor:
        scale = torch.stack([self.std, self.std.square()], dim=-1)[..., : moments.shape[-1]]
        return super().loss(moments / scale, y / self.std)


def _make_mlp(hp: Any, out_features: int) -> MLP:
    widths = [math.prod(hp["input_shape"]), *hp["hidden_dims"], out_features]
    return MLP(widths, hp["activation"], hp["dropout"], hp["input_dropout"], hp["normalization"])

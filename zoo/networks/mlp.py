"""Multi-layer perceptrons and activations by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_choice
from zoo.networks.normalization import cancels_bias, make_vector_norm


class ScaledSigmoid(nn.Module):
    """σ(a x) with one learned slope a > 0 for the whole layer: a = exp(log_slope), initially 1."""

    def __init__(self) -> None:
        super().__init__()
        self.log_slope = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.log_slope.exp() * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "scaled_sigmoid": ScaledSigmoid,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}


def make_activation(name: str) -> nn.Module:
    """Create the activation called ``name``, one of :data:`ACTIVATIONS`.

    Raises:
        InputError: unknown activation.
    """
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def expand_per_layer(name: str, value: Any, count: int, unit: str = "layers") -> list[Any]:
    """Return the values of a setting by layer, given one value for all layers or a sequence.

    Args:
        name: name of the setting, for the error message.
        value: one value for all layers, or a sequence with one for each.
        count: number of layers.
        unit: plural noun for the layers in the error message, default ``layers``.

    Raises:
        InputError: a sequence that does not have ``count`` values.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise InputError(f"{name} has {len(value)} values for {count} {unit}")
    return list(value)


class MLP(nn.Sequential):
    """Linear layers with a nonlinearity between them: h ← dropout(φ(norm(W h + b))).

    The last layer is linear. Inputs of any shape are flattened first. b is omitted where the
    normalization cancels it.

    Args:
        sizes: widths from input to output, at least two.
        activation: nonlinearity φ, default ``relu``.
        dropout: dropout probability after each hidden nonlinearity, one value for all hidden
            layers or one for each; default 0.
        input_dropout: dropout probability of the input, default 0.
        normalization: ``none`` (default), ``batch``, ``layer``, ``instance`` or ``group``.

    Shapes:
        (B, ...) with ``sizes[0]`` values per sample → (B, ``sizes[-1]``).

    Raises:
        InputError: fewer than two sizes; unknown names; a sequence of dropout probabilities that
            does not have one for each hidden layer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        normalization: str = "none",
    ) -> None:
        if len(sizes) < 2:
            raise InputError(f"an MLP needs an input and an output width, got sizes={tuple(sizes)}")
        rates = expand_per_layer("dropout", dropout, len(sizes) - 2, "hidden layers")
        bias = not cancels_bias(normalization, is_image=False)
        layers: list[nn.Module] = [nn.Flatten()]
        if input_dropout:
            layers.append(nn.Dropout(input_dropout))
        for in_features, width, rate in zip(sizes[:-2], sizes[1:-1], rates, strict=True):
            layers.append(nn.Linear(in_features, width, bias))
            layers += [*make_vector_norm(normalization, width), make_activation(activation)]
            if rate:
                layers.append(nn.Dropout(rate))
        layers.append(nn.Linear(sizes[-2], sizes[-1]))
        super().__init__(*layers)

"""Multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.networks.normalization import removes_bias, vector_norm


class ScaledSigmoid(nn.Module):
    """σ(a x) with a learnable slope a > 0, one for the layer: a = exp(log_slope), first 1."""

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
    """The activation called ``name``, or a ValueError that lists the known ones."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class MLP(nn.Sequential):
    """Linear layers with a nonlinearity between them: h ← dropout(φ(norm(W h + b))).

    The last layer is linear. Inputs of any shape are flattened first. b is left out where the
    normalisation removes it.

    Args:
        sizes: widths from input to output, at least two.
        activation: name of φ, default ``relu``.
        dropout: probability after each hidden nonlinearity, or one for each; default 0.
        input_dropout: probability on the input, default 0.
        normalization: ``none`` (default), ``batch``, ``layer``, ``instance`` or ``group``.

    Shapes:
        (B, ...) with ``sizes[0]`` values per sample → (B, ``sizes[-1]``).

    Raises:
        ValueError: fewer than two sizes, unknown names, not one dropout for each hidden layer.
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
            raise ValueError(f"an MLP needs an input and an output width, got sizes={tuple(sizes)}")
        hidden = len(sizes) - 2
        rates = [dropout] * hidden if isinstance(dropout, float | int) else list(dropout)
        if len(rates) != hidden:
            raise ValueError(f"{len(rates)} dropout rates for {hidden} hidden layers")
        layers: list[nn.Module] = [nn.Flatten()]
        if input_dropout:
            layers.append(nn.Dropout(input_dropout))
        for fan_in, width, rate in zip(sizes[:-2], sizes[1:-1], rates, strict=True):
            layers.append(nn.Linear(fan_in, width, bias=not removes_bias(normalization, False)))
            layers += [*vector_norm(normalization, width), make_activation(activation)]
            if rate:
                layers.append(nn.Dropout(rate))
        layers.append(nn.Linear(sizes[-2], sizes[-1]))
        super().__init__(*layers)


class Unflatten(nn.Module):
    """(B, C·H·W) → (B, C, H, W); the inverse of ``nn.Flatten`` for a known sample shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, self.shape)

    def extra_repr(self) -> str:
        return str(self.shape)

"""Multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def make_activation(name: str) -> nn.Module:
    """The activation called ``name``, or a ValueError that lists the known ones."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class MLP(nn.Sequential):
    """Linear layers with a nonlinearity between them: h ← dropout(φ(W h + b)), last layer linear.

    Inputs of any shape are flattened first.

    Args:
        sizes: widths from input to output, at least two.
        activation: name of φ, default ``relu``.
        dropout: probability after each hidden nonlinearity, default 0.
        input_dropout: probability on the input, default 0.

    Shapes:
        (B, ...) with ``sizes[0]`` values per sample → (B, ``sizes[-1]``).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        if len(sizes) < 2:
            raise ValueError(f"an MLP needs an input and an output width, got sizes={tuple(sizes)}")
        layers: list[nn.Module] = [nn.Flatten()]
        if input_dropout:
            layers.append(nn.Dropout(input_dropout))
        for fan_in, width in zip(sizes[:-2], sizes[1:-1], strict=True):
            layers += [nn.Linear(fan_in, width), make_activation(activation)]
            if dropout:
                layers.append(nn.Dropout(dropout))
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

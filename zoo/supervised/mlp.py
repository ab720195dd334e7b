"""Multi-layer perceptron classifier."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from zoo.networks import MLP
from zoo.task import Classifier


class MLPClassifier(Classifier):
    """Fully connected layers on flattened input: softmax(W_L φ(… φ(W_1 x + b_1) …) + b_L).

    Args:
        input_shape: shape of one sample, such as (1, 28, 28).
        num_classes: classes.
        hidden: widths of the hidden layers, default (512, 512).
        activation: φ, default ``relu``; see :data:`zoo.networks.mlp.ACTIVATIONS`.
        dropout: probability after each hidden layer, default 0.5.
        input_dropout: probability on the pixels, default 0.2 (both as Srivastava et al. 2014, A.1).
        **classifier: ``label_smoothing`` and the settings of :class:`zoo.task.Task`.

    Shapes: (B, *input_shape) → logits (B, num_classes).
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        hidden: tuple[int, ...] = (512, 512),
        activation: str = "relu",
        dropout: float = 0.5,
        input_dropout: float = 0.2,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        self.network = self.make_network()

    def make_network(self) -> nn.Module:
        """The map from input to logits."""
        hp = self.hparams
        sizes = [math.prod(hp["input_shape"]), *hp["hidden"], hp["num_classes"]]
        return MLP(sizes, hp["activation"], hp["dropout"], hp["input_dropout"])

    def logits(self, x: Tensor) -> Tensor:
        return self.network(x)

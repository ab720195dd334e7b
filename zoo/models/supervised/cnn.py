"""Convolutional image classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_at_least, check_probability
from zoo.networks import MLP, Normalize
from zoo.networks.conv_stack import ConvStack, GlobalPool


class ConvClassifier(Classifier):
    """Base class of image classifiers: pixel normalization, feature extractor, head.

    A subclass implements ``make_features`` and ``make_head``.

    Args:
        input_shape: shape of one image, (C, H, W).
        num_classes: number of classes, K.
        pixel_mean: mean that is subtracted from pixels in [0, 1], one number or one per channel;
            default 0. The normalization is part of the model, so that an attack's ε is in the units
            of the pixels.
        pixel_std: standard deviation by which pixels are divided, one number or one per channel;
            default 1.
        channels_last: whether feature maps are stored with the channels last, which makes wide
            convolutions faster; default False.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Shapes: (B, C, H, W) in [0, 1] → logits (B, K).
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        pixel_mean: float | tuple[float, ...] = 0.0,
        pixel_std: float | tuple[float, ...] = 1.0,
        channels_last: bool = False,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        self.input_shape = tuple(input_shape)
        for name, value in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            if isinstance(value, Sequence) and len(value) != self.input_shape[0]:
                raise InputError(
                    f"{name} must be one number or one per channel ({self.input_shape[0]}), got "
                    f"{len(value)}"
                )

    def build(self) -> None:
        self.network = self.make_network()
        if self.hparams["channels_last"]:
            self.network.to(memory_format=torch.channels_last)

    def make_network(self) -> nn.Module:
        """Create the network that maps pixels to logits."""
        normalize = Normalize(self.hparams["pixel_mean"], self.hparams["pixel_std"])
        features = self.make_features()
        return nn.Sequential(normalize, features, self.make_head(features))

    def make_features(self) -> nn.Module:
        """Create the feature extractor, (B, C, H, W) → feature maps."""
        raise NotImplementedError(f"{type(self).__name__} has no make_features()")

    def make_head(self, features: nn.Module) -> nn.Module:
        """Create the head, feature maps → logits (B, K)."""
        raise NotImplementedError(f"{type(self).__name__} has no make_head(features)")

    def logits(self, x: Tensor) -> Tensor:
        if self.hparams["channels_last"]:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.network(x)


class CNN(ConvClassifier):
    """Stack of convolutions with pooling, followed by fully connected layers.

    With ``global_pooling``, the number of parameters is independent of the image size. If also
    ``padding_mode`` is ``circular``, ``padding`` is ``same``, and ``stride`` and ``pool_size`` are
    1, the logits are invariant to circular shifts of the image.

    ``kernel_size``, ``stride``, ``padding``, ``pool_size`` and ``conv_dropout`` may be one value
    for all convolutions or one for each; see :class:`zoo.networks.conv_stack.ConvStack`.

    Args:
        input_shape: shape of one image, (C, H, W).
        num_classes: number of classes, K.
        channels: output channels of each convolution, default (32, 64, 64).
        kernel_size: side of the kernels in pixels, default 3.
        stride: stride of the convolutions, default 1.
        padding: ``valid``, ``same`` (default), ``full`` or the number of pixels on each side.
        padding_mode: ``zeros`` (default) or ``circular``.
        pooling: ``max`` (default) or ``avg``.
        pool_size: side and stride of the pooling windows, default 2; 1 for no pooling.
        normalization: ``none``, ``batch`` (default), ``layer``, ``instance`` or ``group``.
        activation: nonlinearity of all layers, default ``relu``.
        conv_dropout: probability that a feature map is dropped after each convolution, default 0.
        global_pooling: ``none`` (default; the last feature maps are flattened), ``avg`` or ``max``.
        hidden_dims: widths of hidden fully connected layers, default none.
        dropout: dropout probability after each hidden fully connected layer, or one for each
            layer; default 0.
        **conv: see :class:`ConvClassifier`.

    Shapes: (B, C, H, W) in [0, 1] → logits (B, K).

    Raises:
        InputError: samples that are not images, or images too small for the layers; unknown names;
            a sequence of settings that does not have one for each layer.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        channels: tuple[int, ...] = (32, 64, 64),
        kernel_size: int | tuple[int, ...] = 3,
        stride: int | tuple[int, ...] = 1,
        padding: int | str | tuple[int | str, ...] = "same",
        padding_mode: str = "zeros",
        pooling: str = "max",
        pool_size: int | tuple[int, ...] = 2,
        normalization: str = "batch",
        activation: str = "relu",
        conv_dropout: float | tuple[float, ...] = 0.0,
        global_pooling: str = "none",
        hidden_dims: tuple[int, ...] = (),
        dropout: float | tuple[float, ...] = 0.0,
        **conv: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **conv)
        check_at_least(1, channels=channels, kernel_size=kernel_size, stride=stride)
        check_at_least(1, pool_size=pool_size, hidden_dims=hidden_dims)
        check_probability(conv_dropout=conv_dropout, dropout=dropout)

    def make_features(self) -> ConvStack:
        hp = self.hparams
        return ConvStack(
            self.input_shape, hp["channels"], hp["kernel_size"], hp["stride"], hp["padding"],
            hp["padding_mode"], hp["pooling"], hp["pool_size"], hp["normalization"],
            hp["activation"], hp["conv_dropout"],
        )  # fmt: skip

    def make_head(self, features: nn.Module) -> nn.Module:
        hp = self.hparams
        shape: tuple[int, ...] = features.output_shape  # type: ignore[assignment]
        is_pooled = hp["global_pooling"] != "none"
        in_features = shape[0] if is_pooled else math.prod(shape)
        widths = [in_features, *hp["hidden_dims"], self.num_classes]
        pool = [GlobalPool(hp["global_pooling"])] if is_pooled else []
        return nn.Sequential(*pool, MLP(widths, hp["activation"], hp["dropout"]))

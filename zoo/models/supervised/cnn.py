"""Convolutional classifiers: a configurable stack, a residual network, torchvision's backbones."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.errors import InputError
from zoo.networks import MLP, Normalize
from zoo.networks.conv_stack import ConvStack, GlobalPool
from zoo.networks.resnet import ResNetFeatures


class ConvClassifier(Classifier):
    """A classifier of images: standardised pixels → ``make_features()`` → ``make_head()``.

    Args:
        input_shape: (C, H, W).
        num_classes: classes.
        pixel_mean, pixel_std: of the pixels in [0, 1], one number or one per channel; default 0
            and 1. Part of the model, so that an attack's ε is in pixels.
        channels_last: keeps feature maps in the order height, width, channel, in which wide
            convolutions run faster; default no.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Shapes: (B, C, H, W) in [0, 1] → logits (B, num_classes).
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

    def build(self) -> None:
        self.network = self.make_network()
        if self.hparams["channels_last"]:
            self.network.to(memory_format=torch.channels_last)

    def make_network(self) -> nn.Module:
        """The map from pixels to logits."""
        normalize = Normalize(self.hparams["pixel_mean"], self.hparams["pixel_std"])
        features = self.make_features()
        return nn.Sequential(normalize, features, self.make_head(features))

    def make_features(self) -> nn.Module:
        """(B, C, H, W) → feature maps."""
        raise NotImplementedError(f"{type(self).__name__} has no make_features()")

    def make_head(self, features: nn.Module) -> nn.Module:
        """Feature maps → (B, num_classes)."""
        raise NotImplementedError(f"{type(self).__name__} has no make_head(features)")

    def logits(self, x: Tensor) -> Tensor:
        if self.hparams["channels_last"]:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.network(x)


class CNN(ConvClassifier):
    """A stack of convolutions with pooling, and fully connected layers on top.

    With ``global_pooling`` the number of parameters does not depend on the image's size; with
    ``padding_mode="circular"`` and no pooling between, the logits do not change when the image is
    shifted around its edges.

    Args:
        input_shape, num_classes: of the data.
        channels: after each convolution, default (32, 64, 64).
        kernel_size, stride, padding, padding_mode, pooling, pool_size, normalization, activation:
            see :class:`zoo.networks.conv_stack.ConvStack`; ``normalization`` is ``batch`` by default.
        conv_dropout: probability by which a feature map is dropped after each convolution, or one
            for each; default 0.
        global_pooling: ``none`` (default: the last maps are flattened), ``avg`` or ``max``.
        hidden: widths of fully connected layers before the last, default none.
        dropout: probability after each of those, default 0.
        **conv: see :class:`ConvClassifier`.

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

    def make_features(self) -> ConvStack:
        hp = self.hparams
        names = ("channels", "kernel_size", "stride", "padding", "padding_mode", "pooling")
        more = ("pool_size", "normalization", "activation")
        settings = {name: hp[name] for name in (*names, *more)}
        return ConvStack(self.input_shape, **settings, dropout=hp["conv_dropout"])

    def make_head(self, features: nn.Module) -> nn.Module:
        hp = self.hparams
        shape: tuple[int, ...] = features.output_shape  # type: ignore[assignment]
        pooled = hp["global_pooling"] != "none"
        sizes = [shape[0] if pooled else math.prod(shape), *hp["hidden_dims"], self.num_classes]
        layers = [GlobalPool(hp["global_pooling"])] if pooled else []
        return nn.Sequential(*layers, MLP(sizes, hp["activation"], hp["dropout"]))


class ResNet(ConvClassifier):
    """A residual network for small images: ResNet-20 by default, averages of the last maps on top.

    Args:
        input_shape, num_classes: of the data.
        widths, blocks, stem_stride, activation, normalization: see
            :class:`zoo.networks.resnet.ResNetFeatures`.
        dropout: probability before the last layer, default 0.
        **conv: see :class:`ConvClassifier`.

    Source: He et al., Deep residual learning for image recognition, 2016, section 4.2.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        widths: tuple[int, ...] = (16, 32, 64),
        blocks: int | tuple[int, ...] = 3,
        stem_stride: int = 1,
        activation: str = "relu",
        normalization: str = "batch",
        dropout: float = 0.0,
        **conv: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **conv)

    def make_features(self) -> ResNetFeatures:
        hp = self.hparams
        if len(self.input_shape) != 3:
            raise InputError(
                f"a residual network needs images (channels, height, width), got {self.input_shape}"
            )
        names = ("widths", "blocks", "stem_stride", "activation", "normalization")
        return ResNetFeatures(self.input_shape[0], **{name: hp[name] for name in names})

    def make_head(self, features: nn.Module) -> nn.Module:
        hp = self.hparams
        layers = [nn.Dropout(hp["dropout"])] if hp["dropout"] else []
        return nn.Sequential(
            GlobalPool("avg"), *layers, nn.Linear(hp["widths"][-1], self.num_classes)
        )

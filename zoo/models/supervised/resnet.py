"""Residual networks for small images."""

from __future__ import annotations

from typing import Any

from torch import nn

from zoo.errors import InputError, check_at_least, check_probability
from zoo.models.supervised.cnn import ConvClassifier
from zoo.networks.conv_stack import GlobalPool
from zoo.networks.resnet import ResNetFeatures
from zoo.networks.shapes import check_image_shape


class ResNet(ConvClassifier):
    """Residual network for small images: residual blocks, global average pooling, linear layer.

    The default is ResNet-20.

    Args:
        input_shape: shape of one image, (C, H, W).
        num_classes: number of classes, K.
        widths: channels of each stage, default (16, 32, 64).
        blocks: number of residual blocks in each stage, or one number for each; default 3.
        stem_stride: stride of the first convolution, default 1.
        activation: nonlinearity, default ``relu``.
        normalization: ``none``, ``batch`` (default), ``layer``, ``instance`` or ``group``.
        dropout: dropout probability before the linear layer, default 0.
        **conv: see :class:`~zoo.models.supervised.cnn.ConvClassifier`.

    Shapes: (B, C, H, W) in [0, 1] → logits (B, K).

    Raises:
        InputError: samples that are not images; unknown names; numbers out of range; a sequence of
            blocks that does not have one value for each stage.

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
        check_at_least(1, widths=widths, blocks=blocks, stem_stride=stem_stride)
        if not widths:
            raise InputError("a residual network needs at least one stage, got widths=()")
        check_probability(dropout=dropout)

    def make_features(self) -> ResNetFeatures:
        hp = self.hparams
        check_image_shape(self.input_shape)
        names = ("widths", "blocks", "stem_stride", "activation", "normalization")
        return ResNetFeatures(self.input_shape[0], **{name: hp[name] for name in names})

    def make_head(self, features: nn.Module) -> nn.Module:
        hp = self.hparams
        dropout = [nn.Dropout(hp["dropout"])] if hp["dropout"] else []
        linear = nn.Linear(hp["widths"][-1], self.num_classes)
        return nn.Sequential(GlobalPool("avg"), *dropout, linear)

"""VisionTransformer: classification of images as sequences of patches."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_at_least, check_choice
from zoo.models.sequences.base import SequenceModel
from zoo.networks.normalization import Normalize
from zoo.networks.sequence_pooling import POOLINGS, SequencePooling


class VisionTransformer(SequenceModel, Classifier):
    """Vision transformer: an encoder over linearly embedded patches, pooling, and a linear map.

    Args:
        input_shape: shape of one image, (C, H, W).
        num_classes: number of classes, K.
        patch_size: side of a patch in pixels, P, default 4; must divide H and W.
        pooling: ``cls`` (default), which prepends a learned classification token, ``mean``, ``max``
            or ``attention``; see :class:`~zoo.networks.sequence_pooling.SequencePooling`.
        pixel_mean: mean that is subtracted from pixels in [0, 1], one number or one per channel;
            default 0.5.
        pixel_std: standard deviation by which pixels are divided, one number or one per channel;
            default 0.5.
        position: position encoding, default ``learned``. All others treat the patches as one
            sequence in reading order, not as a two-dimensional grid.
        **sequence: see :class:`~zoo.models.sequences.base.SequenceModel` and
            :class:`~zoo.core.classification.Classifier`.

    Shapes: (B, C, H, W) in [0, 1] → logits (B, K).

    Raises:
        InputError: an ``input_shape`` that is not that of an image; a patch size that does not
            divide H and W; unknown names.

    Source: Dosovitskiy et al., An image is worth 16x16 words, 2021.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        patch_size: int = 4,
        pooling: str = "cls",
        pixel_mean: float | tuple[float, ...] = 0.5,
        pixel_std: float | tuple[float, ...] = 0.5,
        position: str = "learned",
        **sequence: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, position=position, **sequence)
        check_at_least(1, patch_size=patch_size)
        check_choice("pooling", pooling, POOLINGS)
        if len(input_shape) != 3:
            raise InputError(
                f"VisionTransformer needs images (C, H, W), got input_shape={tuple(input_shape)}"
            )
        sides = input_shape[1:]
        if any(side % patch_size for side in sides):
            raise InputError(
                f"patch_size must divide the sides of the image, got patch_size={patch_size} and "
                f"{sides[0]}×{sides[1]} pixels"
            )
        self.input_shape, self.patch_size = tuple(input_shape), patch_size

    def build(self) -> None:
        hp, dim = self.hparams, self.hparams["dim"]
        channels, *sides = self.input_shape
        num_patches = math.prod(side // self.patch_size for side in sides)
        has_cls = hp["pooling"] == "cls"  # the classification token takes up a position
        self.normalize = Normalize(hp["pixel_mean"], hp["pixel_std"])
        self.embedding = nn.Linear(channels * self.patch_size**2, dim)
        self.network = self.make_network(num_patches + has_cls, causal=False)
        self.pool = SequencePooling(hp["pooling"], dim)
        self.cls = nn.Parameter(torch.zeros(dim)) if has_cls else None
        self.head = nn.Linear(dim, self.num_classes)

    def patches(self, x: Tensor) -> Tensor:
        """Return the pixels of all patches in reading order, (B, C, H, W) → (B, patches, C·P²)."""
        size = self.patch_size
        tiles = x.unfold(2, size, size).unfold(3, size, size)  # (B, C, rows, columns, P, P)
        return tiles.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)

    def logits(self, x: Tensor) -> Tensor:
        tokens = self.embedding(self.patches(self.normalize(x)))  # (B, patches, dim)
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(x), 1, -1), tokens], 1)
        h = self.network(tokens)
        return self.head(self.pool(h, h.new_ones(h.shape[:2], dtype=torch.bool)))

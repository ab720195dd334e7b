"""VisionTransformer: an image as a sequence of its patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.models.sequences.base import SequenceModel
from zoo.models.sequences.classification import SequencePooling
from zoo.networks.normalization import Normalize


class VisionTransformer(SequenceModel, Classifier):
    """Patches, a linear map of each, an encoder, pooling, and a linear map to the classes.

    Args:
        input_shape: (C, H, W).
        num_classes: K.
        patch_size: P, side of a patch in pixels; it must divide H and W.
        pooling: ``cls`` (default), ``mean``, ``max`` or ``attention``; see
            :class:`~zoo.models.sequences.classification.SequencePooling`.
        mean, std: by which pixels are normalised first, default 0.5 and 0.5.
        position: default ``learned``; the others see the patches as one row, read line by line.
        **sequence: see :class:`~zoo.models.sequences.base.SequenceModel` and
            :class:`~zoo.core.classification.Classifier`.

    Shapes: (B, C, H, W) → (B, K).

    Raises:
        ValueError: no image; sides that the patches do not divide.

    Source: Dosovitskiy et al., An image is worth 16x16 words, 2021.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        patch_size: int = 4,
        pooling: str = "cls",
        mean: float | tuple[float, ...] = 0.5,
        std: float | tuple[float, ...] = 0.5,
        position: str = "learned",
        **sequence: Any,
    ) -> None:
        if len(input_shape) != 3:
            raise ValueError(f"patches are cut from images (C, H, W), got {tuple(input_shape)}")
        channels, *sides = input_shape
        if any(side % patch_size for side in sides):
            raise ValueError(
                f"patch_size={patch_size} does not divide an image of {sides[0]} × {sides[1]} "
                "pixels"
            )
        patches = (sides[0] // patch_size) * (sides[1] // patch_size)
        super().__init__(num_classes=num_classes, position=position, **sequence)
        hp = self.hparams
        self.normalize = Normalize(mean, std)
        self.patch_size = patch_size
        self.embedding = nn.Linear(channels * patch_size**2, hp["dim"])
        self.network = self.make_network(False, patches + (pooling == "cls"))
        self.pool = SequencePooling(pooling, hp["dim"])
        self.cls = nn.Parameter(torch.zeros(hp["dim"])) if pooling == "cls" else None
        self.head = nn.Linear(hp["dim"], num_classes)

    def patches(self, x: Tensor) -> Tensor:
        """Pixels of each patch, line by line, (B, C, H, W) → (B, patches, C·P²)."""
        size = self.patch_size
        tiles = x.unfold(2, size, size).unfold(3, size, size)  # (B, C, rows, columns, P, P)
        return tiles.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)

    def logits(self, x: Tensor) -> Tensor:
        tokens = self.embedding(self.patches(self.normalize(x)))
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(x), 1, -1), tokens], 1)
        h = self.network(tokens)
        return self.head(self.pool(h, h.new_ones(h.shape[:2], dtype=torch.bool)))

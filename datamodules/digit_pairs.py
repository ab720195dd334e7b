"""DigitPairs: images of two digits, whose labels say which digits they show."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from datamodules.images import DIGITS, Digits, ImageDataModule
from datamodules.loader import Batch
from zoo.errors import check_at_least


class DigitPairs(ImageDataModule):
    """Two handwritten digits side by side, 8×16 pixels, labeled with the digits that they show.

    Each image consists of two random images of :class:`~datamodules.images.Digits`, training and
    test images of those of their split. Batches are (x, y) with y float32 (B, 10): 1 for the one or
    two digits in the image and 0 for the others.

    Args:
        num_samples: number of training images, including validation, default 4,000.
        num_test_samples: number of test images, default 1,000.
        batch_size: training images per batch and process, default 64.
        **data: see :class:`~datamodules.images.ImageDataModule`.

    Raises:
        InputError: an argument is out of range.
    """

    input_shape = (1, 8, 16)
    num_classes = 10
    class_names = DIGITS
    max_pixel_value = Digits.max_pixel_value

    def __init__(
        self,
        num_samples: int = 4_000,
        num_test_samples: int = 1_000,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **data)
        check_at_least(2, num_samples=num_samples)
        check_at_least(1, num_test_samples=num_test_samples)
        self.num_samples, self.num_test_samples = num_samples, num_test_samples

    def load(self, train: bool) -> Batch:
        x, y = Digits().load(train)
        count = self.num_samples if train else self.num_test_samples
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        left, right = torch.randint(len(x), (2, count), generator=generator)
        labels = F.one_hot(y[left], 10) | F.one_hot(y[right], 10)
        return torch.cat([x[left], x[right]], dim=3), labels.float()

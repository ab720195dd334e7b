"""VisionTransformer: patches, positions, input shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo import VisionTransformer
from zoo.networks.sequence_pooling import POOLINGS


def make(**options: Any) -> VisionTransformer:
    settings: dict[str, Any] = {
        "input_shape": (3, 8, 12), "num_classes": 5, "dim": 16, "layers": 1, "heads": 2,
        "init_std": 0.3,
    }  # fmt: skip
    return VisionTransformer(**(settings | options)).double().eval()


def test_patches_are_squares_of_the_image_in_reading_order() -> None:
    x = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    patches = make().patches(x)
    assert patches.shape == (2, 6, 48)
    for row in range(2):
        for column in range(3):
            square = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert torch.equal(patches[:, 3 * row + column], square.flatten(1))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_without_positions_the_order_of_patches_does_not_matter(pooling: str) -> None:
    x = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    swapped = torch.cat([x[..., 4:8], x[..., :4], x[..., 8:]], -1)
    without_positions = make(position="none", pooling=pooling)
    torch.testing.assert_close(without_positions(x), without_positions(swapped))
    with_positions = make(pooling=pooling)
    assert (with_positions(x) - with_positions(swapped)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 5}, "patch_size must divide the sides of the image, got patch_size=5"),
        ({"input_shape": (7,)}, r"VisionTransformer needs images"),
        ({"pooling": "sum"}, "unknown pooling 'sum'"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)

"""Shapes of images and feature maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.errors import InputError
from zoo.networks.shapes import check_image_shape, halved_sides, infer_output_shape


@pytest.mark.parametrize("side", [1, 5, 8, 28])
def test_halved_sides_are_those_of_convolutions_of_stride_2(side: int) -> None:
    x, sides = torch.zeros(1, 1, side, side), [side]
    for _ in range(4):
        x = nn.functional.conv2d(x, torch.zeros(1, 1, 3, 3), stride=2, padding=1)
        sides.append(x.shape[-1])
    assert halved_sides(side, 4) == sides


def test_inferring_the_output_shape_leaves_the_network_unchanged() -> None:
    frozen = nn.BatchNorm2d(4).eval()
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), frozen)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert infer_output_shape(network, (1, 8, 6)) == (4, 6, 4)
    with pytest.raises(RuntimeError):
        infer_output_shape(network, (1, 2, 2))
    assert [m.training for m in network] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_only_images_pass_the_check() -> None:
    check_image_shape((1, 8, 8))
    with pytest.raises(InputError, match=r"needs images \(channels, height, width\), got \(4,\)"):
        check_image_shape((4,))

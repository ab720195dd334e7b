"""Shapes of images and feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from zoo.errors import InputError


def check_image_shape(shape: Sequence[int]) -> None:
    """Raise :class:`InputError` unless a sample is an image, (channels, height, width)."""
    if len(shape) != 3:
        raise InputError(
            "a convolutional network needs images (channels, height, width), "
            f"got {tuple(shape)}: choose another network, such as an MLP"
        )


def halved_sides(side: int, count: int) -> list[int]:
    """Return the sides after 0, 1, …, ``count`` convolutions of stride 2, each ⌈previous / 2⌉."""
    sides = [side]
    for _ in range(count):
        sides.append((sides[-1] + 1) // 2)
    return sides


@torch.no_grad()
def infer_output_shape(network: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of one output, found by a forward pass of zeros in evaluation mode.

    Raises:
        RuntimeError: the input is too small for the layers.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        return tuple(network(torch.zeros(1, *input_shape)).shape[1:])
    finally:
        for module, training in modes.items():
            module.training = training

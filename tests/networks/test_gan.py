"""Generators and discriminators: shapes, and sides that cannot be halved."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.errors import InputError
from zoo.networks.gan import (
    DCGANGenerator,
    Discriminator,
    ResidualGenerator,
    make_dcgan_features,
    make_mlp_features,
    make_residual_features,
)


@pytest.mark.parametrize("generator", [DCGANGenerator, ResidualGenerator])
def test_generators_make_images(generator: Any) -> None:
    assert generator((3, 8, 12), (4, 6), 5)(torch.randn(2, 5)).shape == (2, 3, 8, 12)


@pytest.mark.parametrize("make", [make_dcgan_features, make_residual_features, make_mlp_features])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_discriminators_give_one_score_per_sample(make: Any, num_classes: int | None) -> None:
    shape = (3, 8, 12)
    network = Discriminator(make(shape, (4, 6), "none"), shape, num_classes)
    assert network(torch.rand(2, *shape), torch.tensor([0, 2])).shape == (2,)


def test_an_mlp_discriminator_without_hidden_layers_is_linear() -> None:
    network = Discriminator(make_mlp_features((2, 3), (), "none"), (2, 3))
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(network(x), network.score(x.flatten(1))[:, 0])


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((1, 12, 8), (4, 4, 4), r"12×8 pixels cannot be halved evenly.* at most 2 widths, or net"),
        ((1, 7, 8), (4,), r"7×8 pixels cannot be halved evenly.*: choose network='mlp'"),
        ((1, 8, 8), (), "needs at least one width"),
        ((10,), (4,), r"needs images .* got \(10,\)"),
    ],
)
def test_unsuitable_shapes_are_refused(
    shape: tuple[int, ...], channels: tuple[int, ...], message: str
) -> None:
    for generator in (DCGANGenerator, ResidualGenerator):
        with pytest.raises(InputError, match=message):
            generator(shape, channels, 5)
    with pytest.raises(InputError, match=message):
        make_dcgan_features(shape, channels, "none")

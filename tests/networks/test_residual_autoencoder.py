"""Residual encoder and decoder."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import InputError
from zoo.networks import ResidualDecoder, ResidualEncoder
from zoo.networks.residual_autoencoder import PreActivationBlock


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 17, 30), (2, 5, 9)])
@pytest.mark.parametrize("blocks", [0, 2])
def test_the_decoder_restores_any_size(shape: tuple[int, int, int], blocks: int) -> None:
    code = ResidualEncoder(shape, (4, 6, 8), 5, blocks=blocks)(torch.randn(2, *shape))
    assert code.shape == (2, 5)
    assert ResidualDecoder(shape, (4, 6, 8), 5, blocks=blocks)(code).shape == (2, *shape)


def test_a_block_adds_to_its_input() -> None:
    block = PreActivationBlock(4)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(x) - x, block.change(x))


@pytest.mark.parametrize("network", [ResidualEncoder, ResidualDecoder])
def test_unsuitable_shapes_are_refused(network: type) -> None:
    with pytest.raises(InputError, match=r"needs images .* got \(10,\)"):
        network((10,), (4,), 2)
    with pytest.raises(InputError, match="do not fit images of 8×8"):
        network((1, 8, 8), (4,) * 6, 2)

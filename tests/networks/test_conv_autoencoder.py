"""Convolutional encoder and decoder."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import InputError
from zoo.networks import ConvDecoder, ConvEncoder


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 17, 30), (2, 5, 9)])
def test_the_decoder_restores_any_size(shape: tuple[int, int, int]) -> None:
    code = ConvEncoder(shape, (4, 6, 8), 5)(torch.randn(2, *shape))
    assert code.shape == (2, 5)
    assert ConvDecoder(shape, (4, 6, 8), 5)(code).shape == (2, *shape)


@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder])
def test_too_many_convolutions_are_refused(network: type) -> None:
    with pytest.raises(InputError, match="6 convolutions of stride 2 do not fit images of 8×8"):
        network((1, 8, 8), (4,) * 6, 2)


@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder])
def test_no_convolutions_are_refused(network: type) -> None:
    with pytest.raises(InputError, match="needs at least one width"):
        network((1, 8, 8), (), 2)


@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder])
def test_vectors_are_refused(network: type) -> None:
    with pytest.raises(InputError, match=r"needs images .* got \(10,\)"):
        network((10,), (4,), 2)

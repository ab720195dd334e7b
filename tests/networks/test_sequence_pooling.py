"""Pooling of token sequences: values, padding, rows without tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.networks.sequence_pooling import POOLINGS, SequencePooling


def sample() -> tuple[Tensor, Tensor]:
    """Return features of two rows, the first with two tokens and two positions of padding."""
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    return torch.randn(2, 4, 3, dtype=torch.float64), mask


def test_values_of_each_pooling() -> None:
    h, mask = sample()
    torch.testing.assert_close(SequencePooling("mean", 3)(h, mask)[0], h[0, :2].mean(0))
    torch.testing.assert_close(SequencePooling("max", 3)(h, mask)[0], h[0, :2].max(0).values)
    torch.testing.assert_close(SequencePooling("cls", 3)(h, mask), h[:, 0])
    pool = SequencePooling("attention", 3).double()
    assert pool.score is not None
    weights = (h[0, :2] @ pool.score.weight[0]).softmax(0)
    torch.testing.assert_close(pool(h, mask)[0], weights @ h[0, :2])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_may_contain_anything(pooling: str) -> None:
    h, mask = sample()
    garbage = h.clone()
    garbage[0, 2:] = torch.nan
    pool = SequencePooling(pooling, 3).double()
    torch.testing.assert_close(pool(garbage, mask), pool(h, mask))


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_a_row_without_tokens_is_zero(pooling: str) -> None:
    h, mask = sample()
    mask[0] = False
    pooled = SequencePooling(pooling, 3).double()(h, mask)
    assert not pooled[0].any()
    assert pooled[1].all()


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(InputError, match="unknown pooling 'sum'; choose from mean, max"):
        SequencePooling("sum", 3)

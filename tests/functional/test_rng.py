"""Random numbers of each sample's own."""

from __future__ import annotations

import pytest
import torch

from zoo.functional.rng import SampleRNG, splitmix64


def test_numbers_are_uniform_and_normal() -> None:
    streams = SampleRNG(torch.rand(2, 5))
    uniform = streams.uniform(100_000, dtype=torch.float64)
    assert 0 <= uniform.min() < 1e-3
    assert 1 - 1e-3 < uniform.max() < 1
    for row in uniform:
        counts = row.histc(20, 0, 1)
        assert ((counts - 5_000).square() / 5_000).sum() < 45  # χ² of 19 degrees, p = 0.0007
    normal = streams.normal(100_000, dtype=torch.float64)
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert normal.pow(power).mean(1).sub(moment).abs().max() < 0.1
    signs = streams.signs(100_000)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert signs.mean(1).abs().max() < 0.02


def test_draws_and_samples_and_seeds_are_independent() -> None:
    x = torch.rand(3, 4)
    streams = SampleRNG(x)
    rows = [*streams.uniform(20_000), *streams.uniform(20_000), *SampleRNG(x, 1).uniform(20_000)]
    correlation = torch.corrcoef(torch.stack(rows)).fill_diagonal_(0)
    assert correlation.abs().max() < 0.04
    shifted = torch.corrcoef(torch.stack([rows[0][1:], rows[0][:-1]]))[0, 1]
    assert shifted.abs() < 0.04


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_place_in_a_batch_has_no_part(dtype: torch.dtype) -> None:
    x = torch.rand(6, 2, 3).to(dtype)
    streams, first = SampleRNG(x, 7), torch.tensor([4, 1])
    alone = SampleRNG(x[first], 7)
    streams.uniform(3)
    alone.uniform(3)
    assert torch.equal(streams.rows(first).normal(5), alone.normal(5))
    assert torch.equal(SampleRNG(x, 7).uniform(3), SampleRNG(x, 7).uniform(3))
    assert not torch.equal(SampleRNG(x, 7).uniform(3), SampleRNG(x, 8).uniform(3))
    same = torch.zeros(2, 3)
    same[1] = -0.0
    assert torch.equal(*SampleRNG(same).uniform(4))


def test_splitmix_by_hand() -> None:
    """The first outputs of SplitMix64 from seed 0, as published with the algorithm."""
    golden = -7046029254386353131
    states = torch.tensor([1, 2, 3]) * golden
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [value % 2**64 for value in splitmix64(states).tolist()] == expected

"""Random numbers with an independent stream per sample."""

from __future__ import annotations

import pytest
import torch

from zoo.functional.rng import SampleRNG, TorchRNG, splitmix64


def test_distributions() -> None:
    rng = SampleRNG(torch.rand(2, 5))
    uniform = rng.uniform(100_000, dtype=torch.float64)
    assert 0 <= uniform.min() < 1e-3
    assert 1 - 1e-3 < uniform.max() < 1
    for row in uniform:
        counts = row.histc(20, 0, 1)
        # χ² with 19 degrees of freedom exceeds 45 with p = 0.0007
        assert ((counts - 5_000).square() / 5_000).sum() < 45
    normal = rng.normal(100_000, dtype=torch.float64)
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert normal.pow(power).mean(1).sub(moment).abs().max() < 0.1
    signs = rng.signs(100_000)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert signs.mean(1).abs().max() < 0.02


def test_calls_samples_and_seeds_are_independent() -> None:
    x = torch.rand(3, 4)
    rng = SampleRNG(x)
    rows = [*rng.uniform(20_000), *rng.uniform(20_000), *SampleRNG(x, 1).uniform(20_000)]
    correlation = torch.corrcoef(torch.stack(rows)).fill_diagonal_(0)
    assert correlation.abs().max() < 0.04
    autocorrelation = torch.corrcoef(torch.stack([rows[0][1:], rows[0][:-1]]))[0, 1]
    assert autocorrelation.abs() < 0.04


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_streams_do_not_depend_on_the_index_in_the_batch(dtype: torch.dtype) -> None:
    x = torch.rand(6, 2, 3).to(dtype)
    rng, chosen = SampleRNG(x, 7), torch.tensor([4, 1])
    other = SampleRNG(x[chosen], 7)
    rng.uniform(3)
    other.uniform(3)
    assert torch.equal(rng.select(chosen).normal(5), other.normal(5))
    assert torch.equal(SampleRNG(x, 7).uniform(3), SampleRNG(x, 7).uniform(3))
    assert not torch.equal(SampleRNG(x, 7).uniform(3), SampleRNG(x, 8).uniform(3))
    zeros = torch.zeros(2, 3)
    zeros[1] = -0.0
    assert torch.equal(*SampleRNG(zeros).uniform(4))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.bfloat16])
def test_samples_of_every_type_have_streams(dtype: torch.dtype) -> None:
    x = torch.tensor([[0, 1], [1, 0], [1, 1], [0, 1]]).to(dtype)
    first, second, third, same = SampleRNG(x).uniform(4)
    assert torch.equal(first, same)
    assert len(torch.stack([first, second, third]).unique()) == 12
    assert torch.equal(SampleRNG(x[:, 0]).keys, SampleRNG(x[:, :1]).keys)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_in_the_shape_of_a_tensor(dtype: torch.dtype) -> None:
    """Each sample has its own numbers at any batch dimension, finite in any precision."""
    samples, like = torch.rand(4, 3), torch.empty(500, 4, 50, dtype=dtype)
    normal = SampleRNG(samples).normal_like(like, batch_dim=1)
    assert (normal.dtype, normal.shape) == (dtype, like.shape)
    assert normal.isfinite().all()
    assert torch.equal(normal[:, 2:3], SampleRNG(samples[2:3]).normal_like(like[:, 2:3], 1))
    assert normal.double().mean() == pytest.approx(0, abs=0.02)
    assert normal.double().std() == pytest.approx(1, abs=0.02)
    p = torch.tensor([0.0, 0.2, 0.7, 1.0]).to(dtype)[:, None].expand(4, 20_000)
    for rng in (SampleRNG(samples), TorchRNG()):
        chosen = rng.bernoulli(p)
        assert chosen.dtype == dtype
        assert chosen.double().mean(1).tolist() == pytest.approx([0, 0.2, 0.7, 1], abs=0.015)
        uniform = rng.uniform_like(p)
        assert 0 <= uniform.min() < 0.01
        assert 0.99 < uniform.max() <= 1


def test_another_number_of_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"4 samples with a random stream, but dimension 0 of"):
        SampleRNG(torch.rand(4, 3)).normal_like(torch.empty(5, 2))


def test_splitmix64_matches_the_published_outputs() -> None:
    """The first outputs of SplitMix64 from seed 0, as published with the algorithm."""
    golden = -7046029254386353131
    states = torch.tensor([1, 2, 3]) * golden
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [value % 2**64 for value in splitmix64(states).tolist()] == expected


def test_numbers_of_a_known_key() -> None:
    """Against the definition in Python's integers: SplitMix64 of a key, a call and a position."""
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    x = torch.tensor([[0.5, -2.0]], dtype=torch.float64)
    bits = [value & mask for value in x.view(torch.int64)[0].tolist()]
    content = sum(mix(b + golden * (i + 1) & mask) for i, b in enumerate(bits)) & mask
    first = 0xBF58476D1CE4E5B9
    key = mix(content + mix(7 * golden + first & mask) & mask)
    rng = SampleRNG(x, 7)
    for call in (1, 2):
        of_call = mix(key + call * golden & mask)
        expected = [mix(of_call + i * golden & mask) & (2**63 - 1) for i in range(40)]
        assert rng.integers(40)[0].tolist() == expected
    numbers = torch.tensor(expected)
    twin = SampleRNG(x, 7)
    twin.integers(1)
    uniform = twin.uniform(40, dtype=torch.float64)[0]
    assert uniform.tolist() == [(n >> 10) / 2**53 for n in expected]
    twin = SampleRNG(x, 7)
    twin.integers(1)
    assert twin.uniform(40)[0].tolist() == [(n >> 39) / 2**24 for n in expected]
    twin = SampleRNG(x, 7)
    twin.integers(1)
    assert twin.signs(40)[0].tolist() == (2 * (numbers & 1) - 1).tolist()
    # Box–Muller of two calls
    twin, other = SampleRNG(x, 7), SampleRNG(x, 7)
    u, v = (other.uniform(4, dtype=torch.float64) for _ in range(2))
    expected_normal = (-2 * (1 - u).log()).sqrt() * (2 * torch.pi * v).cos()
    torch.testing.assert_close(twin.normal(4, dtype=torch.float64), expected_normal)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_never_one_and_keeps_probabilities(dtype: torch.dtype) -> None:
    """A pixel of value 1 stays 1, and uniform numbers stay below 1, in every precision."""
    rng = SampleRNG(torch.arange(4.0))
    assert bool((rng.bernoulli(torch.ones(4, 100_000, dtype=dtype)) == 1).all())
    uniform = rng.uniform_like(torch.empty(4, 100_000, dtype=dtype))
    assert uniform.dtype == dtype
    assert float(uniform.max()) < 1
    wide, narrow = (
        SampleRNG(torch.arange(4.0)).bernoulli(torch.full((4, 50), 0.5, dtype=kind)).float()
        for kind in (torch.float32, dtype)
    )
    assert torch.equal(wide, narrow)


@pytest.mark.parametrize("shape", [(0, 3), (0,), (3, 0)])
def test_batches_without_values(shape: tuple[int, ...]) -> None:
    assert SampleRNG(torch.empty(shape)).normal(2).shape == (shape[0], 2)

"""Loaders: reproducible order, splitting among processes, resuming mid-epoch, workers."""

from itertools import chain, islice

import pytest
import torch

from datamodules import DistributedBatchSampler, TensorLoader
from zoo.errors import DataError, InputError


def make_loader(num_samples: int = 23, batch_size: int = 4, **sampler: int) -> TensorLoader:
    values = torch.arange(num_samples)
    return TensorLoader(
        [values, values * 10], DistributedBatchSampler(num_samples, batch_size, True, **sampler)
    )


def epoch(loader: TensorLoader) -> list[list[int]]:
    """Return the first tensor's values in the batches of one epoch."""
    return [batch[0].tolist() for batch in loader]


def test_an_epoch_is_every_sample_once_in_a_new_order() -> None:
    loader = make_loader()
    first, second = epoch(loader), epoch(loader)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(23))
    assert first != second
    assert [len(batch) for batch in first] == [4, 4, 4, 4, 4, 3]
    assert len(loader) == 6


@pytest.mark.parametrize("on_device", [True, False])
def test_a_pass_that_was_cut_short_is_not_continued(on_device: bool) -> None:
    """``limit_train_batches`` and the sanity check before training cut a pass short."""
    for shuffle in (True, False):
        sampler = DistributedBatchSampler(23, 4, shuffle)
        loader = TensorLoader([torch.arange(23)], sampler, on_device=on_device, num_workers=0)
        next(iter(loader))
        loader.sampler.set_epoch(1 if shuffle else 0)
        assert sum(len(x) for (x,) in loader) == 23


def test_tensors_stay_aligned() -> None:
    for x, y in make_loader():
        assert torch.equal(y, 10 * x)


def test_the_order_is_the_same_on_every_machine() -> None:
    # torch specifies its CPU generator, so these numbers must never change
    assert epoch(make_loader(8, 4)) == [[2, 4, 3, 5], [1, 0, 6, 7]]


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    assert epoch(make_loader()) == epoch(make_loader())
    assert epoch(make_loader()) != epoch(make_loader(seed=1))
    later = make_loader()
    later.sampler.set_epoch(1)
    both = make_loader()
    epoch(both)
    assert epoch(later) == epoch(both)


def test_drop_last_leaves_out_the_partial_batch() -> None:
    loader = TensorLoader([torch.arange(23)], DistributedBatchSampler(23, 4, True, drop_last=True))
    assert [len(x) for (x,) in loader] == [4] * 5
    assert len(loader) == 5


@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_resuming_mid_epoch_starts_with_the_next_batch(stop: int, on_device: bool) -> None:
    def make() -> TensorLoader:
        sampler = DistributedBatchSampler(23, 4, True)
        return TensorLoader([torch.arange(23)], sampler, on_device=on_device, num_workers=0)

    whole = make()
    expected = epoch(whole) + epoch(whole)
    interrupted = make()
    before = [x.tolist() for (x,) in islice(iter(interrupted), stop)]
    state = interrupted.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    assert before + epoch(resumed) + epoch(resumed) == expected


def test_augmentation_depends_only_on_seed_epoch_and_batch() -> None:
    def noisy(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> tuple:
        return (torch.rand(len(batch[0]), generator=generator),)

    def make() -> TensorLoader:
        return TensorLoader([torch.arange(8)], DistributedBatchSampler(8, 4, True), prepare=noisy)

    whole = make()
    first = [x for (x,) in whole]
    second = [x for (x,) in whole]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])
    resumed = make()
    resumed.load_state_dict({"epoch": 1, "next": 1})
    (last,) = [x for (x,) in resumed]
    assert torch.equal(last, second[1])


@pytest.mark.parametrize(("num_samples", "world"), [(23, 2), (24, 2), (25, 3), (41, 4), (9, 4)])
def test_training_shards_are_equally_large_and_disjoint(num_samples: int, world: int) -> None:
    shards = [make_loader(num_samples, 4, rank=r, world_size=world) for r in range(world)]
    batches = [epoch(shard) for shard in shards]
    sizes = [[len(batch) for batch in shard] for shard in batches]
    assert all(size == sizes[0] for size in sizes)
    seen = list(chain(*chain(*batches)))
    assert len(seen) == len(set(seen))
    assert len(seen) > num_samples - world
    assert all(len(shard) == len(sizes[0]) for shard in shards)


def test_a_global_batch_has_the_same_samples_as_on_one_process() -> None:
    one = epoch(make_loader(64, 8))
    two = [epoch(make_loader(64, 4, rank=r, world_size=2)) for r in range(2)]
    for whole, left, right in zip(one, *two, strict=True):
        assert sorted(whole) == sorted(left + right)


@pytest.mark.parametrize(("num_samples", "world"), [(23, 2), (17, 4), (16, 4), (5, 4), (33, 4)])
@pytest.mark.parametrize("batch_size", [4, 1])
def test_evaluation_counts_every_sample_exactly_once(
    num_samples: int, world: int, batch_size: int
) -> None:
    values = torch.arange(num_samples)
    shards = []
    for rank in range(world):
        sampler = DistributedBatchSampler(
            num_samples, batch_size, shuffle=False, rank=rank, world_size=world
        )
        shards.append(epoch(TensorLoader([values], sampler)))
    assert sorted(chain(*chain(*shards))) == list(range(num_samples))
    assert len({len(shard) for shard in shards}) == 1
    largest = 4 if batch_size == 4 else 2  # with batches of 1, some have the odd sample too
    assert all(0 < len(batch) <= largest for shard in shards for batch in shard)


def test_workers_return_the_same_batches_as_slicing() -> None:
    def prepare(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> tuple:
        return (batch[0].float() + torch.rand(len(batch[0]), generator=generator),)

    def make(on_device: bool) -> TensorLoader:
        sampler = DistributedBatchSampler(50, 8, True)
        return TensorLoader([torch.arange(50)], sampler, prepare=prepare, on_device=on_device)

    sliced, streamed = make(True), make(False)
    for _ in range(2):
        for (a,), (b,) in zip(sliced, streamed, strict=True):
            assert torch.equal(a, b)


def test_loading_does_not_change_the_global_random_state() -> None:
    before = torch.get_rng_state()
    for on_device in (True, False):
        sampler = DistributedBatchSampler(50, 8, True)
        list(TensorLoader([torch.arange(50)], sampler, on_device=on_device, num_workers=0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("num_samples", "options", "error", "message"),
    [
        (3, {"drop_last": True}, DataError, "3 samples do not fill a batch of 4 on each of 1 proc"),
        (3, {"world_size": 4}, DataError, "3 samples cannot be split among 4 processes"),
        (0, {}, DataError, "the split has no samples"),
        (3, {"batch_size": 0}, InputError, "batch_size must be at least 1, got 0"),
    ],
)
def test_impossible_batches_are_refused(
    num_samples: int, options: dict[str, int], error: type[Exception], message: str
) -> None:
    settings = {"num_samples": num_samples, "batch_size": 4, "shuffle": True} | options
    with pytest.raises(error, match=message):
        DistributedBatchSampler(**settings)


def test_tensors_of_different_sizes_are_refused() -> None:
    sampler = DistributedBatchSampler(4, 2, True)
    with pytest.raises(ValueError, match=r"must have equally many samples, got \[3, 4\]"):
        TensorLoader([torch.zeros(4), torch.zeros(3)], sampler)
    with pytest.raises(ValueError, match="the sampler is for 4 samples, got 3"):
        TensorLoader([torch.zeros(3)], sampler)


@pytest.mark.parametrize("on_device", [True, False])
def test_a_loader_may_serve_a_subset_of_the_rows(on_device: bool) -> None:
    values, indices = torch.arange(100) * 10, torch.tensor([5, 7, 50, 51, 99])
    sampler = DistributedBatchSampler(5, 2, True)
    loader = TensorLoader([values], sampler, indices=indices, on_device=on_device, num_workers=0)
    assert sorted(chain(*epoch(loader))) == [50, 70, 500, 510, 990]
    # tensors that are not moved to the device are not copied
    assert (loader.tensors[0].data_ptr() == values.data_ptr()) is not on_device

from itertools import chain, islice

import pytest
import torch

from datamodules import BatchPlan, TensorLoader
from zoo.errors import DataError


def loader(samples: int = 23, batch_size: int = 4, **plan: int) -> TensorLoader:
    values = torch.arange(samples)
    return TensorLoader([values, values * 10], BatchPlan(samples, batch_size, True, **plan))


def epoch(source: TensorLoader) -> list[list[int]]:
    return [x.tolist() for x, _ in source]


def test_an_epoch_is_every_sample_once_in_a_new_order() -> None:
    source = loader()
    first, second = epoch(source), epoch(source)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(23))
    assert first != second
    assert [len(batch) for batch in first] == [4, 4, 4, 4, 4, 3]
    assert len(source) == 6


@pytest.mark.parametrize("resident", [True, False])
def test_a_pass_that_was_cut_short_is_not_taken_up_again(resident: bool) -> None:
    """As limit_train_batches and a sanity check before training cut them."""
    for shuffle in (True, False):
        plan = BatchPlan(23, 4, shuffle)
        source = TensorLoader([torch.arange(23)], plan, resident=resident, num_workers=0)
        next(iter(source))
        source.sampler.set_epoch(1 if shuffle else 0)
        assert sum(len(x) for (x,) in source) == 23


def test_tensors_stay_aligned() -> None:
    for x, y in loader():
        assert torch.equal(y, 10 * x)


def test_the_order_is_the_same_on_every_machine() -> None:
    # torch's CPU generator is specified: these numbers must never change
    assert epoch(loader(8, 4)) == [[2, 4, 3, 5], [1, 0, 6, 7]]


def test_the_seed_and_the_epoch_decide_the_order() -> None:
    assert epoch(loader()) == epoch(loader())
    assert epoch(loader()) != epoch(loader(seed=1))
    later = loader()
    later.sampler.set_epoch(1)
    both = loader()
    epoch(both)
    assert epoch(later) == epoch(both)


def test_drop_last_leaves_out_the_partial_batch() -> None:
    source = TensorLoader([torch.arange(23)], BatchPlan(23, 4, True, drop_last=True))
    assert [len(x) for (x,) in source] == [4] * 5
    assert len(source) == 5


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_resumes_in_mid_epoch_with_the_very_next_batch(stop: int, resident: bool) -> None:
    def make() -> TensorLoader:
        return TensorLoader(
            [torch.arange(23)], BatchPlan(23, 4, True), resident=resident, num_workers=0
        )

    whole = make()
    expected = epoch_of_one(whole) + epoch_of_one(whole)
    broken = make()
    before = [x.tolist() for (x,) in islice(iter(broken), stop)]
    state = broken.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    assert before + epoch_of_one(resumed) + epoch_of_one(resumed) == expected


def epoch_of_one(source: TensorLoader) -> list[list[int]]:
    return [x.tolist() for (x,) in source]


def test_augmentation_depends_on_seed_epoch_and_batch_only() -> None:
    def noisy(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> tuple:
        return (torch.rand(len(batch[0]), generator=generator),)

    def make() -> TensorLoader:
        return TensorLoader([torch.arange(8)], BatchPlan(8, 4, True), prepare=noisy)

    whole = make()
    first = [x for (x,) in whole]
    second = [x for (x,) in whole]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])
    resumed = make()
    resumed.load_state_dict({"epoch": 1, "next": 1})
    (last,) = [x for (x,) in resumed]
    assert torch.equal(last, second[1])


@pytest.mark.parametrize(("samples", "world"), [(23, 2), (24, 2), (25, 3), (41, 4), (9, 4)])
def test_training_shards_are_equal_and_disjoint(samples: int, world: int) -> None:
    shards = [loader(samples, 4, rank=r, world_size=world) for r in range(world)]
    batches = [epoch(shard) for shard in shards]
    sizes = [[len(batch) for batch in shard] for shard in batches]
    assert all(size == sizes[0] for size in sizes)
    seen = list(chain(*chain(*batches)))
    assert len(seen) == len(set(seen))
    assert len(seen) > samples - world
    assert all(len(shard) == len(sizes[0]) for shard in shards)


def test_a_global_batch_is_the_same_samples_as_on_one_process() -> None:
    one = epoch(loader(64, 8))
    two = [epoch(loader(64, 4, rank=r, world_size=2)) for r in range(2)]
    for whole, left, right in zip(one, *two, strict=True):
        assert sorted(whole) == sorted(left + right)


@pytest.mark.parametrize(("samples", "world"), [(23, 2), (17, 4), (16, 4), (5, 4), (33, 4)])
def test_evaluation_counts_every_sample_exactly_once(samples: int, world: int) -> None:
    values = torch.arange(samples)
    shards = []
    for rank in range(world):
        plan = BatchPlan(samples, 4, shuffle=False, rank=rank, world_size=world)
        shards.append([x.tolist() for (x,) in TensorLoader([values], plan)])
    assert sorted(chain(*chain(*shards))) == list(range(samples))
    assert len({len(shard) for shard in shards}) == 1
    assert all(0 < len(batch) <= 4 for shard in shards for batch in shard)


def test_workers_give_the_same_batches_as_slicing() -> None:
    def prepare(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> tuple:
        return (batch[0].float() + torch.rand(len(batch[0]), generator=generator),)

    def make(resident: bool) -> TensorLoader:
        plan = BatchPlan(50, 8, True)
        return TensorLoader([torch.arange(50)], plan, prepare=prepare, resident=resident)

    sliced, streamed = make(True), make(False)
    for _ in range(2):
        for (a,), (b,) in zip(sliced, streamed, strict=True):
            assert torch.equal(a, b)


def test_fetching_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    for resident in (True, False):
        source = TensorLoader(
            [torch.arange(50)], BatchPlan(50, 8, True), resident=resident, num_workers=0
        )
        list(source)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (3, {"drop_last": True}, "3 samples make no full batch of 4"),
        (3, {"world_size": 4}, "3 samples cannot be shared out to 4 processes"),
        (3, {"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_impossible_plans_say_why(samples: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        BatchPlan(**({"samples": samples, "batch_size": 4, "shuffle": True} | options))


def test_unequal_tensors_are_refused() -> None:
    with pytest.raises(DataError, match=r"tensors of \[3, 4\] samples do not belong together"):
        TensorLoader([torch.zeros(4), torch.zeros(3)], BatchPlan(4, 2, True))
    with pytest.raises(DataError, match="3 samples, but a plan for 4"):
        TensorLoader([torch.zeros(3)], BatchPlan(4, 2, True))


@pytest.mark.parametrize("resident", [True, False])
def test_a_loader_may_serve_some_rows_only(resident: bool) -> None:
    values, rows = torch.arange(100) * 10, torch.tensor([5, 7, 50, 51, 99])
    plan = BatchPlan(5, 2, True)
    source = TensorLoader([values], plan, rows=rows, resident=resident, num_workers=0)
    assert sorted(chain(*epoch_of_one(source))) == [50, 70, 500, 510, 990]
    # what is not resident is not copied
    assert (source.tensors[0].data_ptr() == values.data_ptr()) is not resident

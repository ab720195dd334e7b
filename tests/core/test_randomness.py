"""Random numbers that models draw in training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import zoo
from datamodules import Digits
from zoo.core.randomness import EVALUATION_SEED
from zoo.core.task import Task
from zoo.functional.rng import SampleRNG, TorchRNG

RANDOM = ("vae", "iwae", "vamp_prior_vae", "denoising_autoencoder", "gan", "conditional_gan")


@pytest.mark.parametrize("name", [*RANDOM, "mc_dropout"])
def test_metrics_do_not_depend_on_the_batches(name: str, trainer: Callable[..., L.Trainer]) -> None:
    """Evaluation in batches of 7, of 512 and in reverse order gives the same metrics."""
    model, data = zoo.create_model(name), Digits()
    x, y = data.split("test")
    values = []
    forward = torch.arange(len(x))
    for rows, size in ((forward, 512), (forward, 7), (forward.flip(0), 50)):
        loader = DataLoader(TensorDataset(x[rows].float() / 16, y[rows]), size)
        (metrics,) = trainer().test(model, loader, verbose=False)
        values.append({k: v for k, v in metrics.items() if not k.startswith("test/accuracy_")})
    assert len(values[0]) >= 2
    for other in values[1:]:
        assert other == pytest.approx(values[0], rel=1e-4)


class _Drawing(Task):
    """Keeps what its ``rng`` draws."""

    def build(self) -> None:
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.drawn: list[Tensor] = []

    def step(self, batch: Any) -> dict[str, Tensor]:
        self.drawn.append(self.rng.normal_like(batch[0]))
        return {"loss": self.weight.square()}


def test_training_draws_from_the_global_generator(trainer: Callable[..., L.Trainer]) -> None:
    x = torch.rand(4, 3)
    model = _Drawing()
    assert isinstance(model.rng, TorchRNG)
    torch.manual_seed(1)
    trainer(max_epochs=1, limit_val_batches=0).fit(model, DataLoader(TensorDataset(x), 2))
    first, second = model.drawn
    torch.manual_seed(1)
    torch.empty((), dtype=torch.int64).random_()  # the DataLoader draws the seed of its workers
    assert torch.equal(first, torch.randn(2, 3))
    assert not torch.equal(first, second)


def test_evaluation_draws_one_stream_per_sample(trainer: Callable[..., L.Trainer]) -> None:
    x = torch.rand(4, 3)
    model = _Drawing()
    for size in (4, 1):
        trainer().validate(model, DataLoader(TensorDataset(x), size), verbose=False)
    whole, *single = model.drawn
    assert torch.equal(whole, torch.cat(single))
    assert torch.equal(whole, SampleRNG(x, EVALUATION_SEED).normal_like(x))
    assert isinstance(model.rng, TorchRNG)


def test_a_seed_without_samples_seeds_a_generator() -> None:
    model, x = _Drawing(), torch.rand(4, 3)
    with model.seeded(5):
        first = model.rng.normal_like(x)
    assert torch.equal(first, torch.randn(4, 3, generator=torch.Generator().manual_seed(5)))
    with model.seeded(5, x):
        outer = model.rng
        with model.seeded(6):
            assert model.rng is not outer
        assert model.rng is outer

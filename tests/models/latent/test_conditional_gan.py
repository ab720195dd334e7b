"""Conditional GANs: the projection discriminator, codes with classes, and samples of a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch

from tests.test_models import Repeat
from zoo import ConditionalGAN

SMALL: dict[str, Any] = {"latent_dim": 8, "hidden_dims": (16,), "lr": 0.01}


def test_the_projection_adds_the_product_of_class_embedding_and_features() -> None:
    model = ConditionalGAN((1, 8, 8), 10, **SMALL)
    x, y = torch.rand(32, 1, 8, 8), torch.arange(32) % 10
    h = model.discriminator.features(2 * x - 1)
    v = model.discriminator.classes.weight[y]
    expected = model.discriminator.score(h)[:, 0] + (v * h).sum(1)
    torch.testing.assert_close(model.discriminate(x, y), expected)


def test_codes_contain_the_class() -> None:
    model = ConditionalGAN((1, 8, 8), 10, **SMALL)
    z = model.sample_latent(4, y=torch.tensor([3, 3, 1, 0]))
    assert z.shape == (4, 8 + 10)
    assert z[:, 8:].argmax(1).tolist() == [3, 3, 1, 0]
    assert model.sample(25).shape == (25, 1, 8, 8)


def test_a_conditional_gan_learns_its_classes(trainer: Callable[..., L.Trainer]) -> None:
    """The data are two clusters, one for each class; samples of a class must be on its side."""
    torch.manual_seed(0)
    y = torch.arange(64) % 2
    x = torch.where(y[:, None] == 0, -2.0, 2.0) + 0.1 * torch.randn(64, 2)
    model = ConditionalGAN((2,), 2, 4, hidden_dims=(32,), lr=5e-3, penalty="r1", penalty_weight=0.1)
    trainer(max_epochs=1).fit(model, Repeat((x, y), 400))
    y_new = torch.arange(100) % 2
    samples = model.decode(model.sample_latent(100, y=y_new)).detach()
    assert ((samples.mean(1) > 0).long() == y_new).float().mean() > 0.95

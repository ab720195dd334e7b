"""Augmentation: each transformation stays within its limits and is reproducible."""

import pytest
import torch

from datamodules.augment import (
    Augmentation,
    random_crop,
    random_cutout,
    random_flip,
    random_rotation_and_zoom,
)
from zoo.errors import InputError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flip_mirrors_about_half_of_the_images() -> None:
    x = torch.rand(400, 1, 4, 5)
    y = random_flip(x, generator())
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    same = (y == x).flatten(1).all(1)
    assert (mirrored | same).all()
    assert 150 < mirrored.sum() < 250


def test_crop_shifts_by_whole_pixels_in_every_direction() -> None:
    x = torch.zeros(2000, 2, 7, 9)
    x[:, :, 3, 4] = 1
    y = random_crop(x, 2, generator())
    assert y.shape == x.shape
    assert (y.sum((2, 3)) == 1).all()
    positions = {tuple(p) for p in y[:, 0].nonzero()[:, 1:].tolist()}
    assert positions == {(r, c) for r in range(1, 6) for c in range(2, 7)}
    assert torch.equal(y[:, 0], y[:, 1])


def test_rotation_keeps_distances_and_its_largest_angle_for_any_aspect_ratio() -> None:
    height, width = 41, 61
    x = torch.zeros(200, 1, height, width)
    x[:, :, 20, 50] = 1  # 20 pixels right of the center
    x = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    y = random_rotation_and_zoom(x, 30, 0, generator())
    mass = y / y.sum((2, 3), keepdim=True)
    rows = (mass.sum(3) * torch.arange(height)).sum(2) - 20
    columns = (mass.sum(2) * torch.arange(width)).sum(2) - 30
    torch.testing.assert_close(rows.hypot(columns), torch.full((200, 1), 20.0), atol=0.3, rtol=0)
    angles = torch.rad2deg(torch.atan2(rows, columns))
    assert angles.abs().max() <= 31
    assert angles.min() < -20
    assert angles.max() > 20


def test_zoom_changes_only_the_size() -> None:
    x = torch.zeros(300, 1, 41, 41)
    x[:, :, 10:31, 10:31] = 1
    areas = random_rotation_and_zoom(x, 0, 0.2, generator()).sum((1, 2, 3)) / 21**2
    assert 0.8**2 - 0.03 <= areas.min() < 0.75
    assert 1.35 < areas.max() <= 1.2**2 + 0.03


def test_zero_amounts_are_the_identity() -> None:
    x = torch.rand(3, 3, 8, 8)
    unchanged = random_rotation_and_zoom(x, 0, 0, generator())
    torch.testing.assert_close(unchanged, x, atol=1e-6, rtol=0)
    assert torch.equal(random_crop(x, 0, generator()), x)
    assert torch.equal(Augmentation()(x, generator()), x)


def test_cutout_sets_one_square_to_zero() -> None:
    y = random_cutout(torch.ones(500, 3, 12, 12), 4, generator())
    holes = (y == 0).sum((2, 3))
    assert holes.max() == 16
    assert holes.min() >= 4  # at a corner, half of each side is outside the image
    assert (holes == holes[:, :1]).all()


def test_noise_keeps_pixels_in_range() -> None:
    y = Augmentation(noise=0.5)(torch.full((50, 1, 8, 8), 0.9), generator())
    assert y.min() >= 0
    assert y.max() == 1


def test_the_generator_determines_the_augmentation() -> None:
    augment = Augmentation(flip=True, crop=1, rotation=10, zoom=0.1, cutout=2, noise=0.1)
    x = torch.rand(16, 1, 8, 8)
    assert torch.equal(augment(x, generator(3)), augment(x, generator(3)))
    assert not torch.equal(augment(x, generator(3)), augment(x, generator(4)))


def test_amounts_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"augment\.rotation must not be negative, got -5"):
        Augmentation(rotation=-5)
    with pytest.raises(InputError, match=r"augment\.zoom must be below 1"):
        Augmentation(zoom=1.5)

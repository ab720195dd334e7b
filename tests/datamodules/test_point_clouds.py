"""Generated point clouds: uniform over surfaces, labeled by part, with reproducible rotations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules import PointAugmentation, Shapes
from datamodules.shapes import (
    PARTS,
    SHAPES,
    Primitive,
    UniformRNG,
    box,
    frustum,
    half_torus,
    sample_points,
    sphere,
)
from zoo.errors import InputError

MANY = 40_000


def rng() -> UniformRNG:
    return UniformRNG(torch.Generator().manual_seed(0))


def fraction(condition: Tensor) -> float:
    """Return the fraction of true values."""
    return float(condition.float().mean())


def test_sphere_is_sampled_uniformly() -> None:
    points = sphere(0, 2.0, (0.0, 0.0, 0.0)).sample(MANY, rng())
    torch.testing.assert_close(points.norm(dim=1), torch.full((MANY,), 2.0))
    for axis in range(3):  # Archimedes: slices of equal height have equal areas
        assert fraction(points[:, axis] > 1) == pytest.approx(0.25, abs=0.01)


def test_box_is_sampled_uniformly() -> None:
    primitive = box(0, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0))
    points = primitive.sample(MANY, rng())
    assert primitive.area == 22.0
    on = [(points[:, i].abs() - s / 2).abs() < 1e-6 for i, s in enumerate((1, 2, 3))]
    assert bool((on[0] | on[1] | on[2]).all())
    for side, area in zip(on, (12, 6, 4), strict=True):
        assert fraction(side) == pytest.approx(area / 22, abs=0.01)
    assert fraction(points[on[0]][:, 2] > 0.75) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("bottom", "top"), [(1.0, 1.0), (1.0, 0.4), (0.3, 1.0)])
def test_frustum_is_sampled_uniformly(bottom: float, top: float) -> None:
    height = 2.0
    primitive = frustum(0, bottom, top, height, (0.0, 0.0, 0.0))
    points = primitive.sample(MANY, rng())
    z, radius = points[:, 2], points[:, :2].norm(dim=1)
    inside = (z > 1e-6) & (z < height - 1e-6)
    torch.testing.assert_close(
        radius[inside], bottom + (top - bottom) * z[inside] / height, atol=1e-4, rtol=0
    )
    slant = math.hypot(height, bottom - top)
    lateral = math.pi * (bottom + top) * slant
    assert primitive.area == pytest.approx(lateral + math.pi * (bottom**2 + top**2))
    assert fraction(inside) == pytest.approx(lateral / primitive.area, abs=0.01)
    middle = (bottom + top) / 2
    lower = math.pi * (bottom + middle) * slant / 2
    assert fraction(z[inside] < height / 2) == pytest.approx(lower / lateral, abs=0.01)
    disk = radius[z <= 1e-6]
    assert fraction(disk < bottom / 2) == pytest.approx(0.25, abs=0.02)


def test_half_torus_is_sampled_uniformly() -> None:
    major, minor = 1.0, 0.5
    points = half_torus(0, major, minor, (0.0, 0.0, 0.0)).sample(MANY, rng())
    assert float(points[:, 0].min()) >= 0
    distance = (points[:, 0] ** 2 + points[:, 2] ** 2).sqrt()
    tube = ((distance - major) ** 2 + points[:, 1] ** 2).sqrt()
    torch.testing.assert_close(tube, torch.full((MANY,), minor), atol=1e-4, rtol=0)
    # ∫ (R + r cos t) dt is π R + 2 r over the outer half and 2 π R over the whole tube
    outer = (math.pi * major + 2 * minor) / (2 * math.pi * major)
    assert fraction(distance > major) == pytest.approx(outer, abs=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_points_of_parts_are_proportional_to_their_areas(name: str) -> None:
    primitives: list[Primitive] = SHAPES[name](rng())
    assert {primitive.part for primitive in primitives} == set(range(len(PARTS[name])))
    points, parts = sample_points(primitives, MANY, rng())
    assert points.shape == (MANY, 3)
    total = sum(primitive.area for primitive in primitives)
    for part in range(len(PARTS[name])):
        area = sum(primitive.area for primitive in primitives if primitive.part == part)
        assert fraction(parts == part) == pytest.approx(area / total, abs=0.01)


def test_clouds_are_scaled_to_the_unit_ball() -> None:
    data = Shapes(num_samples=60)
    x, y, _ = data.load(True)
    assert x.shape == (60, 1_024, 3)
    torch.testing.assert_close(x.mean(1), torch.zeros(60, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.norm(dim=-1).amax(1), torch.ones(60))
    assert y.bincount().tolist() == [10] * 6
    assert data.num_classes == 6
    assert data.class_names == list(SHAPES) == list(PARTS)
    again, other = Shapes(num_samples=60).load(True), Shapes(num_samples=60, seed=1).load(True)
    assert torch.equal(x, again[0])
    assert not torch.equal(x, other[0])
    assert not torch.equal(x[:20], data.load(False)[0])


def test_part_labels() -> None:
    data = Shapes(num_samples=60, task="parts", num_points=256)
    x, y = next(iter(data.train_dataloader()))
    assert y.shape == x.shape[:2] == (32, 256)
    assert data.class_names[:2] == ["table top", "table legs"]
    assert data.num_classes == len(data.class_names) == 15
    points, parts, _ = data.load(True)
    assert parts.unique().tolist() == list(range(15))
    tops = points[0][parts[0] == 0][:, 2].min()
    assert float(tops) > float(points[0][parts[0] == 1][:, 2].mean())  # a top is above its legs


def test_training_samples_and_rotations_change_between_epochs() -> None:
    data = Shapes(num_samples=60, val_size=0, rotate="any", num_points=100)
    loader = data.train_dataloader()
    first, second = (torch.cat([x for x, _ in loader]) for _ in range(2))
    assert not torch.equal(first.sort(0).values, second.sort(0).values)
    torch.testing.assert_close(first.norm(dim=-1).amax(1), torch.ones(60), atol=0.2, rtol=0)


def test_evaluation_is_reproducible() -> None:
    for rotate in ("none", "upright", "any"):
        data = Shapes(num_samples=60, rotate=rotate, num_points=100)
        first, second = ([x for x, _ in data.test_dataloader()] for _ in range(2))
        assert all(map(torch.equal, first, second))
        x = torch.cat(first)
        stored = data.load(False)[0][:, :100]
        torch.testing.assert_close(x.norm(dim=-1), stored.norm(dim=-1), atol=1e-5, rtol=0)
        keeps_height = torch.allclose(x[..., 2], stored[..., 2], atol=1e-5)
        assert keeps_height == (rotate != "any")
        assert torch.equal(x, stored) == (rotate == "none")


def test_training_may_use_another_kind_of_rotation() -> None:
    data = Shapes(
        num_samples=60, rotate="any", rotate_training="none", val_size=0, num_points=1_024
    )
    x, y = next(iter(data.train_dataloader()))
    tables = x[y == 0]
    assert bool((tables[..., 2].amax(1) < 0.6).all())  # upright: lower than wide
    assert data.load(True)[2][0].diagonal().sum() != 3


def test_augmentation_stays_within_its_limits() -> None:
    x = torch.randn(50, 30, 3)
    generator = torch.Generator().manual_seed(0)
    same = PointAugmentation(jitter=0.0, scale=1.0, shift=0.0)(x, generator)
    torch.testing.assert_close(same, x)
    moved = PointAugmentation(jitter=0.0, scale=1.0, shift=0.2)(x, generator) - x
    assert float(moved.abs().max()) <= 0.2
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved))
    factors = PointAugmentation(jitter=0.0, scale=1.5, shift=0.0)(x, generator) / x
    assert 1 / 1.5 <= float(factors.min()) <= float(factors.max()) <= 1.5001
    noise = PointAugmentation(jitter=0.1, scale=1.0, shift=0.0)(x, generator) - x
    assert float(noise.std()) == pytest.approx(0.1, rel=0.1)
    with pytest.raises(InputError, match=r"augment\.scale must be positive, got 0"):
        PointAugmentation(scale=0)
    with pytest.raises(InputError, match=r"augment\.jitter must not be negative, got -0\.1"):
        PointAugmentation(jitter=-0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "part"}, "unknown task 'part'"),
        ({"rotate": "all"}, "unknown rotate 'all'; choose from none, upright, any"),
        ({"rotate_training": "all"}, "unknown rotate_training 'all'"),
        ({"num_samples": 2}, "num_samples must be at least 3, got 2"),
        ({"num_points": 0}, "num_points must be at least 1"),
        ({"num_points": 2_000}, "stored_points must be at least num_points=2000, got 1024"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    make: Callable[..., Any] = Shapes
    with pytest.raises(InputError, match=message):
        make(**options)

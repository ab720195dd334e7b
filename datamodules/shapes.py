"""Point clouds of six kinds of generated shapes, composed of geometric primitives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datamodules.point_clouds import PointDataModule
from zoo.errors import check_at_least

Point = tuple[float, float, float]


class Shapes(PointDataModule):
    """Point clouds of tables, chairs, lamps, mugs, dumbbells and rockets of random proportions.

    Points are uniform over the surfaces of all parts, including surfaces inside other parts.

    Properties for models: ``num_classes``, ``num_points``; with ``voxel_resolution``
    ``input_shape``; for figures: ``class_names``, the names of the shapes or of their parts.

    Args:
        num_samples: training clouds, including validation, default 900; a third as many are for
            testing.
        **points: see :class:`~datamodules.point_clouds.PointDataModule`.

    Raises:
        InputError: ``num_samples`` below 3.
    """

    def __init__(self, num_samples: int = 900, **points: Any) -> None:
        super().__init__(**points)
        check_at_least(3, num_samples=num_samples)
        self.num_samples = num_samples
        self.class_names = list(SHAPES)
        if self.task == "parts":
            self.class_names = [f"{shape} {part}" for shape in SHAPES for part in PARTS[shape]]

    def point_clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        rng = UniformRNG(torch.Generator().manual_seed(2 * self.seed + train))
        names = list(SHAPES)
        points, labels = [], []
        for i in range(self.num_samples if train else self.num_samples // 3):
            label = i % len(names)
            primitives = SHAPES[names[label]](rng)
            cloud, parts = sample_points(primitives, self.stored_points, rng)
            points.append(cloud)
            first_part = sum(len(PARTS[name]) for name in names[:label])
            labels.append(first_part + parts if self.task == "parts" else torch.tensor(label))
        return torch.stack(points), torch.stack(labels)


class UniformRNG:
    """Random numbers from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, *shape: int) -> Tensor:
        """Sample a tensor from the uniform distribution on [0, 1)."""
        return torch.rand(shape, generator=self.generator)

    def between(self, low: float, high: float) -> float:
        """Sample one number from the uniform distribution on [low, high)."""
        return low + (high - low) * float(self.uniform())

    def choice(self, weights: Tensor, count: int) -> Tensor:
        """Sample ``count`` indices with replacement, with probabilities proportional to weights."""
        return torch.multinomial(weights, count, replacement=True, generator=self.generator)


@dataclass(frozen=True)
class Primitive:
    """A geometric primitive: a surface that belongs to a part of a shape.

    Args:
        part: index of the part within the shape.
        area: area of the surface.
        sample: ``(count, rng) → (count, 3)``: samples points uniformly over the surface, in local
            coordinates.
        position: position of the local origin.
    """

    part: int
    area: float
    sample: Callable[[int, UniformRNG], Tensor]
    position: Point = (0.0, 0.0, 0.0)


def sample_points(
    primitives: list[Primitive], count: int, rng: UniformRNG
) -> tuple[Tensor, Tensor]:
    """Sample points uniformly over all primitives of a shape.

    Returns:
        Points (count, 3) in random order, and their part indices (count,).
    """
    areas = torch.tensor([primitive.area for primitive in primitives])
    counts = rng.choice(areas, count).bincount(minlength=len(primitives)).tolist()
    pairs = list(zip(primitives, counts, strict=True))
    points = torch.cat([p.sample(n, rng) + torch.tensor(p.position) for p, n in pairs])
    parts = torch.cat([torch.full((n,), p.part) for p, n in pairs])
    order = torch.randperm(count, generator=rng.generator)
    return points[order], parts[order]


# -- primitives ------------------------------------------------------------------------------------


def sphere(part: int, radius: float, position: Point) -> Primitive:
    """Return a sphere around its position."""

    def sample(count: int, rng: UniformRNG) -> Tensor:
        z, angle = 2 * rng.uniform(count) - 1, 2 * math.pi * rng.uniform(count)
        ring = (1 - z * z).sqrt()
        return radius * torch.stack([ring * angle.cos(), ring * angle.sin(), z], -1)

    return Primitive(part, 4 * math.pi * radius**2, sample, position)


def box(part: int, sides: tuple[float, float, float], position: Point) -> Primitive:
    """Return a cuboid around its position."""
    a, b, c = sides

    def sample(count: int, rng: UniformRNG) -> Tensor:
        inside = (rng.uniform(count, 3) - 0.5) * torch.tensor(sides)
        axis = rng.choice(torch.tensor([b * c, a * c, a * b]), count)
        side = torch.where(rng.uniform(count) < 0.5, -0.5, 0.5) * torch.tensor(sides)[axis]
        return inside.scatter(1, axis[:, None], side[:, None])

    return Primitive(part, 2 * (a * b + b * c + a * c), sample, position)


def frustum(part: int, bottom: float, top: float, height: float, position: Point) -> Primitive:
    """Return a truncated cone with its two disks; for equal radii, a cylinder.

    Args:
        part: see :class:`Primitive`.
        bottom: radius of the lower disk.
        top: radius of the upper disk.
        height: height along the third axis.
        position: center of the lower disk.
    """
    slant = math.hypot(height, bottom - top)
    areas = [math.pi * (bottom + top) * slant, math.pi * bottom**2, math.pi * top**2]

    def sample(count: int, rng: UniformRNG) -> Tensor:
        surface = rng.choice(torch.tensor(areas), count)  # lateral, lower or upper
        angle, u = 2 * math.pi * rng.uniform(count), rng.uniform(count)
        # the density of the radius on the lateral surface is proportional to the radius
        lateral = (bottom**2 + u * (top**2 - bottom**2)).sqrt()
        is_cylinder = abs(bottom - top) < 1e-6
        fraction = u if is_cylinder else (lateral - bottom) / (top - bottom)
        points = torch.arange(count)
        radius = torch.stack([lateral, bottom * u.sqrt(), top * u.sqrt()])[surface, points]
        z = torch.stack([fraction * height, torch.zeros(count), torch.full((count,), height)])
        return torch.stack([radius * angle.cos(), radius * angle.sin(), z[surface, points]], -1)

    return Primitive(part, sum(areas), sample, position)


def half_torus(part: int, major: float, minor: float, position: Point) -> Primitive:
    """Return the half of an upright torus with positive first coordinates.

    Args:
        part: see :class:`Primitive`.
        major: distance of the center of the tube from the center of the torus.
        minor: radius of the tube.
        position: center of the torus.
    """

    def sample(count: int, rng: UniformRNG) -> Tensor:
        around = math.pi * (rng.uniform(count) - 0.5)
        # Rejection sampling of the angle t around the tube: the outer side has more area than the
        # inner one, so its density is proportional to R + r cos t. At least half are accepted on
        # average.
        candidates = 2 * math.pi * rng.uniform(8 * count + 64)
        density = (major + minor * candidates.cos()) / (major + minor)
        tube = candidates[rng.uniform(len(candidates)) < density][:count]
        distance = major + minor * tube.cos()
        return torch.stack(
            [distance * around.cos(), minor * tube.sin(), distance * around.sin()], -1
        )

    return Primitive(part, 2 * math.pi**2 * major * minor, sample, position)


# -- shapes ----------------------------------------------------------------------------------------


def legs(part: int, width: float, depth: float, height: float, radius: float) -> list[Primitive]:
    """Return four legs under the corners of a rectangle."""
    corners = [
        (x * (width / 2 - radius), y * (depth / 2 - radius)) for x in (-1, 1) for y in (-1, 1)
    ]
    return [frustum(part, radius, radius, height, (x, y, 0.0)) for x, y in corners]


def table(rng: UniformRNG) -> list[Primitive]:
    width, depth = rng.between(0.8, 1.6), rng.between(0.6, 1.0)
    height, thickness = rng.between(0.5, 0.9), rng.between(0.04, 0.1)
    top = box(0, (width, depth, thickness), (0.0, 0.0, height + thickness / 2))
    return [top, *legs(1, width, depth, height, rng.between(0.03, 0.07))]


def chair(rng: UniformRNG) -> list[Primitive]:
    width, depth = rng.between(0.45, 0.6), rng.between(0.45, 0.6)
    height, thickness = rng.between(0.4, 0.55), rng.between(0.04, 0.08)
    back_height = rng.between(0.4, 0.7)
    seat = box(0, (width, depth, thickness), (0.0, 0.0, height + thickness / 2))
    back_position = (0.0, (thickness - depth) / 2, height + thickness + back_height / 2)
    back = box(1, (width, thickness, back_height), back_position)
    return [seat, back, *legs(2, width, depth, height, rng.between(0.02, 0.04))]


def lamp(rng: UniformRNG) -> list[Primitive]:
    foot, height = rng.between(0.15, 0.3), rng.between(0.5, 1.0)
    bottom, top = rng.between(0.2, 0.4), rng.between(0.05, 0.18)
    shade_height = rng.between(0.2, 0.4)
    return [
        frustum(0, foot, foot, 0.05, (0.0, 0.0, 0.0)),
        frustum(1, 0.03, 0.03, height, (0.0, 0.0, 0.05)),
        frustum(2, bottom, top, shade_height, (0.0, 0.0, height - shade_height / 2)),
    ]


def mug(rng: UniformRNG) -> list[Primitive]:
    radius, height = rng.between(0.3, 0.45), rng.between(0.7, 1.1)
    major = height * rng.between(0.25, 0.35)
    body = frustum(0, radius * rng.between(0.75, 1.0), radius, height, (0.0, 0.0, 0.0))
    handle = half_torus(1, major, rng.between(0.04, 0.07), (radius, 0.0, height / 2))
    return [body, handle]


def dumbbell(rng: UniformRNG) -> list[Primitive]:
    length, radius = rng.between(0.8, 1.4), rng.between(0.2, 0.35)
    bar = frustum(0, 0.06, 0.06, length, (0.0, 0.0, -length / 2))
    return [bar, *(sphere(1, radius, (0.0, 0.0, s * length / 2)) for s in (-1, 1))]


def rocket(rng: UniformRNG) -> list[Primitive]:
    radius, height = rng.between(0.12, 0.2), rng.between(0.8, 1.3)
    nose_height, fin = rng.between(0.25, 0.5), rng.between(0.15, 0.3)
    body = frustum(0, radius, radius, height, (0.0, 0.0, 0.0))
    nose = frustum(1, radius, 0.01, nose_height, (0.0, 0.0, height))
    fins = [
        box(2, sides, (x * (radius + fin / 2), y * (radius + fin / 2), fin / 2))
        for sides, x, y in (
            ((fin, 0.02, fin), 1, 0), ((fin, 0.02, fin), -1, 0),
            ((0.02, fin, fin), 0, 1), ((0.02, fin, fin), 0, -1),
        )
    ]  # fmt: skip
    return [body, nose, *fins]


SHAPES: dict[str, Callable[[UniformRNG], list[Primitive]]] = {
    "table": table, "chair": chair, "lamp": lamp, "mug": mug, "dumbbell": dumbbell,
    "rocket": rocket,
}  # fmt: skip
#: shape → names of its parts in the order of their indices
PARTS = {
    "table": ("top", "legs"),
    "chair": ("seat", "back", "legs"),
    "lamp": ("foot", "pole", "shade"),
    "mug": ("body", "handle"),
    "dumbbell": ("bar", "weights"),
    "rocket": ("body", "nose", "fins"),
}

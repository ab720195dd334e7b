"""Shapes made of balls, boxes, cylinders, cones and rings, in random proportions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datamodules.points import PointDataModule


class Shapes(PointDataModule):
    """Tables, chairs, lamps, mugs, dumbbells and rockets: their parts and proportions are random.

    Points lie evenly on the surfaces of the parts, hidden ones included.

    Properties that models ask for: ``num_classes``, ``num_points``; and ``class_names``, the names of
    shapes or of parts.

    Args:
        num_samples: training clouds, validation included, default 900; a third as many for test.
        **points: see :class:`~datamodules.points.PointDataModule`.
    """

    def __init__(self, num_samples: int = 900, **points: Any) -> None:
        super().__init__(**points)
        self.num_samples = num_samples

    @property
    def class_names(self) -> list[str]:
        """Names of the shapes, or of all their parts."""
        if self.task == "shapes":
            return list(MAKERS)
        return [f"{shape} {part}" for shape, parts in PARTS.items() for part in parts]

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return len(self.class_names)

    def clouds(self, train: bool) -> tuple[Tensor, Tensor]:
        draw = Draw(torch.Generator().manual_seed(2 * self.seed + train))
        kinds = list(MAKERS)
        points, labels = [], []
        for i in range(self.num_samples if train else self.num_samples // 3):
            kind = kinds[i % len(kinds)]
            cloud, parts = sample(MAKERS[kind](draw), self.stored_points, draw)
            points.append(cloud)
            first = sum(len(PARTS[k]) for k in kinds[: i % len(kinds)])
            labels.append(first + parts if self.task == "parts" else torch.tensor(i % len(kinds)))
        return torch.stack(points), torch.stack(labels)


class Draw:
    """Random numbers from one source."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1)."""
        return torch.rand(shape, generator=self.generator)

    def between(self, low: float, high: float) -> float:
        """One number."""
        return low + (high - low) * float(self.uniform())


@dataclass(frozen=True)
class Solid:
    """A part's surface: its area, points on it, and where it stands.

    Args:
        part: number of the part within its shape.
        area: of the surface.
        points: ``(count, draw) → (count, 3)``, even over the surface, around the origin.
        place: of the origin.
    """

    part: int
    area: float
    points: Callable[[int, Draw], Tensor]
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)


def sample(solids: list[Solid], count: int, draw: Draw) -> tuple[Tensor, Tensor]:
    """Points of a shape (count, 3) in random order, and the part of each (count,)."""
    areas = torch.tensor([solid.area for solid in solids])
    chosen = torch.multinomial(areas, count, replacement=True, generator=draw.generator)
    shares = chosen.bincount(minlength=len(solids)).tolist()
    points = torch.cat(
        [s.points(n, draw) + torch.tensor(s.place) for s, n in zip(solids, shares, strict=True)]
    )
    parts = torch.cat([torch.full((n,), s.part) for s, n in zip(solids, shares, strict=True)])
    order = torch.randperm(count, generator=draw.generator)
    return points[order], parts[order]


def ball(part: int, radius: float, place: tuple[float, float, float]) -> Solid:
    """A sphere."""

    def points(count: int, draw: Draw) -> Tensor:
        z, angle = 2 * draw.uniform(count) - 1, 2 * math.pi * draw.uniform(count)
        ring = (1 - z * z).sqrt()
        return radius * torch.stack([ring * angle.cos(), ring * angle.sin(), z], -1)

    return Solid(part, 4 * math.pi * radius**2, points, place)


def box(part: int, sides: tuple[float, float, float], place: tuple[float, float, float]) -> Solid:
    """A cuboid around its place."""
    a, b, c = sides

    def points(count: int, draw: Draw) -> Tensor:
        inside = (draw.uniform(count, 3) - 0.5) * torch.tensor(sides)
        areas = torch.tensor([b * c, a * c, a * b])
        axis = torch.multinomial(areas, count, replacement=True, generator=draw.generator)
        side = torch.where(draw.uniform(count) < 0.5, -0.5, 0.5) * torch.tensor(sides)[axis]
        return inside.scatter(1, axis[:, None], side[:, None])

    return Solid(part, 2 * (a * b + b * c + a * c), points, place)


def cone(
    part: int, bottom: float, top: float, height: float, place: tuple[float, float, float]
) -> Solid:
    """A truncated cone with both its disks, standing on its place; a cylinder for equal radii."""
    slant = math.hypot(height, bottom - top)
    areas = [math.pi * (bottom + top) * slant, math.pi * bottom**2, math.pi * top**2]

    def points(count: int, draw: Draw) -> Tensor:
        kind = torch.multinomial(
            torch.tensor(areas), count, replacement=True, generator=draw.generator
        )
        angle, u = 2 * math.pi * draw.uniform(count), draw.uniform(count)
        # on the mantle the radius has a density that grows with itself
        mantle = (bottom**2 + u * (top**2 - bottom**2)).sqrt()
        even = abs(bottom - top) < 1e-6
        share = u if even else (mantle - bottom) / (top - bottom)
        radius = torch.stack([mantle, bottom * u.sqrt(), top * u.sqrt()])[kind, torch.arange(count)]
        z = torch.stack([share * height, torch.zeros(count), torch.full((count,), height)])
        return torch.stack(
            [radius * angle.cos(), radius * angle.sin(), z[kind, torch.arange(count)]], -1
        )

    return Solid(part, sum(areas), points, place)


def handle(part: int, large: float, small: float, place: tuple[float, float, float]) -> Solid:
    """Half of a ring that stands upright, open towards the negative first axis.

    Args:
        part, place: see :class:`Solid`.
        large, small: radii of the ring and of its tube.
    """

    def points(count: int, draw: Draw) -> Tensor:
        around = math.pi * (draw.uniform(count) - 0.5)
        # the tube's outer side is longer than its inner one: Archimedes' trick does not hold, so
        # angles are drawn twice as often as needed, and kept by their share of the surface
        tries = 2 * math.pi * draw.uniform(8 * count + 64)
        kept = tries[draw.uniform(len(tries)) < (large + small * tries.cos()) / (large + small)]
        tube = kept[:count]
        distance = large + small * tube.cos()
        return torch.stack(
            [distance * around.cos(), small * tube.sin(), distance * around.sin()], -1
        )

    return Solid(part, 2 * math.pi**2 * large * small, points, place)


# -- shapes ----------------------------------------------------------------------------------------


def legs(part: int, width: float, depth: float, height: float, radius: float) -> list[Solid]:
    """Four legs under a rectangle."""
    places = [
        (x * (width / 2 - radius), y * (depth / 2 - radius)) for x in (-1, 1) for y in (-1, 1)
    ]
    return [cone(part, radius, radius, height, (x, y, 0.0)) for x, y in places]


def table(draw: Draw) -> list[Solid]:
    width, depth = draw.between(0.8, 1.6), draw.between(0.6, 1.0)
    height, thick = draw.between(0.5, 0.9), draw.between(0.04, 0.1)
    top = box(0, (width, depth, thick), (0.0, 0.0, height + thick / 2))
    return [top, *legs(1, width, depth, height, draw.between(0.03, 0.07))]


def chair(draw: Draw) -> list[Solid]:
    width, depth = draw.between(0.45, 0.6), draw.between(0.45, 0.6)
    height, thick = draw.between(0.4, 0.55), draw.between(0.04, 0.08)
    tall = draw.between(0.4, 0.7)
    seat = box(0, (width, depth, thick), (0.0, 0.0, height + thick / 2))
    back = box(1, (width, thick, tall), (0.0, (thick - depth) / 2, height + thick + tall / 2))
    return [seat, back, *legs(2, width, depth, height, draw.between(0.02, 0.04))]


def lamp(draw: Draw) -> list[Solid]:
    foot, height = draw.between(0.15, 0.3), draw.between(0.5, 1.0)
    low, high = draw.between(0.2, 0.4), draw.between(0.05, 0.18)
    tall = draw.between(0.2, 0.4)
    return [
        cone(0, foot, foot, 0.05, (0.0, 0.0, 0.0)),
        cone(1, 0.03, 0.03, height, (0.0, 0.0, 0.05)),
        cone(2, low, high, tall, (0.0, 0.0, height - tall / 2)),
    ]


def mug(draw: Draw) -> list[Solid]:
    radius, height = draw.between(0.3, 0.45), draw.between(0.7, 1.1)
    large = height * draw.between(0.25, 0.35)
    body = cone(0, radius * draw.between(0.75, 1.0), radius, height, (0.0, 0.0, 0.0))
    return [body, handle(1, large, draw.between(0.04, 0.07), (radius, 0.0, height / 2))]


def dumbbell(draw: Draw) -> list[Solid]:
    length, radius = draw.between(0.8, 1.4), draw.between(0.2, 0.35)
    bar = cone(0, 0.06, 0.06, length, (0.0, 0.0, -length / 2))
    return [bar, *(ball(1, radius, (0.0, 0.0, s * length / 2)) for s in (-1, 1))]


def rocket(draw: Draw) -> list[Solid]:
    radius, height = draw.between(0.12, 0.2), draw.between(0.8, 1.3)
    tip, fin = draw.between(0.25, 0.5), draw.between(0.15, 0.3)
    body = cone(0, radius, radius, height, (0.0, 0.0, 0.0))
    nose = cone(1, radius, 0.01, tip, (0.0, 0.0, height))
    fins = [
        box(2, sides, (x * (radius + fin / 2), y * (radius + fin / 2), fin / 2))
        for sides, x, y in (
            ((fin, 0.02, fin), 1, 0), ((fin, 0.02, fin), -1, 0),
            ((0.02, fin, fin), 0, 1), ((0.02, fin, fin), 0, -1),
        )
    ]  # fmt: skip
    return [body, nose, *fins]


MAKERS: dict[str, Callable[[Draw], list[Solid]]] = {
    "table": table, "chair": chair, "lamp": lamp, "mug": mug, "dumbbell": dumbbell,
    "rocket": rocket,
}  # fmt: skip
PARTS = {
    "table": ("top", "legs"),
    "chair": ("seat", "back", "legs"),
    "lamp": ("foot", "pole", "shade"),
    "mug": ("body", "handle"),
    "dumbbell": ("bar", "weights"),
    "rocket": ("body", "nose", "fins"),
}

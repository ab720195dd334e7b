"""Generated sets whose truth is known: curves with noise, classes and mixtures in the plane."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from datamodules.tables import Table, TableDataModule

Array = np.ndarray[Any, Any]

CURVES: dict[str, Callable[[Array], Array]] = {
    "sine": lambda x: np.sin(math.pi * x),
    "cubic": lambda x: 2 * x**3 - x,
    "step": lambda x: np.sign(x),
    "runge": lambda x: 1 / (1 + 25 * x**2),
}
SHAPES = ("moons", "circles", "spirals", "blobs")


class ToyCurves(TableDataModule):
    """A curve with noise: y = f(x) + σ ε, x uniform on [−1, 1], ε standard normal.

    No model has a smaller expected squared error than σ².

    Args:
        name: f, one of ``sine`` (sin πx, default), ``cubic`` (2x³ − x), ``step`` (sign x) and
            ``runge`` (1/(1 + 25 x²)).
        samples: default 300.
        noise: σ, default 0.1.
        standardize: default no.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        ValueError: unknown name, negative noise.
    """

    def __init__(
        self,
        name: str = "sine",
        samples: int = 300,
        noise: float = 0.1,
        standardize: bool = False,
        **table: Any,
    ) -> None:
        super().__init__(standardize=standardize, **table)
        if name not in CURVES:
            raise ValueError(f"unknown name {name!r}; choose from {', '.join(CURVES)}")
        _check_noise(noise)
        self.name, self.samples, self.noise = name, samples, noise

    def truth(self, x: Array) -> Array:
        """f(x), without noise."""
        return CURVES[self.name](x)

    def table(self) -> Table:
        random = np.random.default_rng(self.seed)
        x = random.uniform(-1, 1, (self.samples, 1))
        y = self.truth(x) + self.noise * random.standard_normal(x.shape)
        return Table(x, y, ["x"], targets=["y"])


class Toy2D(TableDataModule):
    """Classes in the plane.

    Args:
        name: ``moons`` (default; two half circles), ``circles`` (one inside the other), ``spirals``
            (one arm for each class) or ``blobs`` (Gaussians with centres on a circle of radius 1).
        samples: default 1000, equally many of each class.
        noise: standard deviation of the noise, default 0.15.
        num_shapes: classes of ``spirals`` and ``blobs``, default 3; the others have two.
        standardize: default no.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        ValueError: unknown name, negative noise, fewer than two classes.
    """

    def __init__(
        self,
        name: str = "moons",
        samples: int = 1000,
        noise: float = 0.15,
        num_shapes: int = 3,
        standardize: bool = False,
        **table: Any,
    ) -> None:
        super().__init__(standardize=standardize, **table)
        if name not in SHAPES:
            raise ValueError(f"unknown name {name!r}; choose from {', '.join(SHAPES)}")
        if num_shapes < 2:
            raise ValueError(f"num_shapes must be at least 2, got {num_shapes}")
        _check_noise(noise)
        self.name, self.samples, self.noise = name, samples, noise
        self.num_shapes = 2 if name in ("moons", "circles") else num_shapes

    def truth(self, position: Array, label: Array) -> Array:
        """The point without noise at ``position`` in [0, 1] along the shape of a class, (N, 2)."""
        angle = math.pi * position
        if self.name == "moons":
            x, y = np.cos(angle), np.sin(angle)
            return np.where(label[:, None] == 0, _points(x, y), _points(1 - x, 0.5 - y))
        if self.name == "circles":
            radius = np.where(label == 0, 1.0, 0.5)
            return radius[:, None] * _points(np.cos(2 * angle), np.sin(2 * angle))
        turn = 2 * math.pi * label / self.num_shapes
        if self.name == "spirals":
            radius = 0.1 + 0.9 * position
            return radius[:, None] * _points(np.cos(3 * angle + turn), np.sin(3 * angle + turn))
        return _points(np.cos(turn), np.sin(turn))

    def table(self) -> Table:
        random = np.random.default_rng(self.seed)
        y = np.arange(self.samples) % self.num_shapes
        x = self.truth(random.uniform(0, 1, self.samples), y)
        x = x + self.noise * random.standard_normal(x.shape)
        classes = [str(label) for label in range(self.num_shapes)]
        return Table(x, y, ["x₁", "x₂"], classes)


class Gaussians2D(TableDataModule):
    """A mixture of equal Gaussians in the plane, whose modes are known: what a generative model
    must cover.

    Properties that models ask for, beside those of a table: ``modes`` (their centres) and
    ``mode_std``. The class of a point is the number of its mode.

    Args:
        name: ``grid`` (default; 25 modes two apart, from −4 to 4 along both axes) or ``ring`` (8
            modes on a circle of radius 2).
        samples: default 50,000, equally many of each mode.
        std: standard deviation of each mode, default 0.05.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        ValueError: unknown name, negative deviation.

    Source: Dumoulin et al., Adversarially learned inference, 2017, section 4.1 (the grid); Metz et
    al., Unrolled generative adversarial networks, 2017, section 3.1 (the ring).
    """

    def __init__(
        self,
        name: str = "grid",
        samples: int = 50_000,
        std: float = 0.05,
        **table: Any,
    ) -> None:
        super().__init__(standardize=False, **table)  # the modes would have to move too
        if name not in MIXTURES:
            raise ValueError(f"unknown name {name!r}; choose from {', '.join(MIXTURES)}")
        _check_noise(std)
        self.name, self.samples, self.mode_std = name, samples, std

    @property
    def modes(self) -> tuple[tuple[float, float], ...]:
        """Centres of the Gaussians."""
        return tuple((float(x), float(y)) for x, y in MIXTURES[self.name]())

    def table(self) -> Table:
        random = np.random.default_rng(self.seed)
        centers = np.array(self.modes)
        y = np.arange(self.samples) % len(centers)
        x = centers[y] + self.mode_std * random.standard_normal((self.samples, 2))
        return Table(x, y, ["x₁", "x₂"], [str(mode) for mode in range(len(centers))])


def _grid() -> Array:
    side = np.arange(-4, 5, 2)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


def _ring() -> Array:
    angle = 2 * math.pi * np.arange(8) / 8
    return 2 * _points(np.cos(angle), np.sin(angle))


MIXTURES: dict[str, Callable[[], Array]] = {"grid": _grid, "ring": _ring}


def _points(x: Array, y: Array) -> Array:
    return np.stack([x, y], axis=1)


def _check_noise(noise: float) -> None:
    if noise < 0:
        raise ValueError(f"noise must not be negative, got {noise}")

"""Synthetic data with known ground truth: noisy curves, classes and mixtures in the plane."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from datamodules.tables import Array, Table, TableDataModule
from zoo.errors import check_at_least, check_choice, check_non_negative

CURVES: dict[str, Callable[[Array], Array]] = {
    "sine": lambda x: np.sin(math.pi * x),
    "cubic": lambda x: 2 * x**3 - x,
    "step": lambda x: np.sign(x),
    "runge": lambda x: 1 / (1 + 25 * x**2),
}
SHAPES = ("moons", "circles", "spirals", "blobs")


class ToyCurves(TableDataModule):
    """A noisy curve: y = f(x) + σ ε, x uniform on [−1, 1], ε standard normal.

    No model has a smaller expected squared error than σ².

    Args:
        name: name of the curve f: ``sine`` (sin πx, default), ``cubic`` (2x³ − x), ``step``
            (sign x) or ``runge`` (1/(1 + 25 x²)).
        num_samples: total number of samples of all splits, default 300.
        noise: standard deviation σ of the noise, default 0.1.
        standardize: whether to standardize x, default False.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        InputError: unknown ``name``, or an argument out of range.
    """

    def __init__(
        self,
        name: str = "sine",
        num_samples: int = 300,
        noise: float = 0.1,
        standardize: bool = False,
        **table: Any,
    ) -> None:
        super().__init__(standardize=standardize, **table)
        check_choice("name", name, CURVES)
        check_at_least(1, num_samples=num_samples)
        check_non_negative(noise=noise)
        self.name, self.num_samples, self.noise = name, num_samples, noise

    def ground_truth(self, x: Array) -> Array:
        """Return f(x), without noise."""
        return CURVES[self.name](x)

    def load_table(self) -> Table:
        rng = np.random.default_rng(self.seed)
        x = rng.uniform(-1, 1, (self.num_samples, 1))
        y = self.ground_truth(x) + self.noise * rng.standard_normal(x.shape)
        return Table(x, y, ["x"], target_names=["y"])


class Toy2D(TableDataModule):
    """Classes of points in the plane.

    Args:
        name: ``moons`` (default): two half circles; ``circles``: two concentric circles;
            ``spirals``: one arm per class; or ``blobs``: one Gaussian per class, with centers on a
            circle of radius 1.
        num_samples: total number of samples of all splits, divided evenly among the classes,
            default 1,000.
        noise: standard deviation of the noise, default 0.15.
        num_classes: number of classes of ``spirals`` and ``blobs``, default 3; ``moons`` and
            ``circles`` always have two.
        standardize: whether to standardize the coordinates, default False.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        InputError: unknown ``name``, or an argument out of range.
    """

    def __init__(
        self,
        name: str = "moons",
        num_samples: int = 1000,
        noise: float = 0.15,
        num_classes: int = 3,
        standardize: bool = False,
        **table: Any,
    ) -> None:
        super().__init__(standardize=standardize, **table)
        check_choice("name", name, SHAPES)
        check_at_least(1, num_samples=num_samples)
        check_at_least(2, num_classes=num_classes)
        check_non_negative(noise=noise)
        self.name, self.num_samples, self.noise = name, num_samples, noise
        self._num_shapes = 2 if name in ("moons", "circles") else num_classes

    def load_table(self) -> Table:
        rng = np.random.default_rng(self.seed)
        y = np.arange(self.num_samples) % self._num_shapes
        x = self._points_on_shapes(rng.uniform(0, 1, self.num_samples), y)
        x = x + self.noise * rng.standard_normal(x.shape)
        class_names = [str(label) for label in range(self._num_shapes)]
        return Table(x, y, ["x₁", "x₂"], class_names)

    def _points_on_shapes(self, position: Array, label: Array) -> Array:
        """Return the points (N, 2) at positions in [0, 1] along the shapes of the classes."""
        angle = math.pi * position
        if self.name == "moons":
            x, y = np.cos(angle), np.sin(angle)
            return np.where(label[:, None] == 0, _points(x, y), _points(1 - x, 0.5 - y))
        if self.name == "circles":
            radius = np.where(label == 0, 1.0, 0.5)
            return radius[:, None] * _points(np.cos(2 * angle), np.sin(2 * angle))
        turn = 2 * math.pi * label / self._num_shapes
        if self.name == "spirals":
            radius = 0.1 + 0.9 * position
            return radius[:, None] * _points(np.cos(3 * angle + turn), np.sin(3 * angle + turn))
        return _points(np.cos(turn), np.sin(turn))


class Gaussians2D(TableDataModule):
    """A mixture of equal Gaussians in the plane, to measure mode coverage of generative models.

    The class of a point is the index of its mode.

    Properties for models: ``modes`` (the centers of the Gaussians), ``mode_std``, and those of
    :class:`~datamodules.tables.TableDataModule`.

    Args:
        name: ``grid`` (default): 25 modes at distance 2, from −4 to 4 along both axes; or
            ``ring``: 8 modes on a circle of radius 2.
        num_samples: total number of samples of all splits, divided evenly among the modes, default
            50,000.
        std: standard deviation of each mode, default 0.05.
        **table: see :class:`~datamodules.tables.TableDataModule`; ``standardize`` is always False.

    Raises:
        InputError: unknown ``name``, or an argument out of range.

    Source: Dumoulin et al., Adversarially learned inference, 2017, section 4.1 (the grid); Metz et
    al., Unrolled generative adversarial networks, 2017, section 3.1 (the ring).
    """

    def __init__(
        self,
        name: str = "grid",
        num_samples: int = 50_000,
        std: float = 0.05,
        **table: Any,
    ) -> None:
        super().__init__(standardize=False, **table)  # the modes would need the same scaling
        check_choice("name", name, MIXTURES)
        check_at_least(1, num_samples=num_samples)
        check_non_negative(std=std)
        self.name, self.num_samples, self.mode_std = name, num_samples, std

    @property
    def modes(self) -> tuple[tuple[float, float], ...]:
        """Centers of the Gaussians."""
        return tuple((float(x), float(y)) for x, y in MIXTURES[self.name]())

    def load_table(self) -> Table:
        rng = np.random.default_rng(self.seed)
        centers = np.array(self.modes)
        y = np.arange(self.num_samples) % len(centers)
        x = centers[y] + self.mode_std * rng.standard_normal((self.num_samples, 2))
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

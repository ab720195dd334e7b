"""Gaussian mixtures in the plane: modes, standard deviation and seed."""

import numpy as np
import pytest
import torch

from datamodules import Gaussians2D


@pytest.mark.parametrize(("name", "modes"), [("grid", 25), ("ring", 8)])
def test_points_are_around_their_modes(name: str, modes: int) -> None:
    data = Gaussians2D(name, num_samples=200 * modes, std=0.03)
    x, y = data.split("train")
    centers = torch.tensor(data.modes)
    assert data.num_classes == len(centers) == modes
    residuals = x - centers[y]
    assert float(residuals.std()) == pytest.approx(0.03, rel=0.05)
    assert float(residuals.mean(0).abs().max()) < 0.002
    counts = np.bincount(data.load_table().y)
    assert counts.tolist() == [200] * modes


def test_the_grid_and_the_ring_match_the_papers() -> None:
    grid = torch.tensor(Gaussians2D("grid").modes)
    assert sorted(set(grid[:, 0].tolist())) == sorted(set(grid[:, 1].tolist())) == [-4, -2, 0, 2, 4]
    ring = torch.tensor(Gaussians2D("ring").modes)
    torch.testing.assert_close(ring.norm(dim=1), torch.full((8,), 2.0))


def test_the_seed_determines_the_points() -> None:
    one, two, other = (Gaussians2D(num_samples=100, seed=seed).load_table().x for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="unknown name 'cross'; choose from grid, ring"):
        Gaussians2D("cross")
    with pytest.raises(ValueError, match="std must not be negative"):
        Gaussians2D(std=-1)

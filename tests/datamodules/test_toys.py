import numpy as np
import pytest
import torch

from datamodules import Gaussians2D


@pytest.mark.parametrize(("name", "modes"), [("grid", 25), ("ring", 8)])
def test_points_lie_around_their_modes(name: str, modes: int) -> None:
    data = Gaussians2D(name, samples=200 * modes, std=0.03)
    x, y = data.split("train")
    centers = torch.tensor(data.modes)
    assert data.num_classes == len(centers) == modes
    apart = x - centers[y]
    assert float(apart.std()) == pytest.approx(0.03, rel=0.05)
    assert float(apart.mean(0).abs().max()) < 0.002
    everything = np.bincount(data.table().y)
    assert everything.tolist() == [200] * modes


def test_the_grid_and_the_ring_are_those_of_the_papers() -> None:
    grid = torch.tensor(Gaussians2D("grid").modes)
    assert sorted(set(grid[:, 0].tolist())) == sorted(set(grid[:, 1].tolist())) == [-4, -2, 0, 2, 4]
    ring = torch.tensor(Gaussians2D("ring").modes)
    torch.testing.assert_close(ring.norm(dim=1), torch.full((8,), 2.0))


def test_the_seed_decides_the_points() -> None:
    one, two, other = (Gaussians2D(samples=100, seed=seed).table().x for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="unknown name 'cross'; choose from grid, ring"):
        Gaussians2D("cross")
    with pytest.raises(ValueError, match="must not be negative"):
        Gaussians2D(std=-1)

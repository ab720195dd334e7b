"""Models of voxel grids: equivariance to shifts, published sizes, data, learning, figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch

import callbacks
from datamodules import PointAugmentation, Shapes
from zoo import VoxelClassifier
from zoo.errors import InputError
from zoo.networks.voxels import VOXEL_NETWORKS, shapenets, voxnet


@pytest.mark.parametrize("name", VOXEL_NETWORKS)
def test_a_shift_by_the_stride_shifts_the_features_by_one(name: str) -> None:
    torch.manual_seed(0)
    network = VOXEL_NETWORKS[name](40, 4, 3, 0.0).double().eval()
    x = torch.zeros(2, 1, 40, 40, 40, dtype=torch.float64)
    x[:, :, 12:26, 12:26, 12:26] = (torch.rand(2, 1, 14, 14, 14) < 0.3).double()
    s = network.stride
    moved = x.roll((s, -s), (2, 4))
    expected = network.features(x).roll((1, -1), (2, 4))
    found = network.features(moved)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-12)
    assert float((found - network.features(x)).detach().abs().max()) > 1e-3


def test_layers_have_the_published_sizes() -> None:
    """VoxNet has 6³ voxels of 32 channels before the hidden layer of 128 units. 3D ShapeNets has 2³
    voxels of 512 channels (480 here) and 1,200 hidden units."""
    network = voxnet(32, 32, 10, 0.0)
    assert network.features(torch.zeros(1, 1, 32, 32, 32)).shape == (1, 32, 6, 6, 6)
    assert sum(p.numel() for p in network.parameters()) == 917_866
    network = shapenets(30, 48, 10, 0.0)
    assert network.features(torch.zeros(1, 1, 30, 30, 30)).shape == (1, 480, 2, 2, 2)
    assert network.head[2].out_features == 1_200


def test_point_clouds_are_voxelized_in_the_loader() -> None:
    data = Shapes(
        num_samples=24, voxel_resolution=16, batch_size=8, augment=PointAugmentation(), rotate="any"
    )
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (8, *data.input_shape) == (8, 1, 16, 16, 16)
    assert x.unique().tolist() == [0, 1]
    assert y.shape == (8,)
    # without augmentation, the voxel of every stored point is full
    plain = Shapes(num_samples=24, voxel_resolution=16, val_size=0)
    grids, _ = plain.evaluation_samples("test")
    points = plain.split("test")[0]
    assert bool((grids.sum((1, 2, 3, 4)) > 40).all())
    index = ((points + 1) * 7).floor().long().clamp(max=13) + 1
    rows = torch.arange(len(points))[:, None]
    assert bool((grids[rows, 0, index[..., 0], index[..., 1], index[..., 2]] == 1).all())
    with pytest.raises(ValueError, match="voxel grids have no part labels"):
        Shapes(voxel_resolution=16, task="parts")
    with pytest.raises(ValueError, match="voxel_resolution must be at least 3, got 2"):
        Shapes(voxel_resolution=2)
    with pytest.raises(AttributeError, match=r"set --data\.voxel_resolution 32 for voxel grids"):
        _ = Shapes().input_shape


def test_bad_settings() -> None:
    for shape in ((1, 8, 8), (3, 16, 16, 16), (1, 16, 16, 8)):
        with pytest.raises(ValueError, match=r"needs cubic voxel grids, \(1, R, R, R\), got"):
            VoxelClassifier(shape, 3)
    with pytest.raises(ValueError, match="a voxel grid of side 8 is too small"):
        VoxelClassifier((1, 8, 8, 8), 3, network="shapenets")
    with pytest.raises(ValueError, match=r"unknown network 'pointnet'; .*choose from voxnet, "):
        VoxelClassifier((1, 16, 16, 16), 3, network="pointnet")
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        VoxelClassifier((1, 16, 16, 16), 3, width=0)
    with pytest.raises(InputError, match="dropout must be at least 0 and below 1"):
        VoxelClassifier((1, 16, 16, 16), 3, dropout=1.5)


def test_it_learns_and_draws_figures(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = Shapes(num_samples=240, voxel_resolution=16, rotate="upright", batch_size=16)
    model = VoxelClassifier(data.input_shape, 6, width=8, lr=4e-3, dropout=0.0)
    fit = trainer(max_epochs=5, callbacks=[callbacks.Voxels()], default_root_dir=tmp_path)
    fit.fit(model, data)
    assert fit.test(model, data, verbose=False)[0]["test/accuracy"] > 0.9
    assert (tmp_path / "figures" / "voxels.png").stat().st_size > 10_000

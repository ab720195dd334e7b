"""Networks on points: symmetry in the order of points, motions, batches; float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.functional.points import random_rotations
from zoo.networks.point_clouds import POINT_NETWORKS, PointNet, PointNetwork, SharedMLP, TNet

B, N = 3, 50


def make(name: str, local: bool = True) -> PointNetwork:
    torch.manual_seed(0)
    options: dict[str, Any] = {"k": 8} if name in ("dgcnn", "invariant") else {}
    network = POINT_NETWORKS[name](8, local=local, **options).double().eval()
    for module in network.modules():  # statistics and alignments that are not trivial
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, TNet):
            torch.nn.init.normal_(module.map.weight, std=0.1)
    return network


def cloud() -> Tensor:
    points = torch.randn(B, N, 3, dtype=torch.float64)
    return points / points.norm(dim=-1).amax(1)[:, None, None]


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_the_order_of_points_means_nothing(name: str) -> None:
    network, points = make(name), cloud()
    order = torch.randperm(N)
    before, after = network(points), network(points[:, order])
    torch.testing.assert_close(after.shape, before.shape, atol=1e-10, rtol=0)
    torch.testing.assert_close(after.local, before.local[:, order], atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_clouds_of_a_batch_know_nothing_of_each_other(name: str) -> None:
    network, points = make(name), cloud()
    together = network(points)
    for i in range(B):
        alone = network(points[i : i + 1])
        torch.testing.assert_close(alone.shape[0], together.shape[i], atol=1e-10, rtol=0)
        torch.testing.assert_close(alone.local[0], together.local[i], atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_rotations_change_nothing_where_that_is_claimed(name: str) -> None:
    network, points = make(name), cloud()
    moved = points @ random_rotations(B, dtype=torch.float64).mT + 0.5
    before, after = network(points), network(moved)
    if name == "invariant":
        torch.testing.assert_close(after.shape, before.shape, atol=1e-9, rtol=0)
        torch.testing.assert_close(after.local, before.local, atol=1e-9, rtol=0)
    else:
        assert (after.shape - before.shape).abs().max() > 1e-3


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_shapes(name: str) -> None:
    points = cloud()
    whole, parts = make(name, local=False), make(name)
    found = whole(points)
    assert found.shape.shape == (B, whole.shape_dim)
    assert found.local is None
    found = parts(points)
    assert found.shape.shape == (B, parts.shape_dim)
    assert found.local.shape == (B, N, parts.local_dim)
    assert (found.misalignment is not None) == (name == "pointnet")


def test_an_alignment_is_nearly_the_identity_at_first() -> None:
    torch.manual_seed(0)
    network = PointNet(8).double().eval()
    points = cloud()
    unit = torch.eye(3).double().expand(B, 3, 3)
    torch.testing.assert_close(network.align_points(points), unit, atol=0.05, rtol=0)
    assert float(network(points).misalignment) < 0.1
    torch.nn.init.normal_(network.align_features.map.weight, std=0.1)
    h = network.first(points @ network.align_points(points))
    a = network.align_features(h)
    expected = torch.stack([torch.linalg.norm(torch.eye(8) - m @ m.T) ** 2 for m in a]).mean()
    torch.testing.assert_close(network(points).misalignment, expected)


def test_a_shared_mlp_is_the_same_at_every_point() -> None:
    mlp = SharedMLP([3, 5, 4]).eval()
    x = torch.randn(2, 6, 7, 3)
    torch.testing.assert_close(mlp(x)[1, 4, 2], mlp(x[1, 4, 2:3])[0])

"""Networks on point clouds: permutations, rotations, batches; float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.functional.points import random_rotations
from zoo.networks.point_clouds import POINT_NETWORKS, PointNet, PointNetwork, SharedMLP, TNet

B, N = 3, 50


def make(name: str, per_point: bool = True) -> PointNetwork:
    torch.manual_seed(0)
    options: dict[str, Any] = {"k": 8} if name in ("dgcnn", "invariant") else {}
    network = POINT_NETWORKS[name](8, per_point=per_point, **options).double().eval()
    for module in network.modules():  # statistics and alignments different from the initial ones
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, TNet):
            torch.nn.init.normal_(module.map.weight, std=0.1)
    return network


def clouds() -> Tensor:
    points = torch.randn(B, N, 3, dtype=torch.float64)
    return points / points.norm(dim=-1).amax(1)[:, None, None]


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_permuting_the_points_permutes_only_their_features(name: str) -> None:
    network, points = make(name), clouds()
    order = torch.randperm(N)
    before, after = network(points), network(points[:, order])
    torch.testing.assert_close(after.cloud, before.cloud, atol=1e-10, rtol=0)
    torch.testing.assert_close(after.points, before.points[:, order], atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_a_batch_equals_its_clouds_one_by_one(name: str) -> None:
    network, points = make(name), clouds()
    together = network(points)
    for i in range(B):
        alone = network(points[i : i + 1])
        torch.testing.assert_close(alone.cloud[0], together.cloud[i], atol=1e-10, rtol=0)
        torch.testing.assert_close(alone.points[0], together.points[i], atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_only_the_invariant_network_is_invariant_to_rotations(name: str) -> None:
    network, points = make(name), clouds()
    moved = points @ random_rotations(B, dtype=torch.float64).mT + 0.5
    before, after = network(points), network(moved)
    if name == "invariant":
        torch.testing.assert_close(after.cloud, before.cloud, atol=1e-9, rtol=0)
        torch.testing.assert_close(after.points, before.points, atol=1e-9, rtol=0)
    else:
        assert (after.cloud - before.cloud).abs().max() > 1e-3


@pytest.mark.parametrize("name", POINT_NETWORKS)
def test_shapes(name: str) -> None:
    points = clouds()
    network = make(name, per_point=False)
    features = network(points)
    assert features.cloud.shape == (B, network.cloud_dim)
    assert features.points is None
    network = make(name)
    features = network(points)
    assert features.cloud.shape == (B, network.cloud_dim)
    assert features.points.shape == (B, N, network.point_dim)
    assert (features.orthogonality_penalty is not None) == (name == "pointnet")


def test_alignments_are_initially_close_to_the_identity() -> None:
    torch.manual_seed(0)
    network = PointNet(8).double().eval()
    points = clouds()
    identity = torch.eye(3).double().expand(B, 3, 3)
    torch.testing.assert_close(network.align_points(points), identity, atol=0.05, rtol=0)
    assert float(network(points).orthogonality_penalty.detach()) < 0.1
    torch.nn.init.normal_(network.align_features.map.weight, std=0.1)
    h = network.first(points @ network.align_points(points))
    a = network.align_features(h)
    expected = torch.stack([torch.linalg.norm(torch.eye(8) - m @ m.T) ** 2 for m in a]).mean()
    torch.testing.assert_close(network(points).orthogonality_penalty, expected)


def test_a_shared_mlp_is_the_same_at_every_point() -> None:
    mlp = SharedMLP([3, 5, 4]).eval()
    x = torch.randn(2, 6, 7, 3)
    torch.testing.assert_close(mlp(x)[1, 4, 2], mlp(x[1, 4, 2:3])[0])

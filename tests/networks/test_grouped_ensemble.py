"""Grouped and vectorized ensembles against their members one by one; float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from zoo.networks import MLP, Normalize
from zoo.networks.conv_stack import ConvStack, GlobalPool
from zoo.networks.ensemble import vmap_members
from zoo.networks.grouped_ensemble import can_group, grouped_forward

Make = Callable[[], nn.Module]


def stack(**options: object) -> nn.Module:
    return ConvStack((2, 9, 9), (4, 6), **options)  # type: ignore[arg-type]


NETWORKS: dict[str, Make] = {
    "mlp": lambda: MLP([162, 16, 8, 3], "tanh"),
    "mlp with norm": lambda: MLP([162, 16, 3], normalization="batch"),
    "cnn": lambda: nn.Sequential(Normalize(0.5, 2.0), stack(), nn.Flatten(), nn.Linear(24, 3)),
    "circular": lambda: nn.Sequential(
        stack(padding_mode="circular", normalization="batch", pool_size=1),
        GlobalPool("avg"),
        MLP([6, 3]),
    ),
    "norm first": lambda: nn.Sequential(
        nn.BatchNorm2d(2), stack(), nn.Flatten(), nn.BatchNorm1d(24), nn.Linear(24, 3)
    ),
    "norm of flat input": lambda: nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(162), nn.Linear(162, 3)
    ),
    "averaged": lambda: nn.Sequential(
        stack(pooling="avg", pool_size=(2, 3), padding="full", padding_mode="circular"),
        nn.Flatten(),
        nn.Linear(24, 3),
    ),
    "overlapping averages": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 2), nn.AvgPool2d(3, 2), nn.Flatten(), nn.Linear(36, 3)
    ),
    "averages that do not merge": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 2, padding="same"),
        nn.AvgPool2d(2, padding=1),
        nn.Flatten(),
        nn.Linear(100, 3),
    ),
    "pooled input": lambda: nn.Sequential(GlobalPool("avg"), nn.Linear(2, 3)),
    "strided": lambda: nn.Sequential(
        stack(stride=2, padding="full", pooling="avg"), GlobalPool("max"), nn.Linear(6, 3, False)
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("run", [grouped_forward, vmap_members])
def test_outputs_gradients_and_buffers_equal_those_of_single_members(
    name: str, run: Callable[..., torch.Tensor]
) -> None:
    members = [NETWORKS[name]().double().train() for _ in range(3)]
    alone = copy.deepcopy(members)
    assert can_group(members[0])
    x = torch.randn(7, 2, 9, 9).double()
    together = run(members, x)
    one_by_one = torch.stack([member(x) for member in alone])
    torch.testing.assert_close(together, one_by_one, atol=1e-12, rtol=0)
    together.square().sum().backward()
    one_by_one.square().sum().backward()
    for member, single in zip(members, alone, strict=True):
        for p, q in zip(member.parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, atol=1e-10, rtol=0)
        for b, c in zip(member.buffers(), single.buffers(), strict=True):
            torch.testing.assert_close(b, c, atol=1e-12, rtol=0)
        member.eval()
        single.eval()
    evaluated = torch.stack([member(x) for member in alone])
    torch.testing.assert_close(run(members, x), evaluated, atol=1e-12, rtol=0)


def test_members_have_different_dropout_masks_for_the_same_input() -> None:
    network = MLP([8, 2], input_dropout=0.5)
    members = [network, copy.deepcopy(network)]
    first, second = grouped_forward(members, torch.ones(20, 8))
    assert not torch.equal(first, second)
    maps = nn.Sequential(nn.Dropout2d(0.5), nn.Conv2d(8, 3, 3), nn.Flatten(), nn.Linear(108, 2))
    first, second = grouped_forward([maps, copy.deepcopy(maps)], torch.ones(20, 8, 8, 8))
    assert not torch.equal(first, second)
    members = [maps.eval(), copy.deepcopy(maps).eval()]
    first, second = grouped_forward(members, torch.ones(20, 8, 8, 8))
    assert torch.equal(first, second)


def test_networks_that_cannot_be_grouped() -> None:
    assert not can_group(MLP([8, 4, 2], "scaled_sigmoid"))
    assert not can_group(MLP([8, 4, 2], normalization="layer"))
    assert not can_group(nn.Conv2d(4, 4, 3, groups=2))
    assert not can_group(nn.GRU(4, 4))
    assert not can_group(nn.BatchNorm2d(4, momentum=None))

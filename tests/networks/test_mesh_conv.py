"""Convolutions on templates: formulas, pooling, other numbers of the same vertices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from datamodules.bodies import body
from zoo.functional.templates import coarsen_mesh, spiral_indices
from zoo.networks.mesh_conv import (
    CONV_TYPES,
    MeshHierarchy,
    MeshPool,
    MeshUnpool,
    SpiralConv,
    mesh_decoder,
    mesh_encoder,
)

REST = body()


def test_a_spiral_convolution_is_a_linear_map_of_its_spiral() -> None:
    torch.manual_seed(0)
    walk = spiral_indices(REST.vertices, REST.faces, 7)
    conv = SpiralConv(walk, 3, 5).double()
    x = torch.randn(2, len(REST.vertices), 3, dtype=torch.float64)
    vertex = 123
    expected = conv.linear(x[:, walk[vertex]].flatten(1))
    torch.testing.assert_close(conv(x)[:, vertex], expected)


def test_what_is_kept_comes_back() -> None:
    coarser = coarsen_mesh(REST.vertices, REST.faces, 200)
    x = torch.randn(2, len(REST.vertices), 3, dtype=torch.float64)
    pooled = MeshPool(coarser)(x)
    back = MeshUnpool(coarser)(pooled)
    torch.testing.assert_close(back[:, coarser.kept], pooled, rtol=0, atol=1e-12)
    ones = torch.ones(1, 200, 1, dtype=torch.float64)
    torch.testing.assert_close(
        MeshUnpool(coarser)(ones), torch.ones(1, len(REST.vertices), 1).double()
    )


@pytest.mark.parametrize("kind", CONV_TYPES)
def test_a_template_by_other_numbers(kind: str) -> None:
    """Same weights, vertices renumbered and faces shuffled: codes stay, outputs move along."""
    order = torch.randperm(len(REST.vertices), generator=torch.Generator().manual_seed(0))
    shuffled = order.argsort()[REST.faces][torch.randperm(len(REST.faces))].roll(1, 1)

    def networks(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        levels = MeshHierarchy(vertices, faces, (4, 4), kind, 5)
        return (
            mesh_encoder(levels, (4, 6), 3, "elu").double(),
            mesh_decoder(levels, (4, 6), 3, "elu").double(),
        )

    encoder, decoder = networks(REST.vertices, REST.faces)
    encoder_, decoder_ = networks(REST.vertices[order], shuffled)
    x = torch.randn(2, len(REST.vertices), 3, dtype=torch.float64)
    z = encoder(x)
    torch.testing.assert_close(encoder_(x[:, order]), z, rtol=0, atol=1e-10)
    torch.testing.assert_close(decoder_(z), decoder(z)[:, order], rtol=0, atol=1e-10)


def test_bad_levels() -> None:
    with pytest.raises(ValueError, match="unknown network 'dense'; choose from spiral, cheb"):
        MeshHierarchy(REST.vertices, REST.faces, (4,), "dense", 5)
    with pytest.raises(ValueError, match=r"pooling \(40, 40\) leaves fewer than 4 of 1046"):
        MeshHierarchy(REST.vertices, REST.faces, (40, 40), "cheb", 5)

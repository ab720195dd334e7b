"""Convolutions on template meshes: formulas, pooling, permutations of the vertices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from datamodules.articulated_body import build_body
from zoo.errors import InputError
from zoo.functional.templates import coarsen_mesh, spiral_indices
from zoo.networks.mesh_conv import (
    CONV_TYPES,
    MeshHierarchy,
    MeshPool,
    MeshUnpool,
    SpiralConv,
    make_mesh_decoder,
    make_mesh_encoder,
)

REST = build_body()


def test_a_spiral_convolution_is_a_linear_map_of_features_along_the_spiral() -> None:
    torch.manual_seed(0)
    spiral = spiral_indices(REST.vertices, REST.faces, 7)
    conv = SpiralConv(spiral, 3, 5).double()
    x = torch.randn(2, len(REST.vertices), 3, dtype=torch.float64)
    vertex = 123
    expected = conv.linear(x[:, spiral[vertex]].flatten(1))
    torch.testing.assert_close(conv(x)[:, vertex], expected)


def test_unpooling_restores_kept_vertices_and_constants() -> None:
    coarser = coarsen_mesh(REST.vertices, REST.faces, 200)
    x = torch.randn(2, len(REST.vertices), 3, dtype=torch.float64)
    pooled = MeshPool(coarser)(x)
    unpooled = MeshUnpool(coarser)(pooled)
    torch.testing.assert_close(unpooled[:, coarser.kept], pooled, rtol=0, atol=1e-12)
    ones = torch.ones(1, 200, 1, dtype=torch.float64)
    torch.testing.assert_close(
        MeshUnpool(coarser)(ones), torch.ones(1, len(REST.vertices), 1).double()
    )


@pytest.mark.parametrize("conv_type", CONV_TYPES)
def test_permuted_vertices_and_faces_give_equal_codes_and_permuted_outputs(conv_type: str) -> None:
    order = torch.randperm(len(REST.vertices), generator=torch.Generator().manual_seed(0))
    shuffled = order.argsort()[REST.faces][torch.randperm(len(REST.faces))].roll(1, 1)

    def networks(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        hierarchy = MeshHierarchy(vertices, faces, (4, 4), conv_type, 5)
        return (
            make_mesh_encoder(hierarchy, (4, 6), 3, "elu").double(),
            make_mesh_decoder(hierarchy, (4, 6), 3, "elu").double(),
        )

    encoder, decoder = networks(REST.vertices, REST.faces)
    permuted_encoder, permuted_decoder = networks(REST.vertices[order], shuffled)
    x = torch.randn(2, len(REST.vertices), 3, dtype=torch.float64)
    z = encoder(x)
    torch.testing.assert_close(permuted_encoder(x[:, order]), z, rtol=0, atol=1e-10)
    torch.testing.assert_close(permuted_decoder(z), decoder(z)[:, order], rtol=0, atol=1e-10)


def test_invalid_hierarchies() -> None:
    with pytest.raises(InputError, match="unknown conv_type 'dense'; choose from spiral, cheb"):
        MeshHierarchy(REST.vertices, REST.faces, (4,), "dense", 5)
    with pytest.raises(InputError, match=r"pooling factors \(40, 40\) leave fewer than 4 of 1046"):
        MeshHierarchy(REST.vertices, REST.faces, (40, 40), "cheb", 5)

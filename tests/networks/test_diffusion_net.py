"""DiffusionNet: its parts against formulas, and its invariances."""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.articulated_body import build_body
from datamodules.isometric import OUTLINES, bend, make_sheet
from zoo.functional.spectral import (
    MeshOperators,
    cotangent_laplacian,
    heat_kernel_signature,
    spectral_operators,
    vertex_masses,
)
from zoo.networks.diffusion_net import DiffusionNet, GradientFeatures, HeatDiffusion, SurfaceBatch

TIMES = torch.logspace(-2.5, -0.5, 5, dtype=torch.float64)


def make_batch(*meshes: MeshOperators) -> SurfaceBatch:
    sizes = [len(mesh.mass) for mesh in meshes]
    starts = torch.tensor([0, *sizes]).cumsum(0)
    return SurfaceBatch(
        torch.cat([m.mass for m in meshes]),
        torch.stack([m.eigenvalues for m in meshes]),
        torch.cat([m.eigenvectors for m in meshes]),
        torch.cat([m.grad_index + s for m, s in zip(meshes, starts[:-1], strict=True)], 1),
        torch.cat([m.grad for m in meshes], 1),
        sizes,
    )


def signature(mesh: MeshOperators) -> Tensor:
    return heat_kernel_signature(mesh.eigenvalues, mesh.eigenvectors, TIMES)


def net(in_dim: int = 5) -> DiffusionNet:
    torch.manual_seed(0)
    return DiffusionNet(in_dim, 4, width=8, blocks=2).double()


def test_diffusion_is_the_heat_equation() -> None:
    """With all eigenfunctions, diffusion is exp(−t M⁻¹ L) f."""
    flat, faces = make_sheet(("##", "##"), 2)
    area = 16.0
    surface = make_batch(spectral_operators(flat, faces, len(flat) - 2))
    layer = HeatDiffusion(3).double()
    t = torch.tensor([0.05, 0.1, 0.4], dtype=torch.float64)
    layer.log_time.data = t.log()
    f = torch.randn(len(flat), 3, generator=torch.Generator().manual_seed(0)).double()
    mass = vertex_masses(flat, faces) / area
    heat = cotangent_laplacian(flat, faces).to_dense() / mass[:, None]
    expected = torch.stack(
        [torch.linalg.matrix_exp(-time * heat) @ f[:, i] for i, time in enumerate(t)], 1
    )
    found = layer(f, surface).detach()
    # 2 of 25 eigenfunctions are missing, those that decay fastest
    assert float((found - expected)[:, 0].abs().max()) < 0.02
    assert float((found - expected)[:, 1:].abs().max()) < 1e-4
    torch.testing.assert_close(surface.mass @ found, surface.mass @ f)  # heat is conserved


def test_gradient_features_do_not_depend_on_the_tangent_axes() -> None:
    torch.manual_seed(0)
    layer = GradientFeatures(6).double()
    gradient = torch.randn(2, 10, 6, dtype=torch.float64)
    angle = torch.rand(10, 1, dtype=torch.float64) * 6
    x, y = gradient
    rotated = torch.stack([angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y])
    torch.testing.assert_close(layer(rotated), layer(gradient), rtol=0, atol=1e-12)


def test_outputs_do_not_depend_on_the_signs_of_eigenvectors() -> None:
    rest = build_body()
    mesh = spectral_operators(rest.vertices, rest.faces, 20)
    signs = torch.where(torch.rand(20, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)
    flipped = mesh._replace(eigenvectors=mesh.eigenvectors * signs)
    assert float((signs < 0).sum()) > 3
    model = net()
    outputs = model(signature(mesh), make_batch(mesh))
    flipped_outputs = model(signature(flipped), make_batch(flipped))
    torch.testing.assert_close(outputs, flipped_outputs, rtol=0, atol=1e-12)


def test_outputs_are_permuted_with_the_vertices() -> None:
    rest = build_body()
    order = torch.randperm(len(rest.vertices), generator=torch.Generator().manual_seed(0))
    shuffled = order.argsort()[rest.faces][torch.randperm(len(rest.faces))].roll(1, 1)
    mesh = spectral_operators(rest.vertices, rest.faces, 20)
    permuted = spectral_operators(rest.vertices[order], shuffled, 20)
    model = net()
    torch.testing.assert_close(
        model(signature(permuted), make_batch(permuted)),
        model(signature(mesh), make_batch(mesh))[order],
        rtol=0,
        atol=1e-7,
    )
    # with the same eigenvectors, permuted, outputs differ only by rounding
    index = order.argsort()[mesh.grad_index]
    permuted = MeshOperators(
        mesh.mass[order], mesh.eigenvalues, mesh.eigenvectors[order], index, mesh.grad
    )
    torch.testing.assert_close(
        model(signature(permuted), make_batch(permuted)),
        model(signature(mesh), make_batch(mesh))[order],
        rtol=0,
        atol=1e-12,
    )


def test_outputs_are_invariant_to_folding() -> None:
    flat, faces = make_sheet(OUTLINES["ring"], 2)
    sheet_mesh = spectral_operators(flat, faces, 20)
    folded = spectral_operators(bend(flat, 0, {8: 1.57, 3: -1.0}), faces, 20)
    model = net()
    torch.testing.assert_close(
        model(signature(folded), make_batch(folded)),
        model(signature(sheet_mesh), make_batch(sheet_mesh)),
        rtol=0,
        atol=1e-8,
    )


def test_a_batch_equals_its_meshes_one_by_one() -> None:
    meshes = [
        spectral_operators(*make_sheet(OUTLINES[name], 2), 16) for name in ("L", "ring", "strip")
    ]
    model = net()
    together = model(torch.cat([signature(m) for m in meshes]), make_batch(*meshes))
    alone = torch.cat([model(signature(m), make_batch(m)) for m in meshes])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    batch = make_batch(*meshes)
    means = batch.mean(together)
    assert means.shape == (3, 4)
    torch.testing.assert_close(
        means[1], make_batch(meshes[1]).mean(alone[batch.sizes[0] :][: batch.sizes[1]])[0]
    )


def test_gradients_are_deterministic() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rest = build_body()
        mesh = spectral_operators(rest.vertices, rest.faces, 20)
        model, x, surface = net(), signature(mesh), make_batch(mesh)

        def gradient() -> Tensor:
            model.zero_grad()
            model(x, surface).square().sum().backward()
            return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

        first = gradient()
        assert all(torch.equal(first, gradient()) for _ in range(10))
    finally:
        torch.set_num_threads(threads)

"""Norm balls: norms, projections, steepest steps and random points."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.functional.norm_balls import (
    NORMS,
    delta_norm,
    project_to_ball,
    steepest_direction,
    uniform_in_ball,
)
from zoo.functional.rng import SampleRNG


def far() -> Tensor:
    """Perturbations outside the balls of the tests."""
    return 3 * torch.randn(50, 6, 3, dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
def test_a_projection_is_the_nearest_point(norm: str) -> None:
    delta = far()
    near = project_to_ball(delta, 0.7, norm)
    assert (delta_norm(near, norm) - 0.7).abs().max() < 1e-12
    torch.testing.assert_close(project_to_ball(near, 0.7, norm), near)
    # no other point of the ball is nearer
    others = torch.stack([project_to_ball(far(), 0.7, norm) for _ in range(200)])
    assert ((others - delta).flatten(2).norm(dim=2) >= (near - delta).flatten(1).norm(dim=1)).all()
    inside = 0.01 * delta / delta_norm(delta, norm).view(-1, 1, 1)
    assert torch.equal(project_to_ball(inside, 0.7, norm), inside)
    per_sample = project_to_ball(delta, torch.linspace(0.1, 1, 50, dtype=torch.float64), norm)
    assert (delta_norm(per_sample, norm) - torch.linspace(0.1, 1, 50)).abs().max() < 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_no_step_of_norm_one_ascends_faster(norm: str) -> None:
    gradient = far()
    step = steepest_direction(gradient, norm)
    assert (delta_norm(step, norm) - 1).abs().max() < 1e-12
    others = torch.stack([project_to_ball(far(), 1.0, norm) for _ in range(200)])
    assert ((others * gradient).sum((2, 3)) <= (step * gradient).sum((1, 2)) + 1e-12).all()
    assert (steepest_direction(torch.zeros(2, 3), norm) == 0).all()


@pytest.mark.parametrize(("norm", "dims"), [("linf", 18), ("l2", 18), ("point", 3)])
def test_random_points_are_uniform_in_the_ball(norm: str, dims: int) -> None:
    """Half of the points have a norm below 2^(−1/d) ε; for linf, each coordinate is tested."""
    x = torch.rand(20_000, 6, 3, dtype=torch.float64)
    points = uniform_in_ball(SampleRNG(x), x, 2.0, norm)
    assert delta_norm(points, norm).max() <= 2.0
    assert points.mean(0).abs().max() < 0.05
    fraction = {
        "linf": (points.abs() < 1).double().mean(),
        "l2": (delta_norm(points, norm) < 2 * 0.5 ** (1 / dims)).double().mean(),
        "point": (points.norm(dim=-1) < 2 * 0.5 ** (1 / dims)).double().mean(),
    }[norm]
    assert fraction == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_points_by_their_formulas(dtype: torch.dtype) -> None:
    """In points (2, 5, 3): a coordinate is uniform, a direction Gaussian, a radius u^(1/d)."""
    x = torch.rand(2, 5, 3, dtype=dtype)
    uniform = SampleRNG(x, 3).uniform(5, 3, dtype=dtype)
    expected = 0.7 * (2 * uniform - 1)
    torch.testing.assert_close(uniform_in_ball(SampleRNG(x, 3), x, 0.7, "linf"), expected)
    rng = SampleRNG(x, 3)
    normal = rng.normal(5, 3, dtype=dtype)
    radius = rng.uniform(dtype=dtype) ** (1 / 15)
    direction = normal / normal.flatten(1).norm(dim=1).view(2, 1, 1)
    expected = 0.7 * radius.view(2, 1, 1) * direction
    torch.testing.assert_close(uniform_in_ball(SampleRNG(x, 3), x, 0.7, "l2"), expected)
    rng = SampleRNG(x, 3)
    normal = rng.normal(5, 3, dtype=dtype)
    radius = rng.uniform(5, dtype=dtype) ** (1 / 3)
    expected = 0.7 * radius[..., None] * normal / normal.norm(dim=2, keepdim=True)
    torch.testing.assert_close(uniform_in_ball(SampleRNG(x, 3), x, 0.7, "point"), expected)

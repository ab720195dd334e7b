"""Batched L-BFGS in a box, against closed forms and scipy's."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.functional.lbfgs import minimize


def test_quadratics_in_a_box() -> None:
    """Each row a problem of its own, ill-conditioned, against scipy's L-BFGS-B."""
    from scipy.optimize import minimize as reference

    torch.manual_seed(0)
    count, n = 6, 12
    roots = torch.randn(count, n, n, dtype=torch.float64)
    matrices = roots @ roots.mT + 0.1 * torch.eye(n, dtype=torch.float64)
    centers = 2 * torch.rand(count, n, dtype=torch.float64) - 0.5

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        away = x - centers[rows]
        slope = (matrices[rows] @ away[..., None])[..., 0]
        return 0.5 * (away * slope).sum(1), slope

    start = torch.full((count, n), 0.5, dtype=torch.float64)
    found = minimize(function, start, 0.0, 1.0, steps=300, tolerance=1e-9)
    assert found.min() >= 0
    assert found.max() <= 1
    for row in range(count):

        def single(x: object, row: int = row) -> tuple[float, object]:
            value, slope = function(torch.as_tensor(x)[None], torch.tensor([row]))
            return float(value), slope[0].numpy()

        best = reference(
            single, start[row].numpy(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * n,
            options={"ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        value = float(function(found[row : row + 1], torch.tensor([row]))[0])
        assert value <= best.fun + 1e-6 * abs(best.fun)


def test_rosenbrock_row_by_row() -> None:
    """Rows do not know of one another, and none ends above its start."""
    torch.manual_seed(1)

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        a, b = 1 - x[:, 0], x[:, 1] - x[:, 0].square()
        slope = torch.stack([-2 * a - 400 * x[:, 0] * b, 200 * b], 1)
        return a.square() + 100 * b.square(), slope

    start = 4 * torch.rand(9, 2, dtype=torch.float64) - 2
    found = minimize(function, start, -5.0, 5.0, steps=200, tolerance=1e-10)
    torch.testing.assert_close(found, torch.ones_like(found), atol=1e-6, rtol=0)
    alone = minimize(function, start[3:4], -5.0, 5.0, steps=200, tolerance=1e-10)
    torch.testing.assert_close(alone, found[3:4], atol=1e-9, rtol=0)
    few = minimize(function, start, -5.0, 5.0, steps=3)
    rows = torch.arange(9)
    assert (function(few, rows)[0] <= function(start, rows)[0]).all()

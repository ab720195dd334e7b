"""Batched L-BFGS with box constraints, compared with closed forms and with SciPy."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.functional.lbfgs import minimize_in_box


def test_quadratics_in_a_box() -> None:
    """Ill-conditioned quadratics, one per row, reach the minima that SciPy's L-BFGS-B finds."""
    from scipy.optimize import minimize

    torch.manual_seed(0)
    count, n = 6, 12
    roots = torch.randn(count, n, n, dtype=torch.float64)
    matrices = roots @ roots.mT + 0.1 * torch.eye(n, dtype=torch.float64)
    centers = 2 * torch.rand(count, n, dtype=torch.float64) - 0.5

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        offset = x - centers[rows]
        gradient = (matrices[rows] @ offset[..., None])[..., 0]
        return 0.5 * (offset * gradient).sum(1), gradient

    start = torch.full((count, n), 0.5, dtype=torch.float64)
    found = minimize_in_box(function, start, 0.0, 1.0, max_steps=300, tolerance_grad=1e-9)
    assert found.min() >= 0
    assert found.max() <= 1
    for row in range(count):

        def single(x: object, row: int = row) -> tuple[float, object]:
            value, gradient = function(torch.as_tensor(x)[None], torch.tensor([row]))
            return float(value), gradient[0].numpy()

        best = minimize(
            single, start[row].numpy(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * n,
            options={"ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        value = float(function(found[row : row + 1], torch.tensor([row]))[0])
        assert value <= best.fun + 1e-6 * abs(best.fun)


def test_rosenbrock_row_by_row() -> None:
    """Rows are independent of each other, and no row ends above its start."""
    torch.manual_seed(1)

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        a, b = 1 - x[:, 0], x[:, 1] - x[:, 0].square()
        gradient = torch.stack([-2 * a - 400 * x[:, 0] * b, 200 * b], 1)
        return a.square() + 100 * b.square(), gradient

    start = 4 * torch.rand(9, 2, dtype=torch.float64) - 2
    found = minimize_in_box(function, start, -5.0, 5.0, max_steps=200, tolerance_grad=1e-10)
    torch.testing.assert_close(found, torch.ones_like(found), atol=1e-6, rtol=0)
    single = minimize_in_box(function, start[3:4], -5.0, 5.0, max_steps=200, tolerance_grad=1e-10)
    torch.testing.assert_close(single, found[3:4], atol=1e-9, rtol=0)
    few_steps = minimize_in_box(function, start, -5.0, 5.0, max_steps=3)
    rows = torch.arange(9)
    assert (function(few_steps, rows)[0] <= function(start, rows)[0]).all()

"""L-BFGS on a batch of small independent problems with box constraints."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ARMIJO = 1e-4  # fraction of the decrease predicted by the gradient that a step must reach
MAX_TRIALS = 12  # step sizes tried in a line search, each half of the previous one
MIN_CURVATURE = 1e-10  # sᵀy below which a pair (s, y) is ignored

#: points (R, n) and the batch indices of their problems (R,) → values (R,) and gradients (R, n)
Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
#: s = x′ − x and y = g′ − g of one step, (R, n) each
Step = tuple[Tensor, Tensor]


@torch.no_grad()
def minimize_in_box(
    function: Function,
    start: Tensor,
    low: float,
    high: float,
    max_steps: int = 30,
    history_size: int = 8,
    tolerance_grad: float = 1e-5,
) -> Tensor:
    """Minimize one function per row subject to low ≤ x ≤ high, by projected L-BFGS.

    The direction is −H g, where H is the inverse Hessian approximated from the last steps of the
    row (two-loop recursion: Nocedal and Wright, Numerical optimization, 2006, algorithm 7.4).
    Coordinates at a bound whose descent direction points out of the box stay fixed. The step is
    halved until f(x′) ≤ f(x) + 10⁻⁴ g · (x′ − x) holds on the projected path (Bertsekas, 1982).
    Rows that have converged, or for which the line search finds no lower point, leave the batch.

    Args:
        function: takes points (R, n) and the batch indices of their rows (R,), and returns values
            (R,) and gradients (R, n).
        start: starting points inside the box, (B, n).
        low: lower bound of all coordinates.
        high: upper bound of all coordinates.
        max_steps: maximum number of steps, default 30.
        history_size: number of past steps from which H is approximated, default 8.
        tolerance_grad: a row has converged when no coordinate of its projected gradient is larger
            in absolute value, default 1e-5.

    Returns:
        the points found, (B, n), with values never above those of ``start``.
    """
    points = start.clone()
    rows = torch.arange(len(start), device=start.device)
    x = start
    value, gradient = function(x, rows)
    history: list[Step] = []  # oldest first
    for _ in range(max_steps):
        fixed = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
        free_gradient = gradient.masked_fill(fixed, 0.0)
        active = free_gradient.abs().amax(1) > tolerance_grad
        if not bool(active.all()):
            rows, x, value, gradient = rows[active], x[active], value[active], gradient[active]
            free_gradient, fixed = free_gradient[active], fixed[active]
            history = [(s[active], y[active]) for s, y in history]
            if not len(rows):
                break
        direction = -_inverse_hessian_product(free_gradient, history).masked_fill(fixed, 0.0)
        is_ascent = (direction * gradient).sum(1) >= 0
        direction = torch.where(is_ascent[:, None], -free_gradient, direction)
        if not history:  # without curvature information, try a step of norm 1
            direction = direction / free_gradient.norm(dim=1, keepdim=True)
        new_x, new_value, new_gradient, lower = _line_search(
            function, rows, x, value, gradient, direction, (low, high)
        )
        points[rows] = new_x
        history = [*history, (new_x - x, new_gradient - gradient)][-history_size:]
        rows, x, value, gradient = rows[lower], new_x[lower], new_value[lower], new_gradient[lower]
        history = [(s[lower], y[lower]) for s, y in history]
        if not len(rows):
            break
    return points


def _inverse_hessian_product(gradient: Tensor, history: list[Step]) -> Tensor:
    """Return H g; each row ignores its own steps of non-positive curvature."""
    q = gradient
    scaled: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for s, y in reversed(history):
        curvature = (s * y).sum(1, keepdim=True)
        rho = torch.where(curvature > MIN_CURVATURE, 1 / curvature.clamp(min=MIN_CURVATURE), 0.0)
        alpha = rho * (s * q).sum(1, keepdim=True)
        q = q - alpha * y
        scaled.append((s, y, rho, alpha))
    if history:
        s, y = history[-1]
        curvature, squared_norm = (s * y).sum(1, keepdim=True), y.square().sum(1, keepdim=True)
        scale = curvature / squared_norm.clamp(min=1e-12)
        q = q * torch.where(curvature > MIN_CURVATURE, scale, 1.0)
    for s, y, rho, alpha in reversed(scaled):
        q = q + s * (alpha - rho * (y * q).sum(1, keepdim=True))
    return q


def _line_search(
    function: Function,
    rows: Tensor,
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
    box: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return points, values and gradients after the step, and the mask of rows that decreased."""
    new_x, new_value, new_gradient = x.clone(), value.clone(), gradient.clone()
    lower = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    trying = torch.arange(len(x), device=x.device)
    step_size = 1.0
    for _ in range(MAX_TRIALS):
        candidate = (x[trying] + step_size * direction[trying]).clamp(*box)
        candidate_value, candidate_gradient = function(candidate, rows[trying])
        predicted = (gradient[trying] * (candidate - x[trying])).sum(1)
        accepted = (candidate_value <= value[trying] + ARMIJO * predicted) & (predicted < 0)
        chosen = trying[accepted]
        new_x[chosen], new_value[chosen] = candidate[accepted], candidate_value[accepted]
        new_gradient[chosen], lower[chosen] = candidate_gradient[accepted], True
        trying = trying[~accepted]
        if not len(trying):
            break
        step_size /= 2
    return new_x, new_value, new_gradient, lower

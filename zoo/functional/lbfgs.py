"""L-BFGS for many small problems at once, each inside a box."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ARMIJO = 1e-4  # share of the fall that the slope promises
HALVINGS = 12  # of a step, at most

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@torch.no_grad()
def minimize(
    function: Function,
    start: Tensor,
    low: float,
    high: float,
    steps: int = 30,
    history: int = 8,
    tolerance: float = 1e-5,
) -> Tensor:
    """Minimises a function of each row, low ≤ x ≤ high, by projected L-BFGS.

    The direction is −H g, with H the inverse Hessian that the last steps of that row suggest (two
    loops: Nocedal and Wright, Numerical optimization, 2006, algorithm 7.4); coordinates that sit at
    a bound and would leave the box stay where they are. The step is halved until
    f(x′) ≤ f(x) + 10⁻⁴ g · (x′ − x) on the projected path (Bertsekas, 1982). Rows that are done, or
    find no lower point, leave the batch.

    Args:
        function: of rows' points (R, n) and their numbers (R,): values (R,) and gradients (R, n).
        start: (B, n), inside the box.
        low, high: the box.
        steps: at most, default 30.
        history: steps remembered, default 8.
        tolerance: of the largest coordinate of the projected gradient, default 1e-5.

    Returns:
        The points found, (B, n), never worse than the start.
    """
    points = start.clone()
    rows = torch.arange(len(start), device=start.device)
    x = start
    value, gradient = function(x, rows)
    ways: list[tuple[Tensor, Tensor]] = []  # (s, y), the newest last
    for _ in range(steps):
        stuck = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
        free = gradient.masked_fill(stuck, 0.0)
        keep = free.abs().amax(1) > tolerance
        if not bool(keep.all()):
            rows, x, value, gradient = rows[keep], x[keep], value[keep], gradient[keep]
            free, stuck = free[keep], stuck[keep]
            ways = [(s[keep], y[keep]) for s, y in ways]
            if not len(rows):
                break
        direction = -_inverse_hessian(free, ways).masked_fill(stuck, 0.0)
        uphill = (direction * gradient).sum(1) >= 0
        direction = torch.where(uphill[:, None], -free, direction)
        if not ways:  # no scale is known yet
            direction = direction / free.norm(dim=1, keepdim=True)
        moved, new_value, new_gradient, fell = _line_search(
            function, rows, x, value, gradient, direction, (low, high)
        )
        points[rows] = moved
        ways = [*ways, (moved - x, new_gradient - gradient)][-history:]
        rows, x, value, gradient = rows[fell], moved[fell], new_value[fell], new_gradient[fell]
        ways = [(s[fell], y[fell]) for s, y in ways]
        if not len(rows):
            break
    return points


def _inverse_hessian(gradient: Tensor, ways: list[tuple[Tensor, Tensor]]) -> Tensor:
    """H g; ways of negative curvature are left out, row by row."""
    q = gradient
    known: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for s, y in reversed(ways):
        curvature = (s * y).sum(1, keepdim=True)
        rho = torch.where(curvature > 1e-10, 1 / curvature.clamp(min=1e-10), 0.0)
        alpha = rho * (s * q).sum(1, keepdim=True)
        q = q - alpha * y
        known.append((s, y, rho, alpha))
    if ways:
        s, y = ways[-1]
        curvature, length = (s * y).sum(1, keepdim=True), y.square().sum(1, keepdim=True)
        q = q * torch.where(curvature > 1e-10, curvature / length.clamp(min=1e-12), 1.0)
    for s, y, rho, alpha in reversed(known):
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
    """Points, values and gradients after the step, and which rows found a lower point."""
    moved, new_value, new_gradient = x.clone(), value.clone(), gradient.clone()
    fell = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    trying = torch.arange(len(x), device=x.device)
    length = 1.0
    for _ in range(HALVINGS):
        point = (x[trying] + length * direction[trying]).clamp(*box)
        found, slope = function(point, rows[trying])
        promised = (gradient[trying] * (point - x[trying])).sum(1)
        good = (found <= value[trying] + ARMIJO * promised) & (promised < 0)
        chosen = trying[good]
        moved[chosen], new_value[chosen] = point[good], found[good]
        new_gradient[chosen], fell[chosen] = slope[good], True
        trying = trying[~good]
        if not len(trying):
            break
        length /= 2
    return moved, new_value, new_gradient, fell

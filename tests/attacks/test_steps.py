"""Every step of the attacks, against independent implementations of their formulas in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.attacks.conftest import Case
from zoo.attacks import (
    APGD,
    BIM,
    FGSM,
    PGD,
    CarliniWagner,
    DeepFool,
    LBFGSAttack,
    RandomFGSM,
    Square,
    Targeted,
)
from zoo.attacks.apgd import APGDState, step_size_checkpoints, update_step_size
from zoo.attacks.base import ScoreFunction
from zoo.attacks.goals import Goal
from zoo.attacks.gradient import FeasibleSet
from zoo.attacks.square import bump
from zoo.functional.norm_balls import uniform_in_ball
from zoo.functional.rng import SampleRNG

Model = Callable[[Tensor], Tensor]


def margin(scores: Tensor, y: int) -> Tensor:
    """Return max_{j≠y} z_j − z_y of one sample's scores, (1, K)."""
    others = torch.cat([scores[0, :y], scores[0, y + 1 :]])
    return others.max() - scores[0, y]


def loss_and_gradient(model: Model, x: Tensor, y: int) -> tuple[float, Tensor]:
    """Return log Σ_{j≠y} exp z_j − z_y of one sample, (1, ...), and its gradient."""
    inputs = x.clone().requires_grad_()
    scores = model(inputs)[0]
    loss = torch.cat([scores[:y], scores[y + 1 :]]).exp().sum().log() - scores[y]
    return float(loss.detach()), torch.autograd.grad(loss, inputs)[0]


def recorded(model: Model) -> tuple[Model, list[Tensor]]:
    """Return a function equal to the model, and the list of its inputs."""
    inputs: list[Tensor] = []

    def function(x: Tensor) -> Tensor:
        inputs.append(x.detach().clone())
        return model(x)

    return function, inputs


# -- PGD -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attack", "alpha"),
    [
        (PGD(eps=0.2), 2.5 * 0.2 / 40),
        (PGD(eps=0.2, steps=8), 2.5 * 0.2 / 8),
        (BIM(eps=0.2), 2.5 * 0.2 / 10),
        (FGSM(eps=0.2), 0.2),
        (RandomFGSM(eps=0.2), 1.25 * 0.2),
        (PGD(eps=0.2, step_size=0.07), 0.07),
        (FGSM(eps=0.2, step_size=0.07), 0.07),
        (RandomFGSM(eps=0.2, step_size=0.07), 0.07),
    ],
)
def test_default_step_sizes(attack: PGD, alpha: float) -> None:
    """The first step moves every coordinate of a linear model by α."""
    assert attack.alpha == pytest.approx(alpha, rel=1e-12)
    w = torch.tensor([[1.0, -2.0, 3.0], [-3.0, 1.0, 1.0]], dtype=torch.float64)
    function, inputs = recorded(lambda x: x @ w.T)
    x = torch.full((1, 3), 0.5, dtype=torch.float64)
    steps = BIM(eps=0.9, step_size=attack.alpha, steps=2, early_stop=False)
    steps(function, x, torch.tensor([0]))
    expected = 0.5 + alpha * torch.tensor([[-1.0, 1.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(inputs[1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_follows_its_formula(norm: str, images: Case) -> None:
    """x ← clip(Π(x + α steepest(∇L))) from a random point, without early stopping."""
    model, x, y = images
    eps, steps = (0.2, 6) if norm == "linf" else (1.0, 6)
    x_adv = PGD(eps=eps, norm=norm, steps=steps, early_stop=False, seed=3)(model, x, y)
    for i in range(4):
        own = x[i : i + 1]
        point = (own + uniform_in_ball(SampleRNG(own, 3), own, eps, norm)).clamp(0, 1)
        for _ in range(steps):
            _, gradient = loss_and_gradient(model, point, int(y[i]))
            step = gradient.sign() if norm == "linf" else gradient / gradient.norm()
            delta = point + 2.5 * eps / steps * step - own
            delta = delta.clamp(-eps, eps) if norm == "linf" else delta * min(1, eps / delta.norm())
            point = (own + delta).clamp(0, 1)
        torch.testing.assert_close(x_adv[i : i + 1], point, rtol=0, atol=1e-10)


def test_random_fgsm_follows_its_formula(images: Case) -> None:
    """The start x + u is not clipped to the bounds, the result is."""
    model, x, y = images
    x_adv = RandomFGSM(eps=0.3, seed=2)(model, x, y)
    for i in range(4):
        own = x[i : i + 1]
        start = own + uniform_in_ball(SampleRNG(own, 2), own, 0.3, "linf")
        _, gradient = loss_and_gradient(model, start, int(y[i]))
        delta = (start + 1.25 * 0.3 * gradient.sign() - own).clamp(-0.3, 0.3)
        torch.testing.assert_close(x_adv[i : i + 1], (own + delta).clamp(0, 1), rtol=0, atol=1e-10)


# -- APGD ------------------------------------------------------------------------------------------


def auto_pgd(model: Model, x: Tensor, y: int, start: Tensor, eps: float, steps: int) -> Tensor:
    """Algorithm 1 of Croce and Hein for one sample in the norm linf, without early stopping."""

    def project(point: Tensor) -> Tensor:
        return torch.min(torch.max(point, x - eps), x + eps).clamp(0, 1)

    fractions = [0.0, 0.22]
    while fractions[-1] < 1:
        fractions.append(fractions[-1] + max(fractions[-1] - fractions[-2] - 0.03, 0.06))
    checkpoints = [math.ceil(round(p * steps, 6)) for p in fractions[1:]]
    points, losses, gradients = [start], *([value] for value in loss_and_gradient(model, start, y))
    best, eta, last, best_at_last, was_halved = 0, 2 * eps, 0, losses[0], True
    previous = start
    history = [losses[0]]  # loss at the point of every step, after any return to the best
    rises: list[bool] = []
    point, gradient = start, gradients[0]
    for k in range(steps):
        if k in checkpoints:
            rarely = sum(rises[last:k]) < 0.75 * (k - last)
            unchanged = not was_halved and losses[best] == best_at_last
            was_halved = rarely or unchanged
            if was_halved:
                eta /= 2
                point = previous = points[best]
                gradient = gradients[best]
                history[-1] = losses[best]
            last, best_at_last = k, losses[best]
        ahead = project(point + eta * gradient.sign())
        weight = 1.0 if k == 0 else 0.75
        moved = project(point + weight * (ahead - point) + (1 - weight) * (point - previous))
        previous, point = point, moved
        loss, gradient = loss_and_gradient(model, point, y)
        rises.append(loss > history[-1])
        history.append(loss)
        points.append(point)
        losses.append(loss)
        gradients.append(gradient)
        best = len(losses) - 1 if loss > losses[best] else best
    return points[best]


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_auto_pgd_follows_its_algorithm(steps: int, images: Case) -> None:
    model, x, y = images
    attack = APGD(eps=0.15, steps=steps, early_stop=False, seed=4)
    x_adv = attack(model, x, y)
    for i in range(5):
        own = x[i : i + 1]
        expected = auto_pgd(model, own, int(y[i]), attack.starting_point(own), 0.15, steps)
        torch.testing.assert_close(x_adv[i : i + 1], expected, rtol=0, atol=1e-9)


def test_checkpoints_of_auto_pgd() -> None:
    """The fractions 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of all steps."""
    assert step_size_checkpoints(100) == {22, 41, 57, 70, 80, 87, 93, 99, 105}
    assert step_size_checkpoints(10) == {3, 5, 6, 7, 8, 9, 10, 11}


def test_auto_pgd_returns_to_the_best_point_where_progress_has_stalled() -> None:
    """Sample 0 rose in ¾ of the steps and improved; 1 rose too rarely; 2 did not improve."""
    x = torch.zeros(3, 2, dtype=torch.float64)

    def rows(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    state = APGDState(
        feasible=FeasibleSet(x, APGD(eps=1.0), ScoreFunction(lambda x: x)),
        point=x + 1, previous=x + 2, gradient=x + 3,
        loss=rows(0.1, 0.2, 0.3), best=x + 4, best_gradient=x + 5, best_loss=rows(1, 2, 3),
        step_size=rows(0.8, 0.8, 0.8), increases=rows(3, 2, 4),
        checkpoint_loss=rows(0.5, 0.5, 3), was_halved=torch.tensor([False, True, False]),
    )  # fmt: skip
    update_step_size(state, 4)
    assert state.step_size.tolist() == [0.8, 0.4, 0.4]
    assert state.point[:, 0].tolist() == [1, 4, 4]
    assert state.previous[:, 0].tolist() == [2, 4, 4]
    assert state.gradient[:, 0].tolist() == [3, 5, 5]
    assert state.loss.tolist() == [0.1, 2, 3]
    assert state.checkpoint_loss.tolist() == [1, 2, 3]
    assert state.was_halved.tolist() == [False, True, True]
    assert state.increases.tolist() == [0, 0, 0]
    # after a checkpoint at which the step size was halved, an unchanged best loss is no reason
    state.increases = rows(4, 4, 4)
    update_step_size(state, 4)
    assert state.step_size.tolist() == [0.4, 0.4, 0.4]


# -- Square ----------------------------------------------------------------------------------------

#: p / p_init after a fraction of the queries, as in the authors' code for 10,000 queries
SQUARE_SCHEDULE = {
    1: 1, 10: 1, 11: 2, 50: 2, 51: 4, 200: 4, 201: 8, 500: 8, 501: 16, 1_000: 16, 1_001: 32,
    2_000: 32, 2_001: 64, 4_000: 64, 4_001: 128, 6_000: 128, 6_001: 256, 8_000: 256, 8_001: 512,
    9_999: 512,
}  # fmt: skip


@pytest.mark.parametrize("queries", [10_000, 5_000])
def test_the_area_of_squares_is_halved_on_the_published_schedule(queries: int) -> None:
    x = torch.zeros(1, 1, 224, 300)
    for query, divisor in SQUARE_SCHEDULE.items():
        if query * queries % 10_000:
            continue
        side = round(math.sqrt(0.8 / divisor * 224 * 300))
        at = query * queries // 10_000
        assert Square(eps=1.0, queries=queries)._side(x, at) == min(side, 223), query
        odd = max(3, side if side % 2 else side + 1)
        assert Square(eps=1.0, queries=queries, norm="l2")._side(x, at) == min(odd, 224), query
    half = Square(eps=1.0, initial_fraction=0.2, queries=queries)
    assert half._side(x, 1) == round(math.sqrt(0.2 * 224 * 300))
    tiny = torch.zeros(1, 1, 4, 4)
    assert Square(eps=1.0, queries=queries)._side(tiny, queries) == 1
    assert Square(eps=1.0, queries=queries, norm="l2")._side(tiny, queries) == 3


def test_the_bump_of_square_by_hand() -> None:
    """Two hills of concentric rectangles with weights 1/(k+1)², the second one negative."""
    like = torch.zeros(1, dtype=torch.float64)
    row = [0.25, 1.25, 0.25]
    hills = torch.tensor([row, row, row], dtype=torch.float64)
    hills[1:] *= -1
    torch.testing.assert_close(bump(3, like), hills / hills.norm())
    ninth = 1 / 9
    row = [ninth, 0.25 + ninth, 1.25 + ninth, 0.25 + ninth, ninth]
    edge = [ninth, 0.25 + ninth, 0.25 + ninth, 0.25 + ninth, ninth]
    hills = torch.tensor([row, row, edge, row, edge], dtype=torch.float64)
    hills[2:] *= -1
    torch.testing.assert_close(bump(5, like), hills / hills.norm())


def random_window(rng: SampleRNG, x: Tensor, side: int) -> tuple[Any, ...]:
    """Sample the position of a square in one image, the row first."""
    top = int(rng.integers(1)) % (x.shape[2] - side + 1)
    left = int(rng.integers(1)) % (x.shape[3] - side + 1)
    return ..., slice(top, top + side), slice(left, left + side)


def square_search(model: Model, x: Tensor, y: int, attack: Square) -> Tensor:
    """Random search of Andriushchenko et al. for one image (1, C, H, W), norm linf."""
    rng = SampleRNG(x, attack.seed)
    channels, _, width = x.shape[1:]
    best = (x + attack.eps * rng.signs(channels, 1, width, dtype=x.dtype)).clamp(0, 1)
    loss = float(margin(model(best), y))
    for query in range(1, attack.queries):
        if loss > 0:
            break
        window = random_window(rng, x, attack._side(x, query))
        candidate = best.clone()
        signs = rng.signs(channels, 1, 1, dtype=x.dtype)
        candidate[window] = (x + attack.eps * signs).clamp(0, 1)[window]
        new = float(margin(model(candidate), y))
        if new > loss:
            best, loss = candidate, new
    return best


@torch.no_grad()
def test_square_follows_its_algorithm(images: Case) -> None:
    model, x, y = images
    attack = Square(eps=0.1, queries=60, seed=5)
    x_adv = attack(model, x, y)
    for i in range(6):
        expected = square_search(model, x[i : i + 1], int(y[i]), attack)
        torch.testing.assert_close(x_adv[i : i + 1], expected, rtol=0, atol=1e-12)


def test_square_l2_starts_from_a_grid_of_bumps() -> None:
    """16 // 5 = 3: 5 × 5 bumps of equal energy in each channel, and an empty margin."""
    x = torch.rand(2, 3, 16, 17, dtype=torch.float64)
    attack = Square(eps=1.5, norm="l2", bounds=None)
    delta = attack._starting_point(x, SampleRNG(x, 0)) - x
    signs = SampleRNG(x, 0).signs(3, 5, 5, dtype=x.dtype)
    expected = torch.zeros_like(x)
    for row in range(5):
        for column in range(5):
            tile = signs[:, :, row, column, None, None] * bump(3, x) * 1.5 / math.sqrt(75)
            expected[..., 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = tile
    torch.testing.assert_close(delta, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_square_l2_moves_energy(scale: float) -> None:
    """Algorithm 3: both squares are emptied; their energy and the unused budget fill one of them.

    With half of the norm, three quarters of the energy are unused. The result is on the sphere.
    """
    torch.manual_seed(0)
    x = torch.rand(8, 3, 12, 10, dtype=torch.float64)
    delta = torch.randn_like(x)
    delta *= scale * 1.5 / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    attack = Square(eps=1.5, norm="l2", bounds=None)
    found = attack._propose(x, x + delta, SampleRNG(x, 1), 5) - x
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.full((8,), 1.5).double())
    for i in range(8):
        rng, before, after = SampleRNG(x[i : i + 1], 1), delta[i], delta[i].clone()
        target = random_window(rng, x, 5)
        signs = rng.signs(3, 1, 1, dtype=x.dtype)[0]
        source = random_window(rng, x, 5)
        shape = bump(5, x).mT if int(rng.integers(1)) % 2 else bump(5, x)
        after[target] = after[source] = 0
        unused = 1.5**2 - float(before.square().sum())
        energy = before.square().sum((1, 2)) - after.square().sum((1, 2)) + unused / 3
        new = signs * shape + before[target] / before[target].norm(dim=(1, 2), keepdim=True)
        new = new / new.norm(dim=(1, 2), keepdim=True)
        after[target] = new * energy.sqrt()[:, None, None]
        torch.testing.assert_close(found[i], after, rtol=0, atol=1e-12)


# -- minimum-norm attacks --------------------------------------------------------------------------


def deep_fool(model: Model, x: Tensor, y: int, p: float, overshoot: float, k: int) -> Tensor:
    """Algorithm 2 of Moosavi-Dezfooli et al. for one sample, with the k most likely classes."""
    total, point = torch.zeros_like(x), x
    while True:
        inputs = point.clone().requires_grad_()
        scores = model(inputs)[0]
        if int(scores.argmax()) != y:
            return point
        order = [int(c) for c in scores.argsort(descending=True) if int(c) != y][:k]
        steps = []
        for c in order:
            gap = scores[c] - scores[y]
            (w,) = torch.autograd.grad(gap, inputs, retain_graph=True)
            size = w.norm() if p == 2 else w.abs().sum()
            distance = float(gap.detach().abs() / size) + 1e-6
            steps.append((distance, distance * (w / size if p == 2 else w.sign())))
        total = total + min(steps, key=lambda step: step[0])[1]
        point = (x + (1 + overshoot) * total).clamp(0, 1)


@pytest.mark.parametrize(("norm", "p"), [("l2", 2.0), ("linf", torch.inf)])
@pytest.mark.parametrize(("overshoot", "k"), [(0.02, 10), (0.3, 1)])
def test_deep_fool_follows_its_algorithm(
    norm: str, p: float, overshoot: float, k: int, images: Case
) -> None:
    model, x, y = images
    x_adv = DeepFool(norm=norm, overshoot=overshoot, candidates=k)(model, x, y)
    for i in range(5):
        expected = deep_fool(model, x[i : i + 1], int(y[i]), p, overshoot, k)
        torch.testing.assert_close(x_adv[i : i + 1], expected, rtol=0, atol=1e-9)


def carlini_wagner(
    model: Model, x: Tensor, y: int, norm: str, confidence: float, steps: int, c: float, lr: float
) -> Tensor:
    """Minimize D(δ) + c (κ − margin)⁺ of one sample by torch's Adam; return the nearest success."""
    delta = torch.zeros_like(x).requires_grad_()
    optimizer = torch.optim.Adam([delta], lr)
    best, nearest, tau = x, math.inf, 0.0
    for _ in range(steps):
        lead = margin(model(x + delta), y)
        now = delta.detach()
        size = float({"l1": now.abs().sum(), "l2": now.norm(), "linf": now.abs().max()}[norm])
        gradients = {"l1": now.sign(), "l2": 2 * now, "linf": now.sign() * (now.abs() > tau)}
        gradient = gradients[norm].clone()
        if float(lead.detach()) > 0 and float(lead.detach()) >= confidence:
            if size < nearest:
                best, nearest = x + now, size
            tau = 0.9 * size if tau == 0 else min(tau, 0.9 * size)  # for the next step
        optimizer.zero_grad()
        (c * (confidence - lead).clamp(min=0)).backward()
        assert delta.grad is not None
        delta.grad += gradient
        optimizer.step()
        with torch.no_grad():
            delta.copy_((x + delta).clamp(0, 1) - x)
    return best


@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
@pytest.mark.parametrize("confidence", [0.0, 0.2])
def test_carlini_and_wagner_follow_their_formula(
    norm: str, confidence: float, images: Case
) -> None:
    """One minimization with a given c, without line search and early abort."""
    model, x, y = images
    attack = CarliniWagner(
        norm=norm, confidence=confidence, steps=60, patience=1_000, search_steps=1, initial_c=500.0,
        lr=0.02, line_search_steps=0,
    )  # fmt: skip
    x_adv = attack(model, x, y)
    for i in range(4):
        own = x[i : i + 1]
        expected = carlini_wagner(model, own, int(y[i]), norm, confidence, 60, 500.0, 0.02)
        torch.testing.assert_close(x_adv[i : i + 1], expected, rtol=0, atol=1e-8)
    moved = (x_adv != x).flatten(1).any(1)
    assert moved[:4].sum() >= 2


def test_the_search_for_c_of_carlini_and_wagner(
    images: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """c × 10 until a sample is adversarial, then by bisection, for each sample by itself."""
    model, x, y = images
    threshold = torch.tensor([0.5, 3.0, 70.0], dtype=torch.float64)
    tried: list[list[float]] = []

    def minimize(self: Any, model: Any, x: Tensor, goal: Goal, c: Tensor, *_: Tensor) -> Tensor:
        tried.append(c.tolist())
        return c >= threshold

    monkeypatch.setattr(CarliniWagner, "_minimize", minimize)
    CarliniWagner(search_steps=5, line_search_steps=0)(model, x[:3], y[:3])
    assert list(zip(*tried, strict=True)) == [
        (1, 0.5, 0.25, 0.375, 0.4375),
        (1, 10, 5.5, 3.25, 2.125),
        (1, 10, 100, 55, 77.5),
    ]


def test_the_search_for_c_of_the_lbfgs_attack(
    images: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """c × 10 until a sample is adversarial; then c / 10 above, or else bisection of log c."""
    model, x, _ = images
    found, wrong = torch.tensor([0.001, 0.05, 3.0], dtype=torch.float64), x.roll(1, 0)[:3]
    tried: list[list[float]] = []

    def minimize(self: Any, model: Any, x: Tensor, point: Tensor, goal: Goal, c: Tensor) -> Tensor:
        tried.append(c.tolist())
        return torch.where((c >= found).view(3, 1, 1, 1), wrong, x)

    monkeypatch.setattr(LBFGSAttack, "_minimize", minimize)
    labels = model(x[:3]).argmax(1)

    def by_sample(inputs: Tensor) -> Tensor:
        """Wrong exactly for the samples that ``minimize`` returns."""
        is_wrong = (inputs == wrong).flatten(1).all(1)
        return F.one_hot(torch.where(is_wrong, (labels + 1) % 4, labels), 4).double() * 5 - 1

    x_adv = LBFGSAttack(search_steps=4, line_search_steps=0)(by_sample, x[:3], labels)
    rows = list(zip(*tried, strict=True))
    assert rows[0] == pytest.approx((0.1, 0.01, 0.001, 0.0001))
    assert rows[1] == pytest.approx((0.1, 0.01, math.sqrt(0.001), math.sqrt(0.1 * 0.001**0.5)))
    assert rows[2] == pytest.approx((0.1, 1.0, 10.0, math.sqrt(10)))
    assert torch.equal(x_adv, wrong)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_targeted_deep_fool_steps_to_the_boundary_of_its_target(norm: str) -> None:
    """With a linear model, from the largest other class to the target, in a single step."""
    torch.manual_seed(0)
    w = torch.randn(4, 6, dtype=torch.float64)
    x = torch.randn(5, 6, dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        return x @ w.T

    y = model(x).argmax(1)
    target = model(x).argsort(1)[:, 2]  # the second most likely class: one step is enough
    x_adv = Targeted(DeepFool(norm=norm, bounds=None, overshoot=0.1), target)(model, x, y)
    for i in range(5):
        direction = w[target[i]] - w[y[i]]
        size = direction.norm() if norm == "l2" else direction.abs().sum()
        gap = (model(x)[i, y[i]] - model(x)[i, target[i]]) / size + 1e-6
        step = gap * (direction / size if norm == "l2" else direction.sign())
        if model(x[i : i + 1] + 1.1 * step).argmax() == target[i]:
            torch.testing.assert_close(x_adv[i], x[i] + 1.1 * step, rtol=0, atol=1e-9)
    assert torch.equal(model(x_adv).argmax(1), target)


def test_samples_without_progress_leave_carlini_and_wagner() -> None:
    """The default patience is a fifteenth of the steps; only the count of queries shows it."""
    x, y = torch.full((1, 2), 0.5, dtype=torch.float64), torch.tensor([0])

    def constant(x: Tensor) -> Tensor:
        return torch.tensor([[5.0, 0.0]], dtype=torch.float64) + 0 * x

    for steps, patience, queries in ((60, None, 8), (60, 7, 14), (9, None, 2)):
        scores = ScoreFunction(constant)
        attack = CarliniWagner(steps=steps, patience=patience, search_steps=1, line_search_steps=0)
        attack.perturb(scores, x, Goal(y))
        assert scores.queries == queries


def test_the_line_search_bisects() -> None:
    """Adversarial from 0.3 of the way: after 8 bisections, the end within 1/256 above it."""
    x, end = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        return torch.cat([0.3 - x, x - 0.3], 1)

    found = DeepFool().line_search(model, x, end, Goal(torch.tensor([0])))  # type: ignore[arg-type]
    assert float(found) == 1.0  # no steps
    attack = CarliniWagner()
    found = attack.line_search(model, x, end, Goal(torch.tensor([0])))  # type: ignore[arg-type]
    assert float(found) == math.ceil(0.3 * 256) / 256

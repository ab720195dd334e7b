"""Optimizers and learning-rate schedules, against their formulas and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from zoo.core.optim import (
    DECAYS,
    OPTIMIZERS,
    SCHEDULES,
    Muon,
    check_optimizer,
    check_schedule,
    decay_groups,
    make_optimizer,
    make_schedule,
    orthogonalize,
)
from zoo.errors import InputError


def rates(
    name: str, total: int = 100, warmup: float = 0, steps: int | None = None, **options: float
) -> list[float]:
    """Return the learning rate of each step, of 2.0 at most."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = make_schedule(name, optimizer, total, warmup, options)
    assert schedule is not None
    seen = []
    for _ in range(steps or total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


FORMULAS: dict[str, Callable[[float], float]] = {
    "linear": lambda t: 1 - t,
    "inverse": lambda t: 1 / (1 + 9 * t),
    "exponential": lambda t: 0.01**t,
    "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_schedules_follow_their_formulas(name: str) -> None:
    """At every step, and after the last one, where the factor stays at its final value."""
    seen = rates(name, total=20, steps=25)
    expected = [2.0 * FORMULAS[name](min(step / 20, 1)) for step in range(25)]
    assert seen == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("linear", {"final": 0.2}, lambda t: 1 - 0.8 * t),
        ("inverse", {"rate": 3.0}, lambda t: 1 / (1 + 3 * t)),
        ("exponential", {"final": 0.5}, lambda t: 0.5**t),
        ("cosine", {"final": 0.2}, lambda t: 0.2 + 0.4 * (1 + math.cos(math.pi * t))),
    ],
)
def test_options_of_schedules(
    name: str, options: dict[str, float], formula: Callable[[float], float]
) -> None:
    seen = rates(name, total=10, **options)
    assert seen == pytest.approx([2.0 * formula(step / 10) for step in range(10)])


def test_one_cycle_peaks_at_the_full_rate() -> None:
    seen = rates("one_cycle", pct_start=0.25)
    assert seen[0] == pytest.approx(2.0 / 25)
    assert max(seen) == pytest.approx(2.0)
    assert seen.index(max(seen)) == 24


@pytest.mark.parametrize("name", ["sgd", "adam", "muon", "lbfgs"])
def test_one_cycle_works_with_every_optimizer(name: str) -> None:
    optimizer = make_optimizer(name, [{"params": [nn.Parameter(torch.zeros(2, 2))]}], 0.1)
    schedule = make_schedule("one_cycle", optimizer, 10)
    assert schedule is not None
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 25)


@pytest.mark.parametrize("name", [*DECAYS, "constant"])
@pytest.mark.parametrize("warmup", [10, 0.1, 0.104])
def test_warm_up_rises_linearly_to_the_full_rate(name: str, warmup: float) -> None:
    """Step k of n has the rate (k + 1) / (n + 1), so the first one is not lost; the schedule then
    covers the remaining steps."""
    seen = rates(name, warmup=warmup)
    assert seen[:10] == pytest.approx([2.0 * (k + 1) / 11 for k in range(10)])
    formula = FORMULAS.get(name, lambda t: 1.0)
    assert seen[10:] == pytest.approx([2.0 * formula(k / 90) for k in range(90)])


def test_warm_up_of_one_step() -> None:
    assert rates("constant", warmup=1)[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert rates("constant", warmup=2.9)[:4] == pytest.approx([2 / 3, 4 / 3, 2.0, 2.0])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    endless = make_schedule("constant", optimizer, math.inf, 4)
    assert endless is not None
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


def test_a_constant_rate_needs_no_schedule() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    assert make_schedule("constant", optimizer, 10) is None


@pytest.mark.parametrize(
    ("name", "total", "warmup", "options", "message"),
    [
        ("cosin", 10, 0, {}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        (
            "cosine",
            float("inf"),
            0,
            {},
            "schedule 'cosine' needs the length of training: set trainer.max_epochs",
        ),
        ("cosine", 10, 10, {}, "warmup .10 steps. must be shorter than training"),
        ("cosine", 10, 0, {"rate": 1}, "schedule 'cosine'.*unexpected keyword argument 'rate'"),
        ("one_cycle", 10, 2, {}, "'one_cycle' has its own warm-up"),
    ],
)
def test_invalid_schedules(
    name: str, total: float, warmup: float, options: dict[str, float], message: str
) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(InputError, match=message):
        make_schedule(name, optimizer, total, warmup, options)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_fits_a_line(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3, dtype=torch.float64)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 0.3
    model = nn.Linear(3, 1).double()
    lr = {"lbfgs": 1.0, "sgd": 0.05}.get(name, 0.1)
    options = {"adam_lr": 0.1} if name == "muon" else None
    optimizer = make_optimizer(name, [{"params": list(model.parameters())}], lr, options)
    schedule = make_schedule("linear", optimizer, 300)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    for _ in range(300):
        optimizer.step(closure)  # type: ignore[arg-type]
        if schedule:
            schedule.step()
    assert (model(x) - y).square().mean() < 1e-5


def test_nesterov_and_momentum_are_options_of_sgd() -> None:
    weights = [nn.Parameter(torch.zeros(1))]
    plain = make_optimizer("sgd", [{"params": weights}], 0.1)
    assert plain.param_groups[0]["momentum"] == 0.9
    options = {"momentum": 0.8, "nesterov": True}
    nesterov = make_optimizer("sgd", [{"params": weights}], 0.1, options)
    assert nesterov.param_groups[0]["nesterov"] is True
    assert nesterov.param_groups[0]["momentum"] == 0.8


def test_unknown_optimizer_or_option() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))]}]
    with pytest.raises(InputError, match="unknown optimizer 'adm'; did you mean 'adam'"):
        make_optimizer("adm", groups, 0.1)
    with pytest.raises(InputError, match=r"optimizer 'adam'.*unexpected keyword argument 'speed'"):
        make_optimizer("adam", groups, 0.1, {"speed": 3})
    with pytest.raises(InputError, match="'lbfgs' has no weight decay"):
        make_optimizer("lbfgs", [groups[0] | {"weight_decay": 0.1}], 0.1)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (3, 6, 6)])
def test_orthogonalize_applies_a_quintic_to_singular_values(shape: tuple[int, ...]) -> None:
    matrix = torch.randn(shape, dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / (matrix.norm(dim=(-2, -1)).unsqueeze(-1) + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    expected = u @ torch.diag_embed(s) @ v
    torch.testing.assert_close(orthogonalize(matrix), expected, rtol=1e-9, atol=1e-9)
    assert s.min() > 0.5
    assert s.max() < 1.3


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon since 2.9")
def test_muon_equals_torch_up_to_bfloat16() -> None:
    torch.manual_seed(0)
    start = torch.randn(6, 10)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    mine = Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.2)
    torchs = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.2)
    for _ in range(3):
        grad = torch.randn_like(start)
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        mine.step()
        torchs.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_muon_trains_vectors_with_adamw() -> None:
    bias, twin = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    mine = Muon([bias], adam_lr=0.01, weight_decay=0.1)
    adamw = torch.optim.AdamW([twin], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(5):
        grad = torch.randn(4)
        bias.grad, twin.grad = grad.clone(), grad.clone()
        mine.step()
        adamw.step()
    torch.testing.assert_close(bias, twin, rtol=1e-6, atol=1e-7)


def test_muon_of_several_matrices_equals_muon_of_each() -> None:
    matrices = [nn.Parameter(torch.randn(4, 6)) for _ in range(3)]
    twins = [nn.Parameter(m.detach().clone()) for m in matrices]
    together, apart = Muon(matrices), [Muon([twin]) for twin in twins]
    for matrix, twin in zip(matrices, twins, strict=True):
        matrix.grad = torch.randn(4, 6)
        twin.grad = matrix.grad.clone()
    together.step()
    for optimizer in apart:
        optimizer.step()
    for matrix, twin in zip(matrices, twins, strict=True):
        torch.testing.assert_close(matrix, twin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (4, 3, 2, 2)])
def test_muon_follows_its_formula(shape: tuple[int, ...]) -> None:
    """m ← μ m + g;  W ← (1 − ηλ) W − η √max(1, rows/columns) · orth(g + μ m), in float64."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(shape, dtype=torch.float64))
    expected, momentum = weight.detach().clone(), torch.zeros(shape).double()
    optimizer = Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.2, steps=4)
    scale = math.sqrt(max(1.0, shape[0] / (weight.numel() / shape[0])))
    for _ in range(3):
        grad = torch.randn(shape, dtype=torch.float64)
        weight.grad = grad.clone()
        optimizer.step()
        momentum = 0.9 * momentum + grad
        step = orthogonalize((grad + 0.9 * momentum).flatten(1), 4).view(shape)
        expected = (1 - 0.1 * 0.2) * expected - 0.1 * scale * step
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-12)


def test_defaults_of_muon() -> None:
    matrix, bias = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    optimizer = Muon([matrix, bias])
    assert [(g["lr"], g["weight_decay"], g["muon"]) for g in optimizer.param_groups] == [
        (0.02, 0.0, True), (3e-4, 0.0, False),
    ]  # fmt: skip
    assert (optimizer.momentum, optimizer.betas, optimizer.eps) == (0.95, (0.9, 0.95), 1e-8)
    assert optimizer.steps == 5
    table = Muon([{"params": [matrix], "muon": False, "lr": 0.5}])
    assert [(g["lr"], g["muon"]) for g in table.param_groups] == [(0.5, False)]


def test_decay_groups_spare_vectors() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Conv1d(2, 2, 1))
    module[2].bias.requires_grad_(False)
    decayed, spared = decay_groups(module, 0.3)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0)
    assert [p.ndim for p in decayed["params"]] == [2, 3]
    assert [p.ndim for p in spared["params"]] == [1, 1, 1]  # not the frozen bias
    assert [len(group["params"]) for group in decay_groups(module, 0.0)] == [5]
    assert [set(group) for group in decay_groups(module, 0.0)] == [{"params"}]
    assert len(decay_groups(nn.Linear(3, 2, bias=False), 0.3)) == 1


def test_defaults_of_optimizers() -> None:
    """AdamW has no weight decay by default, and L-BFGS the strong-Wolfe line search."""

    def group(name: str, **options: Any) -> dict[str, Any]:
        groups = [{"params": [nn.Parameter(torch.zeros(1))]}]
        return make_optimizer(name, groups, 0.1, options or None).param_groups[0]

    assert [group(name)["weight_decay"] for name in ("sgd", "adam", "adamw", "muon")] == [0.0] * 4
    assert group("lbfgs")["line_search_fn"] == "strong_wolfe"
    assert group("lbfgs", line_search_fn=None)["line_search_fn"] is None
    assert [group(name)["fused"] for name in ("sgd", "adam", "adamw")] == [False] * 3
    fused = make_optimizer("adam", [{"params": [nn.Parameter(torch.zeros(1))]}], 0.1, fused=True)
    assert fused.param_groups[0]["fused"] is True
    assert all(group(name)["lr"] == 0.1 for name in ("sgd", "adam", "adamw", "lbfgs"))


def test_muon_skips_parameters_without_a_gradient() -> None:
    first, second = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    third, fourth = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Muon([first, second, third, fourth])
    second.grad, fourth.grad = torch.ones(2, 2), torch.ones(2)
    optimizer.step()
    assert torch.equal(first, torch.ones(2, 2))
    assert torch.equal(third, torch.ones(2))
    assert (second != 1).all()
    assert (fourth != 1).all()


def test_a_warm_up_of_one_step_needs_no_end_of_training() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    assert make_schedule("constant", optimizer, math.inf, 1) is not None
    with pytest.raises(InputError, match="needs the length of training"):
        make_schedule("constant", optimizer, math.inf, 0.5)
    with pytest.raises(InputError, match="needs the length of training"):
        make_schedule("linear", optimizer, math.inf, 3)


def test_a_schedule_of_one_step_after_the_warm_up() -> None:
    assert rates("linear", total=3, warmup=2, steps=4) == pytest.approx([2 / 3, 4 / 3, 2.0, 0.0])


def test_one_cycle_moves_the_momentum_of_optimizers_that_have_one() -> None:
    """OneCycleLR lowers momentum to 0.85 at the peak, from 0.95; L-BFGS and Muon have none."""
    for name, key in (("sgd", "momentum"), ("adam", "betas")):
        optimizer = make_optimizer(name, [{"params": [nn.Parameter(torch.zeros(2, 2))]}], 0.1)
        make_schedule("one_cycle", optimizer, 10)
        value = optimizer.param_groups[0][key]
        assert (value[0] if key == "betas" else value) == pytest.approx(0.95)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_checks_before_training(name: str) -> None:
    check_optimizer(name)
    with pytest.raises(InputError, match=rf"optimizer '{name}'.*argument 'speed'"):
        check_optimizer(name, {"speed": 3})
    with pytest.raises(InputError, match=r"schedule 'cosine'.*unexpected keyword argument 'rate'"):
        check_schedule("cosine", {"rate": 1})
    with pytest.raises(InputError, match=r"unknown schedule 'cosin'; did you mean 'cosine'"):
        check_schedule("cosin")
    for schedule in SCHEDULES:
        check_schedule(schedule)

"""Optimizers and learning-rate schedules, against their formulas and PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.core.optim import DECAYS, OPTIMIZERS, Muon, make_optimizer, make_schedule, orthogonalize
from zoo.errors import InputError


def rates(name: str, total: int = 100, warmup: float = 0, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = make_schedule(name, optimizer, total, warmup, options)
    assert schedule is not None
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(
    ("name", "start", "middle"),
    [
        ("linear", 2.0, 1.0),
        ("inverse", 2.0, 2 / 5.5),
        ("exponential", 2.0, 0.2),
        ("cosine", 2.0, 1.0),
    ],
)
def test_schedules_follow_their_formulas(name: str, start: float, middle: float) -> None:
    seen = rates(name)
    assert seen[0] == pytest.approx(start)
    assert seen[50] == pytest.approx(middle)
    assert all(a >= b for a, b in zip(seen[:-1], seen[1:], strict=True))


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
@pytest.mark.parametrize("warmup", [10, 0.1])
def test_warm_up_rises_linearly_to_the_full_rate(name: str, warmup: float) -> None:
    seen = rates(name, warmup=warmup)
    steps = [b - a for a, b in zip(seen[:9], seen[1:10], strict=True)]
    assert steps == pytest.approx([steps[0]] * 9)
    assert seen[10] == pytest.approx(2.0)


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

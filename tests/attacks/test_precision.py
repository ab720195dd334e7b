"""Attacks on models and samples in half precision: inside the ball, as strong as in float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.conftest import Case, accuracy
from zoo.attacks import (
    APGD,
    FGSM,
    PGD,
    Attack,
    CarliniWagner,
    DeepFool,
    FixedPerturbation,
    LBFGSAttack,
    RandomFGSM,
    Restarts,
    Square,
    Targeted,
    TransferAttack,
)
from zoo.attacks.base import ScoreFunction
from zoo.functional.norm_balls import delta_norm

HALF = (torch.float16, torch.bfloat16)
BOUNDED: dict[str, tuple[Attack, float, str]] = {
    "fgsm": (FGSM(eps=0.1), 0.1, "linf"),
    "random_fgsm": (RandomFGSM(eps=0.1), 0.1, "linf"),
    "pgd": (PGD(eps=0.1, steps=15), 0.1, "linf"),
    "pgd_l2": (PGD(eps=0.8, norm="l2", steps=15), 0.8, "l2"),
    "apgd": (APGD(eps=0.1, steps=15), 0.1, "linf"),
    "square": (Square(eps=0.1, queries=60), 0.1, "linf"),
    "square_l2": (Square(eps=1.0, norm="l2", queries=60), 1.0, "l2"),
    "targeted": (Restarts(Targeted(PGD(eps=0.1, steps=8), "next"), 2), 0.1, "linf"),
}
MINIMUM_NORM: dict[str, Attack] = {
    "deep_fool": DeepFool(),
    "deep_fool_linf": DeepFool(norm="linf"),
    "carlini_wagner": CarliniWagner(search_steps=3, steps=60),
    "lbfgs": LBFGSAttack(search_steps=5),
}


@pytest.fixture
def few(learned: Case) -> Case:
    model, x, y = learned
    return model, x[:60], y[:60]


def in_half(case: Case, dtype: torch.dtype) -> Case:
    model, x, y = case
    return copy.deepcopy(model).to(dtype), x.to(dtype), y


@pytest.mark.parametrize("name", BOUNDED)
def test_bounded_attacks_in_half_precision(name: str, few: Case) -> None:
    """The perturbation is within ε exactly, and breaks as many samples as in float32."""
    attack, eps, norm = BOUNDED[name]
    model, x, y = few
    expected = accuracy(model, attack(model, x, y), y)
    assert expected < 0.95
    for dtype in HALF:
        half, x_half, _ = in_half(few, dtype)
        x_adv = attack(half, x_half, y)
        assert x_adv.dtype == dtype
        assert delta_norm(x_adv.double() - x_half.double(), norm).max() <= eps + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        assert accuracy(half, x_adv, y) <= expected + 0.05


@pytest.mark.parametrize("name", MINIMUM_NORM)
def test_minimum_norm_attacks_in_half_precision(name: str, few: Case) -> None:
    """Every sample is adversarial for the model in half precision, at the distance of float32."""
    attack = MINIMUM_NORM[name]
    model, x, y = few
    expected = (attack(model, x, y) - x).flatten(1).norm(dim=1).mean()
    for dtype in HALF:
        half, x_half, _ = in_half(few, dtype)
        x_adv = attack(half, x_half, y)
        assert accuracy(half, x_adv, y) == 0
        distance = (x_adv.float() - x_half.float()).flatten(1).norm(dim=1).mean()
        assert distance <= 1.03 * expected


def test_half_of_the_pair_in_half_precision(few: Case) -> None:
    """A model in half precision takes samples in float32, and a model in float32 those in half."""
    model, x, y = few
    for dtype in HALF:
        half, x_half, _ = in_half(few, dtype)
        x_adv = PGD(eps=0.1, steps=5)(half, x, y)
        assert x_adv.dtype == torch.float32
        assert (x_adv - x).abs().max() <= 0.1 + 1e-6
        transferred = TransferAttack(PGD(eps=0.1, steps=5), model)(half, x_half, y)
        assert transferred.dtype == dtype
        assert (transferred.double() - x_half.double()).abs().max() <= 0.1 + 1e-6
        assert accuracy(half, transferred, y) < accuracy(half, x_half, y) - 0.1
        fixed = FixedPerturbation(torch.full((1, 1, 8, 8), 0.1))(half, x_half, y)
        assert (fixed.double() - x_half.double()).abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize("dtype", HALF)
def test_rounding_never_moves_away_from_the_sample(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 500).to(dtype).float()
    point = (x + 0.05 * torch.randn(4, 500)).requires_grad_()
    rounded = ScoreFunction(nn.Identity(), dtype=dtype).round(x, point)
    assert torch.equal(rounded, rounded.to(dtype).float())
    assert ((rounded - x).abs() <= (point - x).abs()).all()
    spacing = torch.finfo(dtype).eps * point.abs().clamp(min=0.01)
    assert ((rounded - point).abs() <= spacing).all()
    (gradient,) = torch.autograd.grad(rounded.sum(), point)
    assert torch.equal(gradient, torch.ones_like(point))
    assert torch.equal(ScoreFunction(nn.Identity()).round(x, point), point)


def test_attacks_in_half_precision_on_scores_that_are_equal() -> None:
    """Scores of a model in half precision are often equal; steps must still cross the boundary."""
    model = nn.Linear(2, 2).to(torch.bfloat16)
    model.weight.data = torch.tensor([[100.0, 0.0], [0.0, 100.0]], dtype=torch.bfloat16)
    model.bias.data.zero_()
    x = torch.tensor([[0.5, 0.5]], dtype=torch.bfloat16)
    y = torch.tensor([0])  # argmax of equal scores
    x_adv = DeepFool()(model, x, y)
    assert model(x_adv).argmax(1).item() == 1
    assert (x_adv - x).abs().max() < 0.02


def test_autocast_around_an_attack_in_half_precision(few: Case) -> None:
    half, x, y = in_half(few, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        x_adv: Tensor = PGD(eps=0.1, steps=5)(half, x, y)
    assert torch.equal(x_adv, PGD(eps=0.1, steps=5)(half, x, y))

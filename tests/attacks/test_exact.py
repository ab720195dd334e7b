"""Attacks compared with closed forms on linear models, and with torchattacks and foolbox."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attacks.conftest import Case, accuracy
from zoo.attacks import (
    APGD,
    BIM,
    FGSM,
    PGD,
    AttackEnsemble,
    CarliniWagner,
    DeepFool,
    LBFGSAttack,
    Restarts,
    Square,
    Targeted,
)
from zoo.attacks.goals import Goal


def boundary_distance(model: nn.Module, x: Tensor, y: Tensor, p: float) -> Tensor:
    """Compute the distance to the nearest decision boundary of a linear model.

    margin / ‖w_y − w_k‖_q with 1/p + 1/q = 1.
    """
    scores, weight = model(x), model[1].weight
    q = {2.0: 2.0, torch.inf: 1.0, 1.0: torch.inf}[p]
    gaps = scores.gather(1, y[:, None]) - scores
    norms = torch.linalg.vector_norm(weight[y][:, None] - weight, q, dim=-1)
    return (gaps / norms).scatter(1, y[:, None], torch.inf).amin(1).detach()


# -- closed forms ----------------------------------------------------------------------------------


def test_fgsm_on_two_classes(linear: Case) -> None:
    """x + ε sign(w_other − w_y), independent of the scores."""
    _, x, _ = linear
    two = nn.Sequential(nn.Flatten(), nn.Linear(20, 2)).double()
    y = two(x).argmax(1)
    direction = two[1].weight[1 - y] - two[1].weight[y]
    x_adv = FGSM(eps=0.05)(two, x, y)
    torch.testing.assert_close(x_adv, x + 0.05 * direction.sign().view_as(x), rtol=0, atol=1e-12)
    norm = direction.norm(dim=1, keepdim=True)
    x_adv = FGSM(eps=0.05, norm="l2")(two, x, y)
    torch.testing.assert_close(x_adv, x + 0.05 * (direction / norm).view_as(x), rtol=0, atol=1e-12)
    targeted = Targeted(FGSM(eps=0.05), "next")(two, x, y)
    torch.testing.assert_close(targeted, x + 0.05 * direction.sign().view_as(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_breaks_exactly_the_samples_near_the_boundary(norm: str, linear: Case) -> None:
    """With two linear classes, a sample breaks if and only if the boundary is within ε."""
    _, x, _ = linear
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 2)).double()
    y = model(x).argmax(1)
    distance = boundary_distance(model, x, y, torch.inf if norm == "linf" else 2.0)
    ordered = distance.sort().values
    widest = 3 + int(ordered.diff()[3:8].argmax())
    eps = float(ordered[widest : widest + 2].mean())  # not close to any of the distances
    for cls in (PGD, APGD):
        attack = cls(eps=eps, norm=norm, loss="margin", steps=200)
        broken = model(attack(model, x, y)).argmax(1) != y
        assert torch.equal(broken, distance < eps)


def test_minimum_norm_attacks_reach_the_distance_of_a_linear_boundary(linear: Case) -> None:
    model, x, y = linear
    exact = boundary_distance(model, x, y, 2.0)
    for attack, tolerance in (
        (DeepFool(overshoot=0.0), 1e-3),
        (CarliniWagner(search_steps=8), 0.01),
        (CarliniWagner(search_steps=8, lr=0.002), 0.005),
    ):
        x_adv = attack(model, x, y)
        assert accuracy(model, x_adv, y) == 0
        ratio = (x_adv - x).flatten(1).norm(dim=1) / exact
        assert ratio.min() > 1 - 1e-9, attack.name
        assert ratio.max() < 1 + tolerance, attack.name
    x_adv = DeepFool(norm="linf", overshoot=0.0)(model, x, y)
    ratio = (x_adv - x).flatten(1).abs().amax(1) / boundary_distance(model, x, y, torch.inf)
    assert 1 - 1e-9 < ratio.min() < ratio.max() < 1 + 1e-3


def test_lbfgs_attack_between_two_classes(linear: Case) -> None:
    """With more classes, cross-entropy pulls toward all of them; with two, the optimum is known."""
    _, x, _ = linear
    two = nn.Sequential(nn.Flatten(), nn.Linear(20, 2)).double()
    y = two(x).argmax(1)
    x_adv = LBFGSAttack()(two, x, y)
    ratio = (x_adv - x).flatten(1).norm(dim=1) / boundary_distance(two, x, y, 2.0)
    assert 1 - 1e-9 < ratio.min() < ratio.max() < 1.005


@pytest.mark.parametrize(
    ("norm", "p", "limit"), [("l1", 1.0, 1.7), ("linf", torch.inf, 1.25), ("l2", 2.0, 1.01)]
)
def test_carlini_and_wagner_in_other_norms(norm: str, p: float, limit: float, linear: Case) -> None:
    model, x, y = linear
    x_adv = CarliniWagner(norm=norm, search_steps=8)(model, x, y)
    ratio = torch.linalg.vector_norm((x_adv - x).flatten(1), p, dim=1) / boundary_distance(
        model, x, y, p
    )
    assert accuracy(model, x_adv, y) == 0
    assert 1 - 1e-9 < ratio.min() < ratio.max() < limit


def test_confidence_is_a_margin(linear: Case) -> None:
    model, x, y = linear
    x_adv = CarliniWagner(confidence=2.0, search_steps=8)(model, x, y)
    margins = Goal(y).loss(model(x_adv), "margin")
    assert margins.min() >= 2.0
    assert margins.max() < 2.2


@pytest.mark.parametrize("attack", [CarliniWagner(), LBFGSAttack(), DeepFool()])
def test_pixels_at_the_bounds_can_change(attack: CarliniWagner) -> None:
    """The nearest adversarial sample of a black and white image changes only such pixels."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    x = (torch.rand(6, 1, 4, 4, dtype=torch.float64) > 0.5).double()
    y = model(x).argmax(1)
    x_adv = attack(model, x, y)
    assert accuracy(model, x_adv, y) == 0
    moved = (x_adv - x).abs().flatten(1)
    assert (moved > 0.01).any(1).all()
    # each pixel can move in one direction only, and should move along the weights
    direction = (model[1].weight[1 - y] - model[1].weight[y]).view_as(x)
    allowed = torch.where(x == 0, direction > 0, direction < 0)
    assert (moved[~allowed.flatten(1)] < 1e-6).all()


def test_unsuccessful_attacks_return_x(images: Case) -> None:
    _, x, y = images

    def constant(x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4] * 0 + F.one_hot(y[: len(x)] * 0, 4) * 5.0

    same = torch.zeros_like(y)
    for attack in (
        CarliniWagner(search_steps=2, steps=20),
        LBFGSAttack(search_steps=2),
        DeepFool(),
    ):
        assert torch.equal(attack(constant, x, same), x)


# -- losses ----------------------------------------------------------------------------------------


def test_the_loss_is_a_monotone_function_of_cross_entropy() -> None:
    """log(1 + exp L) is the cross-entropy, so their gradients are parallel."""
    scores = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 2, 3, 4, 0])
    loss = Goal(y).loss(scores, "cross_entropy")
    torch.testing.assert_close(F.softplus(loss), F.cross_entropy(scores, y, reduction="none"))
    target = (y + 1) % 5
    loss = Goal(y, target).loss(scores, "cross_entropy")
    entropy = F.cross_entropy(scores, target, reduction="none")
    torch.testing.assert_close(F.softplus(-loss), entropy)


def test_dlr_by_hand() -> None:
    scores = torch.tensor([[5.0, 3.0, 1.0, 0.0, -1.0]])
    y = torch.tensor([0])
    assert Goal(y).loss(scores, "dlr").item() == pytest.approx(-(5 - 3) / (5 - 1))
    loss = Goal(y, torch.tensor([2])).loss(scores, "dlr")
    assert loss.item() == pytest.approx(-(5 - 1) / (5 - (1 + 0) / 2))
    assert Goal(torch.tensor([1])).loss(scores, "dlr").item() == pytest.approx((5 - 3) / (5 - 1))


# -- comparisons of attacks ------------------------------------------------------------------------


def test_more_budget_steps_and_restarts_break_more(learned: Case) -> None:
    model, x, y = learned
    by_eps = [accuracy(model, PGD(eps=e)(model, x, y), y) for e in (0.0, 0.05, 0.1, 0.2, 0.3)]
    assert by_eps[0] == 1.0
    assert by_eps == sorted(by_eps, reverse=True)
    assert by_eps[-1] < 0.02
    one = accuracy(model, FGSM(eps=0.1)(model, x, y), y)
    ten = accuracy(model, BIM(eps=0.1, steps=10)(model, x, y), y)
    assert ten < one - 0.02
    short = PGD(eps=0.1, steps=2)
    once = accuracy(model, short(model, x, y), y)
    often = accuracy(model, Restarts(short, 8)(model, x, y), y)
    assert often < once


def test_targeted_attacks_are_harder_than_untargeted_ones(learned: Case) -> None:
    model, x, y = learned
    attack = PGD(eps=0.15)
    any_wrong = 1 - accuracy(model, attack(model, x, y), y)
    success = {}
    for target in ("runner_up", "random", "next", "least_likely"):
        x_adv = Targeted(attack, target)(model, x, y)
        success[target] = 1 - accuracy(model, x_adv, y)
        assert success[target] <= any_wrong + 0.02
    assert success["least_likely"] < success["next"] < success["runner_up"]
    target_class = torch.full_like(y, 3)
    other = y != 3
    x_adv = Targeted(PGD(eps=0.4), 3)(model, x[other], y[other])
    assert accuracy(model, x_adv, target_class[other]) > 0.8


def test_an_ensemble_is_at_least_as_strong_as_its_attacks(learned: Case) -> None:
    model, x, y = learned
    parts = [
        PGD(eps=0.08, steps=5),
        APGD(eps=0.08, steps=10, loss="dlr"),
        Square(eps=0.08, queries=200),
    ]
    each = [accuracy(model, part(model, x, y), y) for part in parts]
    together = accuracy(model, AttackEnsemble(*parts)(model, x, y), y)
    assert together <= min(each)


def test_auto_pgd_needs_no_step_size(learned: Case) -> None:
    """With equal steps, it is as strong as PGD, and much stronger than PGD with a bad step size."""
    model, x, y = learned
    auto = accuracy(model, APGD(eps=0.1, steps=40)(model, x, y), y)
    assert auto <= accuracy(model, PGD(eps=0.1, steps=40)(model, x, y), y) + 0.01
    assert auto < accuracy(model, PGD(eps=0.1, steps=40, step_size=1e-3)(model, x, y), y) - 0.1


def test_auto_pgd_returns_every_adversarial_sample_it_visits(learned: Case) -> None:
    """A checkpoint moves samples back to their best point, unless they are already adversarial."""
    model, x, y = learned
    broken: set[int] = set()

    def recorded(inputs: Tensor) -> Tensor:
        scores = model(inputs)
        index = torch.cdist(inputs.detach().flatten(1), x.flatten(1)).argmin(1)
        broken.update(index[scores.argmax(1) != y[index]].tolist())
        return scores

    for steps in (10, 23):
        broken.clear()
        x_adv = APGD(eps=0.1, steps=steps)(recorded, x, y)
        robust = set((model(x_adv).argmax(1) == y).nonzero()[:, 0].tolist())
        assert broken
        assert not broken & robust


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.2), ("l2", 1.2)])
def test_square_needs_only_scores(norm: str, eps: float, learned: Case) -> None:
    model, x, y = learned
    before = accuracy(model, Square(eps=eps, norm=norm, queries=1)(model, x, y), y)

    def without_gradient(x: Tensor) -> Tensor:
        with torch.no_grad():
            return model(x)

    x_adv = Square(eps=eps, norm=norm, queries=400)(without_gradient, x, y)
    after = accuracy(model, x_adv, y)
    gradient = accuracy(model, PGD(eps=eps, norm=norm)(model, x, y), y)
    assert gradient - 0.02 <= after < before - 0.2


# -- other libraries -------------------------------------------------------------------------------


def in_float64(case: Case) -> Case:
    """Convert to float64: in float32, 1 − p is only rounding error for a confident model."""
    model, x, y = case
    return model.double(), x.double(), y


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_equal_to_torchattacks_step_by_step(steps: int, learned: Case) -> None:
    other = pytest.importorskip(
        "torchattacks", reason="needs torchattacks: pip install --no-deps torchattacks"
    )
    model, x, y = in_float64(learned)
    settings = {"eps": 0.1, "alpha": 0.03, "steps": steps}
    mine = {"eps": 0.1, "step_size": 0.03, "steps": steps, "early_stop": False}
    for theirs in (other.BIM(model, **settings), other.PGD(model, **settings, random_start=False)):
        torch.testing.assert_close(BIM(**mine)(model, x, y), theirs(x, y), rtol=0, atol=1e-12)
    start_at_x = PGD(**mine, random_start=False)
    torch.testing.assert_close(start_at_x(model, x, y), BIM(**mine)(model, x, y))


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_equal_to_foolbox_step_by_step(norm: str, steps: int, learned: Case) -> None:
    other = pytest.importorskip("foolbox", reason="needs foolbox, from the extra test")
    model, x, y = in_float64(learned)
    eps = 0.1 if norm == "linf" else 0.8
    kinds = {
        "linf": other.attacks.LinfBasicIterativeAttack,
        "l2": other.attacks.L2BasicIterativeAttack,
    }
    theirs = kinds[norm](abs_stepsize=eps / 3, steps=steps, random_start=False)
    wrapped = other.PyTorchModel(model, bounds=(0, 1), device=x.device)
    _, expected, _ = theirs(wrapped, x, y, epsilons=eps)
    x_adv = BIM(eps=eps, norm=norm, step_size=eps / 3, steps=steps, early_stop=False)(model, x, y)
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-9)


def test_distances_at_most_those_of_foolbox_carlini_and_wagner(learned: Case) -> None:
    other = pytest.importorskip("foolbox", reason="needs foolbox, from the extra test")
    model, x, y = learned
    x, y = x[:40], y[:40]
    theirs = other.attacks.L2CarliniWagnerAttack(binary_search_steps=4, steps=150)
    _, expected, success = theirs(
        other.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=None
    )
    x_adv = CarliniWagner(search_steps=4, steps=150)(model, x, y)
    assert accuracy(model, x_adv, y) == 0
    assert success.all()
    distance = (x_adv - x).flatten(1).norm(dim=1).mean()
    assert distance <= 1.05 * (expected - x).flatten(1).norm(dim=1).mean()
    by_lbfgs = LBFGSAttack()(model, x, y)
    assert (by_lbfgs - x).flatten(1).norm(dim=1).mean() <= 1.15 * distance

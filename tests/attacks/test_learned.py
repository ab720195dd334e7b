"""Attacks that are fitted first, and robust accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.conftest import Case, accuracy
from zoo.attacks import (
    FGSM,
    PGD,
    Attack,
    FixedPerturbation,
    Restarts,
    SmoothPGD,
    Square,
    SubstituteAttack,
    Targeted,
    TransferAttack,
    UniversalPerturbation,
    evaluate_robustness,
)
from zoo.attacks.goals import Goal
from zoo.errors import InputError


def batches(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(50), y.split(50), strict=True))


def test_universal_perturbation(learned: Case) -> None:
    """A learned perturbation fools the model on unseen images, more than noise of the same norm."""
    model, x, y = learned
    seen, unseen = (x[:120], y[:120]), (x[120:], y[120:])
    attack = UniversalPerturbation(eps=0.3).fit(model, batches(*seen))
    assert attack.delta.shape == (1, 1, 8, 8)
    assert attack.delta.abs().max() <= 0.3 + 1e-6
    assert accuracy(model, attack(model, *unseen), unseen[1]) < 0.45
    noise = FixedPerturbation(0.3 * torch.randn(1, 1, 8, 8).sign())
    assert accuracy(model, noise(model, *unseen), unseen[1]) > 0.6
    x_adv = attack(model, *unseen)
    torch.testing.assert_close(x_adv, (unseen[0] + attack.delta).clamp(0, 1))
    in_l2 = UniversalPerturbation(eps=2.0, norm="l2").fit(model, batches(*seen))
    assert in_l2.delta.norm() <= 2.0 + 1e-5


def test_targeted_universal_perturbation(learned: Case) -> None:
    model, x, y = learned
    attack = UniversalPerturbation(eps=0.4, target=8).fit(model, batches(x, y))
    other = y != 8
    x_adv = attack(model, x[other], y[other])
    assert (model(x_adv).argmax(1) == 8).float().mean() > 0.5


def test_a_substitute_is_trained_on_predicted_classes_only(learned: Case) -> None:
    model, x, y = learned
    queries = 0

    def oracle(x: Tensor) -> Tensor:
        """Scores that depend only on the predicted class."""
        nonlocal queries
        queries += len(x)
        with torch.no_grad():
            return nn.functional.one_hot(model(x).argmax(1), 10).float() * 5 - 1

    substitute = SubstituteAttack(attack=PGD(eps=0.3), queries=1_000, rounds=3, epochs=15)
    attack = substitute.fit(oracle, x[:100])
    assert queries <= 1_000
    assert isinstance(attack, TransferAttack)
    x_adv = attack(model, x[100:], y[100:])
    assert (x_adv - x[100:]).abs().max() <= 0.3 + 1e-6
    assert accuracy(model, x_adv, y[100:]) < 0.5
    weaker = attack.with_eps(0.05)(model, x[100:], y[100:])
    assert accuracy(model, weaker, y[100:]) > 0.8
    before = torch.get_rng_state()
    again = substitute.fit(oracle, x[:100])(model, x[100:], y[100:])
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(again, x_adv)


def test_a_substitute_without_bounds(learned: Case) -> None:
    """The bounds of the samples apply to the neighbors of Jacobian-based augmentation."""
    model, x, _ = learned
    largest = []

    def recorded(x: Tensor) -> Tensor:
        largest.append(float(x.max()))
        return model(x)

    for bounds in ((0.0, 1.0), None):
        settings = {"queries": 40, "rounds": 1, "epochs": 1, "bounds": bounds}
        SubstituteAttack(attack=PGD(eps=0.3), **settings).fit(recorded, x)  # type: ignore[arg-type]
    assert largest[:3] == [1.0, 1.0, 1.0]
    assert largest[3] == pytest.approx(1.1)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda attack: attack,
        lambda attack: Targeted(attack, "next"),
        lambda attack: Restarts(attack, 2),
    ],
)
def test_transfer_attacks_take_all_steps(wrap: Callable[[Attack], Attack], learned: Case) -> None:
    """Early stopping is off in wrapped attacks, too: samples end far beyond the boundary."""
    model, x, y = learned
    full, early = PGD(eps=0.3, early_stop=False), PGD(eps=0.3, early_stop=True)
    expected = wrap(full)(model, x, y)
    torch.testing.assert_close(TransferAttack(wrap(early), model)(model, x, y), expected)
    assert (
        Goal(y).loss(model(expected), "margin").mean()
        > Goal(y).loss(model(wrap(early)(model, x, y)), "margin").mean()
    )


def test_transfer_attacks_are_wrappers() -> None:
    """Restarts and faces reach the attack that runs on the substitute."""
    faces = torch.tensor([[0, 1, 2]])
    smooth: Any = TransferAttack(SmoothPGD(eps=0.1), nn.Identity()).with_faces(faces)
    assert torch.equal(smooth.attack.faces, faces)
    restarts: Any = Restarts(TransferAttack(PGD(eps=0.1), nn.Identity()), 2)
    assert [part.attack.seed for part in restarts.attacks] == [0, 1]


def test_robust_accuracy_decreases_from_clean_accuracy(learned: Case) -> None:
    model, x, y = learned
    wrong = (y[:20] + 1) % 10  # misclassified without an attack
    data = [(x[:20], wrong), *batches(x[20:], y[20:])]
    eps = (0.0, 0.05, 0.1, 0.3)
    report = evaluate_robustness(model, data, [FGSM(eps=1.0), PGD(eps=1.0, steps=10)], eps)
    assert report.num_samples == len(x)
    assert report.clean_accuracy == pytest.approx(1 - 20 / len(x))
    assert report.eps == eps
    for name in ("FGSM", "PGD"):
        curve = report.robust_accuracy[name]
        assert curve[0] == report.clean_accuracy
        assert list(curve) == sorted(curve, reverse=True)
    assert report.robust_accuracy["PGD"][-1] < 0.05
    pairs = zip(report.robust_accuracy["PGD"], report.robust_accuracy["FGSM"], strict=True)
    assert all(pgd <= fgsm + 0.01 for pgd, fgsm in pairs)


def test_bad_input(learned: Case) -> None:
    model, x, y = learned
    with pytest.raises(InputError, match="the loader is empty"):
        evaluate_robustness(model, [], PGD(eps=0.1), [0.1])
    with pytest.raises(InputError, match="must have different names, got PGD, PGD"):
        evaluate_robustness(model, [(x, y)], [PGD(eps=0.1), PGD(eps=0.2)], [0.1])
    with pytest.raises(InputError, match=r"needs samples of shape \(1, 8, 8\), got \(1, 4, 4\)"):
        FixedPerturbation(torch.zeros(1, 1, 8, 8))(model, x[:, :, :4, :4], y)


def test_names() -> None:
    assert Restarts(PGD(eps=0.1), 3).name == "PGD×3"
    assert TransferAttack(Square(eps=0.1), nn.Identity()).name == "Square (transfer)"

"""Attacks that learn first, and accuracy under attack."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.conftest import Case, accuracy
from zoo.attacks import (
    FGSM,
    PGD,
    AddedPerturbation,
    Restarts,
    Square,
    TransferAttack,
    Transferred,
    UniversalPerturbation,
    evaluate_robustness,
)
from zoo.errors import InputError


def batches(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(50), y.split(50), strict=True))


def test_one_perturbation_for_all(learned: Case) -> None:
    """Learned on some images it fools others, more than noise of the same size."""
    model, x, y = learned
    seen, unseen = (x[:120], y[:120]), (x[120:], y[120:])
    attack = UniversalPerturbation(eps=0.3).fit(model, batches(*seen))
    assert attack.delta.shape == (1, 1, 8, 8)
    assert attack.delta.abs().max() <= 0.3 + 1e-6
    assert accuracy(model, attack(model, *unseen), unseen[1]) < 0.45
    noise = AddedPerturbation(0.3 * torch.randn(1, 1, 8, 8).sign())
    assert accuracy(model, noise(model, *unseen), unseen[1]) > 0.6
    found = attack(model, *unseen)
    torch.testing.assert_close(found, (unseen[0] + attack.delta).clamp(0, 1))
    long = UniversalPerturbation(eps=2.0, norm="l2").fit(model, batches(*seen))
    assert long.delta.norm() <= 2.0 + 1e-5


def test_one_perturbation_toward_a_class(learned: Case) -> None:
    model, x, y = learned
    attack = UniversalPerturbation(eps=0.4, target=8).fit(model, batches(x, y))
    other = y != 8
    found = attack(model, x[other], y[other])
    assert (model(found).argmax(1) == 8).float().mean() > 0.5


def test_a_substitute_is_learned_from_classes_alone(learned: Case) -> None:
    model, x, y = learned
    asked = 0

    def oracle(x: Tensor) -> Tensor:
        """Says the class and nothing else."""
        nonlocal asked
        asked += len(x)
        with torch.no_grad():
            return nn.functional.one_hot(model(x).argmax(1), 10).float() * 5 - 1

    kind = TransferAttack(attack=PGD(eps=0.3), queries=1_000, rounds=3, epochs=15)
    attack = kind.fit(oracle, x[:100])
    assert asked <= 1_000
    assert isinstance(attack, Transferred)
    found = attack(model, x[100:], y[100:])
    assert (found - x[100:]).abs().max() <= 0.3 + 1e-6
    assert accuracy(model, found, y[100:]) < 0.5
    weaker = attack.with_eps(0.05)(model, x[100:], y[100:])
    assert accuracy(model, weaker, y[100:]) > 0.8
    before = torch.get_rng_state()
    again = kind.fit(oracle, x[:100])(model, x[100:], y[100:])
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(again, found)


def test_curves_fall_from_the_accuracy_without_an_attack(learned: Case) -> None:
    model, x, y = learned
    wrong = (y[:20] + 1) % 10  # labels that the model is wrong about stay wrong
    data = [(x[:20], wrong), *batches(x[20:], y[20:])]
    eps = (0.0, 0.05, 0.1, 0.3)
    found = evaluate_robustness(model, data, [FGSM(eps=1.0), PGD(eps=1.0, steps=10)], eps)
    assert found.samples == len(x)
    assert found.clean == pytest.approx(1 - 20 / len(x))
    assert found.eps == eps
    for name in ("FGSM", "PGD"):
        curve = found.accuracy[name]
        assert curve[0] == found.clean
        assert list(curve) == sorted(curve, reverse=True)
    assert found.accuracy["PGD"][-1] < 0.05
    assert all(
        a <= b + 0.01 for a, b in zip(found.accuracy["PGD"], found.accuracy["FGSM"], strict=True)
    )


def test_bad_evaluations(learned: Case) -> None:
    model, x, y = learned
    with pytest.raises(InputError, match="no samples to judge"):
        evaluate_robustness(model, [], PGD(eps=0.1), [0.1])
    with pytest.raises(InputError, match="told apart by their names, got PGD, PGD"):
        evaluate_robustness(model, [(x, y)], [PGD(eps=0.1), PGD(eps=0.2)], [0.1])
    with pytest.raises(InputError, match=r"is for samples \(1, 8, 8\), not \(1, 4, 4\)"):
        AddedPerturbation(torch.zeros(1, 1, 8, 8))(model, x[:, :, :4, :4], y)


def test_names() -> None:
    assert Restarts(PGD(eps=0.1), 3).name == "PGD×3"
    assert Transferred(Square(eps=0.1), nn.Identity()).name == "Square (transferred)"

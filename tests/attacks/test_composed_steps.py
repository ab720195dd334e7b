"""Wrapped, fitted, greedy and latent attacks, against their formulas in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from tests.attacks.conftest import Case
from zoo.attacks import (
    BIM,
    FGSM,
    PGD,
    AttackEnsemble,
    LatentPGD,
    LBFGSAttack,
    PointDropping,
    Restarts,
    SubstituteAttack,
    Targeted,
    UniversalPerturbation,
)
from zoo.attacks.base import ScoreFunction
from zoo.attacks.goals import Goal
from zoo.attacks.greedy import top_positive
from zoo.attacks.robustness import is_correct, is_correct_on_batch
from zoo.errors import InputError
from zoo.functional.norm_balls import uniform_in_ball
from zoo.functional.points import replace_dropped_points
from zoo.functional.rng import SampleRNG

# -- targets ---------------------------------------------------------------------------------------


class Recorder(Targeted):
    """Targets of each kind, without an attack."""

    def __init__(self, target: Any, seed: int = 0) -> None:
        super().__init__(self, target, seed)
        self.goal: Any = None

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        if goal.target is not None:
            self.goal = goal
            return x
        return super().perturb(model, x, goal)


def targets(kind: Any, x: Tensor, scores: Tensor, y: Tensor, seed: int = 0) -> list[int]:
    recorder = Recorder(kind, seed)
    recorder(lambda x: scores, x, y)
    assert torch.equal(recorder.goal.y, y)
    return recorder.goal.target.tolist()


def test_targets_of_each_kind() -> None:
    x = torch.rand(4, 3, dtype=torch.float64)
    scores = torch.tensor([[4.0, 1, 3, 2], [1, 4, 2, 3], [9, 8, 7, 6], [0, 1, 2, 3]]).double()
    y = torch.tensor([0, 1, 2, 3])
    assert targets("next", x, scores, y) == [1, 2, 3, 0]
    assert targets("runner_up", x, scores, y) == [2, 3, 0, 2]
    assert targets("least_likely", x, scores, y) == [1, 0, 3, 0]
    assert targets(torch.tensor([3, 3, 3, 0]), x, scores, y) == [3, 3, 3, 0]
    assert targets(2, x, scores, torch.tensor([0, 1, 3, 3])) == [2, 2, 2, 2]
    offsets = [int(n) % 3 for n in SampleRNG(x, 5).integers()]
    expected = [(label + 1 + offset) % 4 for label, offset in zip(range(4), offsets, strict=True)]
    assert targets("random", x, scores, y, seed=5) == expected
    many = torch.rand(300, 3, dtype=torch.float64)
    drawn = targets("random", many, torch.zeros(300, 4).double(), torch.zeros(300).long())
    assert set(drawn) == {1, 2, 3}  # every wrong class, never the own one


def test_bounds_of_targets() -> None:
    x, y = torch.rand(2, 3), torch.tensor([0, 1])
    with pytest.raises(InputError, match="targets range from 4 to 4, the model has classes 0 to 3"):
        targets(4, x, torch.zeros(2, 4), y)
    assert Targeted(Recorder("next"), "random", 7).with_attack(Recorder("next")).seed == 7  # type: ignore[attr-defined]


# -- losses ----------------------------------------------------------------------------------------


def test_losses_with_several_samples_and_equal_scores() -> None:
    """dlr sorts the classes of each sample; 10⁻¹² keeps equal scores finite and the sign right."""
    scores = torch.tensor([[5.0, 3, 1, 2], [0, 2, 8, 4]]).double()
    y = torch.tensor([1, 2])
    assert Goal(y).loss(scores, "dlr").tolist() == pytest.approx([2 / (5 - 2), -4 / (8 - 2)])
    goal = Goal(y, torch.tensor([3, 0]))
    expected = [(2 - 3) / (5 - (2 + 1) / 2), (0 - 8) / (8 - (2 + 0) / 2)]
    assert goal.loss(scores, "dlr").tolist() == pytest.approx(expected)
    assert Goal(y[:1]).loss(torch.ones(1, 3).double(), "dlr").item() == 0
    assert Goal(y[:1]).loss(torch.tensor([[2e-13, 0, 0]]).double(), "dlr").item() > 0
    with pytest.raises(InputError, match="needs at least 4 classes, the model has 3"):
        Goal(y[:1], torch.tensor([2])).loss(torch.ones(1, 3), "dlr")
    assert Goal(y[:1]).loss(torch.tensor([[3.0, 2, 1]]), "dlr").item() == pytest.approx(0.5)


# -- greedy attacks --------------------------------------------------------------------------------


def test_positive_values_only() -> None:
    values = torch.tensor([[0.0, 2.0, -1.0]])
    assert top_positive(values, torch.tensor([3])).tolist() == [[False, True, False]]


@pytest.mark.parametrize("rounds", [1, 3])
def test_point_dropping_follows_its_formula(rounds: int) -> None:
    """Saliency −∂L/∂x_n · (x_n − m) ‖x_n − m‖ with the median m; a third of the points a round."""
    torch.manual_seed(0)
    w = torch.randn(2, 9 * 3, dtype=torch.float64)
    x = 1 + torch.randn(8, 9, 3, dtype=torch.float64)  # not around the origin
    y = torch.arange(8) % 2
    bias = 1e3 * nn.functional.one_hot(y, 2)  # never misclassified

    def model(x: Tensor) -> Tensor:
        return x.pow(3).flatten(1) @ w.T + bias[: len(x)]

    found = PointDropping(eps=0.4, rounds=rounds)(model, x, y)  # three of nine points
    for i in range(8):
        dropped: set[int] = set()
        point = x[i]
        direction = (w[1 - y[i]] - w[y[i]]).view(9, 3)
        for step in range(rounds):
            gradient = 3 * point.square() * direction
            offset = point - point.median(0).values
            saliency = -(gradient * offset).sum(1) * offset.norm(dim=1)
            order = [n for n in saliency.argsort(descending=True).tolist() if n not in dropped]
            count = 3 * (step + 1) // rounds - len(dropped)
            dropped |= {n for n in order[:count] if saliency[n] > 0}
            mask = torch.zeros(1, 9, dtype=torch.bool)
            mask[0, list(dropped)] = True
            point = replace_dropped_points(x[i : i + 1], mask)[0]
        torch.testing.assert_close(found[i], point)
        assert dropped


# -- latent codes ----------------------------------------------------------------------------------


class Affine(nn.Module):
    """Codes z = x A and samples z B, two unrelated matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(6, 3, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(3, 6, dtype=torch.float64))

    def encode(self, x: Tensor) -> Tensor:
        return x @ self.a

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.b).tanh()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_latent_pgd_follows_its_formula(norm: str) -> None:
    """x + decode(z + δ) − decode(z), δ from a random point by projected steps."""
    torch.manual_seed(0)
    autoencoder, model = Affine(), nn.Linear(6, 3).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    y = model(x).argmax(1)
    attack = LatentPGD(
        eps=0.4, autoencoder=autoencoder, norm=norm, bounds=(-2.0, 2.0), steps=3,
        early_stop=False, seed=2,
    )  # fmt: skip
    x = x.clamp(-2, 2)
    z = autoencoder.encode(x).detach()
    residual = x - autoencoder.decode(z).detach()
    delta = uniform_in_ball(SampleRNG(x, 2), z, 0.4, norm)
    for _ in range(3):
        code = (z + delta).requires_grad_()
        scores = model((residual + autoencoder.decode(code)).clamp(-2, 2))
        loss = Goal(y).loss(scores, "cross_entropy").sum()
        g = torch.autograd.grad(loss, code)[0]
        step = g.sign() if norm == "linf" else g / g.norm(dim=1, keepdim=True)
        delta = delta + 2.5 * 0.4 / 3 * step
        if norm == "linf":
            delta = delta.clamp(-0.4, 0.4)
        else:
            delta = delta * (0.4 / delta.norm(dim=1, keepdim=True)).clamp(max=1)
    expected = (residual + autoencoder.decode(z + delta)).clamp(-2, 2).detach()
    torch.testing.assert_close(attack(model, x, y), expected, rtol=0, atol=1e-10)


# -- attacks that are fitted -----------------------------------------------------------------------


@pytest.mark.parametrize("target", [None, 1])
@pytest.mark.parametrize(("norm", "step_size"), [("linf", None), ("l2", 0.2)])
def test_universal_perturbation_follows_its_formula(
    norm: str, step_size: float | None, target: int | None, images: Case
) -> None:
    """Momentum on normalized gradients of Σ σ(L / τ), and a step that decreases to 0."""
    model, x, y = images
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    if target is not None:
        batches.append((x[:2], torch.full((2,), target)))  # a batch without other classes
    settings = {"eps": 0.3, "norm": norm, "epochs": 3, "momentum": 0.6, "temperature": 0.5}
    attack = UniversalPerturbation(**settings, step_size=step_size, target=target)  # type: ignore[arg-type]
    found = attack.fit(model, batches)
    delta = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    velocity, tau = torch.zeros_like(delta), 0.0
    for epoch in range(3):
        for xs, ys in batches:
            keep = ys != target if target is not None else torch.ones(len(ys), dtype=torch.bool)
            if not keep.any():
                continue
            xs, ys = xs[keep], ys[keep]
            goal = Goal(ys, None if target is None else torch.full_like(ys, target))
            if not tau:
                tau = 0.5 * float(goal.loss(model(xs), "margin").abs().mean())
            inputs = delta.clone().requires_grad_()
            margins = goal.loss(model((xs + inputs).clamp(0, 1)), "margin")
            (g,) = torch.autograd.grad((margins / tau).sigmoid().sum(), inputs)
            velocity = 0.6 * velocity + g / g.norm()
            step = velocity.sign() if norm == "linf" else velocity / velocity.norm()
            delta = delta + (step_size or 0.3) * (1 - epoch / 3) * step
            if norm == "linf":
                delta = delta.clamp(-0.3, 0.3)
            else:
                delta = delta * min(1.0, 0.3 / float(delta.norm()))
    torch.testing.assert_close(found.delta, delta, rtol=0, atol=1e-9)
    assert (found.target, found.name) == (target, "UniversalPerturbation")


def test_augmentation_of_the_substitute_follows_its_formula() -> None:
    """x ± λ sign(∂z_c/∂x), clipped; each round doubles the samples within the budget."""
    torch.manual_seed(0)
    w = torch.randn(3, 4)
    network = nn.Linear(4, 3)
    network.weight.data.copy_(w)
    x, classes = torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    substitute = SubstituteAttack(attack=LBFGSAttack(), augmentation_step=0.2)
    for sign in (1, -1):
        expected = (x + sign * 0.2 * w[classes].sign()).clamp(0, 1)
        torch.testing.assert_close(substitute._augment(network, x, classes, sign), expected)
    queried: list[Tensor] = []

    def oracle(x: Tensor) -> Tensor:
        queried.append(x.detach().clone())
        return x @ w.T

    samples = torch.rand(40, 4)
    for queries, rounds, sizes in (
        (40, 2, [10, 10, 20]),
        (45, 2, [11, 11, 22]),
        (7, 3, [1, 1, 2, 3]),
    ):
        queried.clear()
        settings: dict[str, Any] = {"queries": queries, "rounds": rounds, "epochs": 1}
        SubstituteAttack(attack=LBFGSAttack(), **settings).fit(oracle, samples)
        assert [len(part) for part in queried] == sizes
        first, second = queried[0], queried[1]
        assert torch.equal(first, samples[: sizes[0]])
        step = (second - first).abs()
        assert bool(
            ((step - 0.1).abs() < 1e-6).logical_or(second == 0).logical_or(second == 1).all()
        )


def test_the_sign_of_the_augmentation_alternates(monkeypatch: pytest.MonkeyPatch) -> None:
    signs: list[int] = []

    def augment(self: Any, network: nn.Module, x: Tensor, classes: Tensor, sign: int) -> Tensor:
        signs.append(sign)
        return x

    monkeypatch.setattr(SubstituteAttack, "_augment", augment)
    settings: dict[str, Any] = {"queries": 64, "rounds": 4, "epochs": 0}
    SubstituteAttack(attack=PGD(eps=0.1), **settings).fit(nn.Linear(4, 3), torch.rand(9, 4))
    assert signs == [1, -1, 1, -1]


def test_restarts_of_ensembles() -> None:
    """Parts that use random numbers have new seeds; others are repeated without a change."""
    restarts = Restarts(AttackEnsemble(BIM(eps=0.1), PGD(eps=0.1, seed=3)), 2)
    first, second = (part.attacks for part in restarts.attacks)  # type: ignore[attr-defined]
    assert (first[0], second[0]) == (BIM(eps=0.1), BIM(eps=0.1))
    assert (first[1].seed, second[1].seed) == (3, 4)
    with pytest.raises(InputError, match="is deterministic"):
        Restarts(AttackEnsemble(BIM(eps=0.1), FGSM(eps=0.1)), 2)


# -- robust accuracy -------------------------------------------------------------------------------


def test_predictions_are_made_in_evaluation_mode(images: Case) -> None:
    """Also those of graphs, whose masked nodes count."""
    model, x, y = images
    model.train()
    before = model[1].running_mean.clone()
    assert is_correct(model, x, y).all()
    assert torch.equal(model[1].running_mean, before)

    class NodeModel(nn.Module):
        def logits(self, data: Data) -> Tensor:
            assert not self.training
            return data.x

        def forward(self, data: Data) -> Tensor:
            raise AssertionError("logits come first")

    scores = torch.eye(4)[[0, 1, 2, 3, 0]]
    data = Data(x=scores, y=torch.tensor([0, 1, 0, 3, 1]))
    assert is_correct_on_batch(NodeModel(), data).tolist() == [True, True, False, True, False]
    data.mask = torch.tensor([True, False, True, False, False])
    assert is_correct_on_batch(NodeModel(), data).tolist() == [True, False]
    assert is_correct_on_batch(lambda d: d.x, data).tolist() == [True, False]

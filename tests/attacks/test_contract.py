"""Contract of all attacks: ε, bounds, an unchanged model, and independent samples."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from tests.attacks.conftest import Case
from zoo.attacks import (
    APGD,
    BIM,
    FGSM,
    PGD,
    Attack,
    AttackEnsemble,
    CarliniWagner,
    DeepFool,
    LBFGSAttack,
    RandomFGSM,
    Restarts,
    Square,
    SubstituteAttack,
    Targeted,
    UniversalPerturbation,
)
from zoo.attacks.base import ScoreFunction
from zoo.attacks.goals import Goal
from zoo.errors import InputError
from zoo.functional.norm_balls import delta_norm

BOUNDED: dict[str, Callable[[float], Attack]] = {
    "fgsm": lambda eps: FGSM(eps=eps),
    "fgm": lambda eps: FGSM(eps=eps, norm="l2"),
    "bim": lambda eps: BIM(eps=eps),
    "pgd": lambda eps: PGD(eps=eps, steps=10),
    "pgd_long_step": lambda eps: PGD(eps=eps, steps=5, step_size=3 * eps, early_stop=False),
    "random_fgsm": lambda eps: RandomFGSM(eps=eps),
    "pgd_l2": lambda eps: PGD(eps=eps, norm="l2", steps=10),
    "pgd_margin": lambda eps: PGD(eps=eps, loss="margin", steps=10),
    "pgd_dlr": lambda eps: PGD(eps=eps, loss="dlr", steps=10),
    "apgd": lambda eps: APGD(eps=eps, steps=20),
    "apgd_l2": lambda eps: APGD(eps=eps, norm="l2", steps=20, loss="dlr"),
    "square": lambda eps: Square(eps=eps, queries=40),
    "square_l2": lambda eps: Square(eps=eps, norm="l2", queries=40),
    "restarts": lambda eps: Restarts(PGD(eps=eps, steps=3), 3),
    "targeted": lambda eps: Targeted(PGD(eps=eps, steps=5), "next"),
    "ensemble": lambda eps: AttackEnsemble(
        FGSM(eps=eps), Targeted(APGD(eps=eps, steps=5), "runner_up")
    ),
}
MINIMUM_NORM: dict[str, Attack] = {
    "carlini_wagner": CarliniWagner(search_steps=3, steps=60),
    "carlini_wagner_l1": CarliniWagner(norm="l1", search_steps=3, steps=60),
    "carlini_wagner_linf": CarliniWagner(norm="linf", search_steps=3, steps=60),
    "lbfgs": LBFGSAttack(search_steps=5),
    "deep_fool": DeepFool(),
    "deep_fool_linf": DeepFool(norm="linf"),
}
ATTACKS = {name: make(0.1) for name, make in BOUNDED.items()} | MINIMUM_NORM


def norm_of(attack: Any) -> str:
    while not hasattr(attack, "norm"):
        attack = attack.attack if hasattr(attack, "attack") else attack.attacks[0]
    return attack.norm


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("eps", [0.03, 0.3])
def test_samples_stay_within_the_ball_and_the_bounds(name: str, eps: float, images: Case) -> None:
    model, x, y = images
    attack = BOUNDED[name](eps)
    x_adv = attack(model, x, y)
    assert x_adv.shape == x.shape
    assert not x_adv.requires_grad
    assert not torch.equal(x_adv, x)
    assert delta_norm(x_adv - x, norm_of(attack)).max() <= eps + 1e-6
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1


@pytest.mark.parametrize("name", BOUNDED)
def test_zero_eps_changes_nothing(name: str, images: Case) -> None:
    model, x, y = images
    torch.testing.assert_close(BOUNDED[name](0.0)(model, x, y), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "attack",
    [
        PGD(eps=0.3, steps=0),
        APGD(eps=0.3, steps=0),
        Square(eps=0.3, queries=0),
        CarliniWagner(steps=0),
        CarliniWagner(search_steps=0),
        DeepFool(steps=0),
    ],
)
def test_zero_steps_change_nothing(attack: Attack, images: Case) -> None:
    model, x, y = images
    assert torch.equal(attack(model, x, y), x)


@pytest.mark.parametrize("name", ATTACKS)
def test_samples_are_attacked_independently(name: str, images: Case) -> None:
    model, x, y = images
    attack = ATTACKS[name]
    together = attack(model, x, y)
    torch.testing.assert_close(attack(model, x[:1], y[:1]), together[:1], rtol=0, atol=1e-9)
    order = torch.tensor([7, 2, 5])
    torch.testing.assert_close(
        attack(model, x[order], y[order]), together[order], rtol=0, atol=1e-9
    )
    assert attack(model, x[:0], y[:0]).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_model_is_left_unchanged(name: str, images: Case) -> None:
    model, x, y = images
    model.train()
    model[1].eval()  # a user may freeze a batch norm
    model[4].weight.requires_grad_(False)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = pickle.dumps([model.state_dict(), [p.grad for p in model.parameters()]], protocol=4)
    flags = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()
    ATTACKS[name](model, x, y)
    assert [m.training for m in model.modules()] == flags[0]
    assert [p.requires_grad for p in model.parameters()] == flags[1]
    after = pickle.dumps([model.state_dict(), [p.grad for p in model.parameters()]], protocol=4)
    assert before == after
    assert torch.equal(torch.get_rng_state(), random)
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.parametrize("name", ["pgd", "apgd", "carlini_wagner"])
def test_flags_are_restored_after_an_error(name: str, images: Case) -> None:
    model, x, y = images
    model.train()
    with pytest.raises(InputError, match="outside the bounds"):
        ATTACKS[name](model, x + 1, y)
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd_l2", "pgd_margin", "pgd_dlr", "apgd"])
def test_attacks_are_invariant_to_a_shift_of_all_scores(name: str, images: Case) -> None:
    model, x, y = images
    plain = ATTACKS[name](model, x, y)
    for shifted in (lambda x: model(x) + 1000, lambda x: model(x) - 1000):
        torch.testing.assert_close(ATTACKS[name](shifted, x, y), plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd", "lbfgs", "carlini_wagner"])
def test_attacks_succeed_on_confident_models(name: str, learned: Case) -> None:
    """Scores ×1000 saturate the softmax in float32, so its gradients would be 0."""
    model, x, y = learned
    attack = ATTACKS[name]
    plain = (model(attack(model, x, y)).argmax(1) != y).float().mean()
    confident = (model(attack(lambda x: 1000 * model(x), x, y)).argmax(1) != y).float().mean()
    assert plain > 0.3
    assert confident > plain - 0.05


def test_the_margin_loss_is_invariant_to_the_scale_of_scores(images: Case) -> None:
    """The direction of steepest ascent of the margin does not depend on the scale of the scores."""
    model, x, y = images
    attack = PGD(eps=0.1, loss="margin", steps=10)
    x_adv = attack(lambda x: 10 * model(x) - 1000, x, y)
    torch.testing.assert_close(x_adv, attack(model, x, y), rtol=0, atol=1e-9)


# -- modes of PyTorch and Lightning ----------------------------------------------------------------


@pytest.mark.parametrize("name", ATTACKS)
def test_in_inference_mode(name: str, images: Case) -> None:
    model, x, y = images
    with torch.inference_mode():
        x_adv = ATTACKS[name](model, x.clone(), y.clone())
    torch.testing.assert_close(x_adv, ATTACKS[name](model, x, y), rtol=0, atol=1e-12)


def test_autocast_is_disabled(images: Case) -> None:
    model, x, y = images
    model.float()
    x = x.float()
    with torch.autocast("cpu", torch.bfloat16):
        x_adv = PGD(eps=0.1)(model, x, y)
    assert x_adv.dtype == torch.float32
    torch.testing.assert_close(x_adv, PGD(eps=0.1)(model, x, y), rtol=0, atol=0)


def test_autocast_is_disabled_for_functions_on_a_gpu(images: Case) -> None:
    """The device of a function is unknown; the flag exists on machines without a GPU, too."""
    model, x, y = images
    flags = set()

    def recorded(x: Tensor) -> Tensor:
        flags.add(torch.is_autocast_enabled("cuda"))
        return model(x)

    torch.set_autocast_enabled("cuda", True)
    try:
        FGSM(eps=0.1)(recorded, x, y)
        assert torch.is_autocast_enabled("cuda")
    finally:
        torch.set_autocast_enabled("cuda", False)
    assert flags == {False}


def test_in_the_test_loop_of_a_trainer() -> None:
    from datamodules import Digits
    from zoo import CNN

    class Attacked(CNN):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            x_adv = PGD(eps=0.3)(self, x, y)
            assert (x_adv - x).abs().max() <= 0.3 + 1e-6
            self.log("attacked", (self.logits(x_adv).argmax(1) == y).float().mean())
            super().test_step(batch, batch_idx)

    torch.manual_seed(0)
    model = Attacked((1, 8, 8), 10, (8,), lr=0.02)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=3, enable_model_summary=False, **options)
    trainer.fit(model, Digits(batch_size=100))
    metrics = trainer.test(model, Digits(batch_size=100), verbose=False)[0]
    assert metrics["test/accuracy"] > 0.8
    assert metrics["attacked"] < 0.1


# -- bad input -------------------------------------------------------------------------------------


def test_bad_input(images: Case) -> None:
    model, x, y = images
    attack = PGD(eps=0.1)
    with pytest.raises(InputError, match="needs the true classes y: the data has no labels"):
        attack(model, x, None)
    with pytest.raises(InputError, match=r"sample 0 has the value -\d.*outside the bounds 0 to 1"):
        attack(model, x - 2, y)
    nan = x.clone()
    nan[3, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="sample 3 has the value nan"):
        attack(model, nan, y)
    infinite = x.clone()
    infinite[2, 0, 0, 0] = torch.inf
    with pytest.raises(InputError, match="sample 2 has the value inf, which is not finite"):
        PGD(eps=0.1, bounds=None)(model, infinite, y)
    with pytest.raises(InputError, match="labels range from 0 to 9, the model has classes 0 to 3"):
        attack(model, x, torch.arange(10))
    with pytest.raises(InputError, match=r"scores of shape \(10, classes\), got \(10,\)"):
        attack(lambda x: model(x)[:, 0], x, y)
    with pytest.raises(InputError, match="scores that are nan or infinite"):
        attack(lambda x: model(x) * torch.nan, x, y)
    with pytest.raises(InputError, match=r"eps must not be negative, got -0\.1"):
        PGD(eps=-0.1)
    with pytest.raises(InputError, match="eps must not be negative, got nan"):
        PGD(eps=float("nan"))
    with pytest.raises(InputError, match="steps must be at least 0"):
        PGD(eps=0.1, steps=-1)
    with pytest.raises(InputError, match="target of sample 0 is its true class"):
        Targeted(attack, y.clone())(model, x, y)
    with pytest.raises(InputError, match=r"got targets of shape \(\) for 10 samples"):
        Targeted(attack, torch.tensor(1))(model, x, y)
    with pytest.raises(InputError, match="targets range from 7 to 7"):
        Targeted(attack, 7)(model, x, y)
    with pytest.raises(InputError, match="CarliniWagner has no eps"):
        CarliniWagner().with_eps(0.1)
    two = (y > 1).long()
    with pytest.raises(InputError, match="'dlr' needs at least 3 classes, the model has 2"):
        PGD(eps=0.1, loss="dlr")(lambda x: model(x)[:, :2], x, two)
    with pytest.raises(InputError, match=r"Square needs images \(B, C, H, W\)"):
        Square(eps=0.1)(nn.Flatten(), torch.rand(2, 5), torch.zeros(2).long())
    with pytest.raises(InputError, match="UniversalPerturbation must be fitted first"):
        UniversalPerturbation(eps=0.1)(model, x, y)
    with pytest.raises(InputError, match="needs at least one sample to learn from"):
        UniversalPerturbation(eps=0.1).fit(model, [])
    with pytest.raises(InputError, match="needs at least one sample to query"):
        SubstituteAttack(attack=attack).fit(model, x[:0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PGD(eps=0.1, norm="l3"), "unknown norm 'l3'.*choose from linf, l2, point"),
        (lambda: PGD(eps=0.1, loss="hinge"), "unknown loss 'hinge'; choose from cross_entropy"),
        (lambda: APGD(eps=0.1, step_size=0.1), "APGD adapts its step size"),
        (lambda: Square(eps=0.1, norm="point"), "unknown norm 'point'; choose from linf, l2"),
        (lambda: Square(eps=0.1, initial_fraction=0), "initial_fraction must be positive, got 0"),
        (lambda: Square(eps=0.1, initial_fraction=2), "initial_fraction must be between 0 and 1"),
        (lambda: CarliniWagner(norm="l3"), "unknown norm 'l3'"),
        (lambda: CarliniWagner(initial_c=0), "initial_c must be positive"),
        (lambda: LBFGSAttack(initial_c=-1), "initial_c must be positive"),
        (lambda: DeepFool(norm="l1"), "unknown norm 'l1'"),
        (lambda: Restarts(PGD(eps=0.1), 0), "restarts must be at least 1, got 0"),
        (
            lambda: Restarts(BIM(eps=0.1), 2),
            "BIM is deterministic: restarts would repeat",
        ),
        (lambda: Targeted(PGD(eps=0.1), "worst"), "unknown target 'worst'; choose from next"),
        (lambda: AttackEnsemble(), "AttackEnsemble needs at least one attack"),
    ],
)
def test_bad_settings(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_probabilities_cause_a_warning(images: Case) -> None:
    model, x, y = images
    with pytest.warns(UserWarning, match="returns probabilities instead of scores"):
        FGSM(eps=0.1)(lambda x: model(x).softmax(1), x, y)


def test_queries_are_counted(images: Case) -> None:
    model, x, y = images

    def robust(x: Tensor) -> Tensor:
        return model(x) + 1e6 * nn.functional.one_hot(y, 4)

    scores = ScoreFunction(robust)
    x_adv = Square(eps=0.1, queries=30).perturb(scores, x, Goal(y))
    assert scores.queries == 30 * len(x)
    assert x_adv.shape == x.shape
    scores = ScoreFunction(model)
    Square(eps=0.9, queries=500).perturb(scores, x, Goal(y))
    assert scores.queries < 100 * len(x)  # no queries for samples that are already adversarial


# -- samples, labels and models of many forms ------------------------------------------------------


def test_models_inside_functions_are_frozen(images: Case) -> None:
    """Statistics of batch norm stay, and the result is that of evaluation mode."""
    model, x, y = images
    expected = PGD(eps=0.1, steps=3)(model, x, y)
    model.train()
    before = model[1].running_mean.clone()

    class Wrapped:
        def __init__(self) -> None:
            self.networks = [model]

        def __call__(self, x: Tensor) -> Tensor:
            return self.networks[0](x)

    def scaled(factor: float, x: Tensor) -> Tensor:
        return factor * model(x)

    def outer(x: Tensor) -> Tensor:
        return scaled(1.0, x)

    forms = (lambda x: model(x), partial(scaled, 1.0), outer, Wrapped(), model.forward)
    for function in forms:
        x_adv = PGD(eps=0.1, steps=3)(function, x, y)
        torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-12)
        assert torch.equal(model[1].running_mean, before)
        assert all(module.training for module in model.modules())


def test_one_radius_per_sample(images: Case) -> None:
    """Each sample is attacked as with its own radius, also where some leave the batch early."""
    model, x, y = images
    radii = torch.linspace(0, 0.3, 10)
    attacks: dict[str, Callable[[Any], Attack]] = {
        "pgd": lambda eps: PGD(eps=eps, steps=5),
        "pgd_l2": lambda eps: PGD(eps=eps, norm="l2", steps=5),
        "fgsm": lambda eps: FGSM(eps=eps),
        "random_fgsm": lambda eps: RandomFGSM(eps=eps),
        "apgd": lambda eps: APGD(eps=eps, steps=10),
        "square": lambda eps: Square(eps=eps, queries=30),
        "square_l2": lambda eps: Square(eps=eps, norm="l2", queries=30),
        "restarts": lambda eps: Restarts(PGD(eps=eps, steps=2), 3),
        "targeted": lambda eps: AttackEnsemble(
            Targeted(PGD(eps=eps, steps=2), (y + 1) % 4), Targeted(FGSM(eps=eps), (y + 2) % 4)
        ),
    }
    for name, make in attacks.items():
        x_adv = make(radii)(model, x, y)
        if name != "targeted":
            for i in (0, 4, 9):
                alone = make(float(radii[i]))(model, x[i : i + 1], y[i : i + 1])
                torch.testing.assert_close(x_adv[i : i + 1], alone, rtol=0, atol=1e-6)
        norm = "l2" if name.endswith("l2") else "linf"
        assert (delta_norm(x_adv - x, norm) <= radii + 1e-6).all(), name
    scalar = PGD(eps=torch.tensor(0.1), steps=3)(model, x, y)
    torch.testing.assert_close(scalar, PGD(eps=0.1, steps=3)(model, x, y), rtol=0, atol=1e-7)
    with pytest.raises(
        InputError, match=r"one number or one per sample, got \(3,\) for 10 samples"
    ):
        PGD(eps=radii[:3])(model, x, y)
    with pytest.raises(InputError, match="eps must not be negative"):
        PGD(eps=-radii)
    with pytest.raises(InputError, match="has one eps for all samples"):
        UniversalPerturbation(eps=radii)


def test_an_ensemble_selects_the_targets_of_the_remaining_samples(images: Case) -> None:
    model, x, y = images
    target = (y + 1) % 4
    weak, strong = Targeted(PGD(eps=0.02, steps=2), target), Targeted(PGD(eps=0.9), target)
    x_adv = AttackEnsemble(weak, strong)(model, x, y)
    assert (model(x_adv).argmax(1) == target).double().mean() > 0.5


def test_labels_of_many_forms(images: Case) -> None:
    model, x, y = images
    expected = PGD(eps=0.1, steps=2)(model, x, y)
    for labels in (y.tolist(), y.numpy(), y.int(), y.to(torch.uint8), tuple(y.tolist())):
        assert torch.equal(PGD(eps=0.1, steps=2)(model, x, labels), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:7]), r"one integer per sample, \(10,\), got torch.int64 \(7,\)"),
        (lambda x, y: (x, y[:, None]), r"one integer per sample.*got torch.int64 \(10, 1\)"),
        (lambda x, y: (x, y.double()), r"one integer per sample.*got torch.float64 \(10,\)"),
        (lambda x, y: (x.numpy(), y), r"samples as a tensor, got ndarray.*torch.as_tensor"),
        (lambda x, y: (x.tolist(), y), "samples as a tensor, got list"),
        (
            lambda x, y: ((255 * x).byte(), y),
            r"floating-point type, got torch.uint8.*float\(\) / 255",
        ),
        (lambda x, y: (x.bool(), y), "floating-point type, got torch.bool"),
    ],
)
def test_samples_and_labels_that_do_not_fit(
    change: Callable[..., Any], message: str, images: Case
) -> None:
    model, x, y = images
    for attack in (PGD(eps=0.1), Square(eps=8, bounds=(0, 255)), DeepFool()):
        with pytest.raises(InputError, match=message):
            attack(model, *change(x, y))


def test_models_that_return_more_than_scores(images: Case) -> None:
    model, x, y = images
    expected = PGD(eps=0.1, steps=2)(model, x, y)
    output = PGD(eps=0.1, steps=2)(lambda x: SimpleNamespace(logits=model(x)), x, y)
    assert torch.equal(output, expected)
    with pytest.raises(
        InputError, match=r"got tuple: pass a function .* lambda x: model\(x\)\[0\]"
    ):
        PGD(eps=0.1)(lambda x: (model(x), x), x, y)

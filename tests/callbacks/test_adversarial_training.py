"""Adversarial training: attacked batches, robustness gained, otherwise unchanged runs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from callbacks import (
    TRADES,
    AdversarialTraining,
    FastAdversarialTraining,
    FreeAdversarialTraining,
)
from datamodules import Digits
from zoo import CNN, VAE, DeepEnsemble
from zoo.attacks import BIM, FGSM, PGD, Attack, CarliniWagner, RandomFGSM
from zoo.attacks.goals import Divergence, kl_divergence
from zoo.errors import InputError

EPS = 0.1


def small(**options: Any) -> CNN:
    torch.manual_seed(0)
    settings = {"channels": (16, 32), "hidden_dims": (32,), "lr": 0.003, **options}
    return CNN((1, 8, 8), 10, **settings)


def clean_and_robust_accuracy(model: nn.Module, data: Digits) -> tuple[float, float]:
    """Return the test accuracy without an attack and under PGD-20."""
    x, y = data.evaluation_samples("test")
    with torch.no_grad():
        clean = (model.eval()(x).argmax(1) == y).float().mean()
        x_adv = PGD(eps=EPS, steps=20)(model, x, y)
        return float(clean), float((model(x_adv).argmax(1) == y).float().mean())


CALLBACKS: dict[str, Callable[[], AdversarialTraining]] = {
    "pgd": lambda: AdversarialTraining(PGD(eps=EPS, steps=5), eps_warmup=0.3),
    "fast": lambda: FastAdversarialTraining(EPS),
    "free": lambda: FreeAdversarialTraining(EPS, replays=4),
    "trades": lambda: TRADES(PGD(eps=EPS, steps=5)),
}


def test_adversarial_training_increases_robustness(trainer: Callable[..., L.Trainer]) -> None:
    """Every method has a much higher accuracy under attack than ordinary training."""
    data = Digits(batch_size=64)
    model = small(normalization="none")
    trainer(max_epochs=10).fit(model, data)
    clean, undefended = clean_and_robust_accuracy(model, data)
    assert clean > 0.9
    for name, make in CALLBACKS.items():
        model = small(normalization="none")
        epochs = 4 if name == "free" else 10
        run = trainer(max_epochs=epochs, callbacks=[make()])
        run.fit(model, data)
        assert run.global_step == epochs * len(data.train_dataloader())  # one step per batch
        clean, attacked = clean_and_robust_accuracy(model, data)
        assert clean > 0.85, name
        assert attacked > undefended + 0.08, name
        assert 0 < run.callback_metrics["val/robust_accuracy"] < 1
        assert "step" not in model.__dict__
        assert "optimizer_step" not in model.__dict__


def test_the_model_is_trained_on_attacked_batches(trainer: Callable[..., L.Trainer]) -> None:
    """A fraction of every second batch is attacked, with ε as set by the warmup."""
    step_inputs: list[Tensor] = []

    class RecordingCNN(CNN):
        def step(self, batch: Any) -> dict[str, Any]:
            if self.training:
                step_inputs.append(batch[0].clone())
            return super().step(batch)

    batches: list[Tensor] = []

    class BatchRecorder(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
            batches.append(batch[0].clone())

    torch.manual_seed(0)
    model = RecordingCNN((1, 8, 8), 10, (8,))
    # with so large a step, the perturbation of every sample has norm ε
    attack = BIM(eps=0.2, step_size=1.0, early_stop=False)
    callback = AdversarialTraining(
        attack, adversarial_fraction=0.25, eps_warmup=8, every_n_batches=2
    )
    run = trainer(max_steps=12, limit_val_batches=0, callbacks=[callback, BatchRecorder()])
    run.fit(model, Digits(batch_size=64))
    for index, (before, after) in enumerate(zip(batches, step_inputs, strict=True)):
        norms = (after - before).abs().flatten(1).amax(1)
        attacked = len(before) // 4 if index % 2 == 0 else 0
        eps = 0.2 * min(1.0, (index + 1) / 8)
        assert (norms[attacked:] == 0).all()
        torch.testing.assert_close(
            norms[:attacked], torch.full_like(norms[:attacked], eps), atol=1e-6, rtol=0
        )


def test_batch_norm_statistics_ignore_the_attack(trainer: Callable[..., L.Trainer]) -> None:
    """With ε = 0, training is bit for bit equal to ordinary training."""
    states = []
    for callbacks in ([], [AdversarialTraining(PGD(eps=0.0, steps=3))]):
        model = small(conv_dropout=0.2)
        L.seed_everything(0)
        trainer(max_epochs=1, callbacks=callbacks).fit(model, Digits(batch_size=64))
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_every_step_has_its_own_seed(trainer: Callable[..., L.Trainer]) -> None:
    callback = AdversarialTraining(RandomFGSM(eps=0.1))
    run = trainer(max_epochs=1)
    run.fit(small(), Digits(batch_size=64))
    seeds = {callback.scheduled_attack(run, index).seed for index in range(5)}
    assert len(seeds) == 5
    deterministic = AdversarialTraining(FGSM(eps=0.1))
    assert deterministic.scheduled_attack(run, 3) == FGSM(eps=0.1)


def test_the_guard_restores_the_weights(trainer: Callable[..., L.Trainer]) -> None:
    """After a sudden loss of robustness, the last weights are restored and training ends."""
    data = Digits(batch_size=64)
    saved: dict[str, Tensor] = {}

    class Scrambler(L.Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == 2:
                saved.update({k: v.clone() for k, v in guard._weights.items()})
                for p in module.parameters():
                    torch.nn.init.normal_(p)

    guard = FastAdversarialTraining(0.1)
    model = small(normalization="none")
    run = trainer(max_epochs=8, callbacks=[Scrambler(), guard])
    with pytest.warns(UserWarning, match=r"catastrophic overfitting in epoch 2.*are restored"):
        run.fit(model, data)
    assert run.current_epoch == 3
    assert saved
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[name])


def test_free_training_needs_one_pass_per_replay(trainer: Callable[..., L.Trainer]) -> None:
    """δ stays in the ball, x + δ within the bounds, and each replay is one forward pass."""
    passes: list[Tensor] = []

    class RecordingCNN(CNN):
        def logits(self, x: Tensor) -> Tensor:
            if self.training:
                passes.append(x.detach().clone())
            return super().logits(x)

    torch.manual_seed(0)
    data = Digits(batch_size=64)
    model = RecordingCNN((1, 8, 8), 10, (8,))
    run = trainer(
        max_steps=5, limit_val_batches=0, callbacks=[FreeAdversarialTraining(0.1, replays=3)]
    )
    run.fit(model, data)
    assert run.global_step == 5
    assert len(passes) == 15
    assert all(p.min() >= 0 and p.max() <= 1 for p in passes)
    for first, second in pairwise(passes[:3]):
        assert 0 < (second - first).abs().max() <= 0.2 + 1e-6


def test_kl_divergence_by_hand() -> None:
    """KL(p ‖ q) with p = (0.8, 0.2) and q = (½, ½), which is not KL(q ‖ p) = 0.223."""
    p = torch.tensor([[0.8, 0.2]], dtype=torch.float64)
    scores = torch.tensor([[3.0, 3.0]], dtype=torch.float64)
    expected = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert expected == pytest.approx(0.1927, abs=1e-4)
    assert kl_divergence(p.log(), scores).item() == pytest.approx(expected)
    goal = Divergence(torch.tensor([0]), None, p.log())
    assert goal.loss(scores, "margin").item() == pytest.approx(expected)
    assert goal.is_reached(scores).tolist() == [False]


def test_trades_loss_matches_its_formula(trainer: Callable[..., L.Trainer]) -> None:
    """L(x, y) + β Σ_k p_k (log p_k − log p′_k) at the point that the attack reached, in float64."""
    model = small(normalization="none", conv_dropout=0.0).double()
    x, y = (part[:32] for part in Digits().evaluation_samples("train"))
    x = x.double()
    inputs: list[Tensor] = []
    logits = model.logits

    def recorded(x: Tensor) -> Tensor:
        inputs.append(x.detach().clone())
        return logits(x)

    model.logits = recorded  # type: ignore[method-assign]
    callback = TRADES(PGD(eps=0.1, steps=3, seed=5), beta=2.0)
    model.train()
    parts = callback.adversarial_step(model, model.step, (x, y), callback.attack)
    log_p, log_q = logits(x).log_softmax(1), logits(inputs[-1]).log_softmax(1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(1).mean()
    torch.testing.assert_close(parts["divergence"], divergence, rtol=1e-12, atol=0)
    nll = -log_p.gather(1, y[:, None]).mean()
    torch.testing.assert_close(parts["loss"], nll + 2.0 * divergence, rtol=1e-12, atol=0)
    weights = list(model.parameters())  # both distributions depend on them
    expected = torch.autograd.grad(nll + 2.0 * divergence, weights, retain_graph=True)
    for one, other in zip(torch.autograd.grad(parts["loss"], weights), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    # the attack ascends KL(p(x) ‖ p(x′)) from a random point, whether or not a sample is fooled
    point = PGD(eps=0.1, steps=3, seed=5).starting_point(x)
    for _ in range(3):
        point = point.requires_grad_()
        log_q = logits(point).log_softmax(1)
        kl = (log_p.detach().exp() * (log_p.detach() - log_q)).sum()
        step = 2.5 * 0.1 / 3 * torch.autograd.grad(kl, point)[0].sign()
        point = (x + (point.detach() + step - x).clamp(-0.1, 0.1)).clamp(0, 1)
    torch.testing.assert_close(inputs[-1], point, rtol=0, atol=1e-12)


@dataclass(frozen=True)
class Replace(Attack):
    """An attack that returns the same samples for every input."""

    samples: Tensor

    def perturb(self, model: Any, x: Tensor, goal: Any) -> Tensor:
        return self.samples


def test_robust_accuracy_needs_both_predictions_to_be_right() -> None:
    """Right only without the attack, only under it, both times and never: one of four counts."""
    model = small().eval()
    classes = {"before": [1, 2, 3, 4], "after": [5, 6, 3, 7]}
    inputs = {}
    for name, values in classes.items():
        inputs[name] = torch.zeros(4, 1, 8, 8)
        inputs[name][:, 0, 0, 0] = torch.tensor(values) / 16

    def predict(x: Tensor) -> Tensor:
        return nn.functional.one_hot((16 * x[:, 0, 0, 0]).round().long(), 10).float()

    model.logits = predict  # type: ignore[method-assign]
    callback = AdversarialTraining(PGD(eps=0.1), val_attack=Replace(inputs["after"]))
    y = torch.tensor([1, 6, 3, 9])
    assert callback.robust_accuracy(model, (inputs["before"], y)) == 0.25


def test_bad_input(trainer: Callable[..., L.Trainer]) -> None:
    with pytest.raises(InputError, match=r"adversarial_fraction must be between 0 and 1, got 1\.5"):
        AdversarialTraining(PGD(eps=0.1), adversarial_fraction=1.5)
    with pytest.raises(InputError, match="every_n_batches must be at least 1, got 0"):
        AdversarialTraining(PGD(eps=0.1), every_n_batches=0)
    with pytest.raises(InputError, match="eps_warmup must not be negative, got -1"):
        AdversarialTraining(PGD(eps=0.1), eps_warmup=-1)
    with pytest.raises(InputError, match=r"TRADES needs adversarial_fraction=1, got 0\.5"):
        TRADES(PGD(eps=0.1), adversarial_fraction=0.5)
    with pytest.raises(InputError, match="TRADES needs a PGD attack, got CarliniWagner"):
        TRADES(CarliniWagner())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="replays must be at least 1, got 0"):
        FreeAdversarialTraining(0.1, replays=0)
    with pytest.raises(InputError, match="AdversarialTraining requires a Classifier, got VAE"):
        trainer(max_epochs=1, callbacks=[CALLBACKS["pgd"]()]).fit(VAE((1, 8, 8)), Digits())
    callback = AdversarialTraining(CarliniWagner(search_steps=1, steps=1), eps_warmup=5)
    with pytest.raises(InputError, match="CarliniWagner has no eps to warm up"):
        trainer(max_epochs=1, callbacks=[callback]).fit(small(), Digits())
    run = trainer(max_epochs=1, callbacks=[CALLBACKS["free"]()], accumulate_grad_batches=2)
    with pytest.raises(InputError, match=r"needs trainer\.accumulate_grad_batches=1, got 2"):
        run.fit(small(), Digits())
    ensemble = DeepEnsemble((1, 8, 8), 10, num_members=2)
    with pytest.raises(InputError, match="TRADES needs one set of scores per sample"):
        trainer(max_epochs=1, callbacks=[CALLBACKS["trades"]()]).fit(ensemble, Digits())


def test_adversarial_training_of_ensembles(trainer: Callable[..., L.Trainer]) -> None:
    data = Digits(batch_size=64)
    model = DeepEnsemble((1, 8, 8), 10, num_members=2)
    run = trainer(max_epochs=2, callbacks=[AdversarialTraining(PGD(eps=0.05, steps=2))])
    run.fit(model, data)
    metrics = run.callback_metrics
    assert 0.1 < metrics["val/robust_accuracy"] < metrics["val/accuracy"]


def fake_trainer(**attributes: Any) -> Any:
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    defaults = {"world_size": 1, "global_rank": 0, "global_step": 0, "current_epoch": 0}
    return SimpleNamespace(**{"strategy": strategy, **defaults, **attributes})


def test_epsilon_rises_over_a_fraction_of_training() -> None:
    callback = AdversarialTraining(FGSM(eps=0.2), eps_warmup=0.25)
    for step, eps in ((0, 0.02), (4, 0.1), (9, 0.2), (30, 0.2)):
        run = fake_trainer(estimated_stepping_batches=40, num_training_batches=8, global_step=step)
        assert callback.scheduled_attack(run, 0).eps == pytest.approx(eps)


def test_every_process_has_its_own_seeds() -> None:
    callback = AdversarialTraining(RandomFGSM(eps=0.1))
    runs = [fake_trainer(world_size=2, global_rank=rank) for rank in (0, 1)]
    seeds = {callback.scheduled_attack(run, index).seed for run in runs for index in range(5)}
    assert len(seeds) == 10


def test_a_fraction_of_a_batch_is_attacked_with_its_own_labels() -> None:
    calls: list[tuple[Tensor, Tensor]] = []

    def attack(module: Any, x: Tensor, y: Tensor) -> Tensor:
        calls.append((x, y))
        return x + 1

    callback = AdversarialTraining(PGD(eps=0.1), adversarial_fraction=0.5)
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6)
    found = callback.adversarial_step(small(), lambda batch: {"batch": batch}, (x, y), attack)  # type: ignore[arg-type]
    assert torch.equal(calls[0][0], x[:3])
    assert torch.equal(calls[0][1], y[:3])
    assert torch.equal(found["batch"][0], torch.cat([x[:3] + 1, x[3:]]))
    assert torch.equal(found["batch"][1], y)


def test_a_fraction_of_the_batches_of_graphs_is_attacked() -> None:
    """Whenever 0.4 · (number of batches) reaches an integer."""
    callback = AdversarialTraining(PGD(eps=0.1), adversarial_fraction=0.4)
    attack = SimpleNamespace(perturb_batch=lambda module, batch: "attacked")
    found = []
    for _ in range(10):
        callback._num_batches += 1
        parts = callback.adversarial_step(None, lambda batch: {"batch": batch}, "graph", attack)  # type: ignore[arg-type]
        found.append(parts["batch"] == "attacked")
    assert found == [False, False, True, False, True] * 2


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_perturbation_of_free_training_by_its_formula(norm: str) -> None:
    """δ ← Π(δ + ε steepest(∇L)), clipped to the bounds when it is used."""
    model = small(normalization="none").double()
    x, y = torch.rand(4, 1, 8, 8).double(), torch.arange(4)
    x[:, :, :2] = 0.0
    callback, delta = FreeAdversarialTraining(0.1, norm), torch.zeros_like(x)
    for _ in range(4):
        delta = ((x + delta).clamp(0, 1) - x).requires_grad_()
        loss = model.step((x + delta, y))["loss"]
        found = callback.adversarial_step(model, model.step, (x, y), callback.attack)["loss"]
        torch.testing.assert_close(found, loss)
        (gradient,) = torch.autograd.grad(loss, delta)
        found.backward()
        callback.on_after_backward(None, model)  # type: ignore[arg-type]
        if norm == "linf":
            delta = (delta.detach() + 0.1 * gradient.sign()).clamp(-0.1, 0.1)
        else:
            lengths = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            delta = delta.detach() + 0.1 * gradient / lengths
            lengths = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            delta = delta * (0.1 / lengths).clamp(max=1)
        torch.testing.assert_close(callback._delta, delta)


def test_free_training_takes_as_many_optimizer_steps_as_replays() -> None:
    steps: list[int] = []
    FreeAdversarialTraining(0.1, replays=3)._replay(steps.append, 1)
    assert steps == [1, 1, 1]


def test_the_attacks_of_fast_training() -> None:
    callback = FastAdversarialTraining(0.3, "l2", step_size=0.2, bounds=(0.0, 2.0))
    pgd = PGD(eps=0.3, norm="l2", steps=10, bounds=(0.0, 2.0))
    assert callback.attack == RandomFGSM(eps=0.3, norm="l2", step_size=0.2, bounds=(0.0, 2.0))
    assert callback.val_attack == callback._guard_attack == pgd


def test_the_accuracy_of_the_guard_is_that_under_its_attack() -> None:
    data, model = Digits(batch_size=64), small(normalization="none")
    guard = FastAdversarialTraining(0.02, guard_samples=100)
    batches = [next(iter(data.train_dataloader())) for _ in range(4)]
    for index, batch in enumerate(batches):
        guard.on_train_batch_start(None, model, batch, index)  # type: ignore[arg-type]
    assert len(guard._guard_batches) == 2  # 128 samples are the first to reach 100
    correct = []
    for x, y in batches[:2]:
        x_adv = PGD(eps=0.02, steps=10)(model.eval(), x, y)
        correct.append((model(x_adv).argmax(1) == y).float())
    expected = float(torch.cat(correct).mean())
    clean = torch.cat([(model(x).argmax(1) == y).float() for x, y in batches[:2]]).mean()
    assert guard._guard_accuracy(fake_trainer(), model) == pytest.approx(expected)
    assert expected < clean


def test_the_guard_compares_with_the_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drop of at most 0.2 is tolerated, in one epoch or in several."""
    guard, model, run = FastAdversarialTraining(0.1), small(), fake_trainer(should_stop=False)
    monkeypatch.setattr(model, "log", lambda *_: None)
    stops = []
    for accuracy in (0.7, 0.8, 0.65, 0.61, 0.7, 0.59):
        guard._guard_batches = [(torch.zeros(1), torch.zeros(1))]
        monkeypatch.setattr(guard, "_guard_accuracy", lambda *_, value=accuracy: value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            guard.on_train_epoch_end(run, model)
        stops.append(run.should_stop)
    assert stops == [False] * 5 + [True]


def test_trades_attacks_in_evaluation_mode_and_trains_in_training_mode() -> None:
    modes: list[bool] = []

    class RecordingCNN(CNN):
        def logits(self, x: Tensor) -> Tensor:
            modes.append(self.network.training)
            return super().logits(x)

    model = RecordingCNN((1, 8, 8), 10, (8,)).train()
    callback = TRADES(PGD(eps=0.1, steps=3))
    batch = torch.rand(4, 1, 8, 8), torch.arange(4)
    callback.adversarial_step(model, model.step, batch, callback.attack)
    assert modes[-2:] == [True, True]
    assert modes[:-2] == [False] * len(modes[:-2])
    assert len(modes) >= 6


def test_batches_without_an_attack(trainer: Callable[..., L.Trainer]) -> None:
    run = trainer(max_epochs=1, callbacks=[TRADES(PGD(eps=0.1, steps=2), every_n_batches=3)])
    run.fit(small(), Digits(batch_size=64))
    assert run.callback_metrics["train/divergence"] > 0


def test_the_module_is_restored_after_an_exception(trainer: Callable[..., L.Trainer]) -> None:
    class Failing(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("stop here")

    model = small()
    for make in CALLBACKS.values():
        with pytest.raises(RuntimeError, match="stop here"):
            trainer(max_epochs=1, callbacks=[make(), Failing()]).fit(model, Digits())
        assert "step" not in model.__dict__
        assert "optimizer_step" not in model.__dict__
        assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", CALLBACKS)
def test_in_bfloat16_and_compiled(name: str, trainer: Callable[..., L.Trainer]) -> None:
    model = small()
    model.network = torch.compile(model.network, backend="eager")
    run = trainer(
        max_epochs=1, limit_train_batches=3, limit_val_batches=1, precision="bf16-mixed",
        callbacks=[CALLBACKS[name]()],
    )  # fmt: skip
    run.fit(model, Digits(batch_size=32))
    assert run.callback_metrics["train/loss"].isfinite()
    assert "val/robust_accuracy" in run.callback_metrics


def test_the_guard_skips_an_epoch_without_batches() -> None:
    """A run may be resumed after the last batch of an epoch."""
    guard = FastAdversarialTraining(eps=0.1)
    guard.on_train_epoch_end(None, None)  # type: ignore[arg-type]
    assert guard.state_dict()["weights"] == {}
    assert guard.state_dict()["best"] == 0.0

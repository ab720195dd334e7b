"""Training under attack: what is learned from, what is left as it was, and what it brings."""

from __future__ import annotations

from collections.abc import Callable
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
from zoo.attacks import BIM, FGSM, PGD, CarliniWagner, RandomFGSM
from zoo.errors import InputError

EPS = 0.1


def small(**options: Any) -> CNN:
    torch.manual_seed(0)
    settings = {"channels": (16, 32), "hidden_dims": (32,), "lr": 0.003, **options}
    return CNN((1, 8, 8), 10, **settings)


def images(data: Digits, part: str) -> tuple[Tensor, Tensor]:
    x, y = data.split(part)
    return x.float() / 16, y


def robust(model: nn.Module, data: Digits) -> tuple[float, float]:
    """Accuracy on test images without and under twenty steps of PGD."""
    x, y = images(data, "test")
    with torch.no_grad():
        clean = (model.eval()(x).argmax(1) == y).float().mean()
        found = PGD(eps=EPS, steps=20)(model, x, y)
        return float(clean), float((model(found).argmax(1) == y).float().mean())


KINDS: dict[str, Callable[[], AdversarialTraining]] = {
    "pgd": lambda: AdversarialTraining(PGD(eps=EPS, steps=5), eps_warmup=0.3),
    "fast": lambda: FastAdversarialTraining(EPS),
    "free": lambda: FreeAdversarialTraining(EPS, replays=4),
    "trades": lambda: TRADES(PGD(eps=EPS, steps=5)),
}


def test_robustness_is_learned(trainer: Callable[..., L.Trainer]) -> None:
    """Every method holds many more digits under attack than training without one."""
    data = Digits(batch_size=64)
    model = small(normalization="none")
    trainer(max_epochs=10).fit(model, data)
    undefended = robust(model, data)
    assert undefended[0] > 0.9
    for kind, make in KINDS.items():
        model = small(normalization="none")
        epochs = 4 if kind == "free" else 10
        run = trainer(max_epochs=epochs, callbacks=[make()])
        run.fit(model, data)
        assert run.global_step == epochs * len(data.train_dataloader())  # one for each batch
        clean, attacked = robust(model, data)
        assert clean > 0.85, kind
        assert attacked > undefended[1] + 0.08, kind
        assert 0 < run.callback_metrics["val/robust_accuracy"] < 1
        assert "step" not in model.__dict__
        assert "optimizer_step" not in model.__dict__


def test_the_model_learns_from_what_the_attack_made(trainer: Callable[..., L.Trainer]) -> None:
    """A share of each batch is attacked, every second batch, ε as far as it has risen."""
    seen: list[tuple[Tensor, Tensor]] = []

    class Watched(CNN):
        def step(self, batch: Any) -> dict[str, Any]:
            if self.training:
                seen.append(batch[0].clone())
            return super().step(batch)

    given: list[Tensor] = []

    class Given(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
            given.append(batch[0].clone())

    torch.manual_seed(0)
    model = Watched((1, 8, 8), 10, (8,))
    attack = BIM(
        eps=0.2, step_size=1.0, early_stop=False
    )  # every sample that can moves by all of ε
    callback = AdversarialTraining(attack, mix=0.25, eps_warmup=8, every_n=2)
    run = trainer(max_steps=12, limit_val_batches=0, callbacks=[callback, Given()])
    run.fit(model, Digits(batch_size=64))
    for number, (before, after) in enumerate(zip(given, seen, strict=True)):
        moved = (after - before).abs().flatten(1).amax(1)
        attacked = len(before) // 4 if number % 2 == 0 else 0
        eps = 0.2 * min(1.0, (number + 1) / 8)
        assert (moved[attacked:] == 0).all()
        torch.testing.assert_close(
            moved[:attacked], torch.full_like(moved[:attacked], eps), atol=1e-6, rtol=0
        )


def test_batch_norm_knows_nothing_of_the_attack(trainer: Callable[..., L.Trainer]) -> None:
    """An attack that changes nothing leaves training as it is, bit for bit."""
    states = []
    for callbacks in ([], [AdversarialTraining(PGD(eps=0.0, steps=3))]):
        model = small(conv_dropout=0.2)
        L.seed_everything(0)
        trainer(max_epochs=1, callbacks=callbacks).fit(model, Digits(batch_size=64))
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_every_step_draws_other_starts(trainer: Callable[..., L.Trainer]) -> None:
    callback = AdversarialTraining(RandomFGSM(eps=0.1))
    run = trainer(max_epochs=1)
    run.fit(small(), Digits(batch_size=64))
    seeds = {callback.current_attack(run, number).seed for number in range(5)}
    assert len(seeds) == 5
    steady = AdversarialTraining(FGSM(eps=0.1))
    assert steady.current_attack(run, 3) == FGSM(eps=0.1)


def test_the_guard_brings_the_weights_back(trainer: Callable[..., L.Trainer], capsys: Any) -> None:
    """A model that suddenly goes blind is set back, and training ends."""
    data = Digits(batch_size=64)
    kept: dict[str, Tensor] = {}

    class Blinded(L.Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == 2:
                kept.update({k: v.clone() for k, v in guard._weights.items()})
                for p in module.parameters():
                    torch.nn.init.normal_(p)

    guard = FastAdversarialTraining(0.1)
    model = small(normalization="none")
    run = trainer(max_epochs=8, callbacks=[Blinded(), guard])
    run.fit(model, data)
    assert run.current_epoch == 3
    assert kept
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name])
    assert (
        "catastrophic overfitting; the weights of the epoch before are back"
        in capsys.readouterr().out
    )


def test_free_training_reuses_one_gradient(trainer: Callable[..., L.Trainer]) -> None:
    """δ stays in the ball and x + δ in the bounds; one pass for each replay and no more."""
    passes: list[Tensor] = []

    class Watched(CNN):
        def logits(self, x: Tensor) -> Tensor:
            if self.training:
                passes.append(x.detach().clone())
            return super().logits(x)

    torch.manual_seed(0)
    data = Digits(batch_size=64)
    model = Watched((1, 8, 8), 10, (8,))
    run = trainer(
        max_steps=5, limit_val_batches=0, callbacks=[FreeAdversarialTraining(0.1, replays=3)]
    )
    run.fit(model, data)
    assert run.global_step == 5
    assert len(passes) == 15
    assert all(p.min() >= 0 and p.max() <= 1 for p in passes)
    for first, second in zip(passes[0:3], passes[1:3], strict=False):
        assert 0 < (second - first).abs().max() <= 0.2 + 1e-6


def test_trades_is_its_formula(trainer: Callable[..., L.Trainer]) -> None:
    model = small(normalization="none", conv_dropout=0.0)
    x, y = (part[:32] for part in images(Digits(), "train"))
    callback = TRADES(PGD(eps=0.1, steps=3, seed=5), beta=2.0)
    model.train()
    parts = callback.learn(model, model.step, (x, y), callback.attack)
    clean = model.logits(x)
    nll = nn.functional.cross_entropy(clean, y)
    torch.testing.assert_close(parts["loss"], nll + 2.0 * parts["divergence"])
    assert parts["divergence"] > 0
    # the attack raises what it is to raise, above a random start
    noisy = PGD(eps=0.1, steps=3, seed=5).start(x)
    start = nn.functional.kl_div(
        model.logits(noisy).log_softmax(1), clean.softmax(1), reduction="batchmean"
    )
    assert parts["divergence"] > 2 * start


def test_bad_input(trainer: Callable[..., L.Trainer]) -> None:
    with pytest.raises(ValueError, match=r"mix must be in \[0, 1\], got 1.5"):
        AdversarialTraining(PGD(eps=0.1), mix=1.5)
    with pytest.raises(ValueError, match="every_n must be at least 1"):
        AdversarialTraining(PGD(eps=0.1), every_n=0)
    with pytest.raises(ValueError, match="leave mix at 1"):
        TRADES(PGD(eps=0.1), mix=0.5)
    with pytest.raises(ValueError, match="TRADES needs a PGD, got CarliniWagner"):
        TRADES(CarliniWagner())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="replays must be at least 1"):
        FreeAdversarialTraining(0.1, replays=0)
    with pytest.raises(InputError, match="needs a classifier, VAE is none"):
        trainer(max_epochs=1, callbacks=[KINDS["pgd"]()]).fit(VAE((1, 8, 8)), Digits())
    callback = AdversarialTraining(CarliniWagner(search_steps=1, steps=1), eps_warmup=5)
    with pytest.raises(InputError, match="CarliniWagner has no eps that could rise"):
        trainer(max_epochs=1, callbacks=[callback]).fit(small(), Digits())
    run = trainer(max_epochs=1, callbacks=[KINDS["free"]()], accumulate_grad_batches=2)
    with pytest.raises(InputError, match=r"leave trainer\.accumulate_grad_batches at 1"):
        run.fit(small(), Digits())
    ensemble = DeepEnsemble((1, 8, 8), 10, num_members=2)
    with pytest.raises(InputError, match="TRADES needs one set of scores"):
        trainer(max_epochs=1, callbacks=[KINDS["trades"]()]).fit(ensemble, Digits())


def test_ensembles_are_trained_as_one(trainer: Callable[..., L.Trainer]) -> None:
    data = Digits(batch_size=64)
    model = DeepEnsemble((1, 8, 8), 10, num_members=2)
    run = trainer(max_epochs=2, callbacks=[AdversarialTraining(PGD(eps=0.05, steps=2))])
    run.fit(model, data)
    metrics = run.callback_metrics
    assert 0.1 < metrics["val/robust_accuracy"] < metrics["val/accuracy"]


def test_other_batches_are_learned_from_as_they_are(trainer: Callable[..., L.Trainer]) -> None:
    run = trainer(max_epochs=1, callbacks=[TRADES(PGD(eps=0.1, steps=2), every_n=3)])
    run.fit(small(), Digits(batch_size=64))
    assert run.callback_metrics["train/divergence"] > 0


def test_a_failed_run_leaves_the_module_whole(trainer: Callable[..., L.Trainer]) -> None:
    class Failing(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("stop here")

    model = small()
    for kind in KINDS.values():
        with pytest.raises(RuntimeError, match="stop here"):
            trainer(max_epochs=1, callbacks=[kind(), Failing()]).fit(model, Digits())
        assert "step" not in model.__dict__
        assert "optimizer_step" not in model.__dict__
        assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_and_compiled(kind: str, trainer: Callable[..., L.Trainer]) -> None:
    model = small()
    model.network = torch.compile(model.network, backend="eager")
    run = trainer(
        max_epochs=1, limit_train_batches=3, limit_val_batches=1, precision="bf16-mixed",
        callbacks=[KINDS[kind]()],
    )  # fmt: skip
    run.fit(model, Digits(batch_size=32))
    assert run.callback_metrics["train/loss"].isfinite()
    assert "val/robust_accuracy" in run.callback_metrics


def test_an_epoch_without_batches_is_not_judged() -> None:
    """A run may be resumed behind the last batch of an epoch."""
    guard = FastAdversarialTraining(eps=0.1)
    guard.on_train_epoch_end(None, None)  # type: ignore[arg-type]
    assert guard.state_dict()["weights"] == {}
    assert guard.state_dict()["best"] == 0.0

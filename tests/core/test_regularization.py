"""Penalties, constraints, mixup and pruning in training, against their formulas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from callbacks import SensitivityPruning
from datamodules import Digits
from tests.test_models import Repeat
from zoo import MLPClassifier
from zoo.errors import InputError
from zoo.functional.penalties import clip_unit_norms_, lp_penalty, soft_threshold

Trainer = Callable[..., L.Trainer]
PLAIN: dict[str, Any] = {
    "hidden_dims": (6,), "dropout": 0.0, "input_dropout": 0.0, "optimizer": "sgd", "lr": 0.1,
    "optimizer_options": {"momentum": 0.0},
}  # fmt: skip


def make(**options: Any) -> MLPClassifier:
    torch.manual_seed(0)
    return MLPClassifier((4,), 3, **(PLAIN | options)).double()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(8, 4, generator=torch.Generator().manual_seed(0)).double()
    return x, torch.arange(8) % 3


def train(model: L.LightningModule, trainer: Trainer, steps: int = 1) -> L.Trainer:
    fit = trainer(max_epochs=1, precision="64-true")
    fit.fit(model, Repeat(batch(), steps))
    return fit


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_lp_norm_and_its_gradient(p: float) -> None:
    w = torch.randn(5, 3).double().requires_grad_(True)
    torch.testing.assert_close(lp_penalty(w, p), w.abs().pow(p).sum(), rtol=1e-8, atol=0)
    lp_penalty(w, p).backward()
    expected = p * w.detach().abs().pow(p - 1) * w.detach().sign()
    torch.testing.assert_close(w.grad, expected, rtol=1e-6, atol=1e-9)
    zero = torch.zeros(2).double().requires_grad_(True)
    lp_penalty(zero, p).backward()
    assert zero.grad is not None
    assert (zero.grad == 0).all()


@pytest.mark.parametrize(("name", "p"), [("l1", 1.0), ("l2", 2.0), ("lp", 1.5)])
def test_penalties_are_part_of_training_and_validation_loss(
    name: str, p: float, trainer: Trainer
) -> None:
    plain, penalized = make(), make(**{name: 0.01}, p=1.5)
    weights = [m.weight for m in penalized.network if hasattr(m, "weight")]
    expected = 0.01 * sum(float(w.detach().abs().pow(p).sum()) for w in weights)
    loss = float(plain.step(batch())["loss"].detach())
    (found,) = trainer(precision="64-true").validate(penalized, Repeat(batch()), verbose=False)
    assert found["val/penalty"] == pytest.approx(expected, rel=1e-6)
    assert found["val/loss"] == pytest.approx(loss + expected, rel=1e-6)
    assert found["val/nll"] == pytest.approx(loss, rel=1e-6)
    fit = train(penalized, trainer)
    assert fit.callback_metrics["train/loss"] == pytest.approx(loss + expected, rel=1e-6)


def test_l2_equals_coupled_weight_decay_and_differs_from_decoupled(trainer: Trainer) -> None:
    """The gradient of λw² is 2λw, the term that ``weight_decay=2λ`` adds in SGD."""
    penalty, decay = make(l2=0.05), make(weight_decay=0.1)
    for model in (penalty, decay):
        train(model, trainer, steps=5)
    for one, two in zip(penalty.parameters(), decay.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    adam = {"optimizer_options": None, "optimizer": "adamw"}
    penalty, decay = make(l2=0.05, **adam), make(weight_decay=0.1, **adam)
    for model in (penalty, decay):
        train(model, trainer, steps=5)
    assert (penalty.network[1].weight - decay.network[1].weight).abs().max() > 1e-3


def test_patterns_select_layers() -> None:
    model = make(l1={"network.1.*": 0.5, "*weight": 0.1})
    first, last = model.network[1], model.network[3]
    sums = [float(t.detach().abs().sum()) for t in (first.weight, first.bias, last.weight)]
    total = model._penalized(model.step(batch()))["penalty"]
    assert float(total.detach()) == pytest.approx(0.5 * (sums[0] + sums[1]) + 0.1 * sums[2])


def test_frozen_weights_are_not_penalized() -> None:
    for strength in (0.5, {"*weight": 0.5}):
        model = make(l1=strength)
        model.network[1].weight.requires_grad_(False)
        total = model._penalized(model.step(batch()))["penalty"]
        expected = 0.5 * float(model.network[3].weight.detach().abs().sum())
        assert float(total.detach()) == pytest.approx(expected)


def test_a_pattern_that_matches_nothing_is_an_error(trainer: Trainer) -> None:
    with pytest.raises(
        InputError, match=r"no parameter matches 'netwrk\*'; the parameters are network.1"
    ):
        train(make(l2={"netwrk*": 0.1}), trainer)


def test_max_norm_rescales_only_units_above_the_limit(trainer: Trainer) -> None:
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    clip_unit_norms_(weight, 1.0)
    torch.testing.assert_close(weight, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    kernel = torch.ones(2, 3, 2, 2)
    assert clip_unit_norms_(kernel, 2.0).flatten(1).norm(dim=1) == pytest.approx([2.0, 2.0])
    rows = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    plain = rows.clone(memory_format=torch.contiguous_format)
    torch.testing.assert_close(clip_unit_norms_(rows, 1.0), clip_unit_norms_(plain, 1.0))
    assert rows.is_contiguous(memory_format=torch.channels_last)
    model, free = make(max_norm=0.4, lr=1.0), make(lr=1.0)
    for one in (model, free):
        train(one, trainer, steps=20)
    norms = [m.weight.norm(dim=1).max() for m in (model.network[1], model.network[3])]
    assert max(norms) <= 0.4 + 1e-12
    assert free.network[1].weight.norm(dim=1).max() > 0.5


def test_soft_threshold() -> None:
    w = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    expected = torch.tensor([-1.0, 0.0, 0.0, 0.0, 1.0])
    torch.testing.assert_close(soft_threshold(w, 1.0), expected)


def test_invalid_exponent() -> None:
    with pytest.raises(ValueError, match="p must be positive, got 0"):
        make(p=0.0)


# -- mixup ---------------------------------------------------------------------------------------


def test_mixup_interpolates_inputs_and_losses() -> None:
    model = make(mixup=0.4)
    x, y = batch()
    torch.manual_seed(3)
    parts = model.step((x, y))
    torch.manual_seed(3)
    weight = torch.distributions.Beta(0.4, 0.4).sample().double()
    partner = torch.randperm(8)
    logits = model.logits(weight * x + (1 - weight) * x[partner])
    entropy = torch.nn.functional.cross_entropy
    expected = weight * entropy(logits, y) + (1 - weight) * entropy(logits, y[partner])
    torch.testing.assert_close(parts["loss"], expected)
    assert 0.1 < weight < 0.9
    model.eval()  # no mixup in evaluation
    for _ in range(5):
        torch.testing.assert_close(model.step((x, y))["loss"], entropy(model.logits(x), y))


def test_mixup_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="mixup must not be negative"):
        make(mixup=-0.1)


# -- pruning -------------------------------------------------------------------------------------


def pruned(trainer: Trainer, epochs: int = 7) -> Any:
    torch.manual_seed(0)
    model = MLPClassifier((1, 8, 8), 10, (32,), dropout=0.0, input_dropout=0.0, lr=0.003)
    callback = SensitivityPruning([0.5, 0.9], start_epoch=2, every_n_epochs=2)
    fit = trainer(max_epochs=epochs, callbacks=[callback])
    fit.fit(model, Digits(batch_size=64))
    return model, callback, fit


def test_pruning_reaches_its_sparsity_and_reports_accuracy(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, callback, fit = pruned(trainer)
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table if "%" in line] == ["0%", "50%", "90%"]
    weights = torch.cat([m.weight.flatten() for m in (model.network[1], model.network[3])])
    assert float((weights == 0).float().mean()) == pytest.approx(0.9, abs=1e-3)
    assert "network.1.weight" in model.state_dict()  # without masks
    sparsities, accuracies = zip(*callback.history, strict=True)
    assert sparsities == (0.0, 0.5, 0.9)
    assert min(accuracies) > 0.8
    assert accuracies[1] > accuracies[0] - 0.05
    logged = [fit.callback_metrics[f"pruned/{name}"] for name in ("0", "0.5", "0.9")]
    assert [float(value) for value in logged] == pytest.approx(accuracies)
    assert (tmp_path / "figures" / "pruning.png").is_file()


def test_weights_of_low_sensitivity_are_pruned_first() -> None:
    """The sensitivity |w · ∂L/∂w| approximates the change of the loss if w were removed."""
    torch.manual_seed(0)
    model = make(optimizer_options=None)
    callback = SensitivityPruning(start_epoch=2)
    model.step(batch())["loss"].backward()
    for epoch in (0, 1):  # sensitivities are read in the second epoch, before pruning
        at = SimpleNamespace(current_epoch=epoch)
        callback.on_before_optimizer_step(at, model, None)  # type: ignore[arg-type]
    weight = model.network[1].weight
    expected = (weight * weight.grad).abs()
    torch.testing.assert_close(callback._sensitivity["network.1.weight"], expected.detach())
    row, column = divmod(int(expected.argmax()), expected.shape[1])
    small = 1e-4
    with torch.no_grad():
        before = model.step(batch())["loss"]
        weight[row, column] *= 1 - small
        change = (model.step(batch())["loss"] - before).abs() / small
    torch.testing.assert_close(change, expected[row, column].detach(), rtol=1e-3, atol=0)


def test_a_pruned_run_resumes_exactly(trainer: Trainer, tmp_path: Path) -> None:
    whole, _, _ = pruned(trainer, epochs=7)
    _, _, fit = pruned(trainer, epochs=5)
    fit.save_checkpoint(tmp_path / "five.ckpt")
    torch.manual_seed(1)
    model = MLPClassifier((1, 8, 8), 10, (32,), dropout=0.0, input_dropout=0.0, lr=0.003)
    callback = SensitivityPruning([0.5, 0.9], start_epoch=2, every_n_epochs=2)
    resumed = trainer(max_epochs=7, callbacks=[callback])
    resumed.fit(model, Digits(batch_size=64), ckpt_path=tmp_path / "five.ckpt", weights_only=True)
    assert [s for s, _ in callback.history] == [0.0, 0.5, 0.9]
    for one, two in zip(whole.parameters(), model.parameters(), strict=True):
        assert torch.equal(one == 0, two == 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsities": [0.9, 0.5]}, "sparsities must be ascending"),
        ({"sparsities": [1.0]}, "sparsities must be ascending"),
        ({"start_epoch": 0}, "start_epoch must be at least 1"),
    ],
)
def test_invalid_pruning(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SensitivityPruning(**options)


def test_frozen_weights_are_not_pruned(trainer: Trainer) -> None:
    torch.manual_seed(0)
    model = MLPClassifier((1, 8, 8), 10, (32,), dropout=0.0, input_dropout=0.0)
    model.network[1].requires_grad_(False)
    frozen = model.network[1].weight.clone()
    callback = SensitivityPruning([0.5], start_epoch=1, every_n_epochs=1)
    trainer(max_epochs=2, callbacks=[callback]).fit(model, Digits(batch_size=64))
    assert torch.equal(model.network[1].weight, frozen)
    assert float((model.network[3].weight == 0).float().mean()) == pytest.approx(0.5, abs=0.01)


def test_pruning_nothing_is_an_error(trainer: Trainer) -> None:
    callback = SensitivityPruning(parameters="wheels*")
    with pytest.raises(ValueError, match=r"no weight matches 'wheels\*'"):
        trainer(max_epochs=1, callbacks=[callback]).fit(make().float(), Repeat(batch()))

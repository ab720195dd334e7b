"""Task: averages, logging and optimization, independent of the models."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from datamodules import Digits
from datamodules.class_weights import balanced_weights
from zoo import VAE, DeepEnsemble, LogisticRegression, MLPClassifier
from zoo.core.distributed import random_state, set_random_state
from zoo.core.task import Task
from zoo.errors import InputError
from zoo.metrics.classification import BalancedAccuracy


class Counting(Task):
    """A task whose batches contain their loss and their number of elements."""

    def __init__(self, scale: float = 1.0, **task: Any) -> None:
        super().__init__(**task)
        self.weight = nn.Parameter(torch.zeros(()))

    def step(self, batch: Any) -> dict[str, Tensor]:
        value, count = batch
        return {"loss": self.weight * 0 + value.mean(), "weight": count.sum()}


class Batches(torch.utils.data.Dataset[Any]):
    def __init__(self, *pairs: tuple[float, float]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.pairs[index][0]), torch.tensor(self.pairs[index][1])


def loader(*pairs: tuple[float, float]) -> Any:
    return torch.utils.data.DataLoader(Batches(*pairs), batch_size=1)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_averages_are_weighted_by_the_number_of_elements(
    trainer: Callable[..., L.Trainer],
) -> None:
    run = trainer(max_epochs=1)
    run.fit(Counting(), loader((1.0, 30), (5.0, 10)), loader((2.0, 1), (4.0, 3)))
    assert run.callback_metrics["train/loss"].item() == pytest.approx(2.0)
    assert run.callback_metrics["val/loss"].item() == pytest.approx(3.5)


def test_gradients_of_two_processes_are_those_of_all_their_elements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mean of 3 over 30 elements and 5 over 10 is 3.5, also as a mean over the processes."""
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: torch.tensor(20.0))
    process = SimpleNamespace(world_size=2, strategy=strategy)
    monkeypatch.setattr(Counting, "trainer", process)
    monkeypatch.setattr(Counting, "record", lambda *_: None)
    losses = [
        float(Counting().training_step((torch.tensor([loss]), torch.tensor([count])), 0))
        for loss, count in ((3.0, 30), (5.0, 10))
    ]
    assert losses == [4.5, 2.5]


def test_step_metrics_are_means_over_the_logging_interval(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    logger = CSVLogger(tmp_path, "", "")
    run = trainer(max_epochs=1, log_every_n_steps=2, logger=logger)
    run.fit(Counting(), loader((1.0, 1), (3.0, 1), (5.0, 1), (7.0, 3), (9.0, 1)))
    steps = [float(r["train/loss_step"]) for r in rows(tmp_path) if r["train/loss_step"]]
    assert steps == [2.0, 6.5]
    (epoch,) = [float(r["train/loss"]) for r in rows(tmp_path) if r["train/loss"]]
    assert epoch == pytest.approx((1 + 3 + 5 + 21 + 9) / 7)


def test_accumulated_batches_are_logged_as_one_step(
    trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    logger = CSVLogger(tmp_path, "", "")
    run = trainer(max_epochs=1, log_every_n_steps=1, logger=logger, accumulate_grad_batches=2)
    run.fit(Counting(), loader((1.0, 1), (3.0, 1), (5.0, 1), (7.0, 1)))
    assert len([r for r in rows(tmp_path) if r["train/loss_step"]]) == 2
    assert run.global_step == 2
    assert run.callback_metrics["train/loss"].item() == pytest.approx(4.0)


def test_barebones_run_without_validation() -> None:
    run = L.Trainer(barebones=True, max_epochs=1, accelerator="cpu")
    model = MLPClassifier((1, 8, 8), 10, (8,))
    before = [p.detach().clone() for p in model.parameters()]
    run.fit(model, Digits(val_size=0))
    assert run.global_step == 12  # ⌈1,437 samples / 128⌉
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_batch_size_of_graphs_and_of_tensors() -> None:
    task = Counting()
    assert task.count_samples((torch.zeros(7, 3), None)) == 7
    assert task.count_samples(SimpleNamespace(num_graphs=4)) == 4


def test_weight_decay_applies_to_matrices() -> None:
    model = MLPClassifier((4,), 3, (5,), weight_decay=0.1)
    decayed, rest = model.parameter_groups()
    assert decayed["weight_decay"] == 0.1
    assert [p.ndim for p in decayed["params"]] == [2, 2]
    assert rest["weight_decay"] == 0
    assert [p.ndim for p in rest["params"]] == [1, 1]
    next(model.parameters()).requires_grad = False
    assert len(model.parameter_groups()[0]["params"]) == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon", "lbfgs"])
def test_every_optimizer_trains_through_lightning(
    optimizer: str, trainer: Callable[..., L.Trainer]
) -> None:
    lr = {"lbfgs": 0.5, "sgd": 0.05, "muon": 0.02}.get(optimizer, 3e-3)
    model = MLPClassifier(
        (1, 8, 8), 10, (32,), dropout=0, input_dropout=0, optimizer=optimizer, lr=lr
    )
    data = Digits(batch_size=128)
    trainer(max_epochs=5).fit(model, data)
    (metrics,) = trainer().test(model, data, verbose=False)
    assert metrics["test/accuracy"] > 0.75


def test_schedules_end_with_training(trainer: Callable[..., L.Trainer]) -> None:
    model = MLPClassifier((1, 8, 8), 10, (8,), schedule="linear", lr=0.01)
    run = trainer(max_epochs=2)
    run.fit(model, Digits(batch_size=128))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_the_rate_rises_linearly_during_the_warm_up(trainer: Callable[..., L.Trainer]) -> None:
    """(step + 1) / (rise + 1) of the learning rate in a quarter of 16 steps, then constant."""
    rates = []

    class RecordRate(L.Callback):
        def on_before_optimizer_step(self, trainer: L.Trainer, _: Any, optimizer: Any) -> None:
            rates.append(optimizer.param_groups[0]["lr"])

    model = Counting(lr=0.1, warmup=0.25)
    trainer(max_epochs=2, callbacks=[RecordRate()]).fit(model, loader(*[(1.0, 1)] * 8))
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08] + [0.1] * 12)


def test_schedules_need_a_number_of_steps(trainer: Callable[..., L.Trainer]) -> None:
    model = MLPClassifier((1, 8, 8), 10, (8,), schedule="cosine")
    with pytest.raises(InputError, match="needs the length of training"):
        trainer(max_epochs=-1).fit(model, Digits())


def test_hyper_parameters_of_a_subclass() -> None:
    assert Counting(scale=3.0, lr=0.5).hparams["scale"] == 3.0
    assert Counting(scale=3.0, lr=0.5).hparams["lr"] == 0.5


def test_a_task_without_a_step(trainer: Callable[..., L.Trainer]) -> None:
    class Empty(Task):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

    with pytest.raises(NotImplementedError, match=r"Empty has no step\(batch\)"):
        trainer(max_epochs=1).fit(Empty(), loader((1.0, 1)))


def test_a_random_state_can_be_restored() -> None:
    import random

    state = random_state()
    first = (torch.rand(3), random.random())
    set_random_state(state)
    assert torch.equal(first[0], torch.rand(3))
    assert first[1] == random.random()


def test_batch_limits_apply_to_every_epoch(trainer: Callable[..., L.Trainer]) -> None:
    fit = trainer(max_epochs=3, limit_train_batches=8)
    fit.fit(VAE((1, 8, 8), hidden_dims=(8,)), Digits())
    assert fit.global_step == 24


def test_validation_after_a_sanity_check_uses_all_samples(
    trainer: Callable[..., L.Trainer],
) -> None:
    class SampleCounter(VAE):
        seen = 0

        def on_validation_epoch_start(self) -> None:
            super().on_validation_epoch_start()
            self.seen = 0

        def on_validation_batch_end(self, outputs: Any, batch: Any, *_: Any) -> None:
            self.seen += len(batch[0])

    model = SampleCounter((1, 8, 8), hidden_dims=(8,))
    trainer(max_epochs=1, num_sanity_val_steps=1).fit(model, Digits(val_size=900))
    assert model.seen == 900


# -- class weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_multiply_the_loss_of_each_sample(smoothing: float) -> None:
    weights = (0.5, 2.0, 3.0)
    model = MLPClassifier((4,), 3, label_smoothing=smoothing, class_weights=weights).eval()
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad():
        parts = model.step((x, y))
        log_p = model(x).log_softmax(1)
    target = (1 - smoothing) * torch.eye(3)[y] + smoothing / 3
    losses = -(target * log_p).sum(1)
    assert float(parts["loss"]) == pytest.approx(
        float((torch.tensor(weights)[y] * losses).mean()), rel=1e-6
    )
    assert float(parts["nll"]) == pytest.approx(float(-log_p[range(6), y].mean()), rel=1e-6)


def test_class_weights_of_an_ensemble_multiply_the_loss_of_each_member() -> None:
    model = DeepEnsemble((4,), 2, num_members=3, class_weights=(1.0, 4.0)).eval()
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 1, 0, 1])
    nll = -model.scores(x)[:, range(5), y]
    expected = float((torch.tensor([1.0, 4.0])[y] * nll).mean(1).sum())
    assert float(model.step((x, y))["loss"]) == pytest.approx(expected, rel=1e-5)


def test_bad_class_weights() -> None:
    with pytest.raises(InputError, match="class_weights must be 3 numbers, one for each class"):
        MLPClassifier((4,), 3, class_weights=(1.0, 2.0))
    with pytest.raises(InputError, match="class_weights must be positive"):
        MLPClassifier((4,), 2, class_weights=(1.0, -2.0))
    with pytest.raises(InputError, match="class_weights needs solver='gradient'"):
        LogisticRegression((4,), 2, class_weights=(1.0, 2.0))


def test_class_weights_that_a_model_does_not_use_are_refused(
    trainer: Callable[..., L.Trainer],
) -> None:
    data = Digits(class_weights="balanced")
    with pytest.raises(InputError, match="needs a classifier, but VAE has no loss"):
        trainer(max_epochs=1).fit(VAE((1, 8, 8)), data)
    with pytest.raises(InputError, match=r"add class_weights=data\.class_weights$"):
        trainer(max_epochs=1).fit(MLPClassifier((1, 8, 8), 10, (8,)), data)


def test_class_weights_find_the_rare_class(trainer: Callable[..., L.Trainer]) -> None:
    """Of two overlapping Gaussians, one with 5 % of the samples, the plain loss ignores it."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(4000, generator=generator) < 0.05).long()
    x = torch.randn(4000, 2, generator=generator) + y[:, None]

    def recall(weights: tuple[float, ...] | None) -> list[float]:
        model = LogisticRegression((2,), 2, solver="gradient", lr=0.05, class_weights=weights)
        batches = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x, y), batch_size=500, shuffle=True
        )
        trainer(max_epochs=20).fit(model, batches)
        predicted = model(x).argmax(1)
        return [float((predicted[y == k] == k).float().mean()) for k in (0, 1)]

    assert recall(None)[1] < 0.1
    assert min(recall(balanced_weights(y.bincount()))) > 0.7  # Φ(1/√2) = 0.76


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    p, y = torch.rand(200, 4).softmax(1), torch.randint(0, 3, (200,))  # class 3 has no samples
    metric = BalancedAccuracy(4)
    metric.update(p, y)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(y, p.argmax(1))
    assert float(metric.compute()) == pytest.approx(expected)

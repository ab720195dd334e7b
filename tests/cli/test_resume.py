"""Resumed runs on the command line, compared as whole files with runs that were not interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from tests.conftest import newest_run
from zoo.cli.main import main

Run = Callable[..., Path]


class Killed(BaseException):
    """The process ends here, as far as a test is concerned."""


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that lets the next run end in a validation or before a batch."""
    state: dict[str, int | None] = {"validation": None, "batch": None}
    start, advance = _EvaluationLoop.on_run_start, _TrainingEpochLoop.advance

    def on_run_start(loop: Any) -> None:
        if loop.trainer.state.fn == "fit" and not loop.trainer.sanity_checking:
            if state["validation"] == 1:
                state["validation"] = None
                raise Killed
            state["validation"] = state["validation"] and state["validation"] - 1
        start(loop)

    def on_batch(loop: Any, fetcher: Any) -> None:
        if loop.total_batch_idx + 1 == state["batch"]:
            state["batch"] = None
            raise Killed
        advance(loop, fetcher)

    monkeypatch.setattr(_EvaluationLoop, "on_run_start", on_run_start)
    monkeypatch.setattr(_TrainingEpochLoop, "advance", on_batch)

    def choose(validation: int | None = None, batch: int | None = None) -> None:
        state.update(validation=validation, batch=batch)

    return choose


def read(path: Path) -> dict[str, Any]:
    """Return a checkpoint without the names of folders."""
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    for state in checkpoint["callbacks"].values():
        for name in ("best_model_path", "kth_best_model_path", "dirpath", "best_k_models"):
            state.pop(name, None)
    return checkpoint


def assert_same(one: Any, two: Any, where: str = "") -> None:
    assert type(one) is type(two), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_same(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_same(a, b, f"{where}/{index}")
    else:
        assert one == two or (one != one and two != two), where  # nan equals nan


def table(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("test/")]


MLP = ("--model=mlp", "--model.hidden_dims=[32]", "--trainer.max_epochs=4")
FIFTH = "--checkpoint.every_n_train_steps=5"
EPOCH = "--checkpoint.every_n_train_steps=21"
GAT = ("--model=gat", "--trainer.max_epochs=6")
CASES: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "in the last validation": ((*MLP, EPOCH), {"validation": 4}),
    "in the first validation": ((*MLP, EPOCH), {"validation": 1}),
    "within an epoch, where a row is due": (
        (*MLP, "--checkpoint.every_n_train_steps=10", "--trainer.log_every_n_steps=5"),
        {"batch": 54},
    ),
    "after an epoch": (MLP, {"batch": 50}),
    "full-batch graph, in a validation": (
        (*GAT, "--checkpoint.every_n_train_steps=1"),
        {"validation": 3},
    ),
    "full-batch graph, in the last validation": (GAT, {"validation": 6}),
    "full-batch graph without validation": (
        ("--model=gcn", "--trainer.max_epochs=20", "--checkpoint.every_n_train_steps=1"),
        {"batch": 11},
    ),
    "validation within epochs": ((*MLP, FIFTH, "--trainer.val_check_interval=0.5"), {"batch": 44}),
    "validation after every second epoch": (
        (*MLP, EPOCH, "--trainer.check_val_every_n_epoch=2"),
        {"batch": 63},
    ),
    "accumulated gradients": (
        (*MLP, FIFTH, "--trainer.accumulate_grad_batches=2"),
        {"batch": 33},
    ),
    "a number of steps": (
        ("--model=mlp", "--trainer.max_epochs=-1", "--trainer.max_steps=42", EPOCH),
        {"validation": 2},
    ),
    "a GAN": (("--model=gan", "--trainer.max_epochs=2", FIFTH), {"batch": 29}),
    "early stopping": (
        (
            *(*MLP, "--model.lr=0.01", "--trainer.max_epochs=12", EPOCH),
            *("--trainer.callbacks=callbacks.EarlyStopping", "--trainer.callbacks.patience=2"),
        ),
        {"validation": 4},
    ),
    "moving average": (
        (*MLP, FIFTH, "--trainer.callbacks=EMAWeightAveraging", "--trainer.callbacks.decay=0.9"),
        {"validation": 3},
    ),
    "stochastic weight averaging": (
        (
            *("--model=vae", "--trainer.max_epochs=4"),
            *("--trainer.callbacks=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"),
            "--trainer.callbacks.swa_epoch_start=2",
        ),
        {"validation": 4},
    ),
    "stochastic weight averaging, within an epoch": (
        (
            *(*MLP, FIFTH, "--trainer.callbacks=StochasticWeightAveraging"),
            *("--trainer.callbacks.swa_lrs=0.01", "--trainer.callbacks.swa_epoch_start=1"),
        ),
        {"batch": 33},
    ),
    "double precision": ((*MLP, FIFTH, "--trainer.precision=64-true"), {"batch": 33}),
    "the guard of fast adversarial training": (
        (
            *("--model=cnn", "--trainer.max_epochs=2", "--trainer.limit_train_batches=6"),
            *("--trainer.callbacks=callbacks.FastAdversarialTraining", FIFTH),
            "--trainer.callbacks.eps=0.1",
        ),
        {"batch": 11},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_that_is_resumed_leaves_the_files_of_an_uninterrupted_one(
    case: str, run: Run, kill: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    args, moment = CASES[case]
    whole = run(*args, "--name=whole")
    expected = table(capsys.readouterr().out)
    kill(**moment)
    with pytest.raises(Killed):
        run(*args, "--name=killed")
    last = next(Path("runs/killed").glob("*/checkpoints/last.ckpt"))
    capsys.readouterr()
    resumed = run(*args, f"--ckpt_path={last}")
    assert resumed == last.absolute().parent.parent  # its own folder
    assert table(capsys.readouterr().out) == expected
    assert (resumed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    files = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert files == sorted(path.name for path in (resumed / "checkpoints").iterdir())
    for name in files:
        if name != "averaged.ckpt":  # without the state of callbacks
            assert_same(read(whole / "checkpoints" / name), read(resumed / "checkpoints" / name))


def test_stochastic_weight_averaging_resumes_by_its_own_settings(run: Run) -> None:
    """The device of the average is written to ``config.yaml`` as its name."""
    swa = ("--trainer.callbacks=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01")
    folder = run(*MLP, *swa, "--trainer.limit_train_batches=2")
    callback = yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["callbacks"][0]
    assert callback["init_args"]["device"] == "cpu"
    run("fit", f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}", "--trainer.max_epochs=5")


def test_saving_more_often_changes_no_logged_number(run: Run) -> None:
    args = ("--model=gan", "--data=gaussians_2d", "--trainer.max_epochs=2")
    args = (*args, "--trainer.limit_train_batches=9", "--trainer.log_every_n_steps=4")
    often = run(*args, "--checkpoint.every_n_train_steps=1")
    seldom = run(*args, "--checkpoint.every_n_train_steps=1000")
    assert (often / "metrics.csv").read_text() == (seldom / "metrics.csv").read_text()


# -- changed settings ----------------------------------------------------------------------------


def groups(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = torch.load(path, weights_only=True)["optimizer_states"][0][
        "param_groups"
    ]
    return found


@pytest.fixture
def longer(
    run: Run, finished: Path, recwarn: pytest.WarningsRecorder
) -> Callable[..., tuple[dict[str, Any], str]]:
    """Return a function that trains another epoch; it returns the checkpoint and what was said."""

    def call(*args: str) -> tuple[dict[str, Any], str]:
        recwarn.clear()
        run("fit", f"--ckpt_path={finished}", "--trainer.max_epochs=3", *args)
        said = " | ".join(str(w.message) for w in recwarn.list)
        return torch.load(finished, weights_only=True), said

    return call


def test_one_cycle_covers_a_longer_training(longer: Callable[..., Any], finished: Path) -> None:
    before = groups(finished)[0]["lr"]
    checkpoint, said = longer()
    assert checkpoint["global_step"] == 33
    assert "one_cycle now covers 33 steps instead of 22: it continues at 67% with" in said
    assert before < 1e-4
    assert float(said.split("learning rate ")[1][:7]) == pytest.approx(1.19e-3)
    # the position of a run that was planned for 33 steps
    assert checkpoint["lr_schedulers"][0]["last_epoch"] == 33
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-4


@pytest.mark.parametrize("schedule", ["linear", "inverse", "exponential", "cosine"])
def test_decays_cover_a_longer_training(schedule: str, run: Run) -> None:
    """The rates of the third epoch are those of a training planned for three epochs."""
    args = ("fit", "--model=mlp", "--data.batch_size=128", f"--model.schedule={schedule}")
    whole = run(*args, "--trainer.max_epochs=3", "--name=whole")
    first = run(*args, "--trainer.max_epochs=2", "--name=short") / "checkpoints/last.ckpt"
    run("fit", f"--ckpt_path={first}", "--trainer.max_epochs=3")
    rates = [groups(path)[0]["lr"] for path in (whole / "checkpoints/last.ckpt", first)]
    assert rates[0] == rates[1]
    states = [
        torch.load(path, weights_only=True)["lr_schedulers"][0]
        for path in (whole / "checkpoints/last.ckpt", first)
    ]
    assert states[0]["last_epoch"] == states[1]["last_epoch"] == 33


def test_the_schedule_ends_with_training_after_the_batch_size_has_changed(
    longer: Callable[..., Any],
) -> None:
    checkpoint, said = longer("--data.batch_size=64")
    assert "an epoch now has 21 batches instead of 11" in said
    assert "now covers 43 steps instead of 22" in said
    assert checkpoint["global_step"] == checkpoint["lr_schedulers"][0]["last_epoch"] == 43
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-4


def test_a_constant_rate_after_a_finished_decay_trains(
    longer: Callable[..., Any], finished: Path
) -> None:
    before = torch.load(finished, weights_only=True)["state_dict"]
    checkpoint, said = longer("--model.schedule=constant")
    assert "schedule one_cycle → constant" in said
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == 0.003
    assert checkpoint["lr_schedulers"] == []
    assert not torch.equal(before["network.2.weight"], checkpoint["state_dict"]["network.2.weight"])


def test_another_learning_rate_keeps_the_optimizers_moments(
    longer: Callable[..., Any], finished: Path
) -> None:
    checkpoint, said = longer("--model.lr=0.05", "--model.schedule=constant")
    assert "lr 0.003 → 0.05" in said
    assert "fresh" not in said
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.05
    steps = [float(s["step"]) for s in checkpoint["optimizer_states"][0]["state"].values()]
    assert steps == [33.0] * len(steps)


def test_weight_decay_makes_two_groups_and_keeps_the_moments(longer: Callable[..., Any]) -> None:
    checkpoint, said = longer("--model.weight_decay=0.5")
    assert "weight_decay 0.0 → 0.5" in said
    optimizer = checkpoint["optimizer_states"][0]
    assert [group["weight_decay"] for group in optimizer["param_groups"]] == [0.5, 0]
    for group, ndim in zip(optimizer["param_groups"], (2, 1), strict=True):
        assert {optimizer["state"][i]["exp_avg"].ndim for i in group["params"]} == {ndim}
    assert {float(s["step"]) for s in optimizer["state"].values()} == {33.0}


@pytest.mark.parametrize(
    ("optimizer", "key"), [("sgd", "momentum_buffer"), ("muon", "momentum"), ("adamw", "step")]
)
def test_another_optimizer_starts_with_a_fresh_state(
    optimizer: str, key: str, longer: Callable[..., Any]
) -> None:
    checkpoint, said = longer(f"--model.optimizer={optimizer}")
    assert f"optimizer adam → {optimizer}; the optimizer starts with a fresh state" in said
    state = checkpoint["optimizer_states"][0]["state"]
    assert key in state[0]
    if key == "step":
        assert float(state[0]["step"]) == 11  # of this epoch only


def test_settings_in_the_users_file_are_applied(longer: Callable[..., Any], finished: Path) -> None:
    config = yaml.safe_load((finished.parent.parent / "config.yaml").read_text())
    config["model"]["init_args"]["lr"] = 0.02
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    checkpoint, said = longer("--config=mine.yaml")
    assert "lr 0.003 → 0.02" in said
    assert checkpoint["hyper_parameters"]["lr"] == 0.02


def test_another_batch_size_within_an_epoch_is_refused(
    run: Run, kill: Callable[..., None], fails: Callable[..., str]
) -> None:
    kill(batch=33)
    with pytest.raises(Killed):
        run("fit", *MLP, FIFTH)
    folder = newest_run(Path.cwd())
    config, rows = (folder / "config.yaml").read_text(), (folder / "metrics.csv").read_text()
    last = folder / "checkpoints/last.ckpt"
    error = fails("fit", f"--ckpt_path={last}", "--data.batch_size=32")
    assert "written after batch 9 of an epoch of 21 batches, which has 41 batches" in error
    assert (folder / "config.yaml").read_text() == config
    assert (folder / "metrics.csv").read_text() == rows


# -- the end, and other folders ------------------------------------------------------------------


def test_a_finished_run_is_reported_and_tested(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("--model=vae", "--trainer.max_epochs=2")
    expected = table(capsys.readouterr().out)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(f"--ckpt_path={folder / 'checkpoints/last.ckpt'}") == folder
    out = capsys.readouterr().out
    assert "nothing to train: the checkpoint is at the end of epoch 2 of 2; raise" in out
    assert table(out) == expected
    text = {p: b for p, b in files.items() if p.suffix in (".yaml", ".csv", ".ckpt")}
    assert {path: path.read_bytes() for path in text} == text


def test_a_run_that_stopped_early_is_finished_unless_patience_is_raised(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--trainer.callbacks=callbacks.EarlyStopping", "--trainer.callbacks.min_delta=9")
    args = ("fit", "--model=mlp", "--trainer.max_epochs=5", *options)
    last = run(*args, "--trainer.callbacks.patience=1") / "checkpoints/last.ckpt"
    capsys.readouterr()
    run("fit", f"--ckpt_path={last}")
    out = capsys.readouterr().out
    assert "nothing to train: early stopping ended this run after epoch 2; raise patience=1" in out
    assert torch.load(last, weights_only=True)["epoch"] == 1
    run(*args, "--trainer.callbacks.patience=2", f"--ckpt_path={last}")
    assert torch.load(last, weights_only=True)["epoch"] == 2


def test_the_last_checkpoint_has_the_last_weights_at_any_interval(run: Run) -> None:
    """Early stopping restores the best weights, but only once the last ones are saved."""
    options = ("--trainer.callbacks=callbacks.EarlyStopping", "--trainer.callbacks.min_delta=9")
    args = ("fit", "--model=mlp", "--trainer.max_epochs=5", *options)
    states = [
        torch.load(
            run(*args, "--trainer.callbacks.patience=1", *cadence) / "checkpoints/last.ckpt",
            weights_only=True,
        )
        for cadence in ((), ("--checkpoint.every_n_train_steps=40",), (EPOCH,))
    ]
    for state in states:
        assert state["global_step"] == 42
        assert_same(state["state_dict"], states[0]["state_dict"])
    key = next(k for k in states[0]["callbacks"] if k.startswith("EarlyStopping"))
    best = states[0]["callbacks"][key]["best_weights"]
    assert not torch.equal(best["network.2.weight"], states[0]["state_dict"]["network.2.weight"])


def test_another_name_starts_a_new_folder(run: Run, finished: Path) -> None:
    files = {p: p.read_bytes() for p in finished.parent.parent.rglob("*") if p.is_file()}
    other = run("fit", f"--ckpt_path={finished}", "--trainer.max_epochs=3", "--name=other")
    assert other.parent.name == "other"
    assert {path: path.read_bytes() for path in files} == files


def test_the_best_checkpoint_of_an_abandoned_future_is_replaced(
    run: Run, kill: Callable[..., None]
) -> None:
    kill(batch=22)
    with pytest.raises(Killed):
        run("fit", "--model=vae", "--trainer.max_epochs=3")
    folder = newest_run(Path.cwd()) / "checkpoints"
    shutil.copy(folder / "last.ckpt", folder / "first.ckpt")
    run("fit", f"--ckpt_path={folder / 'last.ckpt'}")
    assert torch.load(folder / "best.ckpt", weights_only=True)["epoch"] == 2
    run("fit", f"--ckpt_path={folder / 'first.ckpt'}", "--model.lr=1e-9", "--trainer.max_epochs=2")
    replaced = torch.load(folder / "best.ckpt", weights_only=True)
    assert replaced["epoch"] == 1
    assert replaced["hyper_parameters"]["lr"] == 1e-9


def test_a_resumed_run_is_the_same_run_of_weights_and_biases(
    run: Run, kill: Callable[..., None]
) -> None:
    pytest.importorskip("wandb")
    kill(batch=50)
    with pytest.raises(Killed):
        run("fit", *MLP, "--logger=wandb")
    folder = newest_run(Path.cwd())
    run("fit", f"--ckpt_path={folder / 'checkpoints/last.ckpt'}")
    names = [path.name for path in (folder / "wandb").glob("offline-run-*")]
    assert len({name.rpartition("-")[2] for name in names}) == 1
    assert len(names) >= 1
    main(["test", f"--ckpt_path={folder / 'checkpoints/last.ckpt'}", "--trainer.accelerator=cpu"])
    other = newest_run(Path.cwd())
    assert other != folder

"""Commands that are ended by Ctrl-C, by SIGTERM or by the cluster."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from callbacks import Interrupt, TrainingInterrupted
from datamodules import Digits
from tests.conftest import ENVIRONMENT, newest_run
from tests.core.test_resume import start
from zoo import MLPClassifier
from zoo.cli.main import main

cli: Any = importlib.import_module("zoo.cli.main")  # zoo.cli.main is also a function
ENDLESS = ("--model=vae", "--trainer.max_epochs=100000", "--trainer.accelerator=cpu")


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Restore the handlers of signals, as Lightning ignores Ctrl-C once it has handled one.

    A shell lets its background jobs ignore Ctrl-C, and so would tests that run in one.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def wait_for(folder: Path, pattern: str) -> Path:
    deadline = time.time() + 120
    while time.time() < deadline:
        if found := list(folder.glob(pattern)):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} in {folder}")


def test_sigterm_ends_training_with_a_checkpoint(tmp_path: Path) -> None:
    process = start(tmp_path, *ENDLESS)
    last = wait_for(tmp_path, "runs/*/*/checkpoints/last.ckpt")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "Traceback" not in output
    saved = last.with_name("interrupted.ckpt")
    step = torch.load(saved, weights_only=True)["global_step"]
    hint = f"resume with --ckpt_path {saved.relative_to(tmp_path)}"
    assert f"ended by SIGTERM after step {step}; {hint}" in output


def test_a_slurm_job_is_requeued_and_resumes_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol.log\n')
    scontrol.chmod(0o755)
    job = {"SLURM_JOB_ID": "123", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}
    path = f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setitem(ENVIRONMENT, "PATH", path)
    for name, value in job.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    process = start(tmp_path, *ENDLESS)
    last = wait_for(tmp_path, "runs/*/*-slurm-123/checkpoints/last.ckpt")
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGUSR1
    assert (tmp_path / "scontrol.log").read_text() == "requeue 123\n"
    assert "job 123 is requeued and resumes from" in output
    step = torch.load(last.with_name("interrupted.ckpt"), weights_only=True)["global_step"]

    monkeypatch.setitem(ENVIRONMENT, "SLURM_RESTART_COUNT", "1")
    again = start(tmp_path, *ENDLESS, f"--trainer.max_steps={step + 3}")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert f"resuming interrupted.ckpt after step {step}" in output
    assert newest_run(tmp_path) == last.parent.parent
    assert len(list(tmp_path.glob("runs/*/*"))) == 1
    assert torch.load(last, weights_only=True)["global_step"] == step + 3


@pytest.mark.parametrize("command", [*cli.COMMANDS, "fit", "test"])
@pytest.mark.parametrize(
    ("number", "line", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "ended by SIGTERM", 143)],
)
def test_every_command_ends_with_one_line(
    number: int,
    line: str,
    code: int,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raise_signal(*_: Any) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(cli, "_command", lambda name: raise_signal)
    monkeypatch.setattr(cli, "expand", raise_signal)
    with pytest.raises(SystemExit) as stop:
        main([command, "x.ckpt"])
    assert stop.value.code == code
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_test_in_the_trainer_ends_with_one_line(
    number: int,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lightning would exit with code 1 after Ctrl-C, and ignore SIGTERM."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MLPClassifier, "test_step", lambda *_: signal.raise_signal(number))
    with pytest.raises(SystemExit) as stop:
        main(["test", "--model=mlp", "--trainer.accelerator=cpu"])
    assert stop.value.code == code
    err = capsys.readouterr().err.splitlines()
    assert err[-1] == ("interrupted" if number == signal.SIGINT else "ended by SIGTERM")


class _Signal(Interrupt):
    """Sends a signal in a validation, and keeps where training stopped."""

    def on_validation_batch_end(self, trainer: Any, module: Any, *batch: Any) -> None:
        if trainer.state.fn == "fit" and trainer.global_step == 42:
            signal.raise_signal(signal.SIGTERM)
        super().on_validation_batch_end(trainer, module, *batch)


def test_a_signal_in_a_validation_does_not_wait_for_the_next_batch(
    trainer: Callable[..., Any], tmp_path: Path
) -> None:
    """The resumed run starts the validation again."""

    def fit(folder: Path, *callbacks: Any, ckpt_path: Path | None = None) -> MLPClassifier:
        torch.manual_seed(0)
        model = MLPClassifier((1, 8, 8), 10, hidden_dims=(16,))
        run = trainer(max_epochs=3, callbacks=list(callbacks), default_root_dir=folder)
        run.fit(model, Digits(batch_size=64), ckpt_path=ckpt_path, weights_only=True)
        losses.append(float(run.callback_metrics["val/loss"]))
        return model

    losses: list[float] = []
    whole = fit(tmp_path / "whole")
    with pytest.raises(TrainingInterrupted) as stop:
        fit(tmp_path / "stopped", _Signal())
    assert stop.value.exit_code == 143
    assert stop.value.step == 42  # the end of the second epoch of 21 steps
    resumed = fit(tmp_path / "resumed", ckpt_path=stop.value.checkpoint)
    assert losses[0] == losses[1]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])

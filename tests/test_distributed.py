"""Two processes on the CPU (gloo)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, newest_run

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def work(job: str, folder: Path, processes: int = 2, check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.distributed", job, str(folder), str(processes)],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_same_global_batch_gives_the_same_gradients(tmp_path: Path) -> None:
    work("gradients", tmp_path, 1)
    work("gradients", tmp_path, 2)
    for name in ("mlp", "attacked", "ae", "vq", "tokens", "gan", "nodes", "graphs"):
        one, two = (torch.load(tmp_path / f"{name}-{n}.pt", weights_only=True) for n in (1, 2))
        for key, value in one.items():
            assert value.dtype == torch.float64
            torch.testing.assert_close(value, two[key], rtol=0, atol=1e-10, msg=f"{name}: {key}")
    plain, attacked = (
        torch.load(tmp_path / f"{n}-1.pt", weights_only=True) for n in ("mlp", "attacked")
    )
    assert any(not torch.equal(plain[key], attacked[key]) for key in plain)


def test_both_networks_of_a_gan_stay_equal_on_all_processes(tmp_path: Path) -> None:
    """Weights, averages and statistics of batch norm, without a search for unused parameters."""
    work("batch_norms", tmp_path)
    one, two = (torch.load(tmp_path / f"state-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert any("running_mean" in name for name in one)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=0, atol=0, msg=name)


def test_exact_solvers_add_up_the_sums_of_all_processes(tmp_path: Path) -> None:
    work("exact", tmp_path, 1)
    work("exact", tmp_path, 2)
    for name in ("linear", "logistic", "pca", "pca_svd"):
        one, two = (torch.load(tmp_path / f"{name}-{n}.pt", weights_only=True) for n in (1, 2))
        for key, value in one.items():
            assert value.abs().max() > (0 if key == "mean" else 0.01)  # the data is centred
            torch.testing.assert_close(value, two[key], rtol=0, atol=1e-8, msg=f"{name}: {key}")


def test_figures_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    for processes in (1, 2):
        work("metrics", tmp_path, processes)
    one, two = (torch.load(tmp_path / f"metrics-{n}.pt", weights_only=True) for n in (1, 2))
    assert {"test/nll", "test/accuracy", "test/ece"} <= set(one)
    assert one == pytest.approx(two, rel=1e-5)


def test_samples_are_shared_out_exactly(tmp_path: Path) -> None:
    work("samples", tmp_path)
    ranks = [torch.load(tmp_path / f"seen-{rank}.pt", weights_only=True) for rank in (0, 1)]
    train = [torch.cat(rank["seen"]["train"]) for rank in ranks]
    assert len(train[0]) == len(train[1]) == 1336  # 668 an epoch, twice: all of 1,336
    for epoch in (slice(0, 668), slice(668, 1336)):
        both = torch.cat([seen[epoch] for seen in train])
        assert len(both.unique()) == len(both)
    for stage, count in (("val", 101), ("test", 360)):
        both = torch.cat([torch.cat(rank["seen"][stage]) for rank in ranks])
        assert len(both) == count * (2 if stage == "val" else 1)
        assert len(both.unique()) == count
    # averages are over samples, the same on every process
    metrics = ranks[0]["metrics"]
    assert metrics == ranks[1]["metrics"]
    assert metrics["test/number"] == pytest.approx(359 / 2)
    numbers = torch.cat([torch.cat(rank["seen"]["val"]) for rank in ranks]).unique().float()
    assert metrics["val/number"] == pytest.approx(numbers.mean().item())


def test_files_are_written_by_one_process(tmp_path: Path) -> None:
    work("files", tmp_path)
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert found == ["checkpoints/last.ckpt", "figures/samples.png"]


def test_resuming_is_exact_on_every_process(tmp_path: Path) -> None:
    work("resume", tmp_path)
    whole, resumed = torch.load(tmp_path / "states.pt", weights_only=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    kept = torch.load(tmp_path / "whole/kept.ckpt", weights_only=True)
    assert len(kept["random_state"]) == 2


def test_divergence_on_one_process_stops_all(tmp_path: Path) -> None:
    output = work("nan", tmp_path, check=False)
    assert "the loss became nan or infinite at batch 3 of training" in output


def command_line(folder: Path, *args: str) -> subprocess.Popen[str]:
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", *args, *two],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_command_line_runs_on_two_processes(tmp_path: Path) -> None:
    process = command_line(tmp_path, "--model=vae", "--trainer.max_epochs=2")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert output.count("test/neg_elbo") == 1
    (folder,) = (tmp_path / "runs" / "vae").iterdir()
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (folder / "figures/samples.png").is_file()
    assert "test/neg_elbo" in (folder / "metrics.csv").read_text()


def test_ctrl_c_on_one_process_stops_both_with_a_checkpoint(tmp_path: Path) -> None:
    process = command_line(tmp_path, "fit", "--model=vae", "--trainer.max_epochs=100000")
    deadline = time.time() + 60
    while time.time() < deadline and not list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt")):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    checkpoint = newest_run(tmp_path) / "checkpoints/interrupted.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] > 0

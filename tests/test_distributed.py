"""Training on two CPU processes (gloo)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ENVIRONMENT, ROOT, make_once, newest_run

COMPARED = ("gradients", "exact", "metrics")  # jobs with equal results on one and two processes


def start(folder: Path, processes: int, *jobs: str) -> subprocess.Popen[str]:
    """Start jobs of tests/distributed.py, one after another."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.distributed", str(folder), str(processes), *jobs],
        env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the results of all jobs, one folder for each."""

    def run_jobs(folder: Path) -> None:
        one = start(folder, 1, *COMPARED)
        two = start(folder, 2, *COMPARED, "samples", "files", "batch_norms", "resume")
        for process in (one, two):
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output

    return make_once(tmp_path_factory, "distributed", run_jobs)


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    "name", ["mlp", "attacked", "ae", "vq", "tokens", "gan", "nodes", "graphs"]
)
def test_equal_global_batches_give_equal_gradients(results: Path, name: str) -> None:
    one, two = (load(results / f"gradients/{name}-{n}.pt") for n in (1, 2))
    for key, value in one.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, two[key], rtol=0, atol=1e-10, msg=key)


def test_adversarial_training_differs(results: Path) -> None:
    plain, attacked = (load(results / f"gradients/{name}-1.pt") for name in ("mlp", "attacked"))
    assert any(not torch.equal(plain[key], attacked[key]) for key in plain)


def test_gans_have_equal_states_on_all_processes(results: Path) -> None:
    """The state includes moving averages of weights and statistics of batch normalization."""
    one, two = (load(results / f"batch_norms/state-{rank}.pt") for rank in (0, 1))
    assert any("running_mean" in name for name in one)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("name", ["linear", "logistic", "pca", "pca_svd"])
def test_exact_solvers_sum_over_processes(results: Path, name: str) -> None:
    one, two = (load(results / f"exact/{name}-{n}.pt") for n in (1, 2))
    for key, value in one.items():
        assert value.abs().max() > (0 if key == "mean" else 0.01)
        torch.testing.assert_close(value, two[key], rtol=0, atol=1e-8, msg=key)


def test_metrics_do_not_depend_on_the_number_of_processes(results: Path) -> None:
    one, two = (load(results / f"metrics/metrics-{n}.pt") for n in (1, 2))
    assert {f"MLPClassifier test/{name}" for name in ("nll", "accuracy", "ece")} <= set(one)
    assert len({name.split()[0] for name in one}) == 6
    assert one == pytest.approx(two, rel=1e-5)


def test_every_sample_is_used_by_one_process(results: Path) -> None:
    ranks = [load(results / f"samples/seen-{rank}.pt") for rank in (0, 1)]
    train = [torch.cat(rank["seen"]["train"]) for rank in ranks]
    assert len(train[0]) == len(train[1]) == 1336  # two epochs of 1,336 samples
    for epoch in (slice(0, 668), slice(668, 1336)):
        both = torch.cat([seen[epoch] for seen in train])
        assert len(both.unique()) == len(both)
    for stage, count in (("val", 101), ("test", 360)):
        both = torch.cat([torch.cat(rank["seen"][stage]) for rank in ranks])
        assert len(both) == count * (2 if stage == "val" else 1)
        assert len(both.unique()) == count
    # metrics are means over samples, equal on all processes
    metrics = ranks[0]["metrics"]
    assert metrics == ranks[1]["metrics"]
    assert metrics["test/number"] == pytest.approx(359 / 2)
    numbers = torch.cat([torch.cat(rank["seen"]["val"]) for rank in ranks]).unique().float()
    assert metrics["val/number"] == pytest.approx(numbers.mean().item())


def test_one_process_writes_files(results: Path) -> None:
    folder = results / "files"
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == ["checkpoints/last.ckpt", "figures/samples.png"]


def test_resuming_is_exact_on_all_processes(results: Path) -> None:
    uninterrupted, resumed = load(results / "resume/states.pt")
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)
    checkpoint = load(results / "resume/whole/kept.ckpt")
    assert len(checkpoint["random_state"]) == 2


def test_divergence_on_one_process_stops_all(tmp_path: Path) -> None:
    output, _ = start(tmp_path, 2, "nan").communicate(timeout=120)
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


def test_command_line_on_two_processes(tmp_path: Path) -> None:
    process = command_line(tmp_path, "--model=vae", "--trainer.max_epochs=2")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert output.count("test/neg_elbo") == 1
    (folder,) = (tmp_path / "runs" / "vae").iterdir()
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (folder / "figures/samples.png").is_file()
    assert "test/neg_elbo" in (folder / "metrics.csv").read_text()


def test_ctrl_c_stops_both_processes_with_a_checkpoint(tmp_path: Path) -> None:
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

"""Runs that are killed, interrupted or resumed, and runs that diverge."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from callbacks import Checkpoint
from datamodules import SBM, Augmentation, Digits, Isometric, LabeledText, RandomGraphs, Text
from tests.conftest import ENVIRONMENT, newest_run
from zoo import (
    VAE,
    VQVAE,
    ConditionalVAE,
    GraphAutoencoder,
    GraphClassifier,
    LanguageModel,
    MeshClassifier,
    SequenceClassifier,
)
from zoo.core.checkpoints import AtomicCheckpointIO
from zoo.core.resume import without_functions
from zoo.errors import DivergedError

# everything that has state: augmentation, noise in the model, schedule, momentum, early stopping
SETTINGS = [
    "--model=vae",
    "--trainer.max_epochs=4",
    "--trainer.accelerator=cpu",
    "--checkpoint.every_n_train_steps=5",
    "--data.augment.rotation=10",
    "--trainer.callbacks=callbacks.EarlyStopping",
]

# a model that waits in the middle of an epoch until it is killed
SLOW = """
import time
from zoo import VAE
class SlowVAE(VAE):
    def on_train_batch_start(self, batch, batch_idx):
        if self.global_step == {step}:
            print("waiting", flush=True)
            time.sleep(60)
"""


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", "fit", *args],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(process: subprocess.Popen[str], word: str) -> str:
    """Read the output up to a line that contains ``word``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return "".join(lines)
    raise AssertionError(f"no {word!r} in:\n{''.join(lines)}")


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def test_a_run_killed_within_an_epoch_resumes_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW.format(step=33))  # epoch 1, batch 12 of 21
    killed = start(tmp_path, *SETTINGS, "--model=slow.SlowVAE", "--name=killed")
    until(killed, "waiting")
    killed.kill()
    killed.wait()
    broken = newest_run(tmp_path)
    last = broken / "checkpoints/last.ckpt"
    state = torch.load(last, weights_only=True)
    assert state["global_step"] == 30  # the last multiple of five
    assert state["loader"] == {"epoch": 1, "next": 9}

    (tmp_path / "slow.py").write_text(SLOW.format(step=10**9))
    runs = []
    for more in (["--name=whole"], ["--name=resumed", f"--ckpt_path={last}"]):
        process = start(tmp_path, *SETTINGS, "--model=slow.SlowVAE", *more)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        runs.append(newest_run(tmp_path))
    whole, resumed = (torch.load(r / "checkpoints/last.ckpt", weights_only=True) for r in runs)
    assert whole["global_step"] == resumed["global_step"] == 84
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    moments = [c["optimizer_states"][0]["state"] for c in (whole, resumed)]
    for index, state in moments[0].items():
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(moments[1][index][key]))
    assert whole["lr_schedulers"] == resumed["lr_schedulers"]
    assert torch.equal(whole["random_state"][0]["torch"], resumed["random_state"][0]["torch"])
    # the logged metrics of the last epochs are equal as well
    tables = [(run / "metrics.csv").read_text().splitlines() for run in runs]
    assert tables[0][0] == tables[1][0]
    assert tables[0][-2:] == tables[1][-2:]


@pytest.mark.parametrize("stop", [4, 9, 10, 12, 20])
@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_resuming_at_any_batch_gives_the_same_weights(
    tmp_path: Path, stop: int, schedule: str
) -> None:
    """An epoch has ten batches: stop within an epoch, at its last batch, and at its end."""

    def make() -> VAE:
        return VAE((1, 8, 8), hidden_dims=(16,), schedule=schedule, optimizer="sgd", lr=1e-3)

    check_exact_resumption(make, tmp_path, stop)


def test_random_replacements_of_codebook_vectors_resume_exactly(tmp_path: Path) -> None:
    def make() -> VQVAE:
        model = VQVAE((1, 8, 8), 32, 4, (4, 4), ema_decay=0.8, prior_width=8, lr=1e-3)
        model.codebook.revive_below = 5.0  # so that some are replaced in every step
        return model

    check_exact_resumption(make, tmp_path, 12)


def test_a_conditional_vaes_warm_up_resumes_exactly(tmp_path: Path) -> None:
    def make() -> ConditionalVAE:
        return ConditionalVAE((1, 8, 8), 10, hidden_dims=(16,), kl_warmup=0.8)

    check_exact_resumption(make, tmp_path, 12)


def test_text_windows_and_muon_resume_exactly(tmp_path: Path) -> None:
    """Starts of windows, dropout and word dropout are random."""
    text = Text(max_characters=9_000, length=16, batch_size=51)

    def make() -> LanguageModel:
        sizes: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2, "dropout": 0.1}
        return LanguageModel(text.vocab_size, 16, optimizer="muon", **sizes)

    check_exact_resumption(
        make, tmp_path, 12, lambda: Text(max_characters=9_000, length=16, batch_size=51)
    )


def test_token_sequences_resume_exactly(tmp_path: Path) -> None:
    def data() -> LabeledText:
        return LabeledText(num_samples=500, batch_size=41)

    def make() -> SequenceClassifier:
        made = data()
        sizes: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2, "input_dropout": 0.2}
        return SequenceClassifier(made.vocab_size, made.length, 2, **sizes)

    check_exact_resumption(make, tmp_path, 12, data)


def test_batches_of_graphs_resume_exactly(tmp_path: Path) -> None:
    def make() -> GraphClassifier:
        return GraphClassifier(1, 4, hidden_dim=8, dropout=0.2)

    check_exact_resumption(make, tmp_path, 12, lambda: RandomGraphs(num_samples=200, batch_size=16))


def test_batches_of_meshes_resume_exactly(tmp_path: Path) -> None:
    def make() -> MeshClassifier:
        return MeshClassifier(8, input_features="xyz", width=8, blocks=1, dropout=0.2)

    def data() -> Isometric:
        return Isometric(num_samples=44, subdivisions=1, eigenpairs=8, batch_size=4)

    check_exact_resumption(make, tmp_path, 12, data)


def test_sampled_absent_edges_resume_exactly(tmp_path: Path) -> None:
    def make() -> GraphAutoencoder:
        return GraphAutoencoder(16, variational=True, dropout=0.1)

    check_exact_resumption(make, tmp_path, 2, lambda: SBM(task="links"))


def noisy_digits() -> Digits:
    return Digits(batch_size=130, augment=Augmentation(noise=0.1))


def check_exact_resumption(
    make: Callable[[], L.LightningModule],
    folder: Path,
    stop: int,
    make_data: Callable[[], L.LightningDataModule] = noisy_digits,
) -> None:
    """Train three epochs of ten batches with and without a stop; check that weights are equal."""

    def fit(name: str, ckpt_path: Path | None = None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model, data = make(), make_data()
        trainer = L.Trainer(
            max_epochs=3,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[_KeepFirst(stop, folder / name)],
            enable_checkpointing=False,
            plugins=[AtomicCheckpointIO()],
        )
        trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return {name: value.clone() for name, value in model.state_dict().items()}

    whole = fit("whole")
    resumed = fit("resumed", folder / "whole" / "kept.ckpt")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


class _KeepFirst(L.Callback):
    """Save one checkpoint, after a given step."""

    def __init__(self, step: int, folder: Path) -> None:
        self.step = step
        self.folder = folder

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.folder / "kept.ckpt")


def test_a_checkpoint_from_the_end_of_an_epoch_resumes(
    tmp_path: Path, trainer: Callable[..., L.Trainer]
) -> None:
    def fit(epochs: int, ckpt_path: str | None = None) -> tuple[VAE, str]:
        torch.manual_seed(0)
        saver = Checkpoint("last", dirpath=str(tmp_path / f"{epochs}-{ckpt_path is None}"))
        model, data = VAE((1, 8, 8), hidden_dims=(16,)), Digits(batch_size=130)
        run = trainer(max_epochs=epochs, enable_checkpointing=True, callbacks=[saver])
        run.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return model, saver.best_model_path

    whole, _ = fit(4)
    _, half = fit(2)
    resumed, _ = fit(4, half)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_ctrl_c_leaves_a_checkpoint_that_resumes(tmp_path: Path) -> None:
    process = start(tmp_path, "--model=vae", "--trainer.max_epochs=100000")
    deadline = time.time() + 60
    while time.time() < deadline and not list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt")):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    checkpoint = newest_run(tmp_path) / "checkpoints/interrupted.ckpt"
    assert f"resume with --ckpt_path {checkpoint.relative_to(tmp_path)}" in output
    step = torch.load(checkpoint, weights_only=True)["global_step"]
    resumed = start(
        tmp_path, "--model=vae", f"--ckpt_path={checkpoint}", f"--trainer.max_steps={step + 5}"
    )
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, output
    last = newest_run(tmp_path) / "checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == step + 5


# -- divergence ----------------------------------------------------------------------------------


class Diverging(VAE):
    """A model whose loss is nan at one step."""

    def step(self, batch: object) -> dict[str, torch.Tensor]:
        parts = super().step(batch)
        if self.training and self.global_step == 31:
            parts["loss"] = parts["loss"] * float("nan")
        return parts


def test_a_nan_loss_stops_the_run_and_names_the_last_checkpoint(
    tmp_path: Path, trainer: Callable[..., L.Trainer]
) -> None:
    saver = Checkpoint("last", dirpath=str(tmp_path))
    run = trainer(max_epochs=5, enable_checkpointing=True, callbacks=[saver])
    with pytest.raises(DivergedError, match=r"at batch 31 of training.*epoch 1") as error:
        run.fit(Diverging((1, 8, 8)), Digits(batch_size=64))
    path = tmp_path / "last.ckpt"
    assert str(path) in str(error.value)
    good = torch.load(path, weights_only=True)
    assert good["global_step"] == 21
    assert all(value.isfinite().all() for value in good["state_dict"].values())


def test_a_nan_loss_on_the_command_line(tmp_path: Path) -> None:
    process = start(tmp_path, "--model=tests.core.test_resume.Diverging", "--trainer.max_epochs=5")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in output
    assert "error: the loss became nan or infinite at batch 31" in output
    assert "last good checkpoint: " in output
    assert "/checkpoints/" in output


def test_weights_that_are_not_finite_are_never_saved(
    tmp_path: Path, trainer: Callable[..., L.Trainer]
) -> None:
    class Exploding(VAE):
        def on_train_batch_end(self, *_: object) -> None:
            if self.global_step == 3:
                self.encoder[1].weight.data[0, 0] = float("inf")

    run = trainer(
        max_epochs=1,
        limit_train_batches=3,
        enable_checkpointing=True,
        callbacks=[Checkpoint("last", dirpath=str(tmp_path))],
    )
    with pytest.raises(DivergedError, match=r"weight encoder\.1\.weight became nan"):
        run.fit(Exploding((1, 8, 8)), Digits(batch_size=64, val_size=0))
    assert not (tmp_path / "last.ckpt").exists()


# -- files ---------------------------------------------------------------------------------------


def test_checkpoints_are_written_atomically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(2)}}, path)
    before = path.read_bytes()

    def cut(value: object, file: object) -> None:
        file.write(b"half a checkpoi")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(OSError, match="no space left"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_functions_are_not_saved() -> None:
    def anneal(t: float) -> float:
        return t

    state = {
        "SWA": {"scheduler": {"anneal_func": anneal, "epochs": 3}},
        "steps": [{"f": anneal}, 1],
    }
    saved = without_functions(state)
    assert saved == {"SWA": {"scheduler": {"epochs": 3}}, "steps": [{}, 1]}
    assert state["SWA"]["scheduler"]["anneal_func"] is anneal  # the state itself is unchanged
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == saved

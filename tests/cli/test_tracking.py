"""Logs for Weights & Biases and TensorBoard, read from the files of offline runs."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

wandb_pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")

BLOCK = 32768  # bytes; a .wandb file is a LevelDB log of protobuf records behind a 7-byte header


def records(path: Path) -> Iterator[Any]:
    data, position, buffer = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:
            position += left
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        if kind == 0:
            position += left
            continue
        chunk = data[position + 7 : position + 7 + size]
        position += 7 + size
        buffer = chunk if kind in (1, 2) else buffer + chunk
        if kind in (1, 4):
            record = wandb_pb.Record()
            record.ParseFromString(buffer)
            yield record


def complete(path: Path) -> list[Any]:
    """Return all records; wait for the writing process, which may outlive the run."""
    for _ in range(100):
        found = list(records(path))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end after 10 s: {len(found)} records")


class Tracked:
    """Contents of a run in Weights & Biases."""

    def __init__(self, folder: Path) -> None:
        (file,) = folder.rglob("*.wandb")
        self.config: dict[str, Any] = {}
        self.history: dict[str, Any] = {}
        self.artifacts: list[str] = []
        for record in complete(file):
            kind = record.WhichOneof("record_type")
            if kind == "config":
                updates = record.config.update
                self.config |= {u.key: json.loads(u.value_json) for u in updates if u.key}
            if kind == "history":
                for item in record.history.item:
                    key = item.key or item.nested_key[0]
                    self.history[key] = json.loads(item.value_json)
            if kind == "artifact":
                self.artifacts.append(record.artifact.name)
        self.media = [p.name for p in folder.rglob("media/images/figures/*.png")]


def test_wandb_receives_everything(run: Callable[..., Path]) -> None:
    folder = run(
        "--model=vae",
        "--logger",
        "csv",
        "wandb",
        "--trainer.max_epochs=2",
        "--checkpoint.upload=true",
    )
    tracked = Tracked(folder)
    # the complete resolved settings, as in config.yaml
    assert tracked.config["config"] == yaml.safe_load((folder / "config.yaml").read_text())
    assert tracked.config["config"]["model"]["init_args"]["hidden_dims"] == [256, 256]
    assert tracked.config["config"]["reference"]["metric"] == "test/neg_elbo"
    assert "encoder" in tracked.config["model_summary"]
    assert tracked.config["latent_dim"] == 2
    # the same values as in metrics.csv
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("train/loss", "val/kl", "test/neg_elbo", "test/mse"):
        last = [row[name] for row in rows if row[name]][-1]
        assert tracked.history[name] == pytest.approx(float(last))
    # the same figures
    figures = {p.stem for p in (folder / "figures").iterdir()}
    assert {f"figures/{name}" for name in figures} <= set(tracked.history)
    assert all(any(m.startswith(name) for m in tracked.media) for name in figures)
    assert tracked.artifacts == ["vae-checkpoints"]


def test_checkpoints_are_uploaded_only_on_request(run: Callable[..., Path]) -> None:
    folder = run("fit", "--model=mlp", "--logger=wandb", "--trainer.max_epochs=1")
    assert Tracked(folder).artifacts == []
    assert not (folder / "metrics.csv").exists()
    assert (folder / "config.yaml").is_file()


def test_tensorboard_receives_metrics_figures_and_settings(run: Callable[..., Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run("--model=vae", "--logger=tensorboard", "--trainer.max_epochs=2")
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "val/loss", "test/neg_elbo"} <= set(tags["scalars"])
    assert "figures/samples" in tags["images"]
    assert "config/text_summary" in tags["tensors"]
    assert (folder / "figures/samples.png").is_file()


def test_wandb_receives_animations_and_texts(run: Callable[..., Path]) -> None:
    short = ["--logger", "csv", "wandb", "--trainer.max_steps=4"]
    folder = run("--model=gan", "--data=gaussians_2d", "--data.num_samples=6000", *short)
    assert [p for p in folder.rglob("media/videos/figures/*.gif") if p.stat().st_size > 1_000]
    folder = run("--model=language_model", "--data.max_characters=5000", "--model.dim=16", *short)
    (table,) = folder.rglob("media/table/samples*.json")
    rows = json.loads(table.read_text("utf-8"))["data"]
    assert [row[0] for row in rows] == [4]
    assert len(rows[0][1]) > 100


def test_a_user_without_an_account_is_one_line(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def init(**options: Any) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", init)
    message = fails("fit", "--model=vae", "--logger=wandb", "--trainer.max_epochs=1")
    assert message == (
        "error: Weights & Biases: No API key configured. Use `wandb login` to log in. "
        "WANDB_MODE=offline logs to the run folder only"
    )

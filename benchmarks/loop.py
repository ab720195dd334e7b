"""Overhead of the zoo's training loop.

1. A VAE on MNIST, trained by the command line with progress bar, logging, checkpoints and
   validation, against a plain PyTorch loop over tensors with the same training and validation
   steps (target: 0.85 of its steps per second), and against the same model in Lightning, fed by
   torchvision's MNIST, ``ToTensor`` and a ``DataLoader`` (target: 2.5 times its steps per second).
2. Overhead per step on a model so small that only the loop counts, against
   ``Trainer(barebones=True)`` on a bare LightningModule (target: at most 1.5 times its overhead).
3. Time of ``train.py --help`` and ``train.py fit --help``, against importing LightningCLI (target:
   at most 1.25 times that time).

The images are random and have MNIST's shape: nothing is downloaded, the computation is the same.

Hardware: CPU. Run: python -m benchmarks.loop
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import (
    STOPWATCH,
    Stopwatch,
    measure_interleaved,
    record_speed,
    temporary_folder,
)
from datamodules import MNIST
from zoo import VAE
from zoo.cli.main import main as command_line
from zoo.core.registry import RECIPES, read_recipe

REPEATS = 5
BATCH_SIZE = 128
TRAIN, VAL = 55_000, 5_000  # samples, split as in the recipe
STEPS = -(-TRAIN // BATCH_SIZE)  # per epoch
EPOCHS = 2
TINY_STEPS = 1_000
HiddenDims = tuple[int, ...]


class RandomMNIST(MNIST):
    """Random images of MNIST's shape."""

    def download(self) -> None:
        pass

    def load(self, train: bool) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(0, 256, (TRAIN + VAL, 1, 28, 28), generator=generator).to(torch.uint8)
        return x, torch.arange(TRAIN + VAL) % 10


# -- 1. a VAE on MNIST -----------------------------------------------------------------------------


def run_vae(hidden_dims: HiddenDims) -> float:
    """Return the steps per second of the command line."""
    with temporary_folder():
        command_line(
            [
                "fit",
                f"--config={RECIPES / 'vae-mnist.yaml'}",
                "--data=benchmarks.loop.RandomMNIST",
                f"--data.batch_size={BATCH_SIZE}",
                f"--data.val_size={VAL}",
                f"--model.hidden_dims={list(hidden_dims)}",
                f"--trainer.max_epochs={EPOCHS}",
                "--trainer.accelerator=cpu",
                STOPWATCH,
            ]
        )
    return Stopwatch.rate


def make_mlp(*sizes: int) -> nn.Sequential:
    """Create linear layers with ReLU between them."""
    modules: list[nn.Module] = []
    for fan_in, width in zip(sizes[:-1], sizes[1:], strict=True):
        modules += [nn.Linear(fan_in, width), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def run_plain_vae(hidden_dims: HiddenDims) -> float:
    """Return the steps per second of a plain PyTorch loop."""
    torch.manual_seed(0)
    encoder = make_mlp(784, *hidden_dims, 40)
    decoder = make_mlp(20, *reversed(hidden_dims), 784)
    optimizer = torch.optim.Adam(
        [*encoder.parameters(), *decoder.parameters()], lr=2e-3, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=EPOCHS * STEPS)
    images, _ = RandomMNIST().load(train=True)
    train, val = images[:TRAIN], images[TRAIN:]

    def negative_elbo(gray: Tensor) -> Tensor:
        x = torch.bernoulli(gray)
        mean, log_var = encoder(x.flatten(1)).chunk(2, dim=1)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        reconstruction = F.binary_cross_entropy_with_logits(
            decoder(z), x.flatten(1), reduction="sum"
        )
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum()
        return (reconstruction + kl) / len(x)

    start = time.perf_counter()
    for _ in range(EPOCHS):
        for indices in torch.randperm(TRAIN).split(BATCH_SIZE):
            loss = negative_elbo(train[indices].float() / 255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            torch.stack([negative_elbo(batch.float() / 255) for batch in val.split(512)]).mean()
    return EPOCHS * STEPS / (time.perf_counter() - start)


def run_torchvision_vae(hidden_dims: HiddenDims, num_workers: int) -> float:
    """Return the steps per second of Lightning with torchvision's MNIST and a DataLoader."""
    from torchvision.datasets import MNIST as TorchvisionMNIST
    from torchvision.transforms import ToTensor

    class Random(TorchvisionMNIST):
        """torchvision's MNIST with random images in memory."""

        def __init__(self) -> None:
            images, self.targets = RandomMNIST().load(train=True)
            self.data = images[:, 0]
            self.transform, self.target_transform = ToTensor(), None

    parts: list[Any] = torch.utils.data.random_split(Random(), [TRAIN, VAL])
    options: dict[str, Any] = {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
    }
    settings = read_recipe("vae-mnist")["model"]["init_args"] | {"hidden_dims": hidden_dims}
    model = VAE((1, 28, 28), **settings)
    with temporary_folder():
        trainer = L.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", callbacks=[Stopwatch()], logger=False
        )
        trainer.fit(
            model,
            torch.utils.data.DataLoader(parts[0], BATCH_SIZE, shuffle=True, **options),
            torch.utils.data.DataLoader(parts[1], 512, **options),
        )
    return Stopwatch.rate


def benchmark_vae(name: str, hidden_dims: HiddenDims) -> None:
    rates = measure_interleaved(
        {
            "zoo": lambda: run_vae(hidden_dims),
            "plain": lambda: run_plain_vae(hidden_dims),
            "0 workers": lambda: run_torchvision_vae(hidden_dims, 0),
            "2 workers": lambda: run_torchvision_vae(hidden_dims, 2),
        },
        REPEATS,
    )
    zoo = rates.pop("zoo")
    for other, rate in rates.items():
        peer = "plain loop" if other == "plain" else f"Lightning with torchvision, {other}"
        record_speed(
            f"MNIST VAE {name}, batch {BATCH_SIZE}: zoo / {peer}",
            f"{zoo / rate:.2f} ({zoo:.0f} / {rate:.0f} steps/s)",
            "≥ 0.85" if other == "plain" else "≥ 2.5",
            REPEATS,
            "benchmarks.loop",
        )


# -- 2. a tiny model -------------------------------------------------------------------------------


class Bare(L.LightningModule):
    """Minimal LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_tiny_network()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.network(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


def make_tiny_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))


def make_tiny_batches() -> list[tuple[Tensor, Tensor]]:
    """Return batches in memory, which cost the measured loop no time."""
    return [(torch.rand(16, 1, 28, 28), torch.arange(16) % 10)] * TINY_STEPS


class TinyData(RandomMNIST):
    """Black images of MNIST's shape, enough for ``TINY_STEPS`` batches of 16."""

    def load(self, train: bool) -> tuple[Tensor, ...]:
        samples = 16 * TINY_STEPS
        x = torch.zeros(samples, 1, 28, 28, dtype=torch.uint8)
        return x, torch.arange(samples) % 10


def run_tiny() -> float:
    """Return the milliseconds per step of the command line, data loading included."""
    with temporary_folder():
        command_line(
            [
                "fit",
                "--model=mlp",
                "--data=benchmarks.loop.TinyData",
                "--data.batch_size=16",
                "--data.val_size=0",
                "--model.hidden_dims=[8]",
                "--model.activation=relu",
                "--model.dropout=0",
                "--model.input_dropout=0",
                "--model.label_smoothing=0",
                "--model.schedule=constant",
                "--trainer.max_epochs=1",
                "--trainer.accelerator=cpu",
                STOPWATCH,
            ]
        )
    return 1000 / Stopwatch.rate


def run_tiny_barebones() -> float:
    """Return the milliseconds per step of ``Trainer(barebones=True)`` on batches in memory."""
    # barebones refuses only Lightning's own callbacks
    trainer = L.Trainer(barebones=True, max_epochs=1, accelerator="cpu", callbacks=[Stopwatch()])
    trainer.fit(Bare(), ListLoader(make_tiny_batches()))
    return 1000 / Stopwatch.rate


def run_tiny_plain() -> float:
    """Return the milliseconds per step of a plain PyTorch loop on batches in memory."""
    network = make_tiny_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    batches = make_tiny_batches()
    start = time.perf_counter()
    for x, y in batches:
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return 1000 * (time.perf_counter() - start) / TINY_STEPS


class ListLoader:
    """Data loader over a list of batches."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def benchmark_tiny() -> None:
    times = measure_interleaved(
        {"zoo": run_tiny, "barebones": run_tiny_barebones, "plain": run_tiny_plain}, REPEATS
    )
    print({name: f"{value:.3f} ms/step" for name, value in times.items()})
    ours, bare = times["zoo"] - times["plain"], times["barebones"] - times["plain"]
    record_speed(
        "overhead per step on a tiny model, zoo / Trainer(barebones=True)",
        f"{ours / bare:.2f} ({ours:.2f} / {bare:.2f} ms over a plain step of "
        f"{times['plain']:.2f} ms; the zoo's includes data loading)",
        "≤ 1.5",
        REPEATS,
        "benchmarks.loop",
    )


# -- 3. help ---------------------------------------------------------------------------------------


def time_python(*args: str) -> float:
    """Return the seconds that a Python process takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def benchmark_help() -> None:
    train = str(Path(__file__).resolve().parent.parent / "train.py")
    times = measure_interleaved(
        {
            "help": lambda: time_python(train, "--help"),
            "fit --help": lambda: time_python(train, "fit", "--help"),
            "import": lambda: time_python("-c", "from lightning.pytorch.cli import LightningCLI"),
        },
        REPEATS,
    )
    for name in ("help", "fit --help"):
        record_speed(
            f"train.py {'--help' if name == 'help' else name} / importing LightningCLI",
            f"{times[name] / times['import']:.2f} ({times[name]:.2f} / {times['import']:.2f} s)",
            "≤ 1.25",
            REPEATS,
            "benchmarks.loop",
        )


def main() -> None:
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    benchmark_vae("784-400-400-20 (the recipe)", (400, 400))
    benchmark_vae("784-400-20 (the size of pytorch/examples)", (400,))
    benchmark_tiny()
    benchmark_help()


if __name__ == "__main__":
    main()

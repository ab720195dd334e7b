"""What the zoo's training loop costs.

1. An MNIST VAE as a user trains it (command line, progress bar, logging, checkpoints, validation)
   against a plain PyTorch loop over tensors that does the same steps and the same validation, and
   against the same model in Lightning fed by torchvision's MNIST, ToTensor and a DataLoader.
2. The overhead per step on a model so small that nothing else counts, against
   ``Trainer(barebones=True)`` on a bare LightningModule.
3. The time until ``train.py --help`` answers, against importing LightningCLI.

Images are random ones of MNIST's shape, so that nothing needs to be downloaded: the arithmetic is
the same. Run: python -m benchmarks.loop
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import interleaved, record
from datamodules import MNIST
from zoo import VAE
from zoo.cli.main import main as command_line
from zoo.core.registry import RECIPES, read_recipe

REPEATS = 5
Sizes = tuple[int, ...]  # widths of the hidden layers
BATCH = 128
TRAIN, VAL = 55_000, 5_000  # samples, as the recipe cuts MNIST
STEPS = -(-TRAIN // BATCH)  # per epoch
EPOCHS = 2
TINY_STEPS = 1_000


class RandomMNIST(MNIST):
    """Images of MNIST's shape."""

    def download(self) -> None:
        pass

    def load(self, train: bool) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(0, 256, (TRAIN + VAL, 1, 28, 28), generator=generator).to(torch.uint8)
        return x, torch.arange(TRAIN + VAL) % 10


class Stopwatch(L.Callback):
    """Steps per second from the first batch to the end of training; the last run's."""

    rate = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        Stopwatch.rate = trainer.global_step / (time.perf_counter() - self.start)


@contextlib.contextmanager
def elsewhere() -> Iterator[io.StringIO]:
    """A temporary working folder, output kept to itself as a terminal would take it."""
    before, output = Path.cwd(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(Terminal()):
                yield output
        finally:
            os.chdir(before)


class Best(L.Callback):
    """Keeps the weights of the epoch with the highest value of a metric.

    Args:
        metric: such as ``val/accuracy``.
    """

    def __init__(self, metric: str) -> None:
        self.metric, self.value = metric, -1.0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = float(trainer.callback_metrics[self.metric])
        if value > self.value:
            self.value = value
            self.weights = {k: v.clone() for k, v in pl_module.state_dict().items()}


class Terminal(io.StringIO):
    """Takes a progress bar as a terminal would."""

    def isatty(self) -> bool:
        return True


# -- 1. a VAE on MNIST -----------------------------------------------------------------------------


def vae_as_a_user(hidden: Sizes) -> float:
    """Steps per second of the command line."""
    with elsewhere():
        command_line(
            [
                "fit",
                f"--config={RECIPES / 'vae-mnist.yaml'}",
                "--data=benchmarks.loop.RandomMNIST",
                f"--data.batch_size={BATCH}",
                f"--data.val_size={VAL}",
                f"--model.hidden_dims={list(hidden)}",
                f"--trainer.max_epochs={EPOCHS}",
                "--trainer.accelerator=cpu",
                '--trainer.callbacks=[{"class_path":"benchmarks.loop.Stopwatch"}]',
            ]
        )
    return Stopwatch.rate


def layers(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    modules: list[nn.Module] = []
    for fan_in, width in zip(sizes[:-1], sizes[1:], strict=True):
        modules += [nn.Linear(fan_in, width), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def vae_in_a_plain_loop(hidden: Sizes) -> float:
    """Steps per second of a loop that anyone would write."""
    torch.manual_seed(0)
    encoder, decoder = layers(784, *hidden, 40), layers(20, *reversed(hidden), 784)
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
        for indices in torch.randperm(TRAIN).split(BATCH):
            loss = negative_elbo(train[indices].float() / 255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            torch.stack([negative_elbo(batch.float() / 255) for batch in val.split(512)]).mean()
    return EPOCHS * STEPS / (time.perf_counter() - start)


def vae_from_torchvision(hidden: Sizes, num_workers: int) -> float:
    """Steps per second in Lightning with per-sample images and a DataLoader."""
    from torchvision.datasets import MNIST as TorchvisionMNIST
    from torchvision.transforms import ToTensor

    class Random(TorchvisionMNIST):
        """torchvision's MNIST, from its __getitem__ on."""

        def __init__(self) -> None:
            images, self.targets = RandomMNIST().load(train=True)
            self.data = images[:, 0]
            self.transform, self.target_transform = ToTensor(), None

    parts: list[Any] = torch.utils.data.random_split(Random(), [TRAIN, VAL])
    options: dict[str, Any] = {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
    }
    settings = read_recipe("vae-mnist")["model"]["init_args"] | {"hidden_dims": hidden}
    model = VAE((1, 28, 28), **settings)
    with elsewhere():
        trainer = L.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", callbacks=[Stopwatch()], logger=False
        )
        trainer.fit(
            model,
            torch.utils.data.DataLoader(parts[0], BATCH, shuffle=True, **options),
            torch.utils.data.DataLoader(parts[1], 512, **options),
        )
    return Stopwatch.rate


def benchmark_vae(name: str, hidden: Sizes) -> None:
    rates = interleaved(
        {
            "zoo": lambda: vae_as_a_user(hidden),
            "plain": lambda: vae_in_a_plain_loop(hidden),
            "0 workers": lambda: vae_from_torchvision(hidden, 0),
            "2 workers": lambda: vae_from_torchvision(hidden, 2),
        },
        REPEATS,
    )
    zoo = rates.pop("zoo")
    for other, rate in rates.items():
        peer = "plain loop" if other == "plain" else f"Lightning with torchvision, {other}"
        record(
            f"MNIST VAE {name}, batch {BATCH}: zoo / {peer}",
            f"{zoo / rate:.2f} ({zoo:.0f} / {rate:.0f} steps/s)",
            "≥ 0.85" if other == "plain" else "≥ 2.5",
            REPEATS,
            "benchmarks.loop",
        )


# -- 2. a tiny model -------------------------------------------------------------------------------


class Bare(L.LightningModule):
    """The least that Lightning trains."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.network(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


def tiny_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))


def tiny_batches() -> list[tuple[Tensor, Tensor]]:
    """Batches that are there already, so that only the loop is measured."""
    return [(torch.rand(16, 1, 28, 28), torch.arange(16) % 10)] * TINY_STEPS


class TinyData(RandomMNIST):
    """Just enough images for one epoch."""

    def load(self, train: bool) -> tuple[Tensor, ...]:
        samples = 16 * TINY_STEPS
        x = torch.zeros(samples, 1, 28, 28, dtype=torch.uint8)
        return x, torch.arange(samples) % 10


def tiny_as_a_user() -> float:
    """Milliseconds per step of the command line, its data loading included."""
    with elsewhere():
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
                '--trainer.callbacks=[{"class_path":"benchmarks.loop.Stopwatch"}]',
            ]
        )
    return 1000 / Stopwatch.rate


def tiny_barebones() -> float:
    """Milliseconds per step of Trainer(barebones=True), batches given."""
    stopwatch = Stopwatch()
    model = Bare()
    # barebones allows callbacks that it does not know
    trainer = L.Trainer(barebones=True, max_epochs=1, accelerator="cpu", callbacks=[stopwatch])
    trainer.fit(model, ListLoader(tiny_batches()))
    return 1000 / Stopwatch.rate


def tiny_plain() -> float:
    """Milliseconds per step of a plain loop, batches given."""
    network = tiny_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    batches = tiny_batches()
    start = time.perf_counter()
    for x, y in batches:
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return 1000 * (time.perf_counter() - start) / TINY_STEPS


class ListLoader:
    """Batches from a list."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def benchmark_tiny() -> None:
    times = interleaved(
        {"zoo": tiny_as_a_user, "barebones": tiny_barebones, "plain": tiny_plain}, REPEATS
    )
    print({name: f"{value:.3f} ms/step" for name, value in times.items()})
    ours, bare = times["zoo"] - times["plain"], times["barebones"] - times["plain"]
    record(
        "overhead per step on a tiny model, zoo / Trainer(barebones=True)",
        f"{ours / bare:.2f} ({ours:.2f} / {bare:.2f} ms over a plain step of "
        f"{times['plain']:.2f} ms; the zoo's includes its data loading)",
        "≤ 1.5",
        REPEATS,
        "benchmarks.loop",
    )


# -- 3. help ---------------------------------------------------------------------------------------


def seconds(*args: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def benchmark_help() -> None:
    train = str(Path(__file__).resolve().parent.parent / "train.py")
    times = interleaved(
        {
            "help": lambda: seconds(train, "--help"),
            "fit --help": lambda: seconds(train, "fit", "--help"),
            "import": lambda: seconds("-c", "from lightning.pytorch.cli import LightningCLI"),
        },
        REPEATS,
    )
    for name in ("help", "fit --help"):
        record(
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
    # by its own name: the command line imports Stopwatch and the data from there
    from benchmarks.loop import main as run

    run()

"""How soon the supervised family is done.

1. MNIST to 99 % test accuracy: the ``cnn`` recipe with fewer channels, one epoch and no
   augmentation, against the recipe of pytorch/examples (two convolutions, Adadelta, batches of 64
   from a DataLoader that converts image by image), both from reading the files to a test accuracy
   of 99 %.
2. MNIST to 99.5 %: the whole ``cnn`` recipe.
3. Ten members trained in one vectorised step against ten trainings one after another, the same
   Trainer and the same batches. Average pooling after a convolution is merged into it for the
   vectorised members; of max pooling the largest feature maps are left, and memory sets the pace.
4. Least squares on 1,000,000 × 100 numbers against scikit-learn, and the memory it takes.

Memory is kept between steps for all contestants, as the command line does. Needs MNIST in the
folder that ZOO_DATA names. Run: python -m benchmarks.supervised [number ...]
"""

from __future__ import annotations

import logging
import re
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.loop import elsewhere
from benchmarks.timing import interleaved, record
from datamodules import MNIST, Digits, DistributedBatchSampler, TensorLoader
from datamodules.base import default_root
from zoo import DeepEnsemble, LinearRegression, create_model
from zoo.cli.main import main as command_line
from zoo.core.speed import keep_freed_memory

MODULE = "benchmarks.supervised"
MEMBERS = 10
ROWS, COLUMNS = 1_000_000, 100


# -- 1, 2. MNIST -----------------------------------------------------------------------------------


def recipe(*options: str) -> tuple[float, float]:
    """Seconds of the command line from start to end, and the test accuracy."""
    start = time.perf_counter()
    with elsewhere() as output:
        command_line(["--model=cnn", "--data=mnist", f"--data.root={ROOT}", *options])
    found = re.search(r"test/accuracy +([0-9.]+)", output.getvalue())
    assert found is not None
    return time.perf_counter() - start, float(found[1])


class ExampleNet(nn.Module):
    """The network of pytorch/examples/mnist."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def example(goal: float, seed: int, max_epochs: int = 6) -> tuple[float, float, int]:
    """Seconds, test accuracy and epochs until the goal is reached, tested after each epoch."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    torch.manual_seed(seed)
    start = time.perf_counter()
    convert = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    train, test = (datasets.MNIST(ROOT, train=t, transform=convert) for t in (True, False))
    model = ExampleNet()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)
    accuracy, epoch = 0.0, 0
    for epoch in range(1, max_epochs + 1):
        model.train()
        for x, y in DataLoader(train, 64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            right = [(model(x).argmax(1) == y).sum() for x, y in DataLoader(test, 1000)]
        accuracy = float(torch.stack(right).sum()) / len(test)
        print(f"example, epoch {epoch}: {accuracy:.4f} after {time.perf_counter() - start:.0f} s")
        if accuracy >= goal:
            break
    return time.perf_counter() - start, accuracy, epoch


QUICK = ("--trainer.max_epochs=1", "--model.channels=[16,32,64]", "--data.augment=null")


def to_99() -> None:
    recipe(*QUICK, "--trainer.limit_train_batches=2")  # warm
    ours, theirs = [], []
    for seed in range(3):
        ours.append(recipe(*QUICK, f"--seed={seed}"))
        theirs.append(example(0.99, seed))
    quick, accuracies = zip(*ours, strict=True)
    slow, accuracy, epochs = sorted(theirs)[1]
    seconds = sorted(quick)[1]
    record(
        f"MNIST to 99 %: pytorch/examples / cnn recipe with {' '.join(QUICK)}",
        f"{slow / seconds:.1f} ({slow:.0f} s, {accuracy:.2%}, {epochs} epochs / {seconds:.1f} s, "
        f"{min(accuracies):.2%} to {max(accuracies):.2%})",
        "≥ 25",
        3,
        f"{MODULE} 1",
    )


def to_99_5() -> None:
    runs = [recipe(f"--seed={seed}") for seed in range(3)]
    seconds, accuracies = zip(*runs, strict=True)
    record(
        "MNIST to 99.5 %: cnn recipe, seconds",
        f"{sorted(seconds)[1]:.0f} s ({min(accuracies):.2%} to {max(accuracies):.2%} over 3 seeds)",
        "≤ 120 s",
        3,
        f"{MODULE} 2",
    )


# -- 3. ensembles ----------------------------------------------------------------------------------


def fit_seconds(model: Any, data: Any, epochs: int, steps: int) -> float:
    """Seconds of ``Trainer.fit``."""
    trainer = L.Trainer(
        max_epochs=epochs, limit_train_batches=steps, limit_val_batches=0, logger=False,
        accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(model, data)
    return time.perf_counter() - start


def ensembles() -> None:
    lenet = {"padding": ("same", "valid"), "pool_size": 2}
    maxima = {**lenet, "pooling": "max", "activation": "relu"}
    small = {"hidden_dims": (64, 64), "dropout": 0.2, "input_dropout": 0.0}
    cases: list[tuple[str, str, Any, Callable[[], Any], tuple[int, ...], int, int]] = [
        ("LeNet-5 on MNIST, batch 128", "lenet5", lenet, lambda: MNIST(128, root=ROOT),
         (1, 28, 28), 1, 60),
        ("LeNet-5 with max pooling and ReLU on MNIST, batch 128", "lenet5", maxima,
         lambda: MNIST(128, root=ROOT), (1, 28, 28), 1, 60),
        ("MLP 64-64-64-10 on digits, batch 64", "mlp", small, lambda: Digits(64),
         (1, 8, 8), 5, 20),
    ]  # fmt: skip
    for what, member, settings, data, shape, epochs, steps in cases:

        def together() -> float:
            model = DeepEnsemble(shape, 10, MEMBERS, member=member, member_settings=settings)
            return fit_seconds(model, data(), epochs, steps)

        def one_by_one() -> float:
            return sum(
                fit_seconds(
                    create_model(member, **settings, input_shape=shape, num_classes=10),
                    data(), epochs, steps,
                )
                for _ in range(MEMBERS)
            )  # fmt: skip

        times = interleaved({"together": together, "one by one": one_by_one}, 3)
        record(
            f"ensemble of {MEMBERS}, {what}: one after another / vectorised",
            f"{times['one by one'] / times['together']:.2f} "
            f"({times['one by one']:.1f} / {times['together']:.1f} s for {epochs * steps} steps)",
            "≥ 3",
            3,
            f"{MODULE} 3",
        )


# -- 4. least squares ------------------------------------------------------------------------------


def least_squares() -> None:
    from sklearn.linear_model import LinearRegression as Scikit

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, COLUMNS, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(COLUMNS, 1, generator=generator, dtype=torch.float64)
    y += torch.randn(ROWS, 1, generator=generator, dtype=torch.float64)
    solutions: dict[str, Tensor] = {}

    def zoo() -> float:
        model = LinearRegression((COLUMNS,), 1).double()
        sampler = DistributedBatchSampler(ROWS, 10_000, shuffle=False)
        loader = TensorLoader((x, y), sampler, on_device=False, num_workers=0)
        trainer = L.Trainer(
            max_epochs=1, logger=False, accelerator="cpu", enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, precision="64-true",
        )  # fmt: skip
        start = time.perf_counter()
        trainer.fit(model, loader)
        seconds = time.perf_counter() - start
        solutions["zoo"] = model.network.weight.detach().clone()
        return seconds

    def scikit() -> float:
        start = time.perf_counter()
        fitted = Scikit().fit(x.numpy(), y.numpy())
        seconds = time.perf_counter() - start
        solutions["scikit"] = torch.from_numpy(fitted.coef_)
        return seconds

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    zoo()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times = interleaved({"zoo": zoo, "scikit": scikit}, 3)
    difference = float((solutions["zoo"] - solutions["scikit"]).abs().max())
    record(
        f"least squares on {ROWS:,} × {COLUMNS} in float64: scikit-learn / zoo",
        f"{times['scikit'] / times['zoo']:.2f} ({times['scikit']:.2f} / {times['zoo']:.2f} s; "
        f"weights differ by {difference:.0e}; the zoo's peak memory grew by {grown:.0f} MB beside "
        f"{x.numel() * 8 / 2**20:.0f} MB of data)",
        "> 1",
        3,
        f"{MODULE} 4",
    )


ROOT = default_root()


def main(chosen: list[str]) -> None:
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    keep_freed_memory()
    parts = {"1": to_99, "2": to_99_5, "3": ensembles, "4": least_squares}
    for number in chosen or parts:
        parts[number]()


if __name__ == "__main__":
    main(sys.argv[1:])

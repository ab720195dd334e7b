"""Speed of the supervised family.

1. Time to 99% test accuracy on MNIST, from reading the files to the test: the recipe ``cnn-mnist``
   with fewer channels, one epoch and no augmentation, against pytorch/examples (two convolutions,
   Adadelta, batches of 64 from a DataLoader that converts image by image). Target: 25 times faster.
2. Time to 99.5% test accuracy on MNIST: the unchanged recipe. Target: 120 seconds.
3. Training of an ensemble of ten members in one vectorized step, against training them one after
   another with the same Trainer and batches. Target: 3 times faster. Average pooling after a
   convolution is merged into it for the vectorized members; with max pooling the large feature
   maps remain, and memory bandwidth limits the speed.
4. Least squares on 1,000,000 × 100 values, against scikit-learn, with the memory it takes. Target:
   faster.

Freed memory is kept between steps for all contestants, as the command line does. Parts 1 to 3 need
MNIST in the folder given by ZOO_DATA.

Hardware: CPU. Run: python -m benchmarks.supervised [PART ...]
"""

from __future__ import annotations

import logging
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import measure_interleaved, record_speed, run_parts, temporary_folder
from datamodules import MNIST, Digits, DistributedBatchSampler, TensorLoader
from datamodules.base import default_root
from zoo import DeepEnsemble, LinearRegression, create_model
from zoo.cli.main import main as command_line

MODULE = "benchmarks.supervised"
MEMBERS = 10
ROWS, COLUMNS = 1_000_000, 100
ROOT = str(Path(default_root()).absolute())


# -- 1. and 2. MNIST -----------------------------------------------------------------------------


def run_recipe(*options: str) -> tuple[float, float]:
    """Return the seconds that the command line takes, and the test accuracy."""
    start = time.perf_counter()
    with temporary_folder() as output:
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


def run_example(target: float, seed: int, max_epochs: int = 6) -> tuple[float, float, int]:
    """Train until the test accuracy, computed after each epoch, reaches a target.

    Returns:
        Seconds, test accuracy and number of epochs.
    """
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
            correct = [(model(x).argmax(1) == y).sum() for x, y in DataLoader(test, 1000)]
        accuracy = float(torch.stack(correct).sum()) / len(test)
        print(f"example, epoch {epoch}: {accuracy:.4f} after {time.perf_counter() - start:.0f} s")
        if accuracy >= target:
            break
    return time.perf_counter() - start, accuracy, epoch


QUICK = ("--trainer.max_epochs=1", "--model.channels=[16,32,64]", "--data.augment=null")


def benchmark_99() -> None:
    run_recipe(*QUICK, "--trainer.limit_train_batches=2")  # warm-up: imports and file cache
    zoo_runs, example_runs = [], []
    for seed in range(3):
        zoo_runs.append(run_recipe(*QUICK, f"--seed={seed}"))
        example_runs.append(run_example(0.99, seed))
    durations, accuracies = zip(*zoo_runs, strict=True)
    zoo_seconds = statistics.median(durations)
    seconds, accuracy, epochs = statistics.median_low(example_runs)
    record_speed(
        f"MNIST to 99%, time: pytorch/examples / cnn recipe with {' '.join(QUICK)}",
        f"{seconds / zoo_seconds:.1f} ({seconds:.0f} s, {accuracy:.2%}, {epochs} epochs / "
        f"{zoo_seconds:.1f} s, {min(accuracies):.2%} to {max(accuracies):.2%})",
        "≥ 25",
        3,
        f"{MODULE} 1",
    )


def benchmark_99_5() -> None:
    runs = [run_recipe(f"--seed={seed}") for seed in range(3)]
    seconds, accuracies = zip(*runs, strict=True)
    low, high = min(accuracies), max(accuracies)
    record_speed(
        "MNIST to 99.5%, time: cnn recipe",
        f"{statistics.median(seconds):.0f} s ({low:.2%} to {high:.2%} over 3 seeds)",
        "≤ 120 s",
        3,
        f"{MODULE} 2",
    )


# -- 3. ensembles ----------------------------------------------------------------------------------


def time_fit(model: Any, data: Any, epochs: int, steps: int) -> float:
    """Return the seconds that ``Trainer.fit`` takes."""
    trainer = L.Trainer(
        max_epochs=epochs, limit_train_batches=steps, limit_val_batches=0, logger=False,
        accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(model, data)
    return time.perf_counter() - start


def benchmark_ensemble(
    name: str, member: str, settings: dict[str, Any], make_data: Callable[[], Any], epochs: int,
    steps: int,
) -> None:  # fmt: skip
    """Compare the two ways of training an ensemble.

    Args:
        name: name of the member and the data, for the results page.
        member: name of the members' model.
        settings: arguments of each member.
        make_data: creates the data module.
        epochs: epochs of training.
        steps: steps per epoch.
    """
    shape = make_data().input_shape

    def train_together() -> float:
        model = DeepEnsemble(shape, 10, MEMBERS, member=member, member_settings=settings)
        return time_fit(model, make_data(), epochs, steps)

    def train_one_by_one() -> float:
        seconds = 0.0
        for _ in range(MEMBERS):
            model = create_model(member, **settings, input_shape=shape, num_classes=10)
            seconds += time_fit(model, make_data(), epochs, steps)
        return seconds

    times = measure_interleaved({"together": train_together, "one by one": train_one_by_one}, 3)
    record_speed(
        f"ensemble of {MEMBERS}, {name}, time: one after another / vectorized",
        f"{times['one by one'] / times['together']:.2f} "
        f"({times['one by one']:.1f} / {times['together']:.1f} s for {epochs * steps} steps)",
        "≥ 3",
        3,
        f"{MODULE} 3",
    )


def benchmark_ensembles() -> None:
    lenet = {"padding": ("same", "valid"), "pool_size": 2}
    max_lenet = {**lenet, "pooling": "max", "activation": "relu"}
    mlp = {"hidden_dims": (64, 64), "dropout": 0.2, "input_dropout": 0.0}

    def mnist() -> MNIST:
        return MNIST(128, root=ROOT)

    benchmark_ensemble("LeNet-5 on MNIST, batch 128", "lenet5", lenet, mnist, 1, 60)
    benchmark_ensemble(
        "LeNet-5 with max pooling and ReLU on MNIST, batch 128", "lenet5", max_lenet, mnist, 1, 60
    )
    benchmark_ensemble("MLP 64-64-64-10 on digits, batch 64", "mlp", mlp, lambda: Digits(64), 5, 20)


# -- 4. least squares ------------------------------------------------------------------------------


def benchmark_least_squares() -> None:
    from sklearn.linear_model import LinearRegression as Scikit

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, COLUMNS, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(COLUMNS, 1, generator=generator, dtype=torch.float64)
    y += torch.randn(ROWS, 1, generator=generator, dtype=torch.float64)
    solutions: dict[str, Tensor] = {}

    def run_zoo() -> float:
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

    def run_scikit() -> float:
        start = time.perf_counter()
        fitted = Scikit().fit(x.numpy(), y.numpy())
        seconds = time.perf_counter() - start
        solutions["scikit"] = torch.from_numpy(fitted.coef_)
        return seconds

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_zoo()
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times = measure_interleaved({"zoo": run_zoo, "scikit": run_scikit}, 3)
    difference = float((solutions["zoo"] - solutions["scikit"]).abs().max())
    record_speed(
        f"least squares on {ROWS:,} × {COLUMNS} in float64, time: scikit-learn / zoo",
        f"{times['scikit'] / times['zoo']:.2f} ({times['scikit']:.2f} / {times['zoo']:.2f} s; "
        f"weights differ by {difference:.0e}; the zoo's peak memory grew by {growth:.0f} MB for "
        f"{x.numel() * 8 / 2**20:.0f} MB of data)",
        "> 1",
        3,
        f"{MODULE} 4",
    )


PARTS = {
    "1": benchmark_99, "2": benchmark_99_5, "3": benchmark_ensembles, "4": benchmark_least_squares,
}  # fmt: skip


def main(parts: list[str]) -> None:
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    run_parts(PARTS, parts)


if __name__ == "__main__":
    main(sys.argv[1:])

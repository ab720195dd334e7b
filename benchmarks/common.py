"""Helpers of the benchmarks: timing, quiet training, and rows of the results page."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from torch import Tensor

from zoo.cli.commands.reproduce import PAGE, hardware, write_row
from zoo.core.speed import keep_freed_memory
from zoo.errors import check_choice

SPEED_HEADER = ("benchmark", "result", "target", "repeats", "command")

# -- timing --------------------------------------------------------------------------------------


class Stopwatch(L.Callback):
    """Callback that measures the steps per second from the start to the end of training.

    Attributes:
        rate: steps per second of the last training in this process.
    """

    rate = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        Stopwatch.rate = trainer.global_step / (time.perf_counter() - self.start)


#: option that adds a stopwatch to a run of the command line, in place of the recipe's callbacks
STOPWATCH = '--trainer.callbacks=[{"class_path":"benchmarks.common.Stopwatch"}]'


def measure_interleaved(
    functions: Mapping[str, Callable[[], float]], repeats: int
) -> dict[str, float]:
    """Return the median of several measurements per function, taken in turn.

    Taking turns exposes all functions to the same changes in the load of the machine.

    Args:
        functions: functions by name; each call measures once and returns the value.
        repeats: measurements per function, after a first one that is discarded.
    """
    for measure in functions.values():
        measure()
    values: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, measure in functions.items():
            gc.collect()  # otherwise one function would pay for the garbage of another
            values[name].append(measure())
    return {name: statistics.median(measured) for name, measured in values.items()}


def run_parts(parts: Mapping[str, Callable[[], None]], names: Sequence[str]) -> None:
    """Run the named parts of a benchmark, or all of them if none is named.

    Args:
        parts: functions by the name of the part.
        names: names given on the command line.

    Raises:
        InputError: an unknown name.
    """
    for name in names:
        check_choice("part", name, parts)
    keep_freed_memory()
    for name in names or parts:
        parts[name]()


# -- training ------------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    """Text stream that claims to be a terminal, so that progress bars are drawn."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def captured_output() -> Iterator[io.StringIO]:
    """Capture standard output and errors; progress bars are drawn as in a terminal, at their cost.

    Yields:
        The standard output.
    """
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(_Terminal()):
        yield output


@contextlib.contextmanager
def temporary_folder() -> Iterator[io.StringIO]:
    """Change to a temporary folder, and capture standard output and errors.

    Yields:
        The standard output.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with captured_output() as output:
                yield output
        finally:
            os.chdir(before)


def fit(
    model: Any, data: Any, max_epochs: int, *callbacks: L.Callback, **trainer_options: Any
) -> L.Trainer:
    """Train a model without output; on the CPU and without validation, unless options say so.

    Args:
        model: LightningModule.
        data: data module, or loader of the training data.
        max_epochs: number of epochs.
        *callbacks: callbacks of the training.
        **trainer_options: further arguments of the Trainer.
    """
    options: dict[str, Any] = {
        "accelerator": "cpu", "limit_val_batches": 0, "num_sanity_val_steps": 0, "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    options |= trainer_options
    with captured_output():
        trainer = L.Trainer(max_epochs=max_epochs, callbacks=list(callbacks), **options)
        trainer.fit(model, data)
    return trainer


class BestWeights(L.Callback):
    """Callback that keeps the weights of the epoch with the highest value of a validation metric.

    Args:
        metric: name of the metric, such as ``val/accuracy``.

    Attributes:
        weights: ``state_dict`` of the best epoch.
    """

    def __init__(self, metric: str) -> None:
        self.metric, self.value = metric, -1.0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = float(trainer.callback_metrics[self.metric])
        if value > self.value:
            self.value = value
            self.weights = {k: v.clone() for k, v in pl_module.state_dict().items()}


# -- results -------------------------------------------------------------------------------------


def mean_and_std(values: Sequence[float], digits: int = 3) -> str:
    """Return ``mean ± standard deviation`` as text, or only the mean for a single value.

    Args:
        values: one value per run.
        digits: decimals, default 3.
    """
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def write_result(
    section: str, header: tuple[str, ...], cells: Sequence[str], runs: str, command: str
) -> None:
    """Print a row and write it into the results page.

    Args:
        section: title of the section of the page.
        header: column titles, those of the runs and the command last.
        cells: cells of the row, without the last two; the first one identifies the row.
        runs: number and kind of runs; hardware and date are added to it.
        command: command that reproduces the row.
    """
    row = [*cells, f"{runs}, {hardware()}, {date.today().isoformat()}", f"`{command}`"]
    print(" | ".join(row), flush=True)
    write_row(Path(PAGE), section, header, row)


def record_speed(benchmark: str, result: str, target: str, repeats: int, module: str) -> None:
    """Print the result of a speed benchmark and write it into the results page.

    Args:
        benchmark: name of the comparison.
        result: ratio of the speeds, with the measured values.
        target: value that the ratio should reach.
        repeats: measurements per contestant.
        module: module to run, with its arguments.
    """
    cells = [benchmark, result, target]
    write_result("Speed", SPEED_HEADER, cells, f"{repeats} interleaved", f"python -m {module}")

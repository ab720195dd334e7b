"""Interleaved repeats, medians, and rows for the results page."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from zoo.cli.commands.reproduce import PAGE, hardware, write_row

HEADER = ("what", "measured", "target", "repeats", "command")


def interleaved(contestants: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Median of each contestant's measurements, taken in turn so that all meet the same machine.

    Args:
        contestants: functions that measure once and return a number, by name.
        repeats: measurements of each; one more, before them, is thrown away.
    """
    for measure in contestants.values():
        measure()
    values: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, measure in contestants.items():
            gc.collect()  # else one pays for clearing up after another
            values[name].append(measure())
    return {name: statistics.median(numbers) for name, numbers in values.items()}


def record(what: str, measured: str, target: str, repeats: int, module: str) -> None:
    """Prints a result and writes its row into the results page."""
    print(f"{what}: {measured} (target {target})")
    where = f"{repeats} interleaved, {hardware()}, {date.today().isoformat()}"
    row = [what, measured, target, where, f"`python -m {module}`"]
    write_row(Path(PAGE), "Speed", HEADER, row)

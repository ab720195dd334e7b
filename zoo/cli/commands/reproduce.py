"""``zoo reproduce``: run recipes and write their metrics next to published values."""

from __future__ import annotations

import csv
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from zoo.cli.arguments import Parser
from zoo.core import registry
from zoo.core.files import check_writable, write_text
from zoo.core.settings import read_settings
from zoo.errors import InputError, check_at_least

PAGE = Path("docs/results.md")
SECTION = "Recipes"
HEADER = ("recipe", "metric", "mean ± std", "reference", "source", "runs", "command")
INTRODUCTION = """\
# Results

`zoo reproduce RECIPE … --seeds N` trains a recipe once per seed and writes a row with its metrics
and the published value; the benchmarks (`python -m benchmarks.NAME`) write the other rows. The last
column is the command that gives the result.\
"""


@dataclass(frozen=True)
class Trial:
    """One training run of a recipe.

    Args:
        metrics: values by name, the metric of the recipe's reference first.
        budget: length of the training, such as ``20 epochs``.
        seconds: duration of the command.
        features: name and fingerprint of the features of the Fréchet distance, if it was measured.
    """

    metrics: dict[str, float]
    budget: str
    seconds: float
    features: str = ""


def reproduce(args: list[str]) -> None:
    """Run recipes once per seed and write one row per recipe to the results page.

    Other options, such as --model.latent_dim 8, are passed on to each run; those that change the
    model, the data or the length of training are named in the row. If the reference of a recipe
    has an entry "evaluate: [options]", zoo evaluate runs with these options after training, and
    its metrics are named evaluation/NAME.
    """
    parser = Parser("reproduce", reproduce.__doc__)
    parser.add_argument(
        "recipes", nargs="+", metavar="RECIPE", help="names of recipes, MODEL or MODEL-DATA"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N",
                        help="runs per recipe, with seeds 0 to N − 1; default 3")  # fmt: skip
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE",
                        help=f"Markdown page of the results, default {PAGE}")  # fmt: skip
    parser.add_argument("--section", default=SECTION, metavar="NAME",
                        help=f"section of the page, default {SECTION}")  # fmt: skip
    options, extra = parser.parse_known_args(args)
    extra = _with_equals_signs(extra)
    check_at_least(1, **{"--seeds": options.seeds})
    for name in options.recipes:
        registry.read_recipe(name)  # a wrong name is an error before the first run
    check_writable(options.page)
    for name in options.recipes:
        trials = [_run(name, seed, extra) for seed in range(options.seeds)]
        write_row(options.page, options.section, HEADER, _row(name, trials, extra))
        print(f"{name}: written to {options.page}")


def _run(name: str, seed: int, extra: list[str]) -> Trial:
    """Run a recipe in a new process and a temporary folder."""
    reference = registry.read_recipe(name)["reference"]
    with tempfile.TemporaryDirectory() as folder:
        root = f"--trainer.default_root_dir={folder}"
        command = [sys.executable, "-m", "zoo", *_options(name), f"--seed={seed}", root, *extra]
        start = time.perf_counter()
        process = subprocess.run(command)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise InputError(
                f"{name}, seed {seed}: the run failed (exit code {process.returncode})"
            )
        table = next(Path(folder).glob("*/*/metrics.csv"), None)
        if table is None:
            raise InputError(f"{name}: the run wrote no metrics.csv, add csv to --logger")
        config = read_settings(table.parent / "config.yaml")
        evaluated: dict[str, float] = {}
        features = ""
        if "evaluate" in reference:
            evaluated, features = _evaluate(table.parent, reference["evaluate"])
        metrics = {
            metric: evaluated[metric] if metric in evaluated else last_value(table, metric)
            for metric in _metric_names(reference)
        }
    epochs, steps = (config["trainer"][key] for key in ("max_epochs", "max_steps"))
    budget = pluralize(steps, "step") if epochs is None else pluralize(epochs, "epoch")
    return Trial(metrics, budget, seconds, features)


def _evaluate(run: Path, options: list[str]) -> tuple[dict[str, float], str]:
    """Run ``zoo evaluate`` on a run's best checkpoint, or on its last one.

    Returns:
        The metrics by name, and the features of the Fréchet distance, such as ``cnn-42184289``.
    """
    command = [sys.executable, "-m", "zoo", "evaluate", str(run), *map(str, options)]
    if subprocess.run(command).returncode:
        raise InputError(f"the evaluation of {run} failed")
    content = json.loads((run / "checkpoints" / "evaluation.json").read_text("utf-8"))
    metrics = content["metrics"]
    meanings = [metric["meaning"] for metric in metrics if metric["name"] == "fid_cnn"]
    features = meanings[0].partition("features of ")[2].partition(";")[0] if meanings else ""
    return {f"evaluation/{metric['name']}": metric["value"] for metric in metrics}, features


def _options(name: str) -> list[str]:
    """Return the command-line options of the recipe ``MODEL`` or ``MODEL-DATA``."""
    model, _, data = name.partition("-")
    return [f"--model={model}", *([f"--data={data}"] if data else [])]


def _metric_names(reference: dict[str, Any]) -> list[str]:
    """Return the metric of a reference, followed by those to report with it."""
    return [reference["metric"], *reference.get("also", [])]


def last_value(path: Path, metric: str) -> float:
    """Return the last value of a metric in a ``metrics.csv``.

    Args:
        path: file written by a run.
        metric: name of the column.

    Raises:
        InputError: the file has no value of the metric.
    """
    with open(path, newline="", encoding="utf-8") as file:
        values = [row[metric] for row in csv.DictReader(file) if row.get(metric)]
    if not values:
        raise InputError(f"{path} has no {metric}")
    return float(values[-1])


def _row(name: str, trials: list[Trial], extra: list[str]) -> list[str]:
    reference = registry.read_recipe(name)["reference"]
    first, *others = _metric_names(reference)
    means = [_mean(trials, first), *(f"{metric} {_mean(trials, metric)}" for metric in others)]
    seconds = statistics.median(trial.seconds for trial in trials)
    label = _label(name, extra)
    published, source = reference.get("value"), f"{reference['source']} ({reference['budget']})"
    if label != name:  # the reference is about the unchanged recipe
        published, source = None, f"see {name}"
    options = " ".join([*_options(name), *extra]).replace("=", " ")
    return [
        label,
        first,
        "; ".join(means),
        "–" if published is None else str(published),
        source,
        f"{pluralize(len(trials), 'seed')} of {trials[0].budget}, {seconds:.0f} s each (start to "
        f"end of the command), {hardware()}, {date.today().isoformat()}{_features(trials)}",
        f"`zoo {options}`",
    ]


def _features(trials: list[Trial]) -> str:
    """Return the features of all trials, which are the same unless a classifier was replaced."""
    names = sorted({trial.features for trial in trials if trial.features})
    return f", features {' and '.join(names)}" if names else ""


def _with_equals_signs(options: list[str]) -> list[str]:
    """Return options such as ``--model.lr 1`` as one argument each, ``--model.lr=1``."""
    joined: list[str] = []
    for argument in options:
        follows_name = joined and "=" not in joined[-1] and not argument.startswith("--")
        if follows_name:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _label(name: str, extra: list[str]) -> str:
    """Return the recipe's name, followed by changes of the model, the data or the budget."""
    changed = [
        option.partition(".")[2].replace("=", " ")
        for option in extra
        if option.startswith(("--model.", "--data.", "--trainer.max_epochs", "--trainer.max_steps"))
    ]
    return f"{name}, {', '.join(changed)}" if changed else name


def _mean(trials: list[Trial], metric: str) -> str:
    """Return the mean and, for several trials, the standard deviation of a metric."""
    values = [trial.metrics[metric] for trial in trials]
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{deviation}"


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 epoch`` or ``1,000 steps``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def hardware() -> str:
    """Return the name of the GPU, or of the processor with its number of threads."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {pluralize(torch.get_num_threads(), 'thread')}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"model name\s*: (.+)", cpuinfo.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def write_row(page: Path, section: str, header: tuple[str, ...], row: list[str]) -> None:
    """Write a row into the table of a section, in place of a row with the same first cell.

    Args:
        page: Markdown file, created if it does not exist.
        section: title of a second-level heading, added at the end if it does not exist.
        header: column titles of the table, for a new section.
        row: cells of the row.

    Raises:
        InputError: the section has no table.
    """
    lines = page.read_text("utf-8").splitlines() if page.is_file() else []
    lines = lines or INTRODUCTION.splitlines()
    heading = f"## {section}"
    if heading not in lines:
        lines += ["", heading, "", _line(header), _line(["---"] * len(header))]
    start = lines.index(heading)
    following = (i for i in range(start + 1, len(lines)) if lines[i].startswith("## "))
    rules = (i for i in range(start, next(following, len(lines))) if lines[i].startswith("| ---"))
    rule = next(rules, None)
    if rule is None:
        raise InputError(f"{page}: section {section!r} has no table")
    end = next((i for i in range(rule, len(lines)) if not lines[i].startswith("|")), len(lines))
    first_cell = _line(row[:1])
    same = [i for i in range(rule + 1, end) if lines[i].startswith(first_cell)]
    if same:
        lines[same[0]] = _line(row)
    else:
        lines.insert(end, _line(row))
    write_text(page, "\n".join(lines).rstrip() + "\n")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

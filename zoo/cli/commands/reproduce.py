"""``python -m zoo reproduce``: runs recipes and writes their figures beside the published ones."""

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
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from zoo.cli.arguments import Parser
from zoo.core import registry
from zoo.errors import InputError

PAGE = Path("docs/results.md")
SECTION = "Recipes"
HEADER = ("recipe", "metric", "mean ± std", "reference", "its source", "runs", "command")
INTRODUCTION = """\
# Results

Every row is written by the command it names: `python -m zoo reproduce RECIPE … --seeds N` trains a
recipe once per seed and puts its test figure beside the reference; the benchmarks write theirs.\
"""


@dataclass(frozen=True)
class Trial:
    """One run: the figures it reached, the recipe's metric first, and what it took."""

    figures: dict[str, float]
    length: str
    seconds: float


def reproduce(args: list[str]) -> None:
    """Runs recipes once per seed and writes one row for each into the results page.

    Arguments: recipes by name, ``--seeds N`` (default 3: seeds 0, 1, 2), ``--page FILE`` (default
    ``docs/results.md``), ``--section NAME`` (default Recipes); everything else goes to each run,
    and what it changes of the model or the data is named in the row. Where a reference says
    ``evaluate: [options]``, ``python -m zoo evaluate`` judges each run with them, and its figures
    are named ``evaluation/…``.
    """
    parser = Parser("reproduce", reproduce.__doc__)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--section", default=SECTION)
    options, extra = parser.parse_known_args(args)
    if options.seeds < 1:
        raise InputError(f"reproduce: --seeds must be at least 1, got {options.seeds}")
    for name in options.recipes:
        registry.read_recipe(name)  # all names are right before the first run
    for name in options.recipes:
        trials = [_run(name, seed, extra) for seed in range(options.seeds)]
        write_row(options.page, options.section, HEADER, _row(name, trials, extra))
        print(f"{name}: written to {options.page}")


def _run(name: str, seed: int, extra: list[str]) -> Trial:
    """Runs a recipe in a process and a folder of its own."""
    reference = registry.read_recipe(name)["reference"]
    wanted = [reference["metric"], *reference.get("also", [])]
    with tempfile.TemporaryDirectory() as folder:
        root = f"--trainer.default_root_dir={folder}"
        command = [sys.executable, "-m", "zoo", *_options(name), f"--seed={seed}", root, *extra]
        start = time.perf_counter()
        done = subprocess.run(command)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise InputError(f"{name}, seed {seed}: the run failed (exit code {done.returncode})")
        (metrics,) = Path(folder).glob("*/*/metrics.csv")
        config = yaml.safe_load((metrics.parent / "config.yaml").read_text("utf-8"))
        judged = _judge(metrics.parent, reference["evaluate"]) if "evaluate" in reference else {}
        figures = {
            metric: judged[metric] if metric in judged else last_value(metrics, metric)
            for metric in wanted
        }
        epochs, steps = (config["trainer"][key] for key in ("max_epochs", "max_steps"))
        length = f"{epochs} epochs" if epochs is not None else f"{steps:,} steps"
        return Trial(figures, length, seconds)


def _judge(run: Path, options: list[str]) -> dict[str, float]:
    """What ``python -m zoo evaluate`` finds for a run's best checkpoint, else its last."""
    folder = run / "checkpoints"
    best = folder / "best.ckpt"
    checkpoint = best if best.is_file() else folder / "last.ckpt"
    command = [sys.executable, "-m", "zoo", "evaluate", str(checkpoint), *map(str, options)]
    if subprocess.run(command).returncode:
        raise InputError(f"the evaluation of {checkpoint} failed")
    content = json.loads((folder / "evaluation.json").read_text("utf-8"))
    return {f"evaluation/{figure['name']}": figure["value"] for figure in content["figures"]}


def _options(name: str) -> list[str]:
    """Recipe ``MODEL-DATA`` as command-line options."""
    model, _, data = name.partition("-")
    return [f"--model={model}", *([f"--data={data}"] if data else [])]


def last_value(path: Path, metric: str) -> float:
    """The last number in a column of a run's ``metrics.csv``.

    Raises:
        InputError: there is none.
    """
    with open(path, newline="", encoding="utf-8") as file:
        values = [row[metric] for row in csv.DictReader(file) if row.get(metric)]
    if not values:
        raise InputError(f"{path} has no {metric}")
    return float(values[-1])


def _row(name: str, trials: list[Trial], extra: list[str]) -> list[str]:
    reference = registry.read_recipe(name)["reference"]
    first, *others = (_mean(trials, metric) for metric in trials[0].figures)
    also = zip(reference.get("also", []), others, strict=True)
    seconds = statistics.median(trial.seconds for trial in trials)
    label = _label(name, extra)
    published, source = reference.get("value"), f"{reference['source']} ({reference['budget']})"
    if label != name:  # it speaks of the recipe as it is
        published, source = None, f"see {name}"
    options = " ".join([*_options(name), *extra]).replace("=", " ")
    return [
        label,
        reference["metric"],
        "; ".join([first, *(f"{metric} {mean}" for metric, mean in also)]),
        "–" if published is None else str(published),
        source,
        f"{len(trials)} seeds of {trials[0].length}, {seconds:.0f} s each (start to end of "
        f"the command), {hardware()}, {date.today().isoformat()}",
        f"`python train.py {options}`",
    ]


def _label(name: str, extra: list[str]) -> str:
    """The recipe, and what was changed of its model, its data or its length."""
    changed = [
        option.partition(".")[2].replace("=", " ")
        for option in extra
        if option.startswith(("--model.", "--data.", "--trainer.max_epochs", "--trainer.max_steps"))
    ]
    return f"{name}, {', '.join(changed)}" if changed else name


def _mean(trials: list[Trial], metric: str) -> str:
    """Mean ± standard deviation over the runs."""
    values = [trial.figures[metric] for trial in trials]
    spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}"


def hardware() -> str:
    """The device that training takes here: GPU, else processor and its threads."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"model name\s*: (.+)", cpuinfo.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def write_row(page: Path, section: str, header: tuple[str, ...], row: list[str]) -> None:
    """Puts a row into the table of a section; one with the same first cell is replaced.

    Args:
        page: a Markdown file; made when it is not there.
        section: text of the ``## `` heading.
        header: of the table, for a new section.
        row: cells.
    """
    lines = page.read_text("utf-8").splitlines() if page.is_file() else []
    lines = lines or INTRODUCTION.splitlines()
    heading = f"## {section}"
    if heading not in lines:
        lines += ["", heading, "", _line(header), _line(["---"] * len(header))]
    start = lines.index(heading)
    tables = (i for i in range(start, len(lines)) if lines[i].startswith("| ---"))
    first = next(tables, None)
    if first is None:
        raise InputError(f"{page}: section {section!r} has no table")
    end = next((i for i in range(first, len(lines)) if not lines[i].startswith("|")), len(lines))
    same = [i for i in range(first + 1, end) if lines[i].startswith(f"| {row[0]} |")]
    if same:
        lines[same[0]] = _line(row)
    else:
        lines.insert(end, _line(row))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

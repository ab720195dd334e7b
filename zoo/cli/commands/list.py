"""``zoo list``: the models, their data sets and reference values."""

from __future__ import annotations

import shutil
import textwrap

from zoo.cli.arguments import Parser
from zoo.core import registry

GAP = 2  # spaces between columns
MIN_WIDTH = 24  # smallest width of the last column


def list_(args: list[str]) -> None:
    """Print a table of all recipes: their model, data set and reference value."""
    Parser("list", list_.__doc__).parse_args(args)
    rows = [("MODEL", "DATA", "REFERENCE", "SOURCE")]
    for name in registry.list_recipes():
        recipe = registry.read_recipe(name)
        model = name.split("-")[0]
        data = registry.data_name(recipe["data"]["class_path"])
        rows.append((model, data, *_reference(recipe.get("reference", {}))))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    indent = sum(widths) + 3 * GAP
    source_width = max(MIN_WIDTH, shutil.get_terminal_size().columns - indent)
    for row in rows:
        first, *more = textwrap.wrap(row[3], source_width) or [""]
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        print((" " * GAP).join([*cells, first]))
        for line in more:
            print(" " * indent + line)
    print("\nRun one: zoo --model MODEL [--data DATA]")


def _reference(reference: dict[str, object]) -> tuple[str, str]:
    """Return the columns REFERENCE and SOURCE."""
    if reference.get("value") is None:
        return "–", str(reference.get("source", ""))
    metric = f"{reference['metric']} {reference['value']}"
    return metric, f"{reference['source']} ({reference['budget']})"

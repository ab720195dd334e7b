"""``python -m zoo list``: the models, their data and the figures they should reach."""

from __future__ import annotations

import shutil
import textwrap

from zoo.core import registry
from zoo.errors import InputError


def list_(args: list[str]) -> None:
    """Prints one line for every recipe; takes no arguments."""
    if args:
        raise InputError(f"'list' takes no arguments, got {' '.join(args)}")
    rows = [("MODEL", "DATA", "REFERENCE", "SOURCE")]
    for name in registry.list_recipes():
        recipe = registry.read_recipe(name)
        model = name.split("-")[0]
        rows.append((model, _data_name(recipe), *_reference(recipe.get("reference", {}))))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    room = max(24, shutil.get_terminal_size().columns - sum(widths) - 6)
    for row in rows:
        first, *more = textwrap.wrap(row[3], room) or [""]
        print("  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), first]))
        for line in more:
            print(" " * (sum(widths) + 6) + line)
    print("\nRun one: python -m zoo --model MODEL [--data DATA]")


def _data_name(recipe: dict[str, dict[str, str]]) -> str:
    path = recipe["data"]["class_path"]
    return next((name for name, known in registry.DATA.items() if known == path), path)


def _reference(reference: dict[str, object]) -> tuple[str, str]:
    if reference.get("value") is None:
        return "–", str(reference.get("source", ""))
    figure = f"{reference['metric']} {reference['value']}"
    return figure, f"{reference['source']} ({reference['budget']})"

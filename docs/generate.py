"""Generate files from recipes, exports and docstrings.

* ``zoo/core/create.pyi``: the class of each model, for type checkers;
* ``docs/models.md``, ``data.md``, ``callbacks.md`` and ``attacks.md``: the catalog.

Usage: python docs/generate.py [--check]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from zoo.core import registry  # noqa: E402

FAMILIES = {
    "supervised": "Supervised",
    "latent": "Latent variables",
    "sequences": "Sequences",
    "geometric": "Graphs, point clouds, voxels, meshes",
}


@dataclass(frozen=True)
class Export:
    """A public name of a package, read from its stub."""

    name: str
    module: str

    @property
    def path(self) -> Path:
        """File that defines the name."""
        path = ROOT / Path(*self.module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    @property
    def summary(self) -> str:
        """First paragraph of the docstring, in Markdown."""
        for node in ast.parse(self.path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == self.name:
                paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
                return _plain(" ".join(paragraph.split()))
        raise SystemExit(f"{self.module} has no {self.name}")

    @property
    def is_class(self) -> bool:
        return self.name[0].isupper()

    def link(self, shown: str) -> str:
        return f"[`{shown}`](../{self.path.relative_to(ROOT).as_posix()})"


@cache
def exports(package: str) -> dict[str, Export]:
    """Return the public names that a package's stub, or else its ``__init__.py``, exports."""
    stub = ROOT / package / "__init__.pyi"
    file = stub if stub.is_file() else stub.with_suffix(".py")
    root = package.replace("/", ".")
    found = {}
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            module = f"{root}.{node.module}" if node.level else node.module
            found |= {alias.name: Export(alias.name, module) for alias in node.names}
    return {name: export for name, export in found.items() if not name.startswith("_")}


def model_class(name: str) -> Export:
    """Return the class that a recipe names.

    If the class is not exported, exit with a message that says what to do.
    """
    path = registry.read_recipe(name)["model"]["class_path"]
    package, _, cls = path.rpartition(".")
    if package != "zoo" or cls not in exports("zoo"):
        raise SystemExit(
            f"zoo/recipes/{name}.yaml names {path}: export the class in zoo/__init__.pyi and write "
            f"class_path: zoo.{cls}"
        )
    return exports("zoo")[cls]


# -- zoo/core/create.pyi --------------------------------------------------------------------------

HEADER = '''"""Written by docs/generate.py: the class of each model, for type checkers."""

from typing import Any, Literal, overload

'''
LAST_OVERLOAD = """
@overload
def create_model(name: str, data: str | None = None, **overrides: Any) -> Task: ...
def data_property(data_module: Any, name: str, model_class: type) -> Any: ...
"""


def create_stub() -> str:
    """Return the overloads of ``create_model``."""
    models: dict[Export, list[str]] = {}
    for name in registry.list_models():
        models.setdefault(model_class(name), []).append(name)
    needed = sorted([*models, exports("zoo")["Task"]], key=lambda e: (e.module, e.name))
    text = HEADER + "".join(f"from {e.module} import {e.name}\n" for e in needed)
    for export, names in sorted(models.items(), key=lambda item: item[0].name):
        literal = ", ".join(f'"{name}"' for name in names)
        text += (
            "\n@overload\n"
            "def create_model(\n"
            f"    name: Literal[{literal}], data: str | None = None, **overrides: Any\n"
            f") -> {export.name}: ...\n"
        )
    return text + LAST_OVERLOAD


# -- pages ----------------------------------------------------------------------------------------


def models_page() -> str:
    """Return ``docs/models.md``: a table for each family, a row for each model."""
    rows: dict[str, list[list[str]]] = {family: [] for family in FAMILIES}
    for name in registry.list_models():
        export = model_class(name)
        family = export.module.split(".")[2]
        tested = [r for r in registry.list_recipes() if r.split("-")[0] == name]
        paths = [registry.read_recipe(r)["data"]["class_path"] for r in tested]
        data = ", ".join(f"`{registry.data_name(path)}`" for path in paths)
        rows[family].append([f"`{name}`", export.link(export.name), headline(name), data])
    page = (
        "# Models\n\n"
        "Each name is a recipe, `zoo/recipes/NAME.yaml`: `zoo --model NAME` runs it on the first "
        "data set of its row, `--data DATA` on another. Reference values are in the recipes; "
        "[results.md](results.md) has them next to measured ones.\n"
    )
    for family, title in FAMILIES.items():
        header = ("name", "class", "description", "tested on")
        page += f"\n## {title}\n\n" + table(header, rows[family])
    return page


def headline(recipe: str) -> str:
    """Return the first sentence of the comment at the top of a recipe."""
    lines = (registry.RECIPES / f"{recipe}.yaml").read_text("utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(comment).split(". ")[0].removesuffix(".")


def data_page() -> str:
    """Return ``docs/data.md``: a row for each data set."""
    rows = []
    for name, path in registry.DATA.items():
        export = exports("datamodules")[path.rpartition(".")[2]]
        rows.append([f"`{name}`", export.link(path), export.summary])
    return (
        "# Data\n\n"
        "`zoo --model MODEL --data NAME`; arguments of the class are options, such as "
        "`--data.batch_size 64`. In Python, each class is a LightningDataModule.\n\n"
        + table(("name", "class", "description"), rows)
    )


def callbacks_page() -> str:
    """Return ``docs/callbacks.md``: a row for each callback."""
    rows = [
        [e.link(f"callbacks.{name}"), e.summary]
        for name, e in sorted(exports("callbacks").items())
        if e.is_class and not name.endswith(("Callback", "Interrupted"))
    ]
    return (
        "# Callbacks\n\n"
        "`zoo --model MODEL --trainer.callbacks+=callbacks.NAME`; arguments follow as "
        "`--trainer.callbacks.ARGUMENT VALUE`. In Python, pass them to any Trainer.\n\n"
        + table(("class", "description"), rows)
    )


def attacks_page() -> str:
    """Return ``docs/attacks.md``: a row for each attack and defense."""
    found = {n: e for n, e in exports("zoo/attacks").items() if n != "Attack"}
    rows = [[e.link(f"zoo.attacks.{name}"), e.summary] for name, e in sorted(found.items())]
    return (
        "# Attacks\n\n"
        "An attack is a callable, `PGD(eps=0.3)(model, x, y)`, that leaves the model untouched. "
        "The model is a classifier of the zoo or any function that returns logits. "
        "`zoo attack CKPT` runs attacks on a checkpoint ([commands.md](commands.md)).\n\n"
        + table(("name", "description"), rows)
    )


def table(header: tuple[str, ...], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return a docstring's text in Markdown: roles become code."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


FILES: dict[str, Callable[[], str]] = {
    "zoo/core/create.pyi": create_stub,
    "docs/models.md": models_page,
    "docs/data.md": data_page,
    "docs/callbacks.md": callbacks_page,
    "docs/attacks.md": attacks_page,
}


def stale_files() -> dict[str, str]:
    """Return the names of the files that are out of date, with their new contents."""
    made = {name: make() for name, make in FILES.items()}
    return {
        name: text
        for name, text in made.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text("utf-8") != text
    }


def main() -> None:
    """Write the files; with ``--check``, only name those that are out of date and exit with 1."""
    stale = stale_files()
    if "--check" in sys.argv[1:] and stale:
        sys.exit(f"out of date: {', '.join(stale)}: run python docs/generate.py")
    for name, text in stale.items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"written {name}")


if __name__ == "__main__":
    main()

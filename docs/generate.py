"""Writes what is derived from the recipes: the overloads of ``zoo.create_model``.

Usage: python docs/generate.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from zoo.core import registry  # noqa: E402

HEADER = '''"""Written by docs/generate.py: the class of each model, for type checkers."""

from typing import Any, Literal, overload

'''
PLAIN = """
@overload
def create_model(name: str, data: str | None = None, **overrides: Any) -> Task: ...
def data_property(data_module: Any, name: str, model_class: type) -> Any: ...
"""


def overloads() -> str:
    """Return ``zoo/core/create.pyi``."""
    models: dict[str, list[str]] = {}
    for name in registry.list_models():
        path = registry.read_recipe(name)["model"]["class_path"]
        models.setdefault(path.rpartition(".")[2], []).append(name)
    modules: dict[str, list[str]] = {}
    for module, name in _exports():
        if name in {*models, "Task"}:
            modules.setdefault(module, []).append(name)
    text = HEADER
    for module, found in sorted(modules.items()):
        text += f"from {module} import {', '.join(_sorted(found))}\n"
    for cls, names in sorted(models.items()):
        literal = ", ".join(f'"{name}"' for name in names)
        text += (
            "\n@overload\n"
            "def create_model(\n"
            f"    name: Literal[{literal}], data: str | None = None, **overrides: Any\n"
            f") -> {cls}: ...\n"
        )
    return text + PLAIN


def _exports() -> list[tuple[str, str]]:
    """Return module and name of everything that ``zoo`` exports."""
    lines = (ROOT / "zoo" / "__init__.pyi").read_text("utf-8").splitlines()
    words = [line.split() for line in lines if line.startswith("from ")]
    return [(f"zoo{word[1]}", word[3]) for word in words]


def _sorted(names: list[str]) -> list[str]:
    """Sort as linters do: names in capitals first."""
    return sorted(names, key=lambda name: (not name.isupper(), name))


FILES = {ROOT / "zoo" / "core" / "create.pyi": overloads}


def main() -> None:
    """Write all files, or with ``--check`` exit with 1 and name those that are out of date."""
    stale = [
        path
        for path, make in FILES.items()
        if not path.is_file() or path.read_text("utf-8") != make()
    ]
    if "--check" in sys.argv[1:]:
        sys.exit(
            f"out of date: {', '.join(p.name for p in stale)}; run python docs/generate.py"
            if stale
            else 0
        )
    for path in stale:
        path.write_text(FILES[path](), encoding="utf-8")
        print(f"written {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""Models, data sets and callbacks are exported, documented and have recipes."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from lightning.pytorch import LightningDataModule

import callbacks
import datamodules
import zoo
from tests.conftest import ROOT
from zoo.core import registry
from zoo.core.task import Task


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


def class_bases(folder: Path) -> dict[str, list[str]]:
    """Return the public classes that the files of a folder define, with their bases."""
    return {
        node.name: [ast.unparse(base) for base in node.bases]
        for path in sorted(folder.rglob("*.py"))
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def test_every_recipe_names_an_exported_class() -> None:
    for name in registry.list_recipes():
        path = registry.read_recipe(name)["model"]["class_path"]
        package, _, cls = path.rpartition(".")
        assert package == "zoo", f"zoo/recipes/{name}.yaml: class_path must be zoo.{cls}"
        assert cls in zoo.__all__, f"zoo/__init__.pyi does not export {cls} of {name}.yaml"


def test_every_exported_model_has_a_recipe() -> None:
    classes = {registry.read_recipe(r)["model"]["class_path"] for r in registry.list_recipes()}
    bases = {"Task", "Classifier", "Regressor", "LatentModel"}
    for name in zoo.__all__:
        cls = getattr(zoo, name)
        if isinstance(cls, type) and issubclass(cls, Task) and name not in bases:
            assert f"zoo.{name}" in classes, f"no recipe in zoo/recipes runs zoo.{name}"


def test_every_model_is_exported() -> None:
    found = class_bases(ROOT / "zoo" / "models")
    parents = {base for bases in found.values() for base in bases}
    for name, bases in found.items():
        is_model = bool(bases) and (bases[0] in zoo.__all__ or bases[0].endswith("Task"))
        if is_model and name not in parents:
            assert name in zoo.__all__, f"zoo/__init__.pyi does not export {name}"


def test_the_readme_counts_the_models() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f" {len(zoo.list_models())} models" in readme, "README.md: wrong number of models"


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_is_in_the_readme(name: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"`{name}`" in readme, f"README.md has no {name!r}: add it to the table of models"


def test_generated_files_are_up_to_date() -> None:
    stale = load_generator().stale_files()
    assert not stale, f"out of date: {', '.join(stale)}: run python docs/generate.py"


def test_data_modules_are_exported_and_have_names_on_the_command_line() -> None:
    named = {path.rpartition(".")[2] for path in registry.DATA.values()}
    for name in named:
        assert name in datamodules.__all__, f"datamodules/__init__.pyi does not export {name}"
    for name in datamodules.__all__:
        cls = getattr(datamodules, name)
        if isinstance(cls, type) and issubclass(cls, LightningDataModule):
            is_base = name.endswith("DataModule")
            assert is_base or name in named, f"zoo.core.registry.DATA has no {name}"


def test_every_callback_is_exported() -> None:
    found = class_bases(ROOT / "callbacks")
    parents = {base for bases in found.values() for base in bases}
    for name, bases in found.items():
        if name not in parents and any(base.endswith(("Callback", "Figure")) for base in bases):
            assert name in callbacks.__all__, f"callbacks/__init__.pyi does not export {name}"


def test_versions_agree() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## {zoo.__version__}" in changelog, "CHANGELOG.md has no section for this version"

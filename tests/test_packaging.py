"""Imports, exports, dependencies and file lengths."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_compromised_uploads_of_lightning_are_excluded() -> None:
    (requirement,) = re.findall(r'"lightning(>=[^"]+)"', PROJECT)
    assert {"!=2.6.2", "!=2.6.3"} <= set(requirement.split(","))


def test_importing_the_zoo_is_lazy() -> None:
    code = "import sys, zoo; print([m for m in ('torch', 'lightning', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_dense_model_imports_only_what_it_uses() -> None:
    """Packages for graphs, tracking, tables and figures are imported where they are used."""
    heavy = ("torch_geometric", "wandb", "sklearn", "matplotlib")
    code = (
        "import sys; import lightning.pytorch; lightning = set(sys.modules);"
        "from zoo import MLPClassifier; import datamodules, callbacks;"
        f"print([m for m in {heavy} if m in set(sys.modules) - lightning])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout


def test_every_public_name_can_be_imported() -> None:
    import zoo

    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    assert set(zoo.__all__) <= set(dir(zoo))


def test_files_are_short() -> None:
    for folder in ("zoo", "datamodules", "callbacks", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text("utf-8").splitlines()) <= 400, path

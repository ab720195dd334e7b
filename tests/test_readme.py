"""Every command and code example in README.md, CONTRIBUTING.md and docs/commands.md runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_recipes import without_downloads  # noqa: F401
from zoo.cli.main import COMMANDS as ZOO_COMMANDS
from zoo.cli.main import main

PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/commands.md")}
BLOCKS = [
    block
    for text in PAGES.values()
    for block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
]
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.strip()
    for language, code in BLOCKS
    if language == "bash"
    for line in code.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
OURS = [c for c in dict.fromkeys(COMMANDS) if c.startswith("zoo ")]
SHORT = [
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.accelerator=cpu",
]
#: options that shorten slow commands, by a word in the command
SMALL = {
    "mesh_autoencoder": ["--data.num_samples=40", "--data.val_size=4", "--trainer.callbacks=[]"],
    "diffusion_net": ["--data.num_samples=48", "--data.eigenpairs=16"],
    "dgcnn": ["--data.num_samples=60"],
    "voxnet": ["--data.num_samples=60"],
}
#: model whose checkpoint a command takes, by a word in the command; default a VAE
CHECKPOINT_OF = {
    "generate": "language_model",
    "forecast": "dlinear",
    "translate": "translator",
    "attack": "cnn",
    "prbcd": "gcn",
    "drop": "pointnet",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], Path]:
    """Return a function that copies a run of a model, which is trained once for all commands."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(model: str, here: Path) -> Path:
        if not (folder / model).exists():
            main([f"--model={model}", *SHORT])
            shutil.copytree(here / "runs" / model, folder / model)
        else:
            shutil.copytree(folder / model, here / "runs" / model)
        (path,) = here.glob(f"runs/{model}/*/checkpoints/last.ckpt")
        return path

    return make


@pytest.mark.parametrize("command", OURS)
def test_command(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Callable[[str, Path], Path],
    without_downloads: None,  # noqa: F811
) -> None:
    (tmp_path / "mymodels.py").write_text(PYTHON[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mymodels", raising=False)
    args = shlex.split(command)[1:]
    if args[0] == "study":
        main(args)
        written = list(tmp_path.glob("runs/studies/*/*"))
        assert {p.suffix for p in written} == ({".png", ".svg", ".json"} if args[1:] else set())
    elif "CKPT" in args:
        run_on_checkpoint(args, tmp_path, checkpoint)
    elif args[0] in ZOO_COMMANDS:
        main(args)
    else:
        small = [option for word, options in SMALL.items() if word in args for option in options]
        if "--data" in args and "sbm" not in args:
            small.append("--data.val_size=20")
        main([*args, *small, *SHORT])
        assert list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt"))


def run_on_checkpoint(
    args: list[str], folder: Path, checkpoint: Callable[[str, Path], Path]
) -> None:
    """Run a command that takes a checkpoint, and check what it writes."""
    model = "vae"
    for word in args:
        model = CHECKPOINT_OF.get(word, model)
    path = checkpoint(model, folder)
    (folder / "sentences.txt").write_text("the third of may\njune the first\n")
    few = ["--test_samples=60"] if args[0] == "attack" and model != "gcn" else []
    main([*(str(path) if arg == "CKPT" else arg for arg in args), *few])
    run = path.parent.parent
    if args[0] == "attack":
        assert (run / "figures/robustness.png").stat().st_size > 1_000
    if args[0] == "forecast":
        assert (run / "figures/forecast.png").stat().st_size > 1_000
    if "translations.csv" in args:
        assert len((folder / "translations.csv").read_text().splitlines()) == 3
    if model != "vae":
        return
    written = "checkpoints/evaluation.json" if args[0] == "evaluate" else f"figures/{args[0]}.png"
    assert (run / written).stat().st_size > 1_000


def test_every_command_is_tested() -> None:
    """``.ci/run`` runs pip and pytest, a test below runs torchrun; srun needs a cluster."""
    others = {c.split()[0] for c in COMMANDS if c not in OURS}
    assert others == {"pip", "torchrun", "srun"}
    assert COMMANDS[0] == "pip install -e . && python train.py --model vae"
    assert COMMANDS[1] == 'pip install -e ".[test]" && pytest -n auto'


def test_train_py_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--help"], capture_output=True, text=True
    )
    assert done.stdout.startswith("usage: zoo --model NAME")


def test_python_code(tmp_path: Path) -> None:
    (tmp_path / "mymodels.py").write_text(PYTHON[0])
    (tmp_path / "script.py").write_text(PYTHON[1].replace("max_epochs=5", "max_epochs=1"))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rows.ckpt").is_file()
    assert len(PYTHON) == 2


def test_example_in_contributing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    model, recipe, *_ = re.findall(r"^ +```\w+\n(.*?)^ +```", text, re.MULTILINE | re.DOTALL)
    recipe = recipe.replace("zoo.Perceptron", "perceptron.Perceptron")
    (tmp_path / "perceptron.py").write_text(textwrap.dedent(model))
    (tmp_path / "perceptron.yaml").write_text(textwrap.dedent(recipe))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    main(["--config=perceptron.yaml", *SHORT])
    assert list(tmp_path.glob("runs/*/*/figures/confusion_matrix.png"))


def test_torchrun(tmp_path: Path) -> None:
    command = next(c for c in COMMANDS if c.startswith("torchrun"))
    options = shlex.split(command.split("train.py ")[1])
    changed = {"--trainer.num_nodes": "1", "--trainer.devices": "2", "--data": "digits"}
    options = [changed.get(before, o) for before, o in zip(["", *options], options, strict=False)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launcher, str(ROOT / "train.py"), *options, *SHORT],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test/neg_elbo") == 1
    (folder,) = (tmp_path / "runs" / "vae").iterdir()
    assert (folder / "checkpoints/best.ckpt").is_file()


def test_links_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 200

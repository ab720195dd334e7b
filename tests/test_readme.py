"""Every command and every piece of code in the README runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_recipes import without_downloads  # noqa: F401
from zoo.cli.main import main

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.strip()
    for language, code in BLOCKS
    if language == "bash"
    for line in code.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
SHORT = [
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.accelerator=cpu",
]


def runs_here(command: str) -> bool:
    return re.match(r"python (train\.py|-m zoo) ", command) is not None


@pytest.mark.parametrize("command", [c for c in COMMANDS if runs_here(c)])
def test_command(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_downloads: None,  # noqa: F811
) -> None:
    (tmp_path / "mymodels.py").write_text(PYTHON[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mymodels", raising=False)
    args = shlex.split(command)[2 if "train.py" in command else 3 :]
    if args[0] == "study":
        main(args)
        written = list(tmp_path.glob("runs/studies/*/*"))
        assert {p.suffix for p in written} == ({".png", ".svg", ".json"} if args[1:] else set())
        return
    if "CKPT" in args:
        judge(args, tmp_path)
        return
    data = ["--data.val_size=20"] if "--data" in args and "sbm" not in args else []
    if "mesh_autoencoder" in args:  # whose pictures take a minute
        data = ["--data.num_samples=40", "--data.val_size=4", "--trainer.callbacks=[]"]
    main(args if args == ["list"] else [*args, *data, *SHORT])
    assert args == ["list"] or list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt"))


def judge(args: list[str], folder: Path) -> None:
    """A command that takes a checkpoint, on one of a short run."""
    models = {
        "generate": "language_model", "translate": "translator", "attack": "cnn", "prbcd": "gcn",
        "drop": "pointnet",
    }  # fmt: skip
    model = "vae"
    for word in args:
        model = models.get(word, model)
    main([f"--model={model}", *SHORT])
    (checkpoint,) = folder.glob(f"runs/{model}/*/checkpoints/last.ckpt")
    main([str(checkpoint) if arg == "CKPT" else arg for arg in args])
    run = checkpoint.parent.parent
    if args[0] == "attack":
        assert (run / "figures/robustness.png").stat().st_size > 1_000
    if model != "vae":
        return
    written = "checkpoints/evaluation.json" if args[0] == "evaluate" else f"figures/{args[0]}.png"
    assert (run / written).stat().st_size > 1_000


def test_no_command_is_left_untested() -> None:
    """What this file does not run is run elsewhere: installation by .ci/run, torchrun below."""
    others = [c for c in COMMANDS if not runs_here(c)]
    assert [c.split()[0] for c in others] == ["pip", "pip", "torchrun", "srun"]


def test_python_code(tmp_path: Path) -> None:
    (tmp_path / "mymodels.py").write_text(PYTHON[0])
    (tmp_path / "script.py").write_text(PYTHON[1].replace("max_epochs=5", "max_epochs=1"))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rows.ckpt").is_file()
    assert len(PYTHON) == 2


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


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target

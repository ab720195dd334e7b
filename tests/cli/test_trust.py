"""A run folder or a checkpoint from a stranger runs no code and writes nothing elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from zoo.cli.main import main
from zoo.core.settings import read_settings
from zoo.errors import InputError

Run = Callable[..., Path]
Fails = Callable[..., str]

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3")
EVIL = "import pathlib\npathlib.Path('owned').touch()\n\n\nclass Data:\n    pass\n"


@pytest.fixture
def stranger(run: Run) -> Path:
    """A run folder whose ``config.yaml`` the tests change, and a Python file of the stranger's."""
    folder = run("fit", "--model=vae", "--trainer.callbacks=null", *SHORT)
    Path("evil.py").write_text(EVIL)
    return folder


def set_value(folder: Path, key: str, value: Any) -> Path:
    """Change a setting in the run's configuration and return the path of its checkpoint."""
    config = read_settings(folder / "config.yaml")
    *parents, last = key.split(".")
    section = config
    for parent in parents:
        section = section[parent]
    section[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "checkpoints" / "last.ckpt"


COMMANDS = {
    "test": ("test", "--ckpt_path={}"),
    "fit": ("fit", "--ckpt_path={}"),
    "predict": ("predict", "--ckpt_path={}"),
    "evaluate": ("evaluate", "{}"),
    "interpolate": ("interpolate", "{}"),
    "traverse": ("traverse", "{}"),
    "compare": ("compare", "{}"),
}

ATTACKS = [
    ("data", {"class_path": "os.system", "init_args": {"command": "touch owned"}}),
    ("data", {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "owned"]}}),
    ("data", {"class_path": "evil.Data"}),
    ("data", {"class_path": "zoo.core.registry.importlib.import_module"}),
    ("data", {"class_path": "zoo.core.checkpoints.Path", "init_args": {"args": "owned"}}),
    ("data", {"class_path": "lightning.pytorch.callbacks.LambdaCallback"}),
    ("data", "evil.yaml"),
    ("data.init_args.augment", {"class_path": "evil.Data"}),
    ("data.init_args.augment", "evil.Data"),
]

ATTACKS_ON_THE_TRAINER = [
    ("model", {"class_path": "evil.Data"}),
    ("model.init_args.activation", {"class_path": "subprocess.Popen"}),
    ("trainer.callbacks", [{"class_path": "evil.Data"}]),
    ("trainer.callbacks", ["evil.Data"]),
    ("trainer.callbacks", "evil.Data"),
    (
        "trainer.callbacks",
        [
            {
                "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                "init_args": {"setup": "os.abort"},
            }
        ],
    ),
    (
        "trainer.callbacks",
        [
            {
                "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                "init_args": {"setup": {"class_path": "os.abort"}},
            }
        ],
    ),
    ("trainer.strategy", "evil.Data"),
    ("trainer.strategy", {"class_path": "lightning.pytorch.strategies.DDPStrategy"}),
    ("trainer.plugins", ["evil.Data"]),
    ("trainer.logger", [{"class_path": "evil.Data"}]),
    ("trainer.profiler", "evil.Data"),
    ("trainer.default_root_dir", "/tmp/elsewhere"),
    ("trainer.default_root_dir", "../.."),
    (
        "trainer.callbacks",
        [
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": {"dirpath": "/tmp/elsewhere"},
            }
        ],
    ),
    (
        "trainer.logger",
        [
            {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": "../../elsewhere"},
            }
        ],
    ),
    *(
        ("trainer.logger", [{"class_path": f"lightning.pytorch.loggers.{name}", "init_args": args}])
        for name, args in [
            ("TensorBoardLogger", {"save_dir": "$ELSEWHERE"}),
            ("TensorBoardLogger", {"save_dir": ".", "name": "${ELSEWHERE}"}),
            ("TensorBoardLogger", {"save_dir": ".", "sub_dir": "$ELSEWHERE"}),
            ("CSVLogger", {"save_dir": "local:/tmp/elsewhere"}),
            ("CSVLogger", {"save_dir": "simplecache::file:/tmp/elsewhere"}),
        ]
    ),
    ("trainer.logger", "WandbLogger"),
    ("trainer.logger", ["TensorBoardLogger"]),
    ("trainer.default_root_dir", "$ELSEWHERE"),
    ("data.dict_kwargs", {"root": "/tmp/elsewhere"}),
    (
        "data",
        {
            "class_path": "lightning.pytorch.demos.mnist_datamodule.MNISTDataModule",
            "init_args": {"data_dir": "/tmp/elsewhere"},
        },
    ),
    ("name", "../../elsewhere"),
    ("name", "/tmp/elsewhere"),
    ("logger", ["os.system"]),
    ("trainer", "evil.yaml"),
    ("config", "evil.yaml"),
    ("surprise", 1),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("key", "value"), ATTACKS, ids=range(len(ATTACKS)))
def test_a_strangers_data_run_no_code(
    stranger: Path, fails: Fails, command: str, key: str, value: Any
) -> None:
    checkpoint = set_value(stranger, key, value)
    before = contents(Path.cwd())
    message = fails(*(part.format(checkpoint) for part in COMMANDS[command]))
    assert str(stranger / "config.yaml") in message
    assert contents(Path.cwd()) == before


@pytest.mark.parametrize(
    ("key", "value"), ATTACKS_ON_THE_TRAINER, ids=range(len(ATTACKS_ON_THE_TRAINER))
)
def test_a_strangers_settings_run_no_code_and_write_nothing_elsewhere(
    stranger: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, key: str, value: Any
) -> None:
    monkeypatch.setenv("ELSEWHERE", "/tmp/elsewhere")
    checkpoint = set_value(stranger, key, value)
    before = contents(Path.cwd())
    fails("test", f"--ckpt_path={checkpoint}")
    assert contents(Path.cwd()) == before
    assert not Path("/tmp/elsewhere").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_data_are_not_downloaded_to_a_strangers_folder(
    stranger: Path, fails: Fails, command: str
) -> None:
    checkpoint = set_value(stranger, "data.init_args.root", "/tmp/elsewhere")
    message = fails(*(part.format(checkpoint) for part in COMMANDS[command]))
    assert "confirm it with --data.root /tmp/elsewhere" in message


@pytest.mark.parametrize(
    "link",
    ["metrics.csv", "config.yaml", "figures", "checkpoints/best.ckpt", "checkpoints", "wandb"],
)
def test_nothing_is_written_through_a_strangers_links(
    stranger: Path, run: Run, fails: Fails, tmp_path: Path, link: str
) -> None:
    """Neither a resumed run nor a command replaces what a link in the folder leads to."""
    path, target = stranger / link, tmp_path / "elsewhere"
    if path.exists():
        path.rename(target)
    else:
        target.mkdir()
    path.symlink_to(target)
    before = contents(tmp_path)
    checkpoint = stranger / "checkpoints" / "last.ckpt"
    for command in (
        ("fit", f"--ckpt_path={checkpoint}", "--trainer.max_epochs=2"),
        ("interpolate", str(checkpoint)),
        ("evaluate", str(stranger)),
    ):
        message = fails(*command)
        assert f"{path} is a link to {target}" in message
    assert contents(tmp_path) == before
    settings = ("--trainer.max_epochs=2", "--trainer.limit_train_batches=3")
    new = run("fit", f"--ckpt_path={checkpoint}", "--name=new", *settings)  # in a folder of its own
    assert (new / "metrics.csv").is_file()


def test_links_within_the_run_are_followed(stranger: Path, run: Run) -> None:
    (stranger / "newest.ckpt").symlink_to("checkpoints/last.ckpt")
    resumed = run(
        "fit", f"--ckpt_path={stranger / 'checkpoints' / 'last.ckpt'}", "--trainer.max_epochs=2"
    )
    assert resumed == stranger
    last = torch.load(stranger / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (1, 6)


def test_a_pipe_in_place_of_the_metrics_is_one_line(stranger: Path, fails: Fails) -> None:
    (stranger / "metrics.csv").unlink()
    os.mkfifo(stranger / "metrics.csv")
    checkpoint = stranger / "checkpoints" / "last.ckpt"
    message = fails("fit", f"--ckpt_path={checkpoint}", "--trainer.max_epochs=2")
    assert "metrics.csv is damaged (not a file): delete it" in message


def test_a_strangers_hyper_parameters_call_nothing(stranger: Path, fails: Fails) -> None:
    path = stranger / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["activation"] = {"class_path": "evil.Data", "init_args": {}}
    torch.save(checkpoint, path)
    for command in ("test", "evaluate"):
        fails(*(part.format(path) for part in COMMANDS[command]))
    assert not Path("owned").exists()


def test_what_the_user_types_is_trusted(
    stranger: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's own data are used once they are named, with the settings of the run."""
    Path("own_data.py").write_text(
        "from datamodules import Digits\n\n\nclass Half(Digits):\n    pass\n"
    )
    checkpoint = set_value(stranger, "data.class_path", "own_data.Half")
    run("test", f"--config={stranger / 'config.yaml'}", f"--ckpt_path={checkpoint}")
    main(["interpolate", str(checkpoint), "--data=own_data.Half"])
    assert "written to" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["../x", "../../x", "/tmp/x", "a/b", "..", ".", "", "a\\b", "a\nb"]
)
def test_the_name_of_a_run_is_not_a_path(fails: Fails, name: str) -> None:
    message = fails("--model=vae", f"--name={name}", *SHORT)
    assert "--name must be the name of a folder" in message


@pytest.mark.parametrize("data", ["tudataset", "planetoid", "modelnet", "toy_2d", "anscombe"])
def test_the_name_of_a_data_set_is_not_a_path(fails: Fails, data: str) -> None:
    assert "../x" in fails("--model=gin", f"--data={data}", "--data.name=../x")


# -- hostile YAML ----------------------------------------------------------------------------------

LEVELS = "\n".join(
    f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" if i else "l0: &l0 [" + "x, " * 10 + "]"
    for i in range(10)
)
HOSTILE = {
    "python tag": ("a: !!python/object/apply:os.system ['touch owned']", "line 1"),
    "unknown tag": ("a: 1\nb: !evil {}", "line 2"),
    "alias bomb": (LEVELS, "aliases stand for over 200,000 values"),
    "merge bomb": (
        "m0: &m0 {a: 1, b: 2, c: 3}\n"
        + "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 9)),
        "aliases stand for over 200,000 values",
    ),
    "loop": ("a: &a [*a]", "a value contains itself"),
    "deep": ("a: " + "[" * 100_000, "nest"),
    "list": ("- a\n- b", "contains a list"),
    "word": ("hello", "contains a str"),
    "empty": ("", "contains nothing"),
    "numbers as keys": ("1: 2", "keys that are not words"),
    "repeated key": ("seed: 1\nname: x\nseed: 2", "line 3: the key 'seed' occurs twice"),
    "syntax": ("a: [1", "not valid YAML: line"),
    "control character": ("a: \x00", "not valid YAML"),
    "date": ("a: 2024-13-45", "not valid YAML"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_one_line(fails: Fails, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    start = time.perf_counter()
    assert message in fails("--model=vae", "--config=settings.yaml")
    assert time.perf_counter() - start < 5
    assert not Path("owned").exists()


def test_files_that_are_not_settings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file of settings"):
        read_settings("/dev/zero")
    with pytest.raises(InputError, match="is not a file of settings"):
        read_settings(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_settings(tmp_path / "bytes.yaml")


def contents(folder: Path) -> dict[str, int]:
    """Return the files of a folder and their sizes, without compiled Python files."""
    return {
        str(path): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }

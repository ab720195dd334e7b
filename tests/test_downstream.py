"""A user's project, with the zoo installed as a wheel in a fresh environment."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT, make_once

MODELS = '''
"""A VAE whose encoder is an LSTM over image rows, with noise added to its input."""

import torch
from torch import Tensor, nn
from zoo import VAE


class RowEncoder(nn.Module):
    def __init__(self, side: int, out_features: int) -> None:
        super().__init__()
        self.rows = nn.LSTM(side, 32, batch_first=True)
        self.head = nn.Linear(32, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(x[:, 0])[0][:, -1])


class MyVAE(VAE):
    def __init__(self, input_noise: float = 0.1, **vae) -> None:
        super().__init__(**vae)
        self.input_noise = input_noise

    def make_encoder(self) -> nn.Module:
        return RowEncoder(self.input_shape[-1], 2 * self.latent_dim)

    def step(self, batch):
        x, y = batch
        noise = self.input_noise * torch.randn_like(x) if self.training else 0
        return super().step(((x + noise).clamp(0, 1), y))
'''

DATA = '''
from datamodules import Digits


class Halves(Digits):
    """Upper halves of digits."""

    input_shape = (1, 4, 8)

    def load(self, train):
        x, y = super().load(train)
        return x[:, :, :4], y
'''

SCRIPT = """
import lightning.pytorch as L
import torch
import zoo
from datamodules import Digits
from mypkg.models import MyVAE, RowEncoder

assert "site-packages" in zoo.__file__, zoo.__file__
data = Digits(batch_size=64)
model = MyVAE(input_shape=data.input_shape, latent_dim=3, input_noise=0.2, lr=2e-3)
assert isinstance(model.encoder, RowEncoder)
trainer = L.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False)
trainer.fit(model, data)
trainer.save_checkpoint("mine.ckpt")
loaded = zoo.load("mine.ckpt")
assert type(loaded) is MyVAE
assert loaded.hparams["input_noise"] == 0.2
x, _ = next(iter(data.test_dataloader()))
assert torch.equal(loaded.encode(x), model.eval().encode(x))
assert loaded.sample(4).shape == (4, 1, 8, 8)
print("downstream works")
"""

LOAD = """
import sys
import zoo, mypkg.models
model = zoo.load(sys.argv[1])
assert type(model).__name__ == "MyVAE" and model.hparams["input_noise"] == 0.3, model.hparams
assert model.sample(2).shape == (2, 1, *map(int, sys.argv[2:]))
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment in which the zoo's wheel is installed."""
    folder = make_once(tmp_path_factory, "downstream", make_environment)
    return folder / "env" / "bin" / "python"


def make_environment(folder: Path) -> None:
    """Install the zoo's wheel in an environment that borrows this one's dependencies."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    install = ["--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # .pth files in a folder that a .pth file adds are not read, so the editable zoo stays invisible
    lent = [path for path in sys.path if path and Path(path).resolve() != ROOT]
    (site / "lent.pth").write_text("\n".join(lent))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").touch()
    (tmp_path / "mypkg" / "models.py").write_text(MODELS)
    (tmp_path / "mypkg" / "data.py").write_text(DATA)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "load.py").write_text(LOAD)
    return tmp_path


def call(python: Path, project: Path, *args: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *args], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_own_script(python: Path, project: Path) -> None:
    assert "downstream works" in call(python, project, "script.py")


def test_command_line(python: Path, project: Path) -> None:
    options = ("--model.input_noise=0.3", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    call(python, project, "-m", "zoo", "fit", "--model=mypkg.models.MyVAE", *options)
    (checkpoint,) = project.glob("runs/MyVAE/*/checkpoints/best.ckpt")
    call(python, project, "load.py", str(checkpoint), "8", "8")
    config = str(checkpoint.parent.parent / "config.yaml")
    test = ("-m", "zoo", "test", "--config", config, "--ckpt_path", str(checkpoint))
    assert "test/neg_elbo" in call(python, project, *test)
    own = ("--model", "mypkg.models.MyVAE")
    assert "written to" in call(python, project, "-m", "zoo", "interpolate", str(checkpoint), *own)


def test_own_data(python: Path, project: Path) -> None:
    options = ("--model.input_noise=0.3", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    both = ("--model=mypkg.models.MyVAE", "--data=mypkg.data.Halves")
    assert "test/neg_elbo" in call(python, project, "-m", "zoo", *both, *options)
    (checkpoint,) = project.glob("runs/MyVAE/*/checkpoints/best.ckpt")
    call(python, project, "load.py", str(checkpoint), "4", "8")
    assert "written to" in call(python, project, "-m", "zoo", "interpolate", str(checkpoint), *both)


def test_the_wheel_contains_the_recipes(python: Path, project: Path) -> None:
    assert "autoencoder" in call(python, project, "-m", "zoo", "list")

"""Loading is safe and says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

import zoo
from datamodules import Digits
from zoo.errors import InputError


class Attack:
    """Unpickling it runs a command."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


@pytest.fixture
def checkpoint(tmp_path: Path, trainer: Callable[..., L.Trainer]) -> Path:
    fit = trainer(max_epochs=1, limit_train_batches=2)
    fit.fit(zoo.VAE((1, 8, 8), latent_dim=3), Digits())
    fit.save_checkpoint(tmp_path / "vae.ckpt")
    return tmp_path / "vae.ckpt"


def edit(path: Path, **changes: Any) -> Path:
    content = torch.load(path, weights_only=True)
    torch.save(content | changes, path)
    return path


def test_a_checkpoint_alone_brings_back_the_model(checkpoint: Path) -> None:
    model = zoo.load(checkpoint)
    assert isinstance(model, zoo.VAE)
    assert model.latent_dim == 3
    assert not model.training
    assert model.sample(5).shape == (5, 1, 8, 8)


def test_lightnings_own_loading_works_too(checkpoint: Path) -> None:
    model = zoo.VAE.load_from_checkpoint(checkpoint, weights_only=True)
    assert model.latent_dim == 3


def test_python_objects_are_never_unpickled(checkpoint: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    edit(checkpoint, callbacks={"x": Attack(proof)})
    with pytest.raises(InputError, match="contains Python objects, which could run code"):
        zoo.load(checkpoint)
    assert not proof.exists()


def test_a_class_that_is_not_known_is_never_imported(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(
        f"open({str(tmp_path / 'proof')!r}, 'w')\nclass Model: pass\n"
    )
    edit(checkpoint, class_path="evil.Model")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(
            InputError, match=r"contains evil\.Model, which is not one of the zoo's models"
        ):
            zoo.load(checkpoint)
    assert not (tmp_path / "proof").exists()


def test_hyper_parameters_name_no_code(checkpoint: Path, tmp_path: Path) -> None:
    """Lightning's ``_instantiator`` would call any function that the file names."""
    hyper_parameters = torch.load(checkpoint, weights_only=True)["hyper_parameters"]
    evil = hyper_parameters | {"_instantiator": "os.system", "_class_path": "os.system"}
    edit(checkpoint, hyper_parameters=evil)
    with pytest.raises(InputError, match="do not fit VAE"):
        zoo.load(checkpoint)


def test_a_class_of_ones_own_is_found_once_imported(
    tmp_path: Path, trainer: Callable[..., L.Trainer]
) -> None:
    class Mine(zoo.VAE):
        def __init__(self, extra: int = 1, **vae: Any) -> None:
            super().__init__(**vae)

    fit = trainer(max_epochs=1, limit_train_batches=1)
    fit.fit(Mine(extra=5, input_shape=(1, 8, 8)), Digits())
    fit.save_checkpoint(tmp_path / "mine.ckpt")
    loaded = zoo.load(tmp_path / "mine.ckpt")
    assert type(loaded) is Mine
    assert loaded.hparams["extra"] == 5


def test_a_given_class_is_used(checkpoint: Path) -> None:
    edit(checkpoint, class_path="gone.Model")
    assert isinstance(zoo.load(checkpoint, model_class=zoo.VAE), zoo.VAE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is corrupt or truncated"),
        (b"PK\x03\x04 nonsense", "is corrupt or"),
        (b"not a checkpoint at all", "is corrupt, or not a checkpoint"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        zoo.load(tmp_path / "x.ckpt")


def test_a_cut_checkpoint(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(InputError, match="is corrupt or truncated"):
        zoo.load(checkpoint)


def test_a_file_without_weights(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="is not a Lightning checkpoint: it has no state_dict"):
        zoo.load(tmp_path / "x.ckpt")


def test_weights_of_another_shape(checkpoint: Path) -> None:
    hyper_parameters = torch.load(checkpoint, weights_only=True)["hyper_parameters"]
    edit(checkpoint, hyper_parameters=hyper_parameters | {"latent_dim": 7})
    with pytest.raises(InputError, match=r"\(256, 3\) in the file and \(256, 7\) in the model"):
        zoo.load(checkpoint)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no checkpoint"):
        zoo.load(tmp_path / "no.ckpt")

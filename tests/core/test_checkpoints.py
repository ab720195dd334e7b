"""Loading checkpoints: models, safety, error messages."""

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
from tests.conftest import full_disk
from zoo import MLPClassifier
from zoo.core.checkpoints import AtomicCheckpointIO, data_state, read
from zoo.errors import InputError


class Exploit:
    """Runs a command when it is unpickled."""

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


def test_a_checkpoint_is_enough_to_restore_a_model(checkpoint: Path) -> None:
    model = zoo.load(checkpoint)
    assert isinstance(model, zoo.VAE)
    assert model.latent_dim == 3
    assert not model.training
    assert model.sample(5).shape == (5, 1, 8, 8)


def test_lightnings_own_loading_works(checkpoint: Path) -> None:
    model = zoo.VAE.load_from_checkpoint(checkpoint, weights_only=True)
    assert model.latent_dim == 3


def test_python_objects_are_never_unpickled(checkpoint: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    edit(checkpoint, callbacks={"x": Exploit(proof)})
    with pytest.raises(InputError, match="contains Python objects, which could run code"):
        zoo.load(checkpoint)
    assert not proof.exists()


def test_unknown_classes_are_not_imported(checkpoint: Path, tmp_path: Path) -> None:
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


def test_hyper_parameters_do_not_run_code(checkpoint: Path, tmp_path: Path) -> None:
    """Lightning would call any function whose name is in ``_instantiator``."""
    hyper_parameters = torch.load(checkpoint, weights_only=True)["hyper_parameters"]
    evil = hyper_parameters | {"_instantiator": "os.system", "_class_path": "os.system"}
    edit(checkpoint, hyper_parameters=evil)
    with pytest.raises(InputError, match="do not fit VAE"):
        zoo.load(checkpoint)


def test_another_number_of_classes_needs_other_class_weights(
    tmp_path: Path, trainer: Callable[..., L.Trainer]
) -> None:
    data = Digits()
    model = zoo.MLPClassifier((1, 8, 8), 10, hidden_dims=(8,), class_weights=[1.0] * 10)
    fast = trainer(fast_dev_run=True)
    fast.fit(model, data)
    fast.save_checkpoint(tmp_path / "c.ckpt")
    with pytest.raises(InputError, match=r"got 10; pass other .*, or class_weights=None$"):
        zoo.load(tmp_path / "c.ckpt", num_classes=3)
    with pytest.warns(UserWarning, match=r"\(3, 8\) for \(10, 8\)"):
        assert zoo.load(tmp_path / "c.ckpt", num_classes=3, class_weights=None).num_classes == 3


def test_the_users_own_class_is_found_once_imported(
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
        (b"", "is corrupt, or not a checkpoint"),
        (bytes(4096), r"is corrupt, or not a checkpoint$"),
        (b"PK\x03\x04 nonsense", "is corrupt or"),
        (b"not a checkpoint at all", "is corrupt, or not a checkpoint"),
    ],
)
def test_files_that_are_not_checkpoints(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        zoo.load(tmp_path / "x.ckpt")


def test_a_truncated_checkpoint(checkpoint: Path) -> None:
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_dict": [1]}, "is damaged: its entry state_dict must be of type dict, got list"),
        ({"hyper_parameters": [1]}, "is damaged: its entry hyper_parameters must be of type dict"),
        ({"callbacks": [1]}, "is damaged: its entry callbacks must be of type dict, got list"),
        ({"global_step": "3"}, "is damaged: its entry global_step must be of type int, got str"),
        ({"progress": []}, "is damaged: its entry progress must be of type dict, got list"),
        ({"random_state": "x"}, "is damaged: its entry random_state must be of type list, got str"),
        ({"callbacks": {3: 1}}, "is damaged: its entry callbacks has the key 3, which is not a"),
        ({"state_dict": {3: 1}}, "is damaged: its entry state_dict has the key 3, which is not a"),
        ({"pytorch-lightning_version": "x"}, "is damaged: 'x' is not a version of Lightning"),
        ({"loops": {}}, "is damaged: its entry loops lacks fit_loop"),
        ({"state_dict": {"a": 1}}, r"does not fit VAE .*: a is int in the file and missing in the"),
    ],
)
def test_entries_of_other_types(checkpoint: Path, changes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        zoo.load(edit(checkpoint, **changes))


def test_the_state_of_data_that_is_not_a_dictionary(checkpoint: Path) -> None:
    content = read(edit(checkpoint, Digits=[1]))
    with pytest.raises(InputError, match="is damaged: its entry Digits must be of type dict, got"):
        data_state(content, Digits, checkpoint)


@pytest.mark.parametrize("is_full_after", [0, 20_000])
def test_a_full_disk_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full_after: int
) -> None:
    """torch.save hides the system's error behind a RuntimeError once it has written something."""
    path = tmp_path / "last.ckpt"
    first = {"state_dict": {"weight": torch.arange(3)}}
    AtomicCheckpointIO().save_checkpoint(first, path)
    before = path.read_bytes()
    monkeypatch.setattr("builtins.open", full_disk(is_full_after))
    with pytest.raises(InputError) as caught:
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.zeros(99_999)}}, path)
    monkeypatch.undo()
    assert str(caught.value) == (
        f"cannot write {path}: No space left on device; free space there, then resume with "
        f"--ckpt_path {path}"
    )
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no checkpoint"):
        zoo.load(tmp_path / "no.ckpt")


def test_a_folder_in_place_of_a_checkpoint(tmp_path: Path) -> None:
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    best.touch()
    with pytest.raises(InputError, match=rf"there is no checkpoint .*; try {best}"):
        zoo.load(tmp_path)


def test_checkpoints_of_runs_that_diverged_are_refused(tmp_path: Path) -> None:
    """NaN weights would silently predict NaN, or class 0."""
    path = tmp_path / "nan.ckpt"
    model = zoo.create_model("mlp")
    trainer = L.Trainer(logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    zoo.load(path)
    checkpoint = torch.load(path, weights_only=True)
    name = next(iter(checkpoint["state_dict"]))
    checkpoint["state_dict"][name].view(-1)[3] = torch.nan
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match=f"a run that diverged: {name} contains NaN; use an ea"):
        zoo.load(path)


# -- damage and compiled modules -----------------------------------------------------------------


def test_every_flipped_byte_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    state = {"weight": torch.arange(300.0), "bias": torch.zeros(3)}
    AtomicCheckpointIO().save_checkpoint({"state_dict": state, "epoch": 3}, path)
    content = path.read_bytes()
    assert read(path)["epoch"] == 3
    # other readers take the file as any of torch.save
    for options in ({}, {"mmap": True}):
        plain = torch.load(path, weights_only=True, **options)
        assert torch.equal(plain["state_dict"]["weight"], state["weight"])
    for position in range(0, len(content), 7):
        path.write_bytes(_flip(content, position))
        with pytest.raises(InputError, match=r"last\.ckpt is corrupt"):
            read(path)


def test_a_flipped_byte_of_a_weight_in_a_file_of_torch_save_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    weight = torch.full((300,), 1.5)
    torch.save({"state_dict": {"weight": weight}}, path)
    content = path.read_bytes()
    assert torch.equal(read(path)["state_dict"]["weight"], weight)
    path.write_bytes(_flip(content, content.index(weight.numpy().tobytes()) + 600))
    assert not torch.equal(torch.load(path, weights_only=True)["state_dict"]["weight"], weight)
    with pytest.raises(InputError, match="its checksum is wrong"):
        read(path)


def _flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


@pytest.mark.parametrize(("saved", "loaded"), [(True, False), (False, True), (True, True)])
def test_compiled_submodules_do_not_matter_to_checkpoints(
    saved: bool, loaded: bool, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    def make(compiled: bool) -> MLPClassifier:
        model = MLPClassifier((1, 8, 8), 10, hidden_dims=(16,))
        if compiled:
            model.network = torch.compile(model.network, backend="eager")
        return model

    path = tmp_path / "model.ckpt"
    run = trainer(max_epochs=1, limit_train_batches=2)
    model = make(saved)
    run.fit(model, Digits(batch_size=64))
    run.save_checkpoint(path, weights_only=False)
    weights = [value.clone() for value in model.state_dict().values()]
    assert all(map(torch.equal, weights, zoo.load(path).state_dict().values()))
    again = make(loaded)
    longer = trainer(max_epochs=2, limit_train_batches=2)
    longer.fit(again, Digits(batch_size=64), ckpt_path=path, weights_only=True)
    assert longer.global_step == 4

"""Fine-tuning from the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import zoo
from zoo import VAE, LanguageModel, MLPClassifier
from zoo.core.finetuning import initialize_from
from zoo.errors import InputError

Run = Callable[..., Path]
Fails = Callable[..., str]

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.callbacks=null")


def save(model: zoo.core.task.Task, path: Path) -> Path:
    content = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, path)
    return path


def test_layers_that_match_are_copied(tmp_path: Path) -> None:
    trained = MLPClassifier(input_shape=(4,), num_classes=10, hidden_dims=(6,))
    path = save(trained, tmp_path / "a.ckpt")
    model = MLPClassifier(input_shape=(4,), num_classes=3, hidden_dims=(6,))
    head = model.state_dict()["network.5.weight"].clone()
    message = initialize_from(model, path)
    assert torch.equal(
        model.state_dict()["network.2.weight"], trained.state_dict()["network.2.weight"]
    )
    assert torch.equal(model.state_dict()["network.5.weight"], head)
    assert message == (
        f"2 of 4 tensors are those of {path}; new: network.5.weight (3, 6) for (10, 6), "
        "network.5.bias (3,) for (10,)"
    )


def test_load_with_other_classes(tmp_path: Path) -> None:
    trained = MLPClassifier(input_shape=(4,), num_classes=10, hidden_dims=(6,))
    path = save(trained, tmp_path / "a.ckpt")
    with pytest.warns(UserWarning, match="2 of 4 tensors are those of"):
        model = zoo.load(path, MLPClassifier, num_classes=3)
    assert model.hparams["num_classes"] == 3
    assert model.logits(torch.rand(2, 4)).shape == (2, 3)
    assert torch.equal(
        model.state_dict()["network.2.weight"], trained.state_dict()["network.2.weight"]
    )


def test_a_checkpoint_without_common_layers(tmp_path: Path) -> None:
    path = save(VAE(input_shape=(1, 8, 8), latent_dim=2), tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="has the name and shape of one of MLPClassifier"):
        initialize_from(MLPClassifier(input_shape=(4,), num_classes=3), path)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    settings = {"vocab_size": 5, "length": 8, "dim": 16, "layers": 1, "heads": 2}
    path = save(LanguageModel(tokenizer="abcde", **settings), tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="trained with another vocabulary"):
        initialize_from(LanguageModel(tokenizer="vwxyz", **settings), path)


def test_fine_tuning_on_the_command_line(
    run: Run, fails: Fails, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ("--model=mlp", "--data=toy_2d", "--data.name=moons")
    checkpoint = run("fit", *data, *SHORT) / "checkpoints" / "last.ckpt"
    capfd.readouterr()
    frozen = ("--model.lr=1e-30", f"--init_from={checkpoint}", "--seed=5")
    folder = run("fit", *data, *frozen, *SHORT)
    assert f"tensors are those of {checkpoint}" in capfd.readouterr().out
    before, after = (
        torch.load(path, weights_only=True)["state_dict"]
        for path in (checkpoint, folder / "checkpoints" / "last.ckpt")
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    message = fails(*data, f"--init_from={checkpoint}", f"--ckpt_path={checkpoint}")
    assert "choose one of them" in message
    assert "use --ckpt_path with test" in fails("test", *data, f"--init_from={checkpoint}")
    assert "there is no checkpoint no.ckpt" in fails(*data, "--init_from=no.ckpt")


@pytest.mark.parametrize("model", zoo.list_models())
def test_every_family_starts_from_its_own_weights(model: str, tmp_path: Path) -> None:
    trained, fresh = zoo.create_model(model), zoo.create_model(model)
    message = initialize_from(fresh, save(trained, tmp_path / "a.ckpt"))
    count = len(trained.state_dict())
    assert message == f"{count} of {count} tensors are those of {tmp_path / 'a.ckpt'}"
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name

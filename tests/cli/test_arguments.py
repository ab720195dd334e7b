"""Expansion of command lines to arguments of LightningCLI."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from zoo.cli.arguments import expand
from zoo.errors import InputError


def test_forms_of_logger_lists() -> None:
    forms = (
        ["--logger", "csv", "wandb"],
        ["--logger=csv,wandb"],
        ["--logger=csv", "--logger=wandb"],
    )
    for form in forms:
        args = expand(["--model=vae", *form, "--trainer.max_epochs=1"]).args
        assert '--logger=["csv", "wandb"]' in args
        assert args[-1] == "--trainer.max_epochs=1"


def test_the_last_name_wins_and_pairs_have_recipes() -> None:
    recipe = expand(["--model=mlp", "--model=vae", "--data=mnist"]).recipe
    assert recipe["model"]["init_args"]["binarization"] == "stochastic"
    assert recipe["name"] == "vae-mnist"


def test_other_data_have_their_own_defaults() -> None:
    recipe = expand(["--model=vae", "--data=cifar10"]).recipe
    assert recipe["data"] == {"class_path": "datamodules.CIFAR10"}
    assert "reference" not in recipe


def test_a_failing_import_in_the_users_module_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_net.py").write_text("import a_package_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_missing"):
        expand(["--model=broken_net.Net"])
    with pytest.raises(InputError, match="there is no module 'broken_nets'"):
        expand(["--model=broken_nets.Net"])


def test_a_configuration_file_of_version_0_1_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    model = {"class_path": "zoo.graphs.node_classifier.NodeClassifier"}
    config.write_text(yaml.safe_dump({"name": "gcn", "model": model}))
    (tmp_path / "checkpoints").mkdir()
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    for args in (["fit", f"--config={config}"], ["test", f"--ckpt_path={checkpoint}"]):
        with pytest.raises(InputError, match=r"version 0\.1 of the zoo: use --model gcn instead,"):
            expand(args)


@pytest.mark.parametrize("flag", ["--name", "--trainer.default_root_dir"])
@pytest.mark.parametrize("value", ["~", "null", "#1"])
def test_words_that_mean_null_are_refused(flag: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{flag}={value} is read as null"):
        expand(["--model=pca", f"{flag}={value}"])
    with pytest.raises(InputError, match="is read as null"):
        expand(["--model=pca", flag, value])
    folder = f"--trainer.default_root_dir=./{value}"
    assert folder in expand(["--model=pca", folder]).args

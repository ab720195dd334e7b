"""Constructors: complete signatures, unknown arguments, networks built after all constructors."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import nn

import zoo
from tests.conftest import ROOT
from zoo import VAE, MLPClassifier
from zoo.core.registry import read_recipe
from zoo.core.signature import arguments_of, full_signature
from zoo.core.task import Task
from zoo.errors import InputError

SHAPE = (1, 8, 8)
CLASSES = sorted(
    name
    for name in zoo.__all__
    if isinstance(cls := getattr(zoo, name), type) and issubclass(cls, Task)
)


@pytest.fixture
def save(trainer: Callable[..., L.Trainer], tmp_path: Path) -> Callable[[Task], Path]:
    """Return a function that writes a checkpoint of a model."""

    def write(model: Task) -> Path:
        writer = trainer()
        writer.strategy.connect(model)
        writer.save_checkpoint(tmp_path / "model.ckpt")
        return tmp_path / "model.ckpt"

    return write


class Before(VAE):
    """Sets an attribute before the parent's constructor."""

    def __init__(self, width: int = 5, **vae: Any) -> None:
        self.width = width
        super().__init__(**vae)

    def make_encoder(self) -> nn.Module:
        size = 2 * self.latent_dim
        return nn.Sequential(nn.Flatten(), nn.Linear(64, self.width), nn.Linear(self.width, size))


class After(VAE):
    """Sets an attribute after the parent's constructor."""

    def __init__(self, width: int = 5, **vae: Any) -> None:
        super().__init__(**vae)
        self.width = width

    make_encoder = Before.make_encoder


class Grandchild(After):
    """Sets an attribute after the constructors of two parents."""

    def __init__(self, **after: Any) -> None:
        super().__init__(**after)
        self.width = 7


class Fixed(VAE):
    """Chooses an argument of its parent."""

    def __init__(self, **vae: Any) -> None:
        super().__init__(latent_dim=3, **vae)


class Keeps(VAE):
    """Does not pass its keyword arguments on."""

    def __init__(self, input_shape: tuple[int, ...], **notes: Any) -> None:
        super().__init__(input_shape)
        self.notes = notes


@pytest.mark.parametrize("cls", [Before, After])
def test_networks_can_use_attributes_set_before_and_after_super(cls: type[VAE]) -> None:
    model: Any = cls(width=4, input_shape=SHAPE)
    assert model.encoder[1].out_features == 4
    assert model.encode(torch.rand(2, *SHAPE)).shape == (2, 2)


def test_networks_are_built_once_after_the_outermost_constructor() -> None:
    model: Any = Grandchild(input_shape=SHAPE, width=4)
    assert model.encoder[1].out_features == 7
    calls: list[str] = []

    class Counted(VAE):
        def make_encoder(self) -> nn.Module:
            calls.append("encoder")
            return super().make_encoder()

    class Derived(Counted):
        pass

    Derived(SHAPE)
    assert calls == ["encoder"]


def test_using_a_network_in_a_constructor_is_explained() -> None:
    class Early(VAE):
        def __init__(self, **vae: Any) -> None:
            super().__init__(**vae)
            self.encoder.requires_grad_(False)

    with pytest.raises(AttributeError, match=r"no 'encoder' yet: .* in an overridden build\(\)"):
        Early(input_shape=SHAPE)
    with pytest.raises(AttributeError, match="object has no attribute 'encodr'"):
        _ = VAE(SHAPE).encodr


def test_signature_of_a_vae() -> None:
    parameters = inspect.signature(VAE).parameters
    assert list(parameters)[:4] == ["input_shape", "latent_dim", "kl_warmup", "free_bits"]
    assert {"likelihood", "hidden_dims", "activation", "lr", "l1", "max_norm"} <= set(parameters)
    assert len(parameters) == 23
    assert parameters["latent_dim"].default == 2
    assert parameters["lr"].default == 1e-3
    assert parameters["input_shape"].default is inspect.Parameter.empty
    assert parameters["lr"].annotation is float


@pytest.mark.parametrize("name", CLASSES)
def test_signatures_are_complete(name: str) -> None:
    """They have no ``**`` and list the same arguments as the command line."""
    from jsonargparse import ArgumentParser

    cls = getattr(zoo, name)
    parameters = inspect.signature(cls).parameters
    assert all(p.kind is not p.VAR_KEYWORD for p in parameters.values())
    parser = ArgumentParser(exit_on_error=False)
    offered = parser.add_class_arguments(cls, "model", fail_untyped=False)
    assert {key.removeprefix("model.") for key in offered} == set(parameters)


def test_help_shows_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    help(VAE)
    assert "hidden_dims: tuple[int, ...] = (256, 256)" in capsys.readouterr().out


def test_arguments_that_a_subclass_chooses_are_not_in_its_signature() -> None:
    assert "latent_dim" not in arguments_of(Fixed)
    assert "hidden_dims" in arguments_of(Fixed)
    assert [p.kind for p in full_signature(Keeps).parameters.values()][-1].name == "VAR_KEYWORD"
    assert Keeps(SHAPE, anything=1).notes == {"anything": 1}


class Computes(VAE):
    """Computes arguments of its parent from its own."""

    def __init__(self, size: int, latent_dim: int = 2, **vae: Any) -> None:
        super().__init__((1, size, size), 2 * latent_dim, **vae)


class Widens(MLPClassifier):
    """Changes an argument before it passes it on."""

    def __init__(self, hidden_dims: tuple[int, ...] = (8,), **mlp: Any) -> None:
        hidden_dims = tuple(2 * width for width in hidden_dims)
        super().__init__(hidden_dims=hidden_dims, **mlp)


class Positional(VAE):
    """Passes positional arguments on."""

    def __init__(self, *args: Any, note: str = "", **vae: Any) -> None:
        super().__init__(*args, **vae)
        self.note = note


class Branches(VAE):
    """Chooses an argument in some cases."""

    def __init__(self, big: bool = False, **vae: Any) -> None:
        if big:
            super().__init__(latent_dim=9, **vae)
        else:
            super().__init__(**vae)


class Edits(VAE):
    """Changes the dictionary of its arguments."""

    def __init__(self, input_shape: tuple[int, ...], **vae: Any) -> None:
        vae["latent_dim"] = 5
        super().__init__(input_shape, **vae)


class Names(VAE):
    """Calls its parent by name."""

    def __init__(self, note: str = "", **vae: Any) -> None:
        VAE.__init__(self, **vae)
        self.note = note


class Mixin:
    """Takes an argument and passes all others on."""

    def __init__(self, *args: Any, note: str = "", **others: Any) -> None:
        super().__init__(*args, **others)
        self.note = note


class Mixed(Mixin, VAE):
    """Has no constructor of its own."""


class Abstract(VAE, ABC):
    """Has a method for subclasses."""

    @abstractmethod
    def describe(self) -> str: ...


class Concrete(Abstract):
    """Has all methods."""

    def describe(self) -> str:
        return "concrete"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Fixed(input_shape=SHAPE, hidden_dims=(8,)), {"latent_dim": 3}),
        (lambda: Computes(8), {"latent_dim": 4}),
        (lambda: Computes(8, 5, lr=0.5), {"latent_dim": 10, "lr": 0.5}),
        (lambda: Widens(input_shape=SHAPE, num_classes=3), {"hidden_dims": (16,)}),
        (lambda: Widens((4, 4), input_shape=SHAPE, num_classes=3), {"hidden_dims": (8, 8)}),
        (lambda: Positional(SHAPE, 7, note="x"), {"latent_dim": 7, "note": "x"}),
        (lambda: Branches(True, input_shape=SHAPE), {"latent_dim": 9}),
        (lambda: Branches(input_shape=SHAPE, latent_dim=6), {"latent_dim": 6}),
        (lambda: Edits(SHAPE), {"latent_dim": 5}),
        (lambda: Names("x", input_shape=SHAPE, lr=0.5), {"lr": 0.5, "note": "x"}),
        (lambda: Mixed(SHAPE, 7, note="x"), {"latent_dim": 7, "note": "x"}),
        (lambda: Concrete(SHAPE), {"latent_dim": 2}),
        (lambda: VAE(SHAPE, np.int64(3)), {"latent_dim": 3}),  # type: ignore[arg-type]
        (lambda: Names(Path("x"), input_shape=SHAPE), {"note": "x"}),  # type: ignore[arg-type]
    ],
)
def test_checkpoints_repeat_the_call_of_the_constructor(
    make: Callable[[], Task], expected: dict[str, Any], save: Callable[[Task], Path]
) -> None:
    model = make()
    path = save(model)
    for loaded in (zoo.load(path), type(model).load_from_checkpoint(path, weights_only=True)):
        assert type(loaded) is type(model)
        assert {name: loaded.hparams[name] for name in expected} == expected
        assert str(loaded) == str(model)
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], weight)


def test_networks_have_the_values_that_reach_the_parent() -> None:
    model = Widens(input_shape=SHAPE, num_classes=3)
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [16, 3]
    assert Computes(8).latent_dim == 4


def test_changed_hyper_parameters_are_in_checkpoints(save: Callable[[Task], Path]) -> None:
    """Lightning's learning rate finder changes them."""
    model = VAE(SHAPE, lr=1.0)
    model.hparams["lr"] = 0.25
    assert zoo.load(save(model)).hparams["lr"] == 0.25


def test_objects_are_left_out_of_checkpoints(save: Callable[[Task], Path]) -> None:
    model = Names(str.upper, input_shape=SHAPE)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="do not contain note, a method_descriptor: load"):
        path = save(model)
    assert zoo.load(path).hparams["note"] == ""
    loaded = Names.load_from_checkpoint(path, weights_only=True, note=str.upper)
    assert loaded.note is str.upper


def test_a_class_that_is_defined_again_is_the_newest(save: Callable[[Task], Path]) -> None:
    """As when a cell of a notebook is run again."""

    def define(size: int) -> type[VAE]:
        class Cell(VAE):
            default_size = size

        return Cell

    first, second = define(1), define(2)
    assert type(zoo.load(save(second(SHAPE)))) is second
    assert first.default_size == 1


def test_a_constructor_must_call_its_parents() -> None:
    class Forgets(VAE):
        def __init__(self, note: str) -> None:
            pass

    with pytest.raises(TypeError, match=r"Forgets.__init__\(\) must call super\(\).__init__\(\)"):
        Forgets("x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dims": 2}, "unexpected argument 'latent_dims'; did you mean 'latent_dim'"),
        ({"optimiser": "sgd"}, "unexpected argument 'optimiser'; did you mean 'optimizer'"),
        ({"zzzz": 1}, "unexpected argument 'zzzz'; it takes input_shape, latent_dim"),
    ],
)
def test_unknown_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        VAE(SHAPE, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adma"}, "unknown optimizer 'adma'; did you mean 'adam'"),
        ({"optimizer_options": {"momentun": 0.9}}, "optimizer 'adam'.*'momentun'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"schedule": "cosine", "schedule_options": {"rate": 1}}, "schedule 'cosine'.*'rate'"),
        ({"lr": -1.0}, "lr must not be negative, got -1.0"),
        ({"weight_decay": float("nan")}, "weight_decay must not be negative, got nan"),
        ({"likelihood": "normal"}, "unknown likelihood 'normal'; .*bernoulli, gaussian"),
        ({"network": "resnet"}, "unknown network 'resnet'; .*mlp, conv, residual"),
    ],
)
def test_bad_values_are_refused_at_construction(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VAE(SHAPE, **arguments)


def test_the_stub_has_an_overload_for_every_model() -> None:
    """The class of each overload is that of the model's recipe."""
    classes: dict[str, str] = {}
    for node in ast.parse((ROOT / "zoo/core/create.pyi").read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "create_model":
            names = re.findall(r"'(\w+)'", ast.unparse(node.args.args[0]))
            classes |= dict.fromkeys(names, ast.unparse(node.returns or ast.Constant(None)))
    expected = {
        name: read_recipe(name)["model"]["class_path"].removeprefix("zoo.")
        for name in zoo.list_models()
    }
    assert classes == expected, "run python docs/generate.py"


TYPED = """\
import zoo

zoo.create_model("vae", latent_dim=8).sample(3)
zoo.load("x.ckpt", zoo.VAE).sample(3)
zoo.create_model("mlp").sample(3)
"""


@pytest.mark.slow
def test_mypy_infers_the_class_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "typed.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if line.startswith("typed.py")]
    assert len(errors) == 1, done.stdout
    assert errors[0].startswith("typed.py:5: error")

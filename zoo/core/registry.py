"""Registry: names of models and data sets, and the recipes that combine them.

This module only reads YAML files, so that listing the zoo does not import torch.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import zoo
from zoo.errors import InputError, suggest, unknown

RECIPES = Path(__file__).parent.parent / "recipes"

#: name on the command line → class of the data module
DATA = {
    "digits": "datamodules.Digits",
    "digit_pairs": "datamodules.DigitPairs",
    "mnist": "datamodules.MNIST",
    "fashion_mnist": "datamodules.FashionMNIST",
    "cifar10": "datamodules.CIFAR10",
    "image_folder": "datamodules.ImageFolder",
    "toy_curves": "datamodules.ToyCurves",
    "toy_2d": "datamodules.Toy2D",
    "gaussians_2d": "datamodules.Gaussians2D",
    "anscombe": "datamodules.Anscombe",
    "datasaurus": "datamodules.Datasaurus",
    "diabetes": "datamodules.Diabetes",
    "breast_cancer": "datamodules.BreastCancer",
    "wine": "datamodules.Wine",
    "iris": "datamodules.Iris",
    "csv": "datamodules.CSV",
    "text": "datamodules.Text",
    "labeled_text": "datamodules.LabeledText",
    "sst2": "datamodules.SST2",
    "parallel_text": "datamodules.ParallelText",
    "multi30k": "datamodules.Multi30k",
    "series": "datamodules.Series",
    "etth1": "datamodules.ETTh1",
    "brownian": "datamodules.Brownian",
    "tiny_shakespeare": "datamodules.TinyShakespeare",
    "karate": "datamodules.Karate",
    "sbm": "datamodules.SBM",
    "planetoid": "datamodules.Planetoid",
    "graph_csv": "datamodules.GraphCSV",
    "random_graphs": "datamodules.RandomGraphs",
    "tudataset": "datamodules.TUDataset",
    "shapes": "datamodules.Shapes",
    "point_folder": "datamodules.PointFolder",
    "modelnet": "datamodules.ModelNet",
    "isometric": "datamodules.Isometric",
    "body_parts": "datamodules.BodyParts",
    "mesh_folder": "datamodules.MeshFolder",
    "articulated": "datamodules.Articulated",
    "mesh_sequence": "datamodules.MeshSequence",
}

#: properties of data modules that are passed to the model's arguments of the same names
PROPERTIES = (
    "input_shape", "num_classes", "class_weights", "num_targets", "target_mean", "target_std",
    "levels", "modes", "mode_std", "vocab_size", "tokenizer", "length", "num_series", "lookback",
    "horizon", "target_vocab_size", "target_tokenizer", "target_length", "num_features",
    "template",
)  # fmt: skip


def list_models() -> list[str]:
    """Return the names that ``--model`` and ``create_model`` take, sorted."""
    return sorted(name for name in list_recipes() if "-" not in name)


@cache
def list_recipes() -> tuple[str, ...]:
    """Return the names of all recipes: ``MODEL`` and, for further tested data, ``MODEL-DATA``."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def read_recipe(name: str) -> dict[str, Any]:
    """Return the contents of a recipe's YAML file.

    Raises:
        InputError: no recipe of that name (with the nearest ones).
    """
    if name not in list_recipes():
        raise unknown("recipe", name, list_recipes())
    return yaml.load((RECIPES / f"{name}.yaml").read_text("utf-8"), _Loader)


def recipe_for(model: str, data: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the recipe for a model and a data set, given their names on the command line.

    It is ``MODEL-DATA`` if there is such a recipe, else ``MODEL`` with the data set at its default
    settings.

    Returns:
        The recipe's name and its contents.

    Raises:
        InputError: unknown model or data set (with the nearest names).
    """
    if model in DATA:
        raise InputError(f"{model!r} is a data set: name a model too, --model MODEL --data {model}")
    if model not in list_models():
        raise unknown("model", model, list_models())
    if data is None:
        return model, read_recipe(model)
    if f"{model}-{data}" in list_recipes():
        return f"{model}-{data}", read_recipe(f"{model}-{data}")
    recipe = read_recipe(model)
    if data_class(data) != recipe["data"]["class_path"]:
        recipe["data"] = {"class_path": data_class(data)}
        recipe.pop("reference", None)  # it applies only to the recipe's own data
    return model, recipe


def data_class(name: str) -> str:
    """Return the class path of a data set, given its name or the class path itself.

    Raises:
        InputError: unknown name (with the nearest ones).
    """
    if "." in name:
        return name
    if name not in DATA:
        raise unknown("data set", name, DATA)
    return DATA[name]


def data_name(class_path: str) -> str:
    """Return the name of a data set on the command line, or its class path if it has no name."""
    return next((name for name, path in DATA.items() if path == class_path), class_path)


def public_path(cls: type) -> str:
    """Return ``zoo.NAME`` for a class that the zoo exports, else its module and name."""
    if cls.__module__.startswith("zoo.") and cls.__qualname__ in zoo.__all__:
        return f"zoo.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


@cache
def model_of_class(path: str) -> str | None:
    """Return the first model whose recipe uses a class, given by its public path."""
    return next((m for m in list_models() if read_recipe(m)["model"]["class_path"] == path), None)


def import_class(path: str) -> Any:
    """Import the class at a dotted path.

    Raises:
        InputError: not a path of names and dots; no such module or class; not a class.
    """
    module, _, name = path.rpartition(".")
    if not module or not all(part.isidentifier() for part in path.split(".")):
        raise InputError(f"{path!r} is not the path of a class, such as package.module.Class")
    try:
        cls = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists, but one of its own imports failed
        raise InputError(f"{path}: there is no module {error.name!r}") from error
    except AttributeError:
        near = suggest(name, dir(importlib.import_module(module)))
        raise InputError(f"{path}: module {module!r} has no {name!r}{near}") from None
    if not isinstance(cls, type):
        raise InputError(f"{path} is not a class")
    return cls


def is_importable(path: str) -> bool:
    """Return whether there is a class at a dotted path."""
    try:
        import_class(path)
    except InputError:
        return False
    return True


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

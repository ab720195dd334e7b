"""The catalogue: names of models, of data sets, and the recipes that join them.

Reads YAML and nothing else, so that listing the zoo does not import torch.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from zoo.errors import InputError, unknown

if TYPE_CHECKING:
    from zoo.core.task import Task

RECIPES = Path(__file__).parent.parent / "recipes"

#: name on the command line → class
DATA = {
    "digits": "datamodules.Digits",
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

#: what a data module says that a model must know; each goes to the model's argument of that name
PROPERTIES = (
    "input_shape", "num_classes", "num_targets", "target_mean", "target_std", "levels", "modes",
    "mode_std", "vocab_size", "tokenizer", "length", "num_series", "lookback", "horizon",
    "target_vocab_size", "target_tokenizer", "target_length", "num_features", "template",
)  # fmt: skip


def list_models() -> list[str]:
    """Names that ``--model`` and ``create_model`` know, sorted."""
    return sorted(name for name in list_recipes() if "-" not in name)


@cache
def list_recipes() -> tuple[str, ...]:
    """Names of all recipes: ``MODEL`` and, where a pair is tested, ``MODEL-DATA``."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def read_recipe(name: str) -> dict[str, Any]:
    """The YAML file of a recipe as it stands.

    Raises:
        InputError: no recipe of that name (with the nearest ones).
    """
    if name not in list_recipes():
        raise unknown("recipe", name, list_recipes())
    return yaml.load((RECIPES / f"{name}.yaml").read_text("utf-8"), _Loader)


def recipe_for(model: str, data: str | None = None) -> tuple[str, dict[str, Any]]:
    """The recipe for a model and a data set, by their names on the command line.

    ``MODEL-DATA`` where that is a tested pair, else ``MODEL`` with that data at its defaults.

    Returns:
        The recipe's name and its contents.

    Raises:
        InputError: unknown model or data set (with the nearest names).
    """
    if model not in list_models():
        raise unknown("model", model, list_models())
    if data is None:
        return model, read_recipe(model)
    if f"{model}-{data}" in list_recipes():
        return f"{model}-{data}", read_recipe(f"{model}-{data}")
    recipe = read_recipe(model)
    if data_class(data) != recipe["data"]["class_path"]:
        recipe["data"] = {"class_path": data_class(data)}
        recipe.pop("reference", None)  # it speaks of the recipe's own data
    return model, recipe


def data_class(name: str) -> str:
    """Class of a data set by its name; a dotted path stands for itself.

    Raises:
        InputError: unknown name (with the nearest ones).
    """
    if "." in name:
        return name
    if name not in DATA:
        raise unknown("data set", name, DATA)
    return DATA[name]


@cache
def model_classes() -> frozenset[str]:
    """Dotted paths of all classes that recipes run."""
    return frozenset(read_recipe(name)["model"]["class_path"] for name in list_recipes())


def model_of_class(class_path: str) -> str | None:
    """The model name whose recipe runs this class, if there is one."""
    for name in list_models():
        if read_recipe(name)["model"]["class_path"] == class_path:
            return name
    return None


def create_model(name: str, data: str | None = None, **overrides: Any) -> Task:
    """A fresh model of the zoo, with its recipe's settings.

    Args:
        name: see :func:`list_models`.
        data: the data set whose recipe and properties to take, default the recipe's own. What the
            data says (``input_shape``, ``num_classes``) may also be given outright.
        **overrides: constructor arguments that replace the recipe's.

    Raises:
        InputError: unknown model or data set; a model and data that do not fit together.

    Example:
        >>> create_model("vae", latent_dim=8, input_shape=(1, 28, 28))
    """
    _, recipe = recipe_for(name, data)
    cls = import_class(recipe["model"]["class_path"])
    arguments = {**recipe["model"].get("init_args", {}), **overrides}
    wanted = [p for p in PROPERTIES if p in arguments_of(cls) and p not in arguments]
    if wanted:
        source = recipe["data"]
        data_module = import_class(source["class_path"])(**source.get("init_args", {}))
        arguments |= {p: data_property(data_module, p, cls) for p in wanted}
    return cls(**arguments)


def data_property(data_module: Any, name: str, model_class: type) -> Any:
    """What the data says under ``name``.

    Where it does not say it, the model's own default holds.

    Raises:
        InputError: the data does not say it, and the model needs it.
    """
    try:
        return getattr(data_module, name)
    except AttributeError as error:
        if name in (defaults := defaults_of(model_class)):
            return defaults[name]
        reason = (
            str(error)
            if hasattr(type(data_module), name)
            else "choose other data, or give the data module that property"
        )
        raise InputError(
            f"{type(data_module).__name__} has no {name}, which {model_class.__name__} needs: "
            f"{reason}"
        ) from None


def arguments_of(cls: type) -> set[str]:
    """Names of all constructor arguments, those that reach parents through ``**`` included."""
    import inspect

    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in base.__dict__:
            parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
            names |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return names - {"self"}


def defaults_of(cls: type) -> dict[str, Any]:
    """Default values of the constructor arguments that have one, the nearest class's first."""
    import inspect

    defaults: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in base.__dict__:
            parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
            defaults |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return defaults


def import_class(path: str) -> Any:
    """The class at a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

"""``zoo.create_model``: a model by its name.

``create.pyi`` beside this file tells type checkers the class of each model; ``docs/generate.py``
writes it from the recipes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.core.registry import PROPERTIES, import_class, recipe_for
from zoo.core.signature import arguments_of, defaults_of
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.core.task import Task


def create_model(name: str, data: str | None = None, **overrides: Any) -> Task:
    """Create a model of the zoo with its recipe's settings and fresh weights.

    Args:
        name: name of the model; see :func:`zoo.list_models`.
        data: name of the data set whose recipe and properties are used, default that of the model's
            own recipe. Properties such as ``input_shape`` may also be given directly.
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
    """Return the value of a model's argument that comes from the data.

    If the data does not have the property, the model's default is used.

    Args:
        data_module: a LightningDataModule.
        name: name of the property and of the model's argument.
        model_class: the model.

    Raises:
        InputError: the data does not have it, and the model has no default.
    """
    try:
        return getattr(data_module, name)
    except AttributeError as error:
        defaults = defaults_of(model_class)
        if name in defaults:
            return defaults[name]
        reason = "choose other data, or add the property to the data module"
        if hasattr(type(data_module), name):  # the property itself raised the error
            reason = str(error)
        raise InputError(
            f"{model_class.__name__} needs {name}, which {type(data_module).__name__} does not "
            f"have: {reason}"
        ) from None

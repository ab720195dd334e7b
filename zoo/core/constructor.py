"""Construction of models: complete signatures, and networks built after all constructors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from lightning.pytorch import LightningModule

from zoo.core.signature import check_arguments, full_signature

T = TypeVar("T")
ConfigT = TypeVar("ConfigT")


class ModelMeta(type(LightningModule)):  # type: ignore[misc]
    """Metaclass of all models.

    A model's ``__init__`` takes its own arguments and passes all others on through ``**``. This
    class adds three things to the usual construction:

    * ``inspect.signature``, ``help`` and notebooks show the arguments of the whole chain of
      constructors, with their defaults;
    * an unknown argument is an error that suggests similar names;
    * ``build`` runs once the outermost constructor has returned, so that a subclass may set
      attributes before or after ``super().__init__()`` and use them in ``make_*`` methods.
    """

    @property
    def __signature__(cls) -> inspect.Signature:
        return full_signature(cls)

    def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        check_arguments(cls, kwargs)
        # not super(): Lightning looks for __class__ in the calling frames to collect arguments
        model = type.__call__(cls, *args, **kwargs)
        model.build()
        model.__dict__["_is_built"] = True
        return model


def build_config(
    config_class: type[ConfigT], hparams: Mapping[str, Any], **changes: Any
) -> ConfigT:
    """Create a configuration dataclass from the hyper-parameters of the same names.

    Args:
        config_class: a dataclass.
        hparams: a model's hyper-parameters; those that are not fields are ignored.
        **changes: values of fields that replace the hyper-parameters'.
    """
    names = [field.name for field in fields(config_class)]  # type: ignore[arg-type]
    return config_class(**{**{name: hparams[name] for name in names}, **changes})

"""Construction of models: complete signatures, and networks built after all constructors."""

from __future__ import annotations

import inspect
import os
from abc import ABCMeta
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.parsing import collect_init_args, save_hyperparameters

from zoo.core.signature import (
    arguments_by_name,
    arguments_of,
    check_arguments,
    defaults_of,
    full_signature,
)

T = TypeVar("T")
ConfigT = TypeVar("ConfigT")

#: types that ``torch.load`` reads with ``weights_only=True``
PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Tensor, torch.dtype, torch.device)


class ModelMeta(ABCMeta):
    """Metaclass of all models.

    A model's ``__init__`` takes its own arguments and passes all others on through ``**``. This
    class adds four things to the usual construction:

    * ``inspect.signature``, ``help`` and notebooks show the arguments of the whole chain of
      constructors, with their defaults;
    * an unknown argument is an error that suggests similar names;
    * ``build`` runs once the outermost constructor has returned, so that a subclass may set
      attributes before or after ``super().__init__()`` and use them in ``make_*`` methods;
    * the arguments of the call are kept, so that :func:`creation_arguments` can repeat it.

    It derives from ``ABCMeta``, so that a model may also be an abstract base class.
    """

    @property
    def __signature__(cls) -> inspect.Signature:
        return full_signature(cls)

    def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        check_arguments(cls, kwargs)
        model: Any = cls.__new__(cls, *args, **kwargs)
        if not issubclass(type(model), cls):
            return model
        model.__dict__["_given"] = arguments_by_name(cls, args, kwargs)
        # not super(): Lightning looks for __class__ in the calling frames to collect arguments
        cls.__init__(model, *args, **kwargs)
        if "_initial" not in model.__dict__:
            raise TypeError(f"{cls.__name__}.__init__() must call super().__init__()")
        model.build()
        model.__dict__["_is_built"] = True
        return model


def save_arguments(model: Any, constructor: Any) -> None:
    """Save the arguments of the whole chain of constructors as ``model.hparams``.

    If a class changes an argument on its way to the parent, the parent's value counts: it is what
    the networks are built from.

    Args:
        model: model under construction.
        constructor: frame of the innermost constructor.
    """
    levels = collect_init_args(constructor, [], classes=(LightningModule,))  # the innermost first
    arguments = ChainMap(*levels, model._given, defaults_of(type(model)))
    model._log_hyperparams = True
    save_hyperparameters(model, given_hparams=dict(arguments))
    model._initial = dict(model.hparams)


def creation_arguments(model: Any) -> dict[str, Any]:
    """Return the arguments that create a model with the same settings.

    These are the arguments of the constructor's call and the defaults that took effect, with the
    values that ``model.hparams`` has now where it has been changed since. Left out are arguments
    that a class sets itself, as in ``super().__init__(latent_dim=8, **vae)``.
    """
    hparams, initial, given = model.hparams, model._initial, model._given
    changed = {n: v for n, v in hparams.items() if n not in initial or not _same(v, initial[n])}
    defaults = defaults_of(type(model))
    effective = {n: v for n, v in defaults.items() if n in initial and _same(v, initial[n])}
    arguments = {**effective, **given, **changed}
    known = arguments_of(type(model)) | set(given)
    return {n: v for n, v in arguments.items() if n in known and n in hparams}


def storable_arguments(model: Any) -> dict[str, Any]:
    """Return :func:`creation_arguments` as plain values, which a checkpoint can contain.

    Numbers of numpy and paths are converted; other objects are left out, with a warning.
    """
    arguments = {name: _to_plain(value) for name, value in creation_arguments(model).items()}
    for name in [name for name, value in arguments.items() if not _is_plain(value)]:
        cls, value = type(model).__name__, arguments.pop(name)
        rank_zero_warn(
            f"checkpoints of {cls} do not contain {name}, a {type(value).__name__}: load them with "
            f"{cls}.load_from_checkpoint(path, {name}=...)"
        )
    return arguments


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and repr(a) == repr(b))  # == of arrays is an array


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) in (list, tuple):
        return type(value)(_to_plain(item) for item in value)
    if isinstance(value, Mapping):
        return {_to_plain(key): _to_plain(item) for key, item in value.items()}
    return value


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple, set, torch.Size):
        return all(_is_plain(item) for item in value)
    if type(value) is dict:
        return all(_is_plain(item) for pair in value.items() for item in pair)
    return type(value) in PLAIN


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

"""A deep-learning course as LightningModules.

``zoo.list_models()``, ``zoo.create_model("vae", latent_dim=8)``, ``zoo.load("…/best.ckpt")``, and
every model class by name. Everything is imported when it is first used, so that ``import zoo``
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.checkpoints import load as load
    from zoo.latent.autoencoders import Autoencoder as Autoencoder
    from zoo.latent.base import LatentModel as LatentModel
    from zoo.latent.vae import VAE as VAE
    from zoo.registry import create_model as create_model
    from zoo.registry import list_models as list_models
    from zoo.supervised.mlp import MLPClassifier as MLPClassifier
    from zoo.task import Classifier as Classifier
    from zoo.task import Task as Task

_HOMES = {
    "list_models": "zoo.registry",
    "create_model": "zoo.registry",
    "load": "zoo.checkpoints",
    "Task": "zoo.task",
    "Classifier": "zoo.task",
    "MLPClassifier": "zoo.supervised.mlp",
    "LatentModel": "zoo.latent.base",
    "VAE": "zoo.latent.vae",
    "Autoencoder": "zoo.latent.autoencoders",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

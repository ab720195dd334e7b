"""The course's experiments: one module each, one command each (``python -m zoo study NAME``).

A study has ``run(**settings) -> Result``, a dataclass of numbers, which raises ``InputError`` for
settings that it cannot run with; ``table(result)``, measured figures beside those of a theory where
there are any; ``plot(result)``, one figure; and where something moves ``animate(result, path)``.
From Python: ``zoo.studies.double_descent.run(samples=400)``.
"""

from __future__ import annotations

import importlib
from typing import Any

#: in the order of the course
NAMES = (
    "look-at-the-data",
    "dimensionality",
    "polynomial-fit",
    "penalties",
    "descent",
    "landscape",
    "autodiff",
    "universality",
    "convolution",
    "early-stopping",
    "double-descent",
    "normalization",
    "dropout",
    "autoencoder-vs-vae",
    "elbo",
    "gan-divergence",
    "attention",
    "receptive-fields",
    "invariance",
    "adversarial-geometry",
    "pac",
)


def module_of(name: str) -> str:
    """``double-descent`` → ``double_descent``."""
    return name.replace("-", "_")


def __getattr__(name: str) -> Any:
    if name.replace("_", "-") not in NAMES:
        raise AttributeError(f"module 'zoo.studies' has no attribute {name!r}")
    return importlib.import_module(f"zoo.studies.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *map(module_of, NAMES)])

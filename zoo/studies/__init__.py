"""Experiments of the course, one module and one command each (``zoo study NAME``).

The docstring of a study's module explains the question, the theory and what to look for. Every
module offers the same functions:

* ``run(**settings) -> Result`` computes the results as a dataclass; settings that cannot work raise
  :class:`~zoo.errors.InputError`;
* ``table(result)`` lists measured values, next to those predicted by theory where there is one;
* ``plot(result)`` draws one figure;
* ``animate(result, path)`` writes an animation, in studies of a process over time.

From Python: ``zoo.studies.double_descent.run(num_samples=400)``.
"""

from __future__ import annotations

import importlib
from typing import Any

#: names of the studies, in the order of the course
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


def module_name(study: str) -> str:
    """Return the name of a study's module: ``double-descent`` → ``double_descent``."""
    return study.replace("-", "_")


def __getattr__(name: str) -> Any:
    if name not in map(module_name, NAMES):
        raise AttributeError(f"module 'zoo.studies' has no attribute {name!r}")
    return importlib.import_module(f"zoo.studies.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *map(module_name, NAMES)])

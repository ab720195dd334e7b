"""Pickled files of data sets, which could run code when read, are checked before PyG reads them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from zoo.errors import DataError

#: module → names that pickled arrays, sparse matrices and dictionaries of numbers consist of
PLAIN = {
    "__builtin__": {"list", "object"},  # of Python 2, as is copy_reg
    "builtins": {"list", "object"},
    "copy_reg": {"_reconstructor"},
    "copyreg": {"_reconstructor"},
    "collections": {"defaultdict"},
    "_codecs": {"encode"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "scipy.sparse.csr": {"csr_matrix"},
    "scipy.sparse._csr": {"csr_matrix"},
}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler that refuses every object other than arrays and containers."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in PLAIN.get(module, ()):
            raise pickle.UnpicklingError(f"it contains {module}.{name}")
        return super().find_class(module, name)


def check_processed(folder: Path) -> None:
    """Check the files that PyG has written in ``processed``: tensors and plain values.

    PyG reads some of them, and those that are refused at first, as arbitrary Python objects.

    Args:
        folder: folder of a PyG data set, which contains ``raw`` and ``processed``.

    Raises:
        DataError: a file is damaged, or contains other objects.
    """
    import torch_geometric  # noqa: F401  # its classes of data are among the plain values

    for path in sorted(folder.glob("processed*/**/*.pt")):
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises all kinds of exceptions
            raise DataError(
                f"{path} is damaged, or contains Python objects, which could run code when read: "
                f"delete the folder {path.parent}, which is then written again"
            ) from error


def check_pickles(paths: Iterable[Path]) -> None:
    """Check pickled files: arrays, sparse matrices, and containers of numbers.

    Raises:
        DataError: a file is damaged, or contains other objects.
    """
    for path in paths:
        try:
            with open(path, "rb") as file:
                _PlainUnpickler(file, encoding="latin1").load()
        except OSError:
            raise
        except Exception as error:  # a damaged pickle raises all kinds of exceptions
            raise DataError(
                f"{path} is damaged, or contains Python objects, which could run code when read "
                f"({error}): delete it, and it is downloaded again"
            ) from error

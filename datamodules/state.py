"""LearnedState: the part of a data module that travels in checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from zoo.errors import DataError


class LearnedState:
    """Mixin of data modules whose reading of data depends on the training data.

    A subclass returns from ``learn()`` everything that it derives from the training data, such as
    column names, scaling, categories, class names or a vocabulary, and reads it back as
    ``self.learned``. Lightning saves it in every checkpoint as the data module's ``state_dict``.
    After ``load_state_dict``, a data module uses this state instead of learning from its own files,
    so that new data are read as the training data were.

    The state also contains the settings that decide how data are read and split, such as the seed
    of the validation split. The checkpoint's settings prevail, with a warning if they differ.
    """

    #: names of the attributes that decide how data are read and split
    learned_settings: tuple[str, ...] = ()

    _learned: dict[str, Any] | None = None
    _has_loaded_state: bool = False
    _loaded: dict[str, Any] | None = None

    def learn(self) -> dict[str, Any]:
        """Return everything that is derived from the training data: plain values and tensors."""
        return {}

    def forget(self) -> None:
        """Drop what was read with the previous state: the values of all cached properties."""
        for cls in type(self).__mro__:
            for name, attribute in vars(cls).items():
                if isinstance(attribute, cached_property):
                    self.__dict__.pop(name, None)

    @property
    def learned(self) -> dict[str, Any]:
        """The values of ``learn()``, computed once, or the checkpoint's values."""
        if self._learned is None:
            self._learned = self.learn()
        return self._learned

    @property
    def has_loaded_state(self) -> bool:
        """True if the state comes from a checkpoint."""
        return self._has_loaded_state

    def state_dict(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in self.learned_settings}
        if not settings and not self.learned:
            return {}
        return {"learned": self.learned, "settings": settings}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read data by the state of a checkpoint.

        Raises:
            DataError: it is not the state that ``state_dict`` has returned.
        """
        for part in ("learned", "settings"):
            if not isinstance(state_dict.get(part), dict):
                raise DataError(
                    f"the checkpoint is damaged: its entry {type(self).__name__} lacks {part!r}"
                )
        own = self._loaded if self._has_loaded_state else None
        if self._learned is not None and (
            _is_equal(state_dict, own) or _is_equal(state_dict, self.state_dict())
        ):
            self._has_loaded_state = True
            return
        self._loaded = state_dict
        for name in self.learned_settings:  # other names in the file are ignored
            if name in state_dict["settings"]:
                self._load_setting(name, state_dict["settings"][name])
        self._learned = dict(state_dict["learned"])
        self._has_loaded_state = True
        self.forget()

    def _load_setting(self, name: str, value: Any) -> None:
        own = getattr(self, name)
        if own != value:
            warnings.warn(
                f"{name}={value} of the checkpoint is used instead of {own}: it decides how "
                f"{type(self).__name__} was read and split",
                stacklevel=3,
            )
        setattr(self, name, value)


def _is_equal(first: Any, second: Any) -> bool:
    """Return whether two states of plain values and tensors are equal; NaN equals NaN."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(
            first.nan_to_num(), second.nan_to_num()
        )
    if isinstance(first, Mapping):
        return (
            isinstance(second, Mapping)
            and first.keys() == second.keys()
            and all(_is_equal(first[key], second[key]) for key in first)
        )
    if isinstance(first, Sequence) and not isinstance(first, str):
        return (
            isinstance(second, Sequence)
            and not isinstance(second, str)
            and len(first) == len(second)
            and all(map(_is_equal, first, second))
        )
    return bool(first == second) or (first != first and second != second)

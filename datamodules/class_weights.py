"""Weights of the classes in a classifier's loss, for data in which some classes are rare."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from datamodules.state import LearnedState
from zoo.errors import InputError, check_choice, check_positive, unknown

#: the user's choice: a rule, or the weight of each class by its name
Weighting = str | dict[str, float] | None


class ClassWeights(LearnedState):
    """Mixin of data modules with classes, which gives rare classes larger weights in the loss.

    A data module calls ``weight_classes`` in its constructor and implements ``training_labels``.
    The model's argument ``class_weights`` is linked to the property of the same name, and the
    weights travel in checkpoints, so that a model is evaluated with the weights of its training.
    """

    _weighting: Weighting = None
    _class_weights: tuple[float, ...] | None = None

    def weight_classes(self, class_weights: Weighting) -> None:
        """Choose the weights.

        Args:
            class_weights: ``balanced``: N / (K n_k) for a class with n_k of the N training samples,
                where K is the number of classes with samples, or (N − n_k) / n_k if samples may
                have several labels. Alternatively, weights by class name, 1 for classes that are
                not named; or None for no weights.

        Raises:
            InputError: unknown rule, or a weight that is not positive.
        """
        if isinstance(class_weights, str):
            check_choice("class_weights", class_weights, ["balanced"])
        elif class_weights is not None:
            check_positive(**{f"class_weights[{name}]": w for name, w in class_weights.items()})
        self._weighting = class_weights

    def training_labels(self) -> Tensor:
        """Return the class of each training sample, int64 (N,), negative for unlabeled samples; or
        its labels as zeros and ones, float32 (N, K)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement training_labels()")

    @property
    def class_weights(self) -> tuple[float, ...] | None:
        """Weight of each class in a classifier's loss; None without weights.

        Raises:
            InputError: the data have no classes, or no class of a given name.
        """
        if self._class_weights is None and self._weighting and not self.has_loaded_state:
            self._class_weights = self._compute_weights(self._weighting)
        return self._class_weights

    def state_dict(self) -> dict[str, Any]:
        if self.class_weights is None:
            return super().state_dict()
        empty: dict[str, Any] = {"learned": {}, "settings": {}}
        return empty | super().state_dict() | {"class_weights": list(self.class_weights)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        loaded = state_dict.get("class_weights")
        if self._weighting and not loaded:
            warnings.warn(
                f"class_weights={self._weighting} is not used: the model of the checkpoint was "
                "trained without class weights",
                stacklevel=2,
            )
        self._class_weights = tuple(loaded) if loaded else None
        super().load_state_dict(state_dict)

    def _compute_weights(self, weighting: str | Mapping[str, float]) -> tuple[float, ...]:
        names = self._names()
        if isinstance(weighting, Mapping):
            for name in weighting:
                if name not in names:
                    raise unknown("class in class_weights", name, names)
            return tuple(float(weighting.get(name, 1.0)) for name in names)
        labels = self.training_labels()
        if labels.is_floating_point():
            return positive_weights(labels)
        return balanced_weights(labels[labels >= 0].bincount(minlength=len(names)))

    def _names(self) -> list[str]:
        """Return the names of the classes."""
        data: Any = self
        try:
            return list(getattr(data, "class_names", None) or map(str, range(data.num_classes)))
        except AttributeError:
            raise InputError(
                f"class_weights cannot be used with the data of {type(self).__name__}, which have "
                "no classes"
            ) from None


def balanced_weights(counts: Tensor) -> tuple[float, ...]:
    """Return N / (K n_k) for each class, so that all classes have the same weight in total.

    Args:
        counts: number of samples n_k of each class, (classes,). A class without samples has the
            weight 1 and is not counted in K.
    """
    present = counts > 0
    weights = torch.ones(len(counts), dtype=torch.float64)
    weights[present] = counts.sum() / (present.sum() * counts[present].double())
    return tuple(weights.tolist())


def positive_weights(labels: Tensor) -> tuple[float, ...]:
    """Return (N − n_k) / n_k for each label, so that its presence and its absence have the same
    weight in total.

    Args:
        labels: zeros and ones (N, K). A label of all samples or of none has the weight 1.
    """
    present = labels.double().sum(0)
    absent = len(labels) - present
    weights = torch.where((present > 0) & (absent > 0), absent / present, 1.0)
    return tuple(weights.tolist())

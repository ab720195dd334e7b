"""Weighted means of the values that training steps return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Weighted means of named scalars, Σ wᵢ vᵢ / Σ wᵢ.

    ``update`` only stores references, so a training step neither computes nor synchronizes with the
    device; ``flush`` adds the stored values to the totals in a few tensor operations. A value may
    be None in steps that did not compute it.
    """

    def __init__(self) -> None:
        #: number of elements of each mean that ``compute`` returned last
        self.counts: dict[str, float] = {}
        self.reset()

    def __len__(self) -> int:
        """Return the number of steps since the last flush."""
        return len(self._values)

    def reset(self) -> None:
        """Delete all values and names."""
        self.names: list[str] = []
        self._values: list[list[Tensor | None]] = []
        self._weights: list[Tensor | float] = []
        self._sums: Tensor | None = None  # (2, names): Σ w v and Σ w

    def update(self, values: Mapping[str, Tensor | None], weight: Tensor | float) -> None:
        """Store the values of one step.

        Args:
            values: scalars by name.
            weight: number of elements over which the values are means.

        Raises:
            ValueError: the names differ from those of earlier steps.
        """
        if not self.names:
            self.names = list(values)
        elif values.keys() != set(self.names):
            raise ValueError(
                f"all steps must return the same values, got {sorted(values)} after "
                f"{sorted(self.names)}"
            )
        row = [values[name] for name in self.names]
        self._values.append([None if value is None else value.detach() for value in row])
        self._weights.append(weight)

    def first_nonfinite(self, name: str) -> int | None:
        """Return the index of the first step since the last flush with a non-finite value, or None.

        Args:
            name: name of the value.
        """
        if not self._values:
            return None
        column = self.names.index(name)
        steps = [(i, row[column]) for i, row in enumerate(self._values)]
        measured = [(i, value) for i, value in steps if value is not None]
        is_finite = torch.stack([value for _, value in measured]).isfinite()
        if bool(is_finite.all()):
            return None
        return measured[int((~is_finite).nonzero()[0])][0]

    def flush(self) -> dict[str, Tensor]:
        """Return the means since the last flush, and add the values to the totals."""
        if not self._values:
            return {}
        is_measured = [[value is not None for value in row] for row in self._values]
        example = next(value for row in self._values for value in row if value is not None)
        zero = torch.zeros_like(example)
        filled = [[zero if value is None else value for value in row] for row in self._values]
        rows = torch.stack([torch.stack(row) for row in filled])  # (steps, names)
        rows = rows.float() if rows.device.type == "mps" else rows.double()
        weights = torch.stack([torch.as_tensor(w).to(rows) for w in self._weights])[:, None]
        weights = weights * torch.tensor(is_measured).to(rows)
        sums = torch.stack([(weights * rows).sum(0), weights.sum(0)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._values, self._weights = [], []
        return self._means(sums, [any(column) for column in zip(*is_measured, strict=True)])

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, Tensor]:
        """Return the means since the last reset.

        Args:
            reduce: function that adds the sums of all processes, default the identity.
        """
        self.flush()
        if self._sums is None:
            return {}
        sums = reduce(self._sums.clone())
        counts = sums[1].tolist()
        self.counts = dict(zip(self.names, counts, strict=True))
        return self._means(sums, [count > 0 for count in counts])

    def _means(self, sums: Tensor, is_measured: list[bool]) -> dict[str, Tensor]:
        """Return the means by name, without those that no step measured."""
        means = (sums[0] / sums[1]).float().unbind()
        named = zip(self.names, means, is_measured, strict=True)
        return {name: mean for name, mean, measured in named if measured}

    def state_dict(self) -> dict[str, object]:
        """Return the totals and the values stored since the last flush, for a checkpoint.

        Nothing is flushed: a run that saves a checkpoint has the same means as one that does not.
        """
        return {
            "names": list(self.names),
            "sums": None if self._sums is None else self._sums.cpu(),
            "values": [[None if v is None else v.cpu() for v in row] for row in self._values],
            "weights": [w.cpu() if isinstance(w, Tensor) else w for w in self._weights],
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Replace everything with the state of a checkpoint."""
        self.reset()
        sums = state["sums"]
        self.names = list(state["names"])
        self._sums = None if sums is None else sums.to(device)
        self._values = [
            [None if v is None else v.to(device) for v in row] for row in state.get("values", [])
        ]
        self._weights = [
            w.to(device) if isinstance(w, Tensor) else w for w in state.get("weights", [])
        ]

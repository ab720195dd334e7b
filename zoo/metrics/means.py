"""Means of a step's numbers, gathered without stopping the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class RunningMeans:
    """Weighted means of named scalars: Σ wᵢ vᵢ / Σ wᵢ.

    ``update`` only keeps references, so that a training step pays for neither arithmetic nor a
    synchronisation; ``flush`` adds up what has come since in a few tensor operations. A value may
    be None in a step that did not measure it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.names: list[str] = []
        self._values: list[list[Tensor | None]] = []
        self._weights: list[Tensor | float] = []
        self._sums: Tensor | None = None  # (2, names): Σ w v and Σ w

    def update(self, values: Mapping[str, Tensor | None], weight: Tensor | float) -> None:
        """Takes in one step: scalars by name and the count their means were taken over.

        Raises:
            ValueError: when the names differ from those of earlier steps.
        """
        if not self.names:
            self.names = list(values)
        elif values.keys() != set(self.names):
            raise ValueError(f"a step gave {sorted(values)}, earlier ones {sorted(self.names)}")
        row = [values[name] for name in self.names]
        self._values.append([None if value is None else value.detach() for value in row])
        self._weights.append(weight)

    def first_nonfinite(self, name: str) -> int | None:
        """Position, since the last flush, of the first value of ``name`` that is not finite."""
        if not self._values:
            return None
        column = self.names.index(name)
        steps = [(i, row[column]) for i, row in enumerate(self._values)]
        measured = [(i, value) for i, value in steps if value is not None]
        finite = torch.stack([value for _, value in measured]).isfinite()
        if bool(finite.all()):
            return None
        return measured[int((~finite).nonzero()[0])][0]

    def flush(self) -> dict[str, Tensor]:
        """Means of what has come since the last flush, which is added to the totals."""
        if not self._values:
            return {}
        known = [[value is not None for value in row] for row in self._values]
        some = next(value for row in self._values for value in row if value is not None)
        zero = torch.zeros_like(some)
        filled = [[zero if value is None else value for value in row] for row in self._values]
        rows = torch.stack([torch.stack(row) for row in filled])  # (steps, names)
        rows = rows.float() if rows.device.type == "mps" else rows.double()
        weights = torch.stack([torch.as_tensor(w).to(rows) for w in self._weights])[:, None]
        weights = weights * torch.tensor(known).to(rows)
        sums = torch.stack([(weights * rows).sum(0), weights.sum(0)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._values, self._weights = [], []
        measured = [any(column) for column in zip(*known, strict=True)]
        return self._means(sums, measured)

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, Tensor]:
        """Means of everything since ``reset``; ``reduce`` adds up the sums of all processes."""
        self.flush()
        if self._sums is None:
            return {}
        sums = reduce(self._sums.clone())
        return self._means(sums, (sums[1] > 0).tolist())

    def _means(self, sums: Tensor, measured: list[bool]) -> dict[str, Tensor]:
        """By name, of those that some step measured."""
        means = (sums[0] / sums[1]).float().unbind()
        named = zip(self.names, means, measured, strict=True)
        return {name: mean for name, mean, there in named if there}

    def state_dict(self) -> dict[str, object]:
        """The totals so far, for a checkpoint in the middle of an epoch."""
        self.flush()
        return {"names": list(self.names), "sums": None if self._sums is None else self._sums.cpu()}

    def load_state_dict(self, state: Mapping[str, object], device: torch.device) -> None:
        self.reset()
        sums = state["sums"]
        if isinstance(sums, Tensor):
            self.names, self._sums = list(state["names"]), sums.to(device)  # type: ignore[call-overload]

"""Means of a step's numbers, gathered without stopping the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class RunningMeans:
    """Weighted means of named scalars: Σ wᵢ vᵢ / Σ wᵢ.

    ``update`` only keeps references, so that a training step pays for neither arithmetic nor a
    synchronisation; ``flush`` adds up what has come since in a few tensor operations.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.names: list[str] = []
        self._values: list[list[Tensor]] = []
        self._weights: list[Tensor | float] = []
        self._sums: Tensor | None = None  # (names + 1,), the last one the sum of weights

    def update(self, values: Mapping[str, Tensor], weight: Tensor | float) -> None:
        """Takes in one step: scalars by name and the count their means were taken over.

        Raises:
            ValueError: when the names differ from those of earlier steps.
        """
        if not self.names:
            self.names = list(values)
        elif values.keys() != set(self.names):
            raise ValueError(f"a step gave {sorted(values)}, earlier ones {sorted(self.names)}")
        self._values.append([values[name].detach() for name in self.names])
        self._weights.append(weight)

    def first_nonfinite(self, name: str) -> int | None:
        """Position, since the last flush, of the first value of ``name`` that is not finite."""
        if not self._values:
            return None
        column = self.names.index(name)
        finite = torch.stack([row[column] for row in self._values]).isfinite()
        if bool(finite.all()):
            return None
        return int((~finite).nonzero()[0])

    def flush(self) -> dict[str, Tensor]:
        """Means of what has come since the last flush, which is added to the totals."""
        if not self._values:
            return {}
        rows = torch.stack([torch.stack(row) for row in self._values])  # (steps, names)
        rows = rows.float() if rows.device.type == "mps" else rows.double()
        weights = torch.stack([torch.as_tensor(w).to(rows) for w in self._weights])
        sums = torch.cat([weights @ rows, weights.sum()[None]])
        self._sums = sums if self._sums is None else self._sums + sums
        self._values, self._weights = [], []
        return self._means(sums)

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, Tensor]:
        """Means of everything since ``reset``; ``reduce`` adds up the sums of all processes."""
        self.flush()
        return {} if self._sums is None else self._means(reduce(self._sums.clone()))

    def _means(self, sums: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, (sums[:-1] / sums[-1]).float(), strict=True))

    def state_dict(self) -> dict[str, object]:
        """The totals so far, for a checkpoint in the middle of an epoch."""
        self.flush()
        return {"names": list(self.names), "sums": None if self._sums is None else self._sums.cpu()}

    def load_state_dict(self, state: Mapping[str, object], device: torch.device) -> None:
        self.reset()
        sums = state["sums"]
        if isinstance(sums, Tensor):
            self.names, self._sums = list(state["names"]), sums.to(device)  # type: ignore[call-overload]

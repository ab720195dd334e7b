"""Exact solvers that look at the data in whole passes.

Every batch adds to sums, the last batch of an epoch adds up those of all processes and solves.
Memory depends on the number of features alone.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from zoo.core.task import Task
from zoo.errors import InputError, check_choice
from zoo.functional.moments import Moments


class ClosedFormTask(Task):
    """A task that may be solved by sums over whole passes instead of by an optimiser.

    With ``solver="gradient"`` it trains as any task does. Otherwise ``accumulate`` takes each batch and
    ``solve`` runs after the last one of an epoch; each solution counts as one step.
    """

    solvers: tuple[str, ...] = ("gradient",)

    def _set_solver(self, solver: str, allowed: dict[str, tuple[str, ...]]) -> None:
        """Checks a solver's name and that it can do the penalties asked for."""
        check_choice("solver", solver, self.solvers)
        self.automatic_optimization = solver == "gradient"
        if self.automatic_optimization:
            return
        able = allowed[solver]
        for name in ("l1", "l2", "lp", "max_norm"):
            value = self.hparams[name]
            if value and name not in able:
                raise InputError(
                    f"solver={solver!r} does not support {name}: choose solver='gradient'"
                )
            if isinstance(value, dict):
                raise InputError(f"solver={solver!r} takes one number for {name}, got {value}")

    def accumulate(self, x: Tensor, y: Tensor) -> None:
        """Adds a batch to the sums."""
        raise NotImplementedError(f"{type(self).__name__} has no gather(x, y)")

    def solve(self) -> tuple[dict[str, Tensor], int]:
        """Sets the weights from the sums; the training loss, its parts, and the sample count."""
        raise NotImplementedError(f"{type(self).__name__} has no solve()")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        if self.automatic_optimization:
            return super().training_step(batch, batch_idx)
        with torch.no_grad():
            self.accumulate(*batch)
            if self.trainer.is_last_batch:
                parts, samples = self.solve()
                self.record(parts | {"weight": torch.tensor(float(samples))}, batch)
                self.optimizers().step()
        return None

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return super().configure_optimizers()
        return torch.optim.SGD(self.parameters(), lr=1.0)  # it only counts the solutions

    def _check_finite(self, sums: Tensor, what: str = "feature") -> None:
        """Names the columns that hold nan or infinite values; ``sums`` has one for each."""
        bad = (~sums.isfinite()).nonzero()[:, 0].tolist()
        if bad:
            raise InputError(
                f"{what}(s) {', '.join(map(str, bad))} (counted from 0) hold nan or infinite "
                "values in the training data: clean them, or leave those columns out"
            )


class MomentsTask(ClosedFormTask):
    """A solver whose sums are the moments of rows: they merge over batches, processes and, through
    checkpoints, over an interruption in the middle of a pass."""

    sums: type[Moments] = Moments
    _moments: Moments | None = None

    def add_rows(self, rows: Tensor) -> None:
        """Adds the rows of a batch, (B, Q)."""
        batch = self.sums.from_samples(rows)
        self._moments = batch if self._moments is None else batch.merge(self._moments)

    def pop_moments(self) -> Moments:
        """The moments of all rows on all processes; the next pass begins anew."""
        own, self._moments = self._moments, None
        assert own is not None
        if self.trainer.world_size == 1:
            return own
        rows = int(self.all_gather(torch.tensor(own.num_rows, device=own.mean.device)).max())
        state = {name: self.all_gather(t) for name, t in own.padded(rows).state_dict().items()}
        parts = [
            self.sums.from_state_dict({name: t[rank] for name, t in state.items()})
            for rank in range(self.trainer.world_size)
        ]
        return reduce(lambda one, other: one.merge(other), parts)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self._moments is not None:  # in the middle of a pass
            checkpoint["moments"] = self._moments.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if "moments" in checkpoint:
            self._moments = self.sums.from_state_dict(checkpoint["moments"])

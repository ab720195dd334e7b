"""Tasks that are solved in closed form, or by passes over the data.

Every batch is added to sufficient statistics. After the last batch of an epoch they are summed over
all processes and solved for the weights. Memory depends only on the number of features.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from zoo.core.task import Task
from zoo.errors import InputError, check_choice
from zoo.functional.moments import FactoredMoments, Moments
from zoo.functional.precision import without_autocast


class ClosedFormTask(Task):
    """A task that can be solved from sufficient statistics instead of by an optimizer.

    With ``solver="gradient"`` it trains like any task. Otherwise ``accumulate`` takes each batch,
    and ``solve`` runs after the last one of an epoch; each solution counts as one step. Solutions
    and their evaluation are computed without autocast, also in mixed precision.
    """

    #: choices of the ``solver`` argument
    solvers: tuple[str, ...] = ("gradient",)

    def _set_solver(self, solver: str, allowed: dict[str, tuple[str, ...]]) -> None:
        """Select the solver: ``gradient`` is the optimizer; others must support the penalties.

        Args:
            solver: value of the ``solver`` argument.
            allowed: penalties that each solver supports, by its name.

        Raises:
            InputError: unknown solver, or a penalty that it does not support.
        """
        check_choice("solver", solver, self.solvers)
        self.automatic_optimization = solver == "gradient"
        if self.automatic_optimization:
            return
        for name in ("l1", "l2", "lp", "max_norm"):
            value = self.hparams[name]
            if value and name not in allowed[solver]:
                raise InputError(
                    f"solver={solver!r} does not support {name}: choose solver='gradient'"
                )
            if isinstance(value, dict):
                raise InputError(f"solver={solver!r} takes one number for {name}, got {value}")

    def accumulate(self, x: Tensor, y: Tensor) -> None:
        """Add a batch to the sufficient statistics."""
        raise NotImplementedError(f"{type(self).__name__} has no accumulate(x, y)")

    def solve(self) -> tuple[dict[str, Tensor], int]:
        """Set the weights from the statistics.

        Returns:
            The loss with named parts, and the number of samples.
        """
        raise NotImplementedError(f"{type(self).__name__} has no solve()")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        if self.automatic_optimization:
            return super().training_step(batch, batch_idx)
        with torch.no_grad(), without_autocast([self.device.type]):
            self.accumulate(*batch)
            if self.trainer.is_last_batch:
                parts, samples = self.solve()
                self.record(parts | {"weight": torch.tensor(float(samples))}, batch)
                self._count_step()
        return None

    def _count_step(self) -> None:
        """Take an optimizer step that changes nothing, so that the Trainer counts the solution."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None:  # it needs a loss to scale, and gradients to inspect
            scaler.scale(torch.zeros((), device=self.device))
            for p in self.parameters():
                p.grad = torch.zeros_like(p)
        self.optimizers().step()
        self.zero_grad()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        with without_autocast([self.device.type]):
            super().validation_step(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        with without_autocast([self.device.type]):
            super().test_step(batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> Any:
        with without_autocast([self.device.type]):
            return super().predict_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return super().configure_optimizers()
        return torch.optim.SGD(self.parameters(), lr=1.0)  # only counts the solutions

    def _check_finite(self, sums: Tensor, what: str = "feature") -> None:
        """Raise :class:`InputError` if a column contains nan or infinite values.

        Args:
            sums: one value per column, not finite if an entry of the column is not.
            what: word for a column in the message, default ``feature``.
        """
        bad = (~sums.isfinite()).nonzero()[:, 0].tolist()
        if bad:
            raise InputError(
                f"{what}(s) {', '.join(map(str, bad))} (counted from 0) contain nan or infinite "
                "values in the training data: clean the data, or leave these columns out"
            )


class MomentsTask(ClosedFormTask):
    """A task whose sufficient statistics are the moments of rows.

    They are merged over batches and processes, and stored in checkpoints, so that a pass can resume
    in the middle.
    """

    #: class of the moments
    moments_class: type[Moments] = Moments
    _moments: Moments | None = None

    def add_rows(self, rows: Tensor) -> None:
        """Add the rows of a batch, (B, Q), to the moments."""
        batch = self.moments_class.from_samples(rows)
        self._moments = batch if self._moments is None else batch.merge(self._moments)

    def pop_moments(self) -> Moments:
        """Return the moments of all rows on all processes, and reset them."""
        own, self._moments = self._moments, None
        assert own is not None
        if self.trainer.world_size == 1:
            return own
        rows = int(self.all_gather(torch.tensor(own.num_rows, device=own.mean.device)).max())
        state = {name: self.all_gather(t) for name, t in own.padded(rows).state_dict().items()}
        parts = [
            self.moments_class.from_state_dict({name: t[rank] for name, t in state.items()})
            for rank in range(self.trainer.world_size)
        ]
        return reduce(lambda one, other: one.merge(other), parts)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self._moments is not None:  # saved in the middle of a pass
            checkpoint["moments"] = self._moments.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if "moments" in checkpoint:
            state = checkpoint["moments"]
            self.moments_class = FactoredMoments if "factor" in state else Moments
            self._moments = self.moments_class.from_state_dict(state)

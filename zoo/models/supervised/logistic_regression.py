"""Logistic regression, solved by Newton's method or by SGD."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.core.closed_form import ClosedFormTask
from zoo.errors import InputError, check_positive
from zoo.functional.linear import logistic_loss_gradient_hessian, solve_normal_equations


class LogisticRegression(ClosedFormTask, Classifier):
    """Linear classifier p(k|x) = softmax(W x + b)_k; for two classes p(1|x) = σ(w·x + b).

    Minimizes the mean cross-entropy + l1 Σ|W| + l2 Σ W², which is convex. scikit-learn's ``C``
    corresponds to l2 = 1/(2 n C).

    Newton's method (iteratively reweighted least squares) takes one step per epoch and halves steps
    that increase the loss. If a plane separates the classes, there is no finite solution without a
    penalty; training then stops with a warning.

    Args:
        input_shape: shape of one sample, flattened to P features.
        num_classes: number of classes, K; two classes share one row of weights.
        solver: ``newton`` (default; supports l2) or ``gradient`` (the optimizer; supports all
            penalties).
        tolerance: largest component of the mean gradient at which Newton's method stops, default
            1e-6.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Shapes: (B, *input_shape) → logits (B, K).

    Raises:
        InputError: unknown solver, or one that does not support a given option; nan or infinite
            values in the training data.

    Source: Hastie, Tibshirani and Friedman, The elements of statistical learning, 2009, section
    4.4.
    """

    solvers = ("newton", "gradient")
    max_weights = 5_000  # largest number of weights for which the Hessian is computed

    has_output_per_class: ClassVar[bool] = False

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        solver: str = "newton",
        tolerance: float = 1e-6,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        check_positive(tolerance=tolerance)
        self.num_features = math.prod(input_shape)
        self.num_rows = 1 if num_classes == 2 else num_classes
        self._set_solver(solver, {"newton": ("l2",)})
        if solver == "newton":
            self._check_newton()
        self._sums: dict[str, Tensor] = {}
        self._best: dict[str, Tensor] = {}  # weights of the lowest loss so far, and that loss

    def build(self) -> None:
        self.network = nn.Linear(self.num_features, self.num_rows)
        for parameter in self.network.parameters():
            nn.init.zeros_(parameter)

    def logits(self, x: Tensor) -> Tensor:
        return self._with_class_0(self.network(x.flatten(1)))

    def accumulate(self, x: Tensor, y: Tensor) -> None:
        dtype = torch.float32 if x.device.type == "mps" else torch.float64
        design = F.pad(x.flatten(1).to(dtype), (0, 1), value=1.0)  # (B, P + 1)
        logits = self._with_class_0(design @ self._weights().to(dtype).mT)
        loss, gradient, hessian = logistic_loss_gradient_hessian(design, logits, y)
        if self.num_classes == 2:  # class 0 has no weights
            gradient, hessian = gradient[1:], hessian[1:, :, 1:]
        batch = {
            "n": torch.tensor(float(len(x)), dtype=dtype, device=x.device),
            "features": design[:, :-1].sum(0),
            "loss": loss,
            "gradient": gradient,
            "hessian": hessian,
            "correct": (logits.argmax(1) == y).sum().to(dtype),
        }
        self._sums = {k: v + self._sums[k].to(v) if self._sums else v for k, v in batch.items()}

    def solve(self) -> tuple[dict[str, Tensor], int]:
        reduce = self.trainer.strategy.reduce
        sums = {name: reduce(value, reduce_op="sum") for name, value in self._sums.items()}
        self._sums = {}
        self._check_finite(sums["features"])
        weights = self._weights().to(sums["gradient"])
        parts = self._parts(weights, sums)
        if self._is_worse(parts["loss"]):
            self._halve_step(weights)
        else:
            self._best = {"weights": weights, "loss": parts["loss"]}
            self._take_newton_step(weights, sums, parts)
        return parts, int(sums["n"])

    # -- Newton's method -------------------------------------------------------------------------

    def _parts(self, weights: Tensor, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the loss and its parts at the weights for which the sums were computed."""
        nll = sums["loss"] / sums["n"]
        penalty = self.hparams["l2"] * (_penalized_mask(weights) * weights).square().sum()
        parts = {"loss": nll + penalty, "nll": nll, "accuracy": sums["correct"] / sums["n"]}
        return parts | ({"penalty": penalty} if self.hparams["l2"] else {})

    def _is_worse(self, loss: Tensor) -> bool:
        return bool(self._best) and float(loss) > float(self._best["loss"]) * (1 + 1e-12)

    def _halve_step(self, weights: Tensor) -> None:
        """Move halfway back to the best weights; stop once they are reached."""
        best = self._best["weights"].to(weights)
        halfway = (best + weights) / 2
        if torch.equal(halfway.to(self.network.weight.dtype).to(halfway), best):
            self.trainer.should_stop = True
        self._set_weights(halfway)

    def _take_newton_step(
        self, weights: Tensor, sums: dict[str, Tensor], parts: dict[str, Tensor]
    ) -> None:
        """Set W ← W − H⁻¹ g; stop instead if the gradient or the loss is close to zero."""
        l2, n, penalized = self.hparams["l2"], sums["n"], _penalized_mask(weights)
        gradient = sums["gradient"] / n + 2 * l2 * penalized * weights
        hessian = sums["hessian"].flatten(2).flatten(0, 1) / n
        hessian = hessian + torch.diag(2 * l2 * penalized.flatten())
        nll = float(parts["nll"])
        if float(gradient.abs().max()) > self.hparams["tolerance"] and nll >= 1e-7:
            step, _ = solve_normal_equations(hessian, gradient.flatten()[:, None])
            self._set_weights(weights - step.view_as(weights))
            return
        self.trainer.should_stop = True
        if not l2 and nll < 1e-3 and float(parts["accuracy"]) == 1:
            rank_zero_warn(
                "a plane separates the classes: without a penalty the weights grow without bound; "
                "training stops here; set l2 for a finite solution"
            )

    def _check_newton(self) -> None:
        """Raise InputError if Newton's method does not support the arguments."""
        weights = self.num_rows * (self.num_features + 1)
        if weights > self.max_weights:
            raise InputError(
                f"Newton's method for {weights:,} weights needs a Hessian of {weights:,}² entries: "
                "choose solver='gradient'"
            )
        for name in ("label_smoothing", "mixup", "class_weights"):
            if self.hparams[name]:
                raise InputError(f"{name} needs solver='gradient' (--model.solver gradient)")

    # -- weights ---------------------------------------------------------------------------------

    def _with_class_0(self, scores: Tensor) -> Tensor:
        """Add the logit of class 0, which is 0, where two classes share one row of weights."""
        return F.pad(scores, (1, 0)) if self.num_classes == 2 else scores

    def _weights(self) -> Tensor:
        """Return the weights and, in the last column, the intercepts, (rows, P + 1)."""
        return torch.cat([self.network.weight, self.network.bias[:, None]], dim=1)

    def _set_weights(self, weights: Tensor) -> None:
        self.network.weight.copy_(weights[:, :-1])
        self.network.bias.copy_(weights[:, -1])

    # -- checkpoints -----------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["newton"] = {"sums": self._sums, "best": self._best}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint.get("newton", {"sums": {}, "best": {}})
        self._sums, self._best = dict(state["sums"]), dict(state["best"])


def _penalized_mask(weights: Tensor) -> Tensor:
    """Return ones for weights and zeros for intercepts, which are not penalized."""
    mask = torch.ones_like(weights)
    mask[:, -1] = 0
    return mask

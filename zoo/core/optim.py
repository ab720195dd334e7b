"""Optimisers and learning-rate schedules by name.

A schedule multiplies the learning rate by a factor of the fraction of training done, t in [0, 1],
after a linear warm-up from near zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from zoo.errors import InputError, check_choice

# Newton-Schulz coefficients that push singular values into about [0.7, 1.2] in five steps;
# Jordan et al., "Muon: an optimizer for hidden layers", 2024.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Replaces every singular value by one near 1: G = U S Vᵀ → about U Vᵀ, without an SVD.

    X ← a X + (b A + c A²) X with A = X Xᵀ, started from G / ‖G‖_F.

    Args:
        matrices: G, (..., rows, columns). In bfloat16 on a GPU, else in the type they come in: a
            CPU without bfloat16 arithmetic is over ten times slower in it.
        steps: iterations, default 5.

    Returns:
        The same shape and type.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    transposed = x.shape[-2] > x.shape[-1]
    if transposed:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if transposed else x).to(matrices.dtype)


class Muon(Optimizer):
    """Momentum, orthogonalised, for weight matrices; AdamW for everything else.

    For a matrix: m ← μ m + g;  W ← (1 − ηλ) W − η √max(1, rows/columns) · orth(g + μ m).
    Matrices of equal shape are orthogonalised together. A convolution's kernel counts as
    (outputs, everything else).

    Args:
        params: parameters or groups. Those with at least two dimensions, in groups that do not say
            ``muon=False``, are taken as matrices.
        lr: η for matrices, default 0.02.
        momentum: μ, default 0.95, in Nesterov's form.
        weight_decay: λ, default 0; decoupled.
        adam_lr: learning rate of the AdamW part, default 3e-4; a schedule scales both.
        betas: of the AdamW part, default (0.9, 0.95).
        eps: of the AdamW part, default 1e-8.
        steps: Newton-Schulz iterations, default 5.

    Source: Jordan et al., "Muon: an optimizer for hidden layers", 2024.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        adam_lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        steps: int = 5,
    ) -> None:
        super().__init__(self._split(params, lr, adam_lr), {"lr": lr, "weight_decay": weight_decay})
        self.momentum, self.betas, self.eps, self.steps = momentum, betas, eps, steps

    @staticmethod
    def _split(params: Iterable[Any], lr: float, adam_lr: float) -> list[dict[str, Any]]:
        """Each group as one of matrices and one of the rest."""
        params = list(params)
        groups = params if params and isinstance(params[0], dict) else [{"params": params}]
        split = []
        for group in groups:
            rest = {k: v for k, v in group.items() if k not in ("params", "muon")}
            matrices: list[Tensor] = []
            others: list[Tensor] = []
            for p in group["params"]:
                (matrices if p.ndim >= 2 and group.get("muon", True) else others).append(p)
            for members, muon, rate in ((matrices, True, lr), (others, False, adam_lr)):
                if members:
                    split.append({"lr": rate, **rest, "params": members, "muon": muon})
        return split

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            (self._muon if group["muon"] else self._adam)(group)
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        shapes: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].mul_(self.momentum).add_(p.grad)
            update = p.grad.add(state["momentum"], alpha=self.momentum).flatten(1)
            shapes.setdefault(tuple(update.shape), []).append((p, update))
        for (rows, columns), members in shapes.items():
            updates = orthogonalize(torch.stack([u for _, u in members]), self.steps)
            scale = -group["lr"] * math.sqrt(max(1.0, rows / columns))
            for (p, _), update in zip(members, updates, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p), alpha=scale)

    def _adam(self, group: dict[str, Any]) -> None:
        beta1, beta2 = self.betas
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            state["mean"].lerp_(p.grad, 1 - beta1)
            state["square"].lerp_(p.grad.square(), 1 - beta2)
            mean = state["mean"] / (1 - beta1 ** state["step"])
            scale = (state["square"] / (1 - beta2 ** state["step"])).sqrt_().add_(self.eps)
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.addcdiv_(mean, scale, value=-group["lr"])


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "muon": Muon,
    "lbfgs": torch.optim.LBFGS,
}
FUSED = ("sgd", "adam", "adamw")


def decay_groups(module: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Trainable parameters as optimiser groups; only weights of two or more dimensions decay."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    if not decay:
        return [{"params": trainable}]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    name: str,
    groups: list[dict[str, Any]],
    lr: float,
    options: dict[str, Any] | None = None,
    fused: bool = False,
) -> Optimizer:
    """The optimiser called ``name``: ``sgd``, ``adam``, ``adamw``, ``muon`` or ``lbfgs``.

    Args:
        name: see above.
        groups: parameter groups as ``torch.optim`` takes them; one that does not say
            ``weight_decay`` has none (``torch.optim.AdamW`` by itself has 0.01).
        lr: learning rate.
        options: further keyword arguments of the optimiser (``momentum`` and ``nesterov`` of SGD,
            ``betas``, …). SGD has momentum 0.9 and L-BFGS the strong-Wolfe line search unless
            told otherwise.
        fused: one kernel for the whole step where the optimiser has one.

    Raises:
        InputError: unknown name or option.
    """
    check_choice("optimizer", name, OPTIMIZERS)
    kwargs: dict[str, Any] = {}
    if name != "lbfgs":
        kwargs["weight_decay"] = 0.0
    if name == "sgd":
        kwargs["momentum"] = 0.9
    if name in FUSED:
        kwargs["fused"] = fused
    if name == "lbfgs":
        if any(group.get("weight_decay") for group in groups):
            raise InputError("optimiser 'lbfgs' has no weight decay: leave weight_decay at 0")
        kwargs["line_search_fn"] = "strong_wolfe"
        groups = [{"params": [p for group in groups for p in group["params"]]}]
    kwargs.update(options or {})
    try:
        return OPTIMIZERS[name](groups, lr=lr, **kwargs)  # type: ignore[call-arg]
    except TypeError as error:
        raise InputError(f"optimiser {name!r}: {str(error).split('__init__() ')[-1]}") from error


def check_optimizer(name: str, options: dict[str, Any] | None = None) -> None:
    """Raise :class:`InputError` for an unknown optimizer, or options that it does not take."""
    weight = torch.zeros(1, 1, requires_grad=True)
    make_optimizer(name, [{"params": [weight]}], 0.1, options)


def check_schedule(name: str, options: dict[str, Any] | None = None) -> None:
    """Raise :class:`InputError` for an unknown schedule, or options that it does not take."""
    check_choice("schedule", name, SCHEDULES)
    weight = torch.zeros(1, requires_grad=True)
    make_schedule(name, torch.optim.SGD([weight], lr=0.1), 10, options=options)


def _linear(t: float, final: float = 0.0) -> float:
    return 1 - (1 - final) * t


def _inverse(t: float, rate: float = 9.0) -> float:
    return 1 / (1 + rate * t)


def _exponential(t: float, final: float = 0.01) -> float:
    return final**t


def _cosine(t: float, final: float = 0.0) -> float:
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * t))


DECAYS: dict[str, Callable[..., float]] = {
    "linear": _linear,
    "inverse": _inverse,
    "exponential": _exponential,
    "cosine": _cosine,
}
SCHEDULES = ("constant", *DECAYS, "one_cycle")


def make_schedule(
    name: str,
    optimizer: Optimizer,
    total_steps: float,
    warmup: float = 0.0,
    options: dict[str, Any] | None = None,
) -> LRScheduler | None:
    """The schedule called ``name``, stepped once per optimiser step; None where the rate is fixed.

    ========== ===================================== =======================
    name       factor at fraction t of training      options (default)
    ========== ===================================== =======================
    constant   1
    linear     1 − (1 − final) t                     final (0)
    inverse    1 / (1 + rate t)                      rate (9)
    exponential final^t                              final (0.01)
    cosine     final + (1 − final)(1 + cos πt)/2     final (0)
    one_cycle  ``torch.optim.lr_scheduler.OneCycleLR`` its own
    ========== ===================================== =======================

    Args:
        name: see the table.
        optimizer: whose rate is scaled.
        total_steps: optimiser steps of the whole training.
        warmup: steps (≥ 1) or fraction of training (< 1) over which the factor rises linearly from
            near 0; the schedule then runs over the rest. ``one_cycle`` has a rise of its own.
        options: see the table.

    Raises:
        InputError: unknown name or option, no end to training, warm-up longer than training.
    """
    check_choice("schedule", name, SCHEDULES)
    options = options or {}
    if name == "constant" and not warmup:
        return None
    needs_end = name != "constant" or warmup < 1
    if needs_end and not math.isfinite(total_steps):
        raise InputError(f"schedule {name!r} needs an end: set trainer.max_epochs or max_steps")
    try:
        if name == "one_cycle":
            if warmup:
                raise InputError("schedule 'one_cycle' warms up by itself (option pct_start)")
            rates = [group["lr"] for group in optimizer.param_groups]
            cycles = {"cycle_momentum": bool({"momentum", "betas"} & set(optimizer.defaults))}
            return OneCycleLR(optimizer, rates, int(total_steps), **(cycles | options))
        decay = DECAYS.get(name, lambda t: 1.0)
        decay(0.0, **options)
    except TypeError as error:
        raise InputError(f"schedule {name!r}: {error}") from error
    rise = int(warmup) if warmup >= 1 else round(warmup * total_steps)
    if rise >= total_steps:
        raise InputError(f"warm-up of {rise} steps does not fit training of {total_steps:.0f}")

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        t = (step - rise) / max(1, total_steps - rise)
        return decay(min(t, 1.0), **options)

    return LambdaLR(optimizer, factor)

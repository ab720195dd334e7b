"""Optimizers and learning-rate schedules by name.

A schedule multiplies the learning rate by a factor that depends on the fraction of training done,
t in [0, 1], after a linear warm-up from near zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from zoo.errors import InputError, check_choice

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

# Newton-Schulz coefficients that bring singular values into about [0.7, 1.2] in five steps; Jordan
# et al., "Muon: an optimizer for hidden layers", 2024
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Replace every singular value by one near 1, G = U S Vᵀ → about U Vᵀ, without an SVD.

    Newton-Schulz iteration: X ← a X + (b A + c A²) X with A = X Xᵀ, starting at G / ‖G‖_F.

    Args:
        matrices: G, (..., rows, columns). A GPU computes in bfloat16; other devices keep the dtype
            of G, as bfloat16 is over ten times slower on a CPU without native support.
        steps: number of iterations, default 5.

    Returns:
        A tensor of the same shape and dtype.
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
    """Orthogonalized momentum for weight matrices, AdamW for all other parameters.

    For a matrix: m ← μ m + g;  W ← (1 − ηλ) W − η √max(1, rows/columns) · orth(g + μ m).

    ``torch.optim.Muon`` computes the same update for matrices. This class also takes convolution
    kernels, as matrices (output channels, all other dimensions), and all other parameters, so that
    one optimizer trains a whole model. It orthogonalizes matrices of the same shape together, and
    on a CPU in their own dtype.

    Args:
        params: parameters or parameter groups. Parameters with at least two dimensions are treated
            as matrices, unless their group has ``muon=False``.
        lr: learning rate of matrices, η, default 0.02.
        momentum: μ, default 0.95, in Nesterov's form.
        weight_decay: λ, default 0; decoupled.
        adam_lr: learning rate of the AdamW part, default 3e-4; a schedule scales both.
        betas: β₁ and β₂ of the AdamW part, default (0.9, 0.95).
        eps: ε of the AdamW part, default 1e-8.
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
        """Split each group into one of matrices and one of all other parameters."""
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
    """Return the trainable parameters of a module as optimizer groups.

    Weight decay applies only to parameters with two or more dimensions.
    """
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
    """Create an optimizer by name.

    Args:
        name: ``sgd``, ``adam``, ``adamw``, ``muon`` or ``lbfgs``.
        groups: parameter groups in the form of ``torch.optim``; the default weight decay of a group
            is 0 (``torch.optim.AdamW`` has 0.01).
        lr: learning rate.
        options: additional keyword arguments of the optimizer (``momentum``, ``betas``, …), default
            none. Unless set here, SGD has momentum 0.9 and L-BFGS the strong-Wolfe line search.
        fused: whether to compute the whole step in one kernel if the optimizer supports it, default
            False.

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
            raise InputError("optimizer 'lbfgs' has no weight decay: leave weight_decay at 0")
        kwargs["line_search_fn"] = "strong_wolfe"
        groups = [{"params": [p for group in groups for p in group["params"]]}]
    kwargs.update(options or {})
    try:
        return OPTIMIZERS[name](groups, lr=lr, **kwargs)  # type: ignore[call-arg]
    except TypeError as error:
        raise InputError(f"optimizer {name!r}: {str(error).split('__init__() ')[-1]}") from error


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
    """Create a schedule by name, to be stepped once per optimizer step; None for a constant rate.

    =========== ====================================== =================
    name        factor at fraction t of training       options (default)
    =========== ====================================== =================
    constant    1
    linear      1 − (1 − final) t                      final (0)
    inverse     1 / (1 + rate t)                       rate (9)
    exponential final^t                                final (0.01)
    cosine      final + (1 − final)(1 + cos πt)/2      final (0)
    one_cycle   torch.optim.lr_scheduler.OneCycleLR    of that class
    =========== ====================================== =================

    Args:
        name: see the table.
        optimizer: optimizer whose learning rates are scaled.
        total_steps: optimizer steps of the whole training.
        warmup: steps (≥ 1) or fraction of training (< 1) over which the factor rises linearly from
            near 0, default 0; the schedule then covers the rest. ``one_cycle`` has its own warm-up.
        options: see the table, default none.

    Raises:
        InputError: unknown name or option; training without an end; warm-up longer than training.
    """
    check_choice("schedule", name, SCHEDULES)
    options = options or {}
    if name == "constant" and not warmup:
        return None
    needs_end = name != "constant" or warmup < 1
    if needs_end and not math.isfinite(total_steps):
        raise InputError(
            f"schedule {name!r} needs the length of training: set trainer.max_epochs or max_steps"
        )
    try:
        if name == "one_cycle":
            if warmup:
                raise InputError(
                    "schedule 'one_cycle' has its own warm-up: leave warmup at 0, or set "
                    "pct_start in schedule_options"
                )
            rates = [group["lr"] for group in optimizer.param_groups]
            cycles = {"cycle_momentum": bool({"momentum", "betas"} & set(optimizer.defaults))}
            return OneCycleLR(optimizer, rates, max(1, int(total_steps)), **(cycles | options))
        decay = DECAYS.get(name, lambda t: 1.0)
        decay(0.0, **options)
    except TypeError as error:
        raise InputError(f"schedule {name!r}: {error}") from error
    rise = int(warmup) if warmup >= 1 else round(warmup * total_steps)
    if rise >= total_steps:
        raise InputError(
            f"warmup ({rise} steps) must be shorter than training ({total_steps:.0f} steps)"
        )

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        t = (step - rise) / max(1, total_steps - rise)
        return decay(min(t, 1.0), **options)

    schedule = LambdaLR(optimizer, factor)
    if math.isfinite(total_steps):
        # in checkpoints, as that of OneCycleLR
        schedule.total_steps = int(total_steps)  # type: ignore[attr-defined]
    return schedule


def can_fuse(module: LightningModule) -> bool:
    """Return whether fused optimizer kernels can be used for all parameters of a model.

    They unscale gradients themselves, too late for clipping in mixed precision.
    """
    trainer = module.trainer
    clips_scaled = trainer.gradient_clip_val and "mixed" in str(trainer.precision)
    kinds = {p.device.type for p in module.parameters()}
    floats = all(p.is_floating_point() for p in module.parameters())
    return floats and kinds <= {"cpu", "cuda"} and not clips_scaled

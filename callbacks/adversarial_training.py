"""Training and validation under attack, for any classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction, as_normal_tensor, frozen_eval, unpack_batch
from zoo.attacks.combine import with_new_seed
from zoo.attacks.goals import Goal
from zoo.attacks.gradient import PGD, RandomFGSM
from zoo.core.classification import Classifier
from zoo.core.report import print_rank_zero
from zoo.errors import InputError
from zoo.functional.norm_balls import project_to_ball, steepest_direction


class AdversarialTraining(Callback):
    """min_θ E max_{‖δ‖ ≤ ε} L(θ, x + δ, y): each batch is attacked before the model learns from it.

    Validation and test add ``robust_accuracy``, the share that is right without the attack and
    under it: checkpoints and early stopping can watch ``val/robust_accuracy``.

    Attacks see the model in evaluation mode, so that no running mean of a batch norm knows of them;
    the model then learns from the attacked batch in training mode. They are computed without
    autocast, by the unwrapped module: mixed precision, several processes and a compiled network
    change nothing.

    Args:
        attack: of training. It draws other random numbers in every step.
        mix: share of the samples of a batch that are attacked, default 1; of graphs and meshes,
            share of the batches.
        eps_warmup: steps (≥ 1) or fraction of training (< 1) over which ε rises linearly from 0,
            default 0.
        every_n: attacks every n-th batch alone, default 1.
        val_attack: of validation and test, default ``attack``.

    Raises:
        ValueError: a mix outside [0, 1]; every_n below 1.
        InputError: a model that is no classifier.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, 2018.
    """

    #: parts that ``learn`` adds to those of the module's own step
    adds: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        attack: Attack,
        mix: float = 1.0,
        eps_warmup: float = 0.0,
        every_n: int = 1,
        val_attack: Attack | None = None,
    ) -> None:
        if not 0 <= mix <= 1:
            raise ValueError(f"mix must be in [0, 1], got {mix}")
        if every_n < 1:
            raise ValueError(f"every_n must be at least 1, got {every_n}")
        self.attack, self.val_attack = attack, val_attack or attack
        self.mix, self.eps_warmup, self.every_n = mix, eps_warmup, every_n
        self._batches = 0

    # -- in the place of the module's own step ----------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Classifier):
            raise InputError(
                f"{type(self).__name__} needs a classifier, {type(pl_module).__name__} is none"
            )
        pl_module.step = partial(self._step, pl_module, pl_module.step)  # type: ignore[method-assign]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pl_module.__dict__.pop("step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, error: Any) -> None:
        self.teardown(trainer, pl_module, "fit")  # which Lightning leaves out then

    def _step(self, module: Classifier, step: Any, batch: Any) -> dict[str, Any]:
        if not module.training:
            return step(batch) | {"robust_accuracy": self.robust_accuracy(module, batch)}
        number = self._batches
        self._batches += 1
        if number % self.every_n:
            return step(batch) | dict.fromkeys(self.adds)
        return self.learn(module, step, batch, self.current_attack(module.trainer, number))

    def current_attack(self, trainer: Trainer, number: int) -> Attack:
        """The attack on the ``number``-th batch: random numbers of its own, ε as far as it rose."""
        attack = with_new_seed(self.attack, 1 + number * trainer.world_size + trainer.global_rank)
        if not self.eps_warmup:
            return attack
        steps = self.eps_warmup
        if steps < 1:
            steps *= trainer.estimated_stepping_batches
        share = min(1.0, (trainer.global_step + 1) / max(1.0, steps))
        return attack.with_eps(share * attack_eps(attack))

    def learn(self, module: Classifier, step: Any, batch: Any, attack: Attack) -> dict[str, Any]:
        """The step on what the attack makes of the batch."""
        if not isinstance(batch, tuple | list):
            due = math.floor(self._batches * self.mix) > math.floor((self._batches - 1) * self.mix)
            return step(attack.on_batch(module, batch) if due else batch)
        x, y = batch
        count = round(self.mix * len(x))
        attacked = attack(module, x[:count], y[:count]).to(x) if count else x[:0]
        return step((torch.cat([attacked, x[count:]]), y))

    def robust_accuracy(self, module: Classifier, batch: Any) -> Tensor:
        """Share of a batch that is right without and under the attack of validation."""
        with torch.no_grad():
            right = self._right(module, batch)
            attacked = self.val_attack.on_batch(module, batch)
            return (right & self._right(module, attacked)).float().mean()

    @staticmethod
    def _right(module: Classifier, batch: Any) -> Tensor:
        scores, y = module.scores_and_labels(batch)
        return module.probabilities(scores).argmax(1) == y  # of an ensemble, the members' mean

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._batches = state_dict["batches"]


def attack_eps(attack: Any) -> float:
    """ε of an attack, or of the attack inside it.

    Raises:
        InputError: it has none.
    """
    while not hasattr(attack, "eps"):
        inner = getattr(attack, "attack", None) or next(iter(getattr(attack, "attacks", ())), None)
        if inner is None:
            raise InputError(f"{attack.name} has no eps that could rise: leave eps_warmup at 0")
        attack = inner
    return attack.eps


class FastAdversarialTraining(AdversarialTraining):
    """One gradient step of 1.25 ε from a random point of the ball, and a guard.

    Training on one step may suddenly learn to be blind to it, while several steps break everything:
    catastrophic overfitting. After each epoch the guard attacks its first training samples with
    ten steps of PGD; where accuracy there has fallen by more than ``fall`` from the best epoch's,
    the weights of the epoch before come back and training ends, said so. Metrics: adds
    ``train/robust_accuracy``, what the guard sees.

    Args:
        eps: ε, in the units of x.
        norm: default ``linf``.
        step_size: default 1.25 ε.
        fall: in accuracy, default 0.2.
        guarded: samples that the guard attacks in each process, default 500, up to whole batches.
        bounds: of samples, default (0, 1).
        val_attack: default ten steps of PGD.
        **training: see :class:`AdversarialTraining`.

    Source: Wong et al., Fast is better than free, 2020, sections 4 and 5.
    """

    def __init__(
        self,
        eps: float,
        norm: str = "linf",
        step_size: float | None = None,
        fall: float = 0.2,
        guarded: int = 500,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        val_attack: Attack | None = None,
        **training: Any,
    ) -> None:
        attack = RandomFGSM(eps=eps, norm=norm, step_size=step_size, bounds=bounds)
        ten = PGD(eps=eps, norm=norm, steps=10, bounds=bounds)
        super().__init__(attack, val_attack=val_attack or ten, **training)
        self.fall, self.guarded, self._ten = fall, guarded, ten
        self._best = 0.0
        self._guarded: list[tuple[Tensor, Tensor]] = []
        self._weights: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self._guarded = []
        if sum(len(y) for _, y in self._guarded) < self.guarded:
            self._guarded.append(unpack_batch(batch, type(self).__name__))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._guarded:  # resumed behind the last batch of an epoch
            return
        right = []
        with frozen_eval(pl_module), torch.no_grad():
            for x, y in self._guarded:
                found = self._ten(pl_module, x, y)
                right.append(
                    ScoreFunction(pl_module)(as_normal_tensor(found)).argmax(1)
                    == as_normal_tensor(y)
                )
        local = torch.cat(right).float().mean()
        accuracy = float(trainer.strategy.reduce(local, reduce_op="mean"))
        pl_module.log("train/robust_accuracy", accuracy)
        if self._weights and accuracy < self._best - self.fall:
            pl_module.load_state_dict(self._weights)
            trainer.should_stop = True
            print_rank_zero(
                f"epoch {trainer.current_epoch}: accuracy under ten steps fell from "
                f"{self._best:.3f} to {accuracy:.3f}, catastrophic overfitting; the weights of the "
                "epoch before are back and training ends"
            )
            return
        self._best = max(self._best, accuracy)
        self._weights = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best": self._best, "weights": self._weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._best, self._weights = state_dict["best"], state_dict["weights"]


class FreeAdversarialTraining(AdversarialTraining):
    """One backward pass serves the weights and the perturbation: δ ← Π(δ + ε steepest(∇_δ L)).

    Each batch is replayed ``replays`` times, with an optimiser's step each; δ goes on from one
    replay and one batch to the next. A tenth of the epochs of ordinary training or fewer is
    enough: an epoch here costs ``replays`` of them. The Trainer counts a step for each batch.

    Args:
        eps: ε, in the units of x.
        norm: default ``linf``.
        replays: default 8.
        bounds: of samples, default (0, 1).
        val_attack: default ten steps of PGD.

    Raises:
        ValueError: fewer than one replay.
        InputError: gradients that are accumulated over batches.

    Source: Shafahi et al., Adversarial training for free!, 2019, algorithm 1.
    """

    def __init__(
        self,
        eps: float,
        norm: str = "linf",
        replays: int = 8,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        val_attack: Attack | None = None,
    ) -> None:
        if replays < 1:
            raise ValueError(f"replays must be at least 1, got {replays}")
        ten = PGD(eps=eps, norm=norm, steps=10, bounds=bounds)
        super().__init__(ten, val_attack=val_attack)
        self.replays, self._ball = replays, ten
        self._delta: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and trainer.accumulate_grad_batches != 1:
            raise InputError("FreeAdversarialTraining: leave trainer.accumulate_grad_batches at 1")
        pl_module.optimizer_step = partial(self._replay, pl_module.optimizer_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        pl_module.__dict__.pop("optimizer_step", None)
        self._delta = None

    def _replay(self, optimizer_step: Any, *args: Any, **kwargs: Any) -> None:
        for _ in range(self.replays):
            optimizer_step(*args, **kwargs)

    def learn(self, module: Classifier, step: Any, batch: Any, attack: Attack) -> dict[str, Any]:
        x, y = unpack_batch(batch, type(self).__name__)
        kept = self._delta
        if kept is None or kept.shape[1:] != x.shape[1:] or len(kept) < len(x):
            kept = torch.zeros_like(x)
        delta = kept[: len(x)].to(x)
        # inside the bounds, so that x + δ is a sample
        self._delta = (self._ball.clip(x + delta) - x).detach().requires_grad_()
        return step((x + self._delta, y))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._delta is None or self._delta.grad is None:
            return
        ball = self._ball
        moved = self._delta.detach() + ball.eps * steepest_direction(self._delta.grad, ball.norm)
        self._delta = project_to_ball(moved, ball.eps, ball.norm)


@dataclass(frozen=True)
class Divergence(Goal):
    """Away from what the model says without an attack: KL(p(x) ‖ p(x′)) rises.

    Args:
        clean: log p(x), (B, K).
    """

    clean: Tensor | None = None

    def reached(self, scores: Tensor) -> Tensor:
        return torch.zeros(len(scores), dtype=torch.bool, device=scores.device)

    def loss(self, scores: Tensor, name: str) -> Tensor:
        return divergence(self.clean, scores)


def divergence(clean: Any, scores: Tensor) -> Tensor:
    """KL(p ‖ softmax(scores)) of each sample in nats, from log p, (B, K) → (B,)."""
    return F.kl_div(scores.log_softmax(1), clean, reduction="none", log_target=True).sum(1)


class TRADES(AdversarialTraining):
    """L(x, y) + β max_{‖x′−x‖ ≤ ε} KL(p(x) ‖ p(x′)): accuracy, and a smooth neighbourhood.

    Args:
        attack: a PGD, whose loss is KL(p(x) ‖ p(x′)) here, whatever it says.
        beta: β, default 6.
        **training: see :class:`AdversarialTraining`; ``mix`` must stay 1.

    Metrics: adds ``divergence``, the second term without β, nats.

    Raises:
        InputError: scores of several members.
        ValueError: a mix, or an attack that is no PGD.

    Source: Zhang et al., Theoretically principled trade-off between robustness and accuracy, 2019,
    equation 5 and algorithm 1.
    """

    adds = ("divergence",)

    def __init__(self, attack: PGD, beta: float = 6.0, **training: Any) -> None:
        super().__init__(attack, **training)
        if self.mix != 1.0:
            raise ValueError("TRADES has the clean samples in its loss: leave mix at 1")
        if not isinstance(attack, PGD):
            raise ValueError(f"TRADES needs a PGD, got {type(attack).__name__}")
        self.beta = beta

    def learn(self, module: Classifier, step: Any, batch: Any, attack: Attack) -> dict[str, Any]:
        x, y = unpack_batch(batch, type(self).__name__)
        with frozen_eval(module):
            with torch.no_grad():
                clean = module.logits(x).log_softmax(1)
            found = attack.perturb(ScoreFunction(module, y), x, Divergence(y, None, clean)).detach()
        scores = module.scores(x)
        if scores.ndim != 2:
            raise InputError(
                f"TRADES needs one set of scores for a sample, {type(module).__name__} has "
                f"{tuple(scores.shape[1:])}"
            )
        parts = module.parts(scores, y)
        apart = divergence(scores.log_softmax(1), module.logits(found.to(x))).mean()
        return parts | {"loss": parts["loss"] + self.beta * apart, "divergence": apart}

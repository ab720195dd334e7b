"""Adversarial training, and validation under attack, for any classifier."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from zoo.attacks.base import Attack, ScoreFunction, as_normal_tensor, frozen_eval, unpack_batch
from zoo.attacks.goals import Divergence, kl_divergence
from zoo.attacks.gradient import PGD, RandomFGSM
from zoo.attacks.wrappers import with_new_seed
from zoo.core.classification import Classifier
from zoo.errors import (
    InputError,
    check_at_least,
    check_count_or_fraction,
    check_fraction,
    check_non_negative,
)
from zoo.functional.norm_balls import project_to_ball, steepest_direction
from zoo.functional.precision import widen


class AdversarialTraining(Callback):
    """Train on adversarial samples: min_θ E max_{‖δ‖ ≤ ε} L(θ, x + δ, y).

    Each training batch is attacked before the optimization step. Validation and test add
    ``robust_accuracy``, the fraction of samples classified correctly both without the attack and
    under it; checkpoints and early stopping can monitor ``val/robust_accuracy``.

    The attack runs with the model in evaluation mode, so the running statistics of batch norm
    layers do not see its intermediate points; the training step on the attacked batch then runs in
    training mode. The attack uses the unwrapped module without autocast, so it is the same under
    mixed precision, in several processes and with a compiled network.

    Args:
        attack: attack on the training batches; its seed changes with every step.
        adversarial_fraction: fraction of each batch that is attacked, default 1; for graphs and
            meshes, fraction of the batches that are attacked.
        eps_warmup: steps (≥ 1) or fraction of training (< 1) over which ε increases linearly from
            0, default 0.
        every_n_batches: attack only every n-th batch; default 1.
        val_attack: attack in validation and test, default ``attack``.

    Raises:
        InputError: ``adversarial_fraction`` outside [0, 1]; ``every_n_batches`` below 1; negative
            ``eps_warmup``; a model that is not a classifier.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, 2018.
    """

    #: metrics that ``adversarial_step`` adds to those of the module's own step
    extra_metrics: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        attack: Attack,
        adversarial_fraction: float = 1.0,
        eps_warmup: float = 0.0,
        every_n_batches: int = 1,
        val_attack: Attack | None = None,
    ) -> None:
        check_fraction(adversarial_fraction=adversarial_fraction)
        check_count_or_fraction(eps_warmup=eps_warmup)
        check_at_least(1, every_n_batches=every_n_batches)
        self.attack, self.val_attack = attack, val_attack or attack
        self.adversarial_fraction = adversarial_fraction
        self.eps_warmup, self.every_n_batches = eps_warmup, every_n_batches
        self._num_batches = 0  # training batches so far

    # -- replacing the module's step ---------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Classifier):
            raise InputError(
                f"{type(self).__name__} requires a Classifier, got {type(pl_module).__name__}"
            )
        pl_module.step = partial(self._step, pl_module, pl_module.step)  # type: ignore[method-assign]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pl_module.__dict__.pop("step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, error: Any) -> None:
        self.teardown(trainer, pl_module, "fit")  # Lightning skips teardown after an exception

    def _step(self, module: Classifier, step: Any, batch: Any) -> dict[str, Any]:
        if not module.training:
            return step(batch) | {"robust_accuracy": self.robust_accuracy(module, batch)}
        index = self._num_batches
        self._num_batches += 1
        if index % self.every_n_batches:
            return step(batch) | dict.fromkeys(self.extra_metrics)
        attack = self.scheduled_attack(module.trainer, index)
        return self.adversarial_step(module, step, batch, attack)

    def scheduled_attack(self, trainer: Trainer, batch_index: int) -> Attack:
        """Return the attack on a training batch, with its own seed and the current ε."""
        offset = 1 + batch_index * trainer.world_size + trainer.global_rank
        attack = with_new_seed(self.attack, offset)
        if not self.eps_warmup:
            return attack
        warmup_steps = self.eps_warmup
        if warmup_steps < 1:
            warmup_steps *= trainer.estimated_stepping_batches
        factor = min(1.0, (trainer.global_step + 1) / max(1.0, warmup_steps))
        return attack.with_eps(factor * attack_eps(attack))

    def adversarial_step(
        self, module: Classifier, step: Any, batch: Any, attack: Attack
    ) -> dict[str, Any]:
        """Run the module's step on the attacked batch and return its loss and metrics.

        Args:
            module: the classifier.
            step: the module's own step.
            batch: training batch.
            attack: attack with its seed and ε for this batch.
        """
        fraction = self.adversarial_fraction
        if not isinstance(batch, tuple | list):
            # spread the attacked batches evenly: one whenever count · fraction passes an integer
            count = self._num_batches
            is_due = math.floor(count * fraction) > math.floor((count - 1) * fraction)
            return step(attack.perturb_batch(module, batch) if is_due else batch)
        x, y = batch
        count = round(fraction * len(x))
        attacked = attack(module, x[:count], y[:count]).to(x) if count else x[:0]
        return step((torch.cat([attacked, x[count:]]), y))

    def robust_accuracy(self, module: Classifier, batch: Any) -> Tensor:
        """Compute the fraction of a batch that is correct both without and under ``val_attack``."""
        with torch.no_grad():
            correct = self._is_correct(module, batch)
            attacked = self.val_attack.perturb_batch(module, batch)
            return (correct & self._is_correct(module, attacked)).float().mean()

    @staticmethod
    def _is_correct(module: Classifier, batch: Any) -> Tensor:
        scores, y = module.scores_and_labels(batch)
        # the probabilities of an ensemble are the mean over its members
        return module.probabilities(scores).argmax(1) == y

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self._num_batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._num_batches = state_dict["batches"]


def attack_eps(attack: Any) -> float:
    """Return ε of an attack, or of the attack that it wraps.

    Raises:
        InputError: neither has an ε.
    """
    while not hasattr(attack, "eps"):
        inner = getattr(attack, "attack", None) or next(iter(getattr(attack, "attacks", ())), None)
        if inner is None:
            raise InputError(f"{attack.name} has no eps to warm up: leave eps_warmup at 0")
        attack = inner
    return attack.eps


class FastAdversarialTraining(AdversarialTraining):
    """Fast adversarial training: FGSM with a random start, and a guard against its failure.

    The failure is catastrophic overfitting: a model trained on single-step attacks suddenly becomes
    robust to them, but loses all robustness to multi-step attacks. After each epoch the guard
    attacks the first training samples of the epoch with PGD-10. If the accuracy on them is lower
    than in the best epoch by more than ``max_accuracy_drop``, the weights of the previous epoch are
    restored, and training ends with a warning.

    Args:
        eps: radius ε, in the units of x.
        norm: norm of the ball, default ``linf``.
        step_size: step size of FGSM, default 1.25 ε.
        max_accuracy_drop: largest drop in accuracy that the guard tolerates, default 0.2.
        guard_samples: number of samples that the guard attacks in each process, default 500,
            rounded up to whole batches.
        bounds: bounds of the samples, default (0, 1).
        val_attack: attack in validation and test, default PGD-10.
        **training: see :class:`AdversarialTraining`.

    Metrics: adds ``train/robust_accuracy``, the accuracy under the guard's attack.

    Source: Wong et al., Fast is better than free, 2020, sections 4 and 5.
    """

    def __init__(
        self,
        eps: float,
        norm: str = "linf",
        step_size: float | None = None,
        max_accuracy_drop: float = 0.2,
        guard_samples: int = 500,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        val_attack: Attack | None = None,
        **training: Any,
    ) -> None:
        attack = RandomFGSM(eps=eps, norm=norm, step_size=step_size, bounds=bounds)
        pgd = PGD(eps=eps, norm=norm, steps=10, bounds=bounds)
        super().__init__(attack, val_attack=val_attack or pgd, **training)
        check_fraction(max_accuracy_drop=max_accuracy_drop)
        check_at_least(1, guard_samples=guard_samples)
        self.max_accuracy_drop, self.guard_samples = max_accuracy_drop, guard_samples
        self._guard_attack = pgd
        self._guard_batches: list[tuple[Tensor, Tensor]] = []
        self._best_accuracy = 0.0
        self._weights: dict[str, Tensor] = {}  # after the previous epoch

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self._guard_batches = []
        if sum(len(y) for _, y in self._guard_batches) < self.guard_samples:
            self._guard_batches.append(unpack_batch(batch, type(self).__name__))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._guard_batches:  # resumed from a checkpoint of an earlier version
            return
        accuracy = self._guard_accuracy(trainer, pl_module)
        self._guard_batches = []
        pl_module.log("train/robust_accuracy", accuracy)
        if self._weights and accuracy < self._best_accuracy - self.max_accuracy_drop:
            pl_module.load_state_dict(self._weights)
            trainer.should_stop = True
            rank_zero_warn(
                f"catastrophic overfitting in epoch {trainer.current_epoch}: accuracy under PGD-10 "
                f"dropped from {self._best_accuracy:.3f} to {accuracy:.3f}; the weights of the "
                "previous epoch are restored, and training ends"
            )
            return
        self._best_accuracy = max(self._best_accuracy, accuracy)
        self._weights = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}

    def _guard_accuracy(self, trainer: Trainer, module: LightningModule) -> float:
        """Compute the accuracy under the guard's attack, averaged over processes."""
        correct = []
        with frozen_eval(module), torch.no_grad():
            for batch in self._guard_batches:
                x, y = (tensor.to(module.device) for tensor in batch)
                x_adv = as_normal_tensor(self._guard_attack(module, x, y))
                correct.append(ScoreFunction(module)(x_adv).argmax(1) == as_normal_tensor(y))
        local = torch.cat(correct).float().mean()
        return float(trainer.strategy.reduce(local, reduce_op="mean"))

    def state_dict(self) -> dict[str, Any]:
        guard = [[x.cpu(), y.cpu()] for x, y in self._guard_batches]  # of an unfinished epoch
        state = {"best": self._best_accuracy, "weights": self._weights, "guard_batches": guard}
        return super().state_dict() | state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._best_accuracy, self._weights = state_dict["best"], state_dict["weights"]
        self._guard_batches = [(x, y) for x, y in state_dict.get("guard_batches", [])]


class FreeAdversarialTraining(AdversarialTraining):
    """Free adversarial training: one backward pass updates both the weights and the perturbation.

    Each batch is replayed several times, with δ ← Π(δ + ε steepest(∇_δ L)) and an optimizer step in
    every replay. δ is kept from each replay to the next, and from each batch to the next. An epoch
    costs as much as ``replays`` ordinary epochs; the paper divides the number of epochs by
    ``replays``. The Trainer counts one step per batch.

    Args:
        eps: radius ε, in the units of x.
        norm: norm of the ball, default ``linf``.
        replays: number of replays of each batch, default 8.
        bounds: bounds of the samples, default (0, 1).
        val_attack: attack in validation and test, default PGD-10.

    Raises:
        InputError: fewer than one replay; gradient accumulation over several batches.

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
        check_at_least(1, replays=replays)
        pgd = PGD(eps=eps, norm=norm, steps=10, bounds=bounds)
        super().__init__(pgd, val_attack=val_attack)
        self.replays, self._ball = replays, pgd
        self._delta: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and trainer.accumulate_grad_batches != 1:
            raise InputError(
                "FreeAdversarialTraining needs trainer.accumulate_grad_batches=1, got "
                f"{trainer.accumulate_grad_batches}"
            )
        pl_module.optimizer_step = partial(self._replay, pl_module.optimizer_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        pl_module.__dict__.pop("optimizer_step", None)
        self._delta = None

    def _replay(self, optimizer_step: Any, *args: Any, **kwargs: Any) -> None:
        for _ in range(self.replays):
            optimizer_step(*args, **kwargs)

    def adversarial_step(
        self, module: Classifier, step: Any, batch: Any, attack: Attack
    ) -> dict[str, Any]:
        x, y = unpack_batch(batch, type(self).__name__)
        delta = self._delta
        if delta is None or delta.shape[1:] != x.shape[1:] or len(delta) < len(x):
            delta = torch.zeros_like(x)
        delta = delta[: len(x)].to(x)
        # clip x + δ to the bounds
        self._delta = (self._ball.clip(x + delta) - x).detach().requires_grad_()
        return step((x + self._delta, y))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._delta is None or self._delta.grad is None:
            return
        ball = self._ball
        delta = self._delta.detach() + ball.eps * steepest_direction(self._delta.grad, ball.norm)
        self._delta = project_to_ball(delta, ball.eps, ball.norm)


class TRADES(AdversarialTraining):
    """TRADES: L(x, y) + β max_{‖x′−x‖ ≤ ε} KL(p(x) ‖ p(x′)), accuracy traded against smoothness.

    Args:
        attack: PGD; its ``loss`` is ignored, as it maximizes KL(p(x) ‖ p(x′)).
        beta: β, weight of the divergence, default 6.
        **training: see :class:`AdversarialTraining`; ``adversarial_fraction`` must be 1.

    Metrics: adds ``divergence``, the KL divergence without β, in nats.

    Raises:
        InputError: ``adversarial_fraction`` is not 1; the attack is not PGD; the model has several
            sets of scores per sample, such as an ensemble.

    Source: Zhang et al., Theoretically principled trade-off between robustness and accuracy, 2019,
    equation 5 and algorithm 1.
    """

    extra_metrics = ("divergence",)

    def __init__(self, attack: PGD, beta: float = 6.0, **training: Any) -> None:
        super().__init__(attack, **training)
        if self.adversarial_fraction != 1.0:
            raise InputError(
                f"TRADES needs adversarial_fraction=1, got {self.adversarial_fraction}: its loss "
                "already includes the clean samples"
            )
        if not isinstance(attack, PGD):
            raise InputError(f"TRADES needs a PGD attack, got {type(attack).__name__}")
        check_non_negative(beta=beta)
        self.beta = beta

    def adversarial_step(
        self, module: Classifier, step: Any, batch: Any, attack: Attack
    ) -> dict[str, Any]:
        x, y = unpack_batch(batch, type(self).__name__)
        with frozen_eval(module), torch.no_grad():
            clean = ScoreFunction(module)(as_normal_tensor(x)).log_softmax(1)
        x_adv = attack.run(module, x, Divergence(y, None, clean))
        scores = widen(module.scores(x))
        if scores.ndim != 2:
            raise InputError(
                f"TRADES needs one set of scores per sample, got scores of shape "
                f"{tuple(scores.shape)} from {type(module).__name__}"
            )
        parts = module.parts(scores, y)
        divergence = kl_divergence(scores.log_softmax(1), widen(module.logits(x_adv.to(x)))).mean()
        loss = parts["loss"] + self.beta * divergence
        return parts | {"loss": loss, "divergence": divergence}

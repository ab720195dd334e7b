"""Two networks that are trained one against the other, in Lightning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.core.distributed import average_gradients
from zoo.core.optim import decay_groups, make_optimizer, make_schedule
from zoo.core.regularization import apply_max_norm
from zoo.errors import check_at_least
from zoo.models.latent.base import LatentModel


class AdversarialTask(LatentModel):
    """A latent model with two optimisers: a critic's (0) and a generator's (1).

    Lightning leaves to such a model what it does for one optimiser. Here are a step of one network
    alone, clipping and norms of its gradient, accumulated batches, schedules, the averaging over
    processes, and one step of the Trainer for each of the critic.

    Args:
        n_critic: steps of the critic for each of the generator, default 1.
        critic_lr: the critic's learning rate, default ``lr`` (Heusel et al., 2017).
        gradient_clip_val: largest norm of a network's gradient, default none. The Trainer's own
            serves one optimiser only.
        accumulate_grad_batches: batches to a step of each network, default 1: k batches of B count
            as one of k·B.
        weight_clip: largest absolute value of the critic's weights, default none (Arjovsky et al.,
            Wasserstein GAN, 2017, algorithm 1).
        **latent: see :class:`zoo.models.latent.base.LatentModel`.

    Raises:
        ValueError: counts below 1.
    """

    discriminator: nn.Module
    generator: nn.Module

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        discriminator_steps: int = 1,
        discriminator_lr: float | None = None,
        gradient_clip_val: float | None = None,
        accumulate_grad_batches: int = 1,
        weight_clip: float | None = None,
        **latent: Any,
    ) -> None:
        super().__init__(input_shape, latent_dim, **latent)
        check_at_least(
            1,
            discriminator_steps=discriminator_steps,
            accumulate_grad_batches=accumulate_grad_batches,
        )
        self.automatic_optimization = False
        self._norms: list[Tensor | None] = [None, None]  # of the newest gradients

    def adversaries(self) -> tuple[nn.Module, nn.Module]:
        """The critic and the generator, in the order of their optimisers."""
        return self.discriminator, self.generator

    @contextmanager
    def _only(self, index: int) -> Iterator[None]:
        """Gradients of one network alone.

        Two backward passes in one forward pass are more than DistributedDataParallel follows, so
        its own averaging is off, and ``_step`` averages.
        """
        optimizer = self.optimizers()[index]
        block = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        quiet: AbstractContextManager[Any] = block()
        with quiet:
            self.toggle_optimizer(optimizer)
            try:
                yield
            finally:
                self.untoggle_optimizer(optimizer)

    @torch.no_grad()
    def _step(self, index: int) -> None:
        """A step of one network on the gradients that have come together."""
        network = self.adversaries()[index]
        optimizer = self.optimizers()[index]
        average_gradients(network)
        if index:  # Lightning counts every optimiser's steps: the critic's are one a batch
            optimizer._on_before_step = optimizer._on_after_step = _nothing
        optimizer.step()
        optimizer.zero_grad()
        if self.hparams["max_norm"]:
            apply_max_norm(self, self.hparams["max_norm"])
        if self.hparams["schedule"] != "constant" or self.hparams["warmup"]:
            self.lr_schedulers()[index].step()
        if not index and self.hparams["weight_clip"]:
            for p in network.parameters():
                p.clamp_(-self.hparams["weight_clip"], self.hparams["weight_clip"])

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Measures and clips the gradient; a gradient scaler has been undone by now."""
        index = next(i for i, own in enumerate(self.trainer.optimizers) if own is optimizer)
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
        self._norms[index] = norm
        if limit := self.hparams["gradient_clip_val"]:
            nn.utils.clip_grads_with_norm_(weights, limit, norm)

    def configure_optimizers(self) -> Any:
        hp = self.hparams
        rates = (hp["discriminator_lr"] or hp["lr"], hp["lr"])
        optimizers = [
            make_optimizer(
                hp["optimizer"], decay_groups(network, hp["weight_decay"]), rate,
                hp["optimizer_options"], self._fused(),
            )
            for network, rate in zip(self.adversaries(), rates, strict=True)
        ]  # fmt: skip
        total = self._total_steps()
        schedules = [
            make_schedule(hp["schedule"], o, max(1.0, steps), hp["warmup"], hp["schedule_options"])
            for o, steps in zip(optimizers, (total, total / hp["discriminator_steps"]), strict=True)
        ]
        return optimizers, [s for s in schedules if s is not None]

    def _total_steps(self) -> float:
        """Steps of the whole training; the Trainer does not know how batches are accumulated."""
        trainer = self.trainer
        if trainer.estimated_stepping_batches == math.inf:  # asked for: it sets the data up
            return math.inf
        every = self.hparams["accumulate_grad_batches"]
        steps = [math.inf, math.inf]
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            steps[0] = math.ceil(trainer.num_training_batches / every) * trainer.max_epochs
        if trainer.max_steps >= 0:
            steps[1] = trainer.max_steps
        return min(steps)

    def _fused(self) -> bool:
        # a fused step undoes a gradient scaler by itself, too late to measure and to clip
        return super()._fused() and self.trainer.precision != "16-mixed"

    def logged_step(self) -> int:
        return self.trainer.fit_loop.total_batch_idx


def _nothing() -> None:
    pass

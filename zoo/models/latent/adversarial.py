"""AdversarialTask: the base class of models that train a discriminator and a generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.core.distributed import average_gradients
from zoo.core.optim import decay_groups, make_optimizer, make_schedule
from zoo.core.regularization import apply_max_norm
from zoo.errors import check_at_least, check_non_negative
from zoo.models.latent.base import LatentModel

DISCRIMINATOR, GENERATOR = 0, 1  # indices of the optimizers


class AdversarialTask(LatentModel):
    """A latent model that trains a discriminator and a generator, each with its own optimizer.

    With two optimizers, Lightning leaves the whole training step to the model ("manual
    optimization"). This class adds what that mode lacks: steps of one network at a time, gradient
    clipping and gradient norms of each network, accumulation of batches, learning-rate schedules,
    and averaging of gradients over processes. The Trainer counts the discriminator's steps.

    A subclass creates ``discriminator`` and ``generator`` in ``build``, and calls
    :meth:`train_only` and :meth:`update_network` in ``training_step``.

    Args:
        input_shape: shape of one sample.
        latent_dim: dimension of a code, D, default 64.
        discriminator_steps: steps of the discriminator for each step of the generator, default 1.
        discriminator_lr: learning rate of the discriminator, default ``lr`` (two time-scale update
            rule; Heusel et al., 2017).
        gradient_clip_val: largest norm of the gradient of each network, default none. Use it
            instead of the Trainer's, which does not support two optimizers.
        accumulate_grad_batches: batches for each step of a network, default 1: k batches of size B
            count as one of size k·B. Use it instead of the Trainer's.
        weight_clip: largest absolute value of the discriminator's weights, default none (Arjovsky
            et al., Wasserstein GAN, 2017, algorithm 1).
        **latent: see :class:`~zoo.models.latent.base.LatentModel`.

    Raises:
        InputError: ``discriminator_steps`` or ``accumulate_grad_batches`` below 1; a negative
            learning rate or limit.
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
        check_non_negative(
            discriminator_lr=discriminator_lr,
            gradient_clip_val=gradient_clip_val,
            weight_clip=weight_clip,
        )
        self.automatic_optimization = False
        # gradient norm of each network in its step after this batch; None if it takes no step
        self._gradient_norms: list[Tensor | None] = [None, None]

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        """Return the two networks in the order of their optimizers."""
        return self.discriminator, self.generator

    # -- steps ----------------------------------------------------------------------------------

    @contextmanager
    def train_only(self, index: int) -> Iterator[None]:
        """Compute gradients of one network only.

        DistributedDataParallel does not support two backward passes for one forward pass, so its
        averaging of gradients is turned off; :meth:`update_network` averages them instead.
        """
        block = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        with block(), self.toggled_optimizer(self.optimizers()[index]):
            yield

    @torch.no_grad()
    def update_network(self, index: int) -> None:
        """Update one network with its accumulated gradients."""
        network = self._networks()[index]
        optimizer = self.optimizers()[index]
        average_gradients(network)
        if index == GENERATOR:  # keep the Trainer from counting the generator's steps too
            optimizer._on_before_step = optimizer._on_after_step = _do_nothing
        optimizer.step()
        optimizer.zero_grad()
        if self.hparams["max_norm"]:
            apply_max_norm(self, self.hparams["max_norm"])
        if self.hparams["schedule"] != "constant" or self.hparams["warmup"]:
            self.lr_schedulers()[index].step()
        limit = self.hparams["weight_clip"]
        if index == DISCRIMINATOR and limit:
            for p in network.parameters():
                p.clamp_(-limit, limit)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Record the norm of the gradient, and clip it."""
        # a gradient scaler has unscaled the gradient by now
        index = next(i for i, own in enumerate(self.trainer.optimizers) if own is optimizer)
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
        self._gradient_norms[index] = norm
        if limit := self.hparams["gradient_clip_val"]:
            nn.utils.clip_grads_with_norm_(weights, limit, norm)

    def logged_step(self) -> int:
        return self.trainer.fit_loop.total_batch_idx

    def schedule_positions(self, global_step: int) -> list[int]:
        return [global_step, global_step // self.hparams["discriminator_steps"]]

    # -- optimizers -----------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        hp = self.hparams
        discriminator_lr = hp["lr"] if hp["discriminator_lr"] is None else hp["discriminator_lr"]
        rates = (discriminator_lr, hp["lr"])
        optimizers = [
            make_optimizer(
                hp["optimizer"], decay_groups(network, hp["weight_decay"]), rate,
                hp["optimizer_options"], self._fused(),
            )
            for network, rate in zip(self._networks(), rates, strict=True)
        ]  # fmt: skip
        total = self._total_steps()
        schedules = [
            make_schedule(hp["schedule"], o, max(1.0, steps), hp["warmup"], hp["schedule_options"])
            for o, steps in zip(optimizers, (total, total / hp["discriminator_steps"]), strict=True)
        ]
        return optimizers, [s for s in schedules if s is not None]

    def _total_steps(self) -> float:
        """Return the number of discriminator steps of the whole training, or infinity.

        The Trainer's own estimate does not take the model's ``accumulate_grad_batches`` into
        account.
        """
        trainer = self.trainer
        if trainer.estimated_stepping_batches == math.inf:  # this property also sets up the data
            return math.inf
        limits = [math.inf]
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            limits.append(self.steps_per_epoch() * trainer.max_epochs)
        if trainer.max_steps >= 0:
            limits.append(trainer.max_steps)
        return self._resumption.total_steps(min(limits))

    def steps_per_epoch(self) -> float:
        batches = self.trainer.num_training_batches  # infinite until the data are set up
        window = self.hparams["accumulate_grad_batches"]
        return math.ceil(batches / window) if math.isfinite(batches) else math.inf

    def _fused(self) -> bool:
        # a fused step unscales gradients itself, after they have been measured and clipped
        return super()._fused() and self.trainer.precision != "16-mixed"


def _do_nothing() -> None:
    pass

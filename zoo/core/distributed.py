"""Distributed helpers: process group, random state and collectives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn


def destroy_process_group() -> None:
    """Destroy the process group; left alive, its threads can abort the process at exit."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def temporary_seed(seed: int) -> Iterator[None]:
    """Seed the global random generators of Python and torch, and restore them afterwards."""
    with isolate_rng():
        random.seed(seed)
        torch.manual_seed(seed)
        yield


def random_state() -> dict[str, Any]:
    """Return the state of the global random generators that training uses in this process.

    It consists of tensors and plain values, which ``weights_only=True`` can read.
    """
    version, internal, gauss = random.getstate()
    state = {"python": [version, list(internal), gauss], "torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore a state that :func:`random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def all_gather_objects(value: Any, world_size: int) -> list[Any]:
    """Return the ``value`` of every process, in the order of their ranks."""
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values


def weight_correction(trainer: Any, parts: dict[str, Any]) -> Tensor | float:
    """Return the term that turns a mean over processes into a mean over elements.

    Gradients are averaged as if every process had the same number of tokens or nodes.

    Args:
        trainer: the run's trainer.
        parts: results of a training step, with the number of elements as ``weight``, if it varies.
    """
    if "weight" not in parts or trainer.world_size == 1:
        return 0.0
    loss: Tensor = parts["loss"]
    weight = torch.as_tensor(parts["weight"], device=loss.device).to(loss.dtype)
    mean = trainer.strategy.reduce(weight.clone(), reduce_op="mean")
    return (weight / mean - 1) * loss


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Average the gradients and the buffers of a network over all processes, in place."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    values = [p.grad for p in network.parameters() if p.grad is not None]
    values += [b for b in network.buffers() if b.is_floating_point()]
    flat = torch.cat([value.flatten() for value in values])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = flat.split([value.numel() for value in values])
    for value, part in zip(values, parts, strict=True):
        value.copy_(part.view_as(value))

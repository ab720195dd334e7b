"""Processes: their memory, what several of them share, and how they part."""

from __future__ import annotations

import ctypes
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # mallopt(3)


def keep_freed_memory() -> None:
    """Keeps the memory of freed tensors for the next step, where the C library is glibc.

    It would hand large blocks back to the system and fetch them anew in every step, page by page:
    a fifth of a step of a wide convolutional network on a CPU, half of it for ten networks at
    once. The price is that a process never shrinks below its peak.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)  # no blocks outside the heap, which go back at once
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # and the heap is never cut


def destroy_process_group() -> None:
    """Ends communication before the interpreter does: its threads could abort the process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def temporary_seed(seed: int) -> Iterator[None]:
    """The global random generators from a seed; afterwards as they were."""
    before = random_state()
    random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(before)


def random_state() -> dict[str, Any]:
    """State of the global random generators that training draws from, on this process's devices."""
    version, internal, gauss = random.getstate()
    state = {"python": [version, list(internal), gauss], "torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def all_gather_objects(value: Any, world_size: int) -> list[Any]:
    """``value`` of every process, in the order of their ranks."""
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Sets the gradients and the buffers of a network to their means over all processes."""
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

"""Workarounds for overhead in libraries, each with the time that it saves."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from typing import Any

from lightning.pytorch.profilers import PassThroughProfiler

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of mallopt(3)


class NullProfiler(PassThroughProfiler):
    """Profiler that does nothing, at a lower cost than Lightning's ``PassThroughProfiler``.

    The training loop enters the profiler over forty times a step. Lightning's profiler creates a
    generator each time; this one returns the same empty context.
    """

    context = contextlib.nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.context


class FastHookName:
    """Mixin for a LightningModule that sets the name of the running hook directly.

    Lightning assigns ``_current_fx_name`` over forty times a step. ``nn.Module.__setattr__`` checks
    each time whether the value is a parameter or a submodule, which is a third of the cost of the
    loop itself.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


def skip_nvml_check() -> None:
    """Unset an environment variable, set by Lightning, that slows down optimizers without a GPU.

    With ``PYTORCH_NVML_BASED_CUDA_CHECK`` set, torch looks for NVIDIA's library in every optimizer
    step; without a GPU the search takes as long as the step of a tiny model.
    """
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def keep_freed_memory() -> None:
    """Keep the memory of freed tensors in the process, where the C library is glibc.

    By default glibc returns large blocks to the system and fetches them again, page by page, in
    every step. That takes a fifth of a step of a wide convolutional network on a CPU, and half of
    a step of an ensemble of ten networks. In return the process never shrinks below its peak.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)  # no blocks outside the heap: those are returned when freed
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never shrink the heap

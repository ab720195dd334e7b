"""Half precision: values widened to float32, and code that runs without autocast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widen(x: Tensor) -> Tensor:
    """Convert a tensor in half precision to float32; return any other unchanged.

    Losses and metrics are computed on widened values: bfloat16 has three significant digits, and
    the largest number in float16 is 65,504.
    """
    return x.float() if x.dtype in HALF else x


@contextmanager
def without_autocast(devices: Iterable[str]) -> Iterator[None]:
    """Disable autocast, which would compute matrix products in half precision.

    Args:
        devices: types of the devices, such as ``cpu`` and ``cuda``.
    """
    with ExitStack() as stack:
        for device in devices:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield

"""Workarounds for overhead in libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from zoo.core.speed import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    blocks = [torch.ones(12_000_000) for _ in range(4)]  # 48 MB each
    return sum(float(block[-1]) for block in blocks)

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(3):
    step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting exists in Linux's C library only")
def test_freed_memory_stays_in_the_process() -> None:
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True,
                           check=True).stdout)
        for mode in ("keep", "return")
    )  # fmt: skip
    assert 10 * kept < returned

"""Benchmarks: speed and quality of the zoo, compared with plain PyTorch loops and other libraries.

Each script is run as ``python -m benchmarks.NAME`` and writes its rows into docs/results.md.
Speeds are compared in one run on one machine.
"""

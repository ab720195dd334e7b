"""Loss of a small language model by training time, against nanoGPT, on tinyshakespeare.

The baseline is nanoGPT's setting for a CPU, written in plain PyTorch: 4 layers, 4 heads, 128
dimensions, windows of 64 characters, batches of 12, AdamW with a learning rate of 1e-3, warmup and
cosine decay, 2,000 steps, no compilation. The command line trains the recipe
``language_model-tiny_shakespeare`` for about the same time, and for a quarter of it. The metric of
both is the cross-entropy of all characters of the validation part (the last tenth), each predicted
from the characters before it in its window. Targets: 1.88 nats per character, which nanoGPT
publishes, in a quarter of the time; 1.67 in the same time.

Needs the text in the folder given by ZOO_DATA, where it is downloaded if missing.

Hardware: CPU. Run: python -m benchmarks.language [SEEDS]

Source: Karpathy, nanoGPT, its README and train.py.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import STOPWATCH, Stopwatch, mean_and_std, record_speed, temporary_folder
from datamodules import TinyShakespeare
from zoo.cli.commands.reproduce import last_value
from zoo.cli.main import main as command_line
from zoo.core.speed import keep_freed_memory

LAYERS, HEADS, DIM, LENGTH, BATCH_SIZE, STEPS = 4, 4, 128, 64, 12, 2_000
LR, MIN_LR, WARMUP, WEIGHT_DECAY, BETAS, CLIP = 1e-3, 1e-4, 100, 0.1, (0.9, 0.99), 1.0
#: budget → steps of the recipe, target in nats per character
RUNS = {"a quarter of the time": (150, "≤ 1.88"), "the same time": (620, "≤ 1.67")}


class Block(nn.Module):
    """Transformer layer of GPT-2 without biases: (B, T, D) → (B, T, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(DIM, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM, False), nn.Linear(DIM, DIM, False)
        self.up, self.down = nn.Linear(DIM, 4 * DIM, False), nn.Linear(4 * DIM, DIM, False)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(self.norms[0](x)).unflatten(-1, (3, HEADS, DIM // HEADS))
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class GPT(nn.Module):
    """GPT-2 without biases: tokens (B, T) → logits (B, T, vocab_size).

    Learned positions, tied embeddings, normal initialization with standard deviation 0.02.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, DIM)
        self.positions = nn.Embedding(LENGTH, DIM)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(DIM, bias=False)
        for name, p in self.named_parameters():
            if p.ndim >= 2:
                is_residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if is_residual else 0.02)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        return self.norm(self.blocks(h)) @ self.tokens.weight.T


def learning_rate(step: int) -> float:
    """Return nanoGPT's learning rate: linear warmup, then cosine decay."""
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    t = (step - WARMUP) / (STEPS - WARMUP)
    return MIN_LR + (LR - MIN_LR) * 0.5 * (1 + math.cos(math.pi * t))


def run_nanogpt(seed: int) -> tuple[float, float]:
    """Return the seconds that training takes, and the validation loss after it."""
    torch.manual_seed(seed)
    data = TinyShakespeare()
    train = torch.tensor(data.fitted_tokenizer.encode(data.split_texts["train"]))
    model = GPT(data.vocab_size)
    groups = [
        {
            "params": [p for p in model.parameters() if (p.ndim >= 2) == is_matrix],
            "weight_decay": weight_decay,
        }
        for is_matrix, weight_decay in ((True, WEIGHT_DECAY), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, LR, BETAS, fused=True)
    start = time.perf_counter()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        starts = torch.randint(len(train) - LENGTH, (BATCH_SIZE,))
        x, y = (torch.stack([train[i + k : i + k + LENGTH] for i in starts]) for k in (0, 1))
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    seconds = time.perf_counter() - start
    total, count = 0.0, 0
    with torch.no_grad():
        for x, y in data.test_dataloader():
            nats = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum")
            total, count = total + float(nats), count + int((y >= 0).sum())
    return seconds, total / count


def run_zoo(seed: int, steps: int) -> tuple[float, float]:
    """Return the seconds of training by the command line, and the validation loss after it."""
    root = TinyShakespeare().root.absolute()
    with temporary_folder():
        command_line(
            [
                "--model=language_model", "--data=tiny_shakespeare", f"--seed={seed}",
                f"--trainer.max_steps={steps}", "--trainer.accelerator=cpu", f"--data.root={root}",
                STOPWATCH,
            ]
        )  # fmt: skip
        (metrics,) = Path().glob("runs/*/*/metrics.csv")
        return steps / Stopwatch.rate, last_value(metrics, "test/loss")


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 3
    keep_freed_memory()
    found: dict[str, list[tuple[float, float]]] = {"nanoGPT": [], **{name: [] for name in RUNS}}
    for seed in range(seeds):  # in turn, so that the load of the machine is the same for all
        found["nanoGPT"].append(run_nanogpt(seed))
        for name, (steps, _) in RUNS.items():
            found[name].append(run_zoo(seed, steps))
    seconds = {name: statistics.median(s for s, _ in runs) for name, runs in found.items()}
    losses = {name: mean_and_std([loss for _, loss in runs]) for name, runs in found.items()}
    for name, (steps, target) in RUNS.items():
        record_speed(
            f"tinyshakespeare, validation loss in {name}: language_model, {steps} steps / nanoGPT, "
            f"{STEPS:,} steps",
            f"{losses[name]} in {seconds[name]:.0f} s / {losses['nanoGPT']} in "
            f"{seconds['nanoGPT']:.0f} s ({seconds[name] / seconds['nanoGPT']:.2f} of the time)",
            target,
            seeds,
            "benchmarks.language",
        )


if __name__ == "__main__":
    main(sys.argv[1:])

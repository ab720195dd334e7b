"""How soon the zoo's language model is as good as nanoGPT's: tinyshakespeare, four small layers.

The baseline is nanoGPT's setting for a CPU, written out in plain PyTorch: 4 layers, 4 heads, 128
wide, windows of 64 characters, batches of 12, AdamW at 1e-3 with warm-up and cosine, 2,000 steps,
eager. The zoo trains the recipe ``language_model-tiny_shakespeare`` through its command line, once
for as long and once for a quarter of the time. Both are judged by the loss over all characters of
the validation tenth, each predicted from those before it in its window of 64.

Run: python -m benchmarks.language [SEEDS]. Source: Karpathy, nanoGPT, its README and train.py.
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

from benchmarks.loop import Stopwatch, elsewhere
from benchmarks.timing import record
from datamodules import TinyShakespeare
from zoo.cli.commands.reproduce import last_value
from zoo.cli.main import main as command_line
from zoo.core.speed import keep_freed_memory

LAYERS, HEADS, DIM, LENGTH, BATCH, STEPS = 4, 4, 128, 64, 12, 2_000
LR, LOWEST, WARMUP, DECAY, BETAS, CLIP = 1e-3, 1e-4, 100, 0.1, (0.9, 0.99), 1.0
PUBLISHED = 1.88  # nats per character
RUNS = {"a quarter of the time": (150, "≤ 1.88"), "the same time": (620, "≤ 1.67")}


class Block(nn.Module):
    """One layer of GPT-2 without biases."""

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
    """Learned positions, tied embeddings, normal weights with standard deviation 0.02."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab_size, DIM), nn.Embedding(LENGTH, DIM)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(DIM, bias=False)
        for name, p in self.named_parameters():
            if p.ndim >= 2:
                small = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if small else 0.02)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        return self.norm(self.blocks(h)) @ self.tokens.weight.T


def rate(step: int) -> float:
    """nanoGPT's learning rate."""
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    t = (step - WARMUP) / (STEPS - WARMUP)
    return LOWEST + (LR - LOWEST) * 0.5 * (1 + math.cos(math.pi * t))


def nanogpt(seed: int) -> tuple[float, float]:
    """Seconds of training, and the loss afterwards."""
    torch.manual_seed(seed)
    data = TinyShakespeare()
    train = torch.tensor(data.fitted_tokenizer.encode(data.split_texts["train"]))
    model = GPT(data.vocab_size)
    groups = [
        {"params": [p for p in model.parameters() if (p.ndim >= 2) == decayed], "weight_decay": d}
        for decayed, d in ((True, DECAY), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, LR, BETAS, fused=True)
    start = time.perf_counter()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        places = torch.randint(len(train) - LENGTH, (BATCH,))
        x, y = (torch.stack([train[i + k : i + k + LENGTH] for i in places]) for k in (0, 1))
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


def zoo(seed: int, steps: int) -> tuple[float, float]:
    """Seconds of training through the command line, and the loss afterwards."""
    root = TinyShakespeare().root.absolute()
    with elsewhere():
        command_line(
            [
                "--model=language_model", "--data=tiny_shakespeare", f"--seed={seed}",
                f"--trainer.max_steps={steps}", "--trainer.accelerator=cpu", f"--data.root={root}",
                '--trainer.callbacks=[{"class_path":"benchmarks.loop.Stopwatch"}]',
            ]
        )  # fmt: skip
        (metrics,) = Path().glob("runs/*/*/metrics.csv")
        return steps / Stopwatch.rate, last_value(metrics, "test/loss")


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 3
    keep_freed_memory()
    found: dict[str, list[tuple[float, float]]] = {"nanoGPT": [], **{name: [] for name in RUNS}}
    for seed in range(seeds):  # in turn, so that all meet the same machine
        found["nanoGPT"].append(nanogpt(seed))
        for name, (steps, _) in RUNS.items():
            found[name].append(zoo(seed, steps))
    seconds = {name: statistics.median(s for s, _ in runs) for name, runs in found.items()}
    losses = {name: [loss for _, loss in runs] for name, runs in found.items()}
    base = spread(losses["nanoGPT"])
    for name, (steps, target) in RUNS.items():
        record(
            f"tinyshakespeare, validation loss in {name}: language_model, {steps} steps / nanoGPT, "
            f"{STEPS:,} steps",
            f"{spread(losses[name])} in {seconds[name]:.0f} s / {base} in "
            f"{seconds['nanoGPT']:.0f} s ({seconds[name] / seconds['nanoGPT']:.2f} of the time)",
            target,
            seeds,
            "benchmarks.language",
        )


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if values[1:] else 0:.3f}"


if __name__ == "__main__":
    main(sys.argv[1:])

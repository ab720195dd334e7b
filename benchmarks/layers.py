"""What each kind of layer and each position scheme is worth: equal weights, equal steps.

Language models of tinyshakespeare, 4 layers of 128, trained for 300 steps on windows of 64
characters with AdamW (2e-3, gradients clipped at 1). Judged on all characters of the last tenth
twice: in windows as long as those of training, and in windows four times as long, where attention
looks back four times as far too. Learned positions end with the window.

Run: python -m benchmarks.layers [SEEDS]. Writes the section "Layers" of docs/results.md.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.loop import elsewhere
from datamodules import TinyShakespeare
from zoo import LanguageModel, load
from zoo.cli.commands.reproduce import PAGE, hardware, write_row
from zoo.cli.main import main as command_line
from zoo.core.speed import keep_freed_memory
from zoo.networks.position_encoding import POSITION_ENCODINGS
from zoo.networks.sequence_network import LAYER_TYPES

STEPS, LENGTH, LONGER = 300, 64, 4
HEADER = ("layer", "parameters", "loss", "loss in windows of 256", "runs", "command")
KINDS = [(f"transformer, {name} positions", "transformer", name) for name in POSITION_ENCODINGS]
KINDS += [(name, name, "none") for name in LAYER_TYPES if name != "transformer"]


def train(layer: str, position: str, seed: int) -> LanguageModel:
    """A model after its steps."""
    root = TinyShakespeare().root.absolute()
    with elsewhere():
        command_line(
            [
                "fit", "--model=language_model", "--data=tiny_shakespeare", f"--data.root={root}",
                f"--seed={seed}", f"--model.layer={layer}", f"--model.position={position}",
                "--model.optimizer=adamw", "--model.lr=2e-3", "--model.optimizer_options=null",
                f"--trainer.max_steps={STEPS}", "--trainer.gradient_clip_val=1.0",
                "--trainer.callbacks=[]", "--trainer.accelerator=cpu",
            ]
        )  # fmt: skip
        (checkpoint,) = Path().glob("runs/*/*/checkpoints/last.ckpt")
        model = load(checkpoint)
        assert isinstance(model, LanguageModel)
        return model


@torch.no_grad()
def loss(model: LanguageModel, length: int) -> float | None:
    """Nats per character over the last tenth, None where positions are not known."""
    limit = model.network.position.max_length
    if limit is not None and length > limit:
        return None
    model.network.window = length
    total, count = 0.0, 0
    for x, y in TinyShakespeare(length=length, batch_size=64).test_dataloader():
        total += float(F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum"))
        count += int((y >= 0).sum())
    return total / count


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 3
    keep_freed_memory()
    for name, layer, position in KINDS:
        start = time.perf_counter()
        models = [train(layer, position, seed) for seed in range(seeds)]
        losses = [[loss(model, LENGTH * times) for model in models] for times in (1, LONGER)]
        seconds = (time.perf_counter() - start) / seeds
        row = [
            name,
            f"{sum(p.numel() for p in models[0].parameters()):,}",
            *map(spread, losses),
            f"{seeds} seeds of {STEPS} steps, {seconds:.0f} s each with both judgements, "
            f"{hardware()}, {date.today().isoformat()}",
            "`python -m benchmarks.layers`",
        ]
        write_row(Path(PAGE), "Layers", HEADER, row)
        print(" | ".join(row))


def spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "– (no such positions)"
    deviation = f" ± {statistics.stdev(known):.3f}" if known[1:] else ""
    return f"{statistics.mean(known):.3f}{deviation}"


if __name__ == "__main__":
    main(sys.argv[1:])

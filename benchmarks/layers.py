"""Loss of language models by layer type and position encoding, with equal numbers of steps.

The models have about 800,000 parameters in 4 layers of 128 dimensions. They are trained on
tinyshakespeare for 300 steps with windows of 64 characters and AdamW (learning rate 2e-3, gradients
clipped at norm 1). The metric is the cross-entropy of all characters of the last tenth, in nats per
character: in windows of 64, and in windows of 256, to which attention then extends as well. Learned
positions end at 64.

Needs the text in the folder given by ZOO_DATA, where it is downloaded if missing. Writes the
section "Layers" of docs/results.md.

Hardware: CPU. Run: python -m benchmarks.layers [SEEDS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.common import mean_and_std, temporary_folder, write_result
from datamodules import TinyShakespeare
from zoo import LanguageModel, load
from zoo.cli.commands.reproduce import pluralize
from zoo.cli.main import main as command_line
from zoo.core.speed import keep_freed_memory
from zoo.networks.position_encoding import POSITION_ENCODINGS
from zoo.networks.sequence_network import LAYER_TYPES

STEPS, LENGTH, LONG = 300, 64, 256
HEADER = ("layer", "parameters", "loss", "loss in windows of 256", "runs", "command")
#: name, layer_type and position of each model
MODELS = [(f"transformer, position {name}", "transformer", name) for name in POSITION_ENCODINGS]
MODELS += [(name, name, "none") for name in LAYER_TYPES if name != "transformer"]


def train(layer_type: str, position: str, seed: int) -> LanguageModel:
    """Train a model with the command line."""
    root = TinyShakespeare().root.absolute()
    with temporary_folder():
        command_line(
            [
                "fit", "--model=language_model", "--data=tiny_shakespeare", f"--data.root={root}",
                f"--seed={seed}", f"--model.layer_type={layer_type}",
                f"--model.position={position}", "--model.optimizer=adamw", "--model.lr=2e-3",
                "--model.optimizer_options=null",
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
    """Return the nats per character of the test part; None if the model has too few positions."""
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
    for name, layer_type, position in MODELS:
        start = time.perf_counter()
        models = [train(layer_type, position, seed) for seed in range(seeds)]
        losses = [[loss(model, length) for model in models] for length in (LENGTH, LONG)]
        seconds = (time.perf_counter() - start) / seeds
        cells = [
            name,
            f"{sum(p.numel() for p in models[0].parameters()):,}",
            *map(_summarize, losses),
        ]
        budget = f"{STEPS} steps, {seconds:.0f} s each with both evaluations"
        runs = f"{pluralize(seeds, 'seed')} of {budget}"
        write_result("Layers", HEADER, cells, runs, "python -m benchmarks.layers")


def _summarize(losses: Sequence[float | None]) -> str:
    known = [value for value in losses if value is not None]
    return mean_and_std(known) if known else f"– (positions end at {LENGTH})"


if __name__ == "__main__":
    main(sys.argv[1:])

"""Speed of GAN training: steps of discriminator and generator, against a plain PyTorch loop.

The zoo's command line runs with progress bar, logging, checkpoints, validation, an exponential
moving average of the generator's weights and gradient norms. The loop is that of pytorch/examples
with the same networks and fused Adam; it samples noise once per batch and does nothing else. The
images are random and have MNIST's shape. Target: 0.9 of the loop's steps per second.

Hardware: CPU. Run: python -m benchmarks.gan [RECIPE ...]
"""

from __future__ import annotations

import sys
import time
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.common import (
    STOPWATCH,
    Stopwatch,
    measure_interleaved,
    record_speed,
    temporary_folder,
)
from benchmarks.loop import TRAIN, VAL, RandomMNIST
from zoo import GAN, create_model
from zoo.cli.main import main as command_line
from zoo.core.registry import RECIPES
from zoo.core.speed import keep_freed_memory

REPEATS = 5
BATCH_SIZE = 64
STEPS = {"dcgan-mnist": 150, "gan-mnist": 600}
NAMES = {
    "dcgan-mnist": "DCGAN 32-64 with batch norm",
    "gan-mnist": "MLP GAN 512-256",
}


def run_zoo(recipe: str) -> float:
    """Return the steps per second of the command line."""
    with temporary_folder():
        command_line(
            [
                "fit", f"--config={RECIPES / f'{recipe}.yaml'}",
                "--data=benchmarks.loop.RandomMNIST", f"--data.batch_size={BATCH_SIZE}",
                f"--data.val_size={VAL}", f"--trainer.max_steps={STEPS[recipe]}",
                "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
                STOPWATCH,
            ]
        )  # fmt: skip
    return Stopwatch.rate


def run_plain(recipe: str) -> float:
    """Return the steps per second of the plain PyTorch loop."""
    torch.manual_seed(0)
    model = create_model(*recipe.split("-"), input_shape=(1, 28, 28))
    assert isinstance(model, GAN)
    networks = model.discriminator, model.generator
    lr, betas = model.hparams["lr"], (0.5, 0.999)
    optimizers = [torch.optim.Adam(n.parameters(), lr, betas, fused=True) for n in networks]
    images = RandomMNIST().load(train=True)[0][:TRAIN]

    start = time.perf_counter()
    for indices in torch.randperm(TRAIN).split(BATCH_SIZE)[: STEPS[recipe]]:
        x = images[indices].float() / 255
        fake = model.output_activation(model.generator(torch.randn(len(x), model.latent_dim)))
        optimizers[0].zero_grad()
        real_loss = F.softplus(-model.discriminate(x)).mean()
        (real_loss + F.softplus(model.discriminate(fake.detach())).mean()).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        F.softplus(-model.discriminate(fake)).mean().backward()
        optimizers[1].step()
    return STEPS[recipe] / (time.perf_counter() - start)


def main(recipes: list[str]) -> None:
    keep_freed_memory()
    for recipe in recipes or STEPS:
        contestants = {"zoo": partial(run_zoo, recipe), "plain": partial(run_plain, recipe)}
        rates = measure_interleaved(contestants, REPEATS)
        record_speed(
            f"{NAMES[recipe]} on 28×28, batch {BATCH_SIZE}, generator and discriminator steps: "
            "zoo / plain loop",
            f"{rates['zoo'] / rates['plain']:.2f} ({rates['zoo']:.0f} / {rates['plain']:.0f} "
            "steps/s)",
            "≥ 0.9",
            REPEATS,
            "benchmarks.gan",
        )


if __name__ == "__main__":
    main(sys.argv[1:])

"""What the zoo's adversarial step costs: generator and critic steps against a plain PyTorch loop.

The command line with everything on (progress bar, logging, checkpoints, validation, the average of
the generator's weights, gradient norms) against the loop of pytorch/examples with the same networks
and fused Adam, which samples once a batch and does nothing else. Images are random ones of MNIST's
shape. Run: python -m benchmarks.gan
"""

from __future__ import annotations

import sys
import time
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.loop import TRAIN, VAL, RandomMNIST, Stopwatch, elsewhere
from benchmarks.timing import interleaved, record
from zoo import GAN, create_model
from zoo.cli.main import main as command_line
from zoo.core.registry import RECIPES
from zoo.core.speed import keep_freed_memory

REPEATS = 5
BATCH = 64
STEPS = {"dcgan-mnist": 150, "gan-mnist": 600}
NAMES = {
    "dcgan-mnist": "DCGAN 32-64 with batch norm",
    "gan-mnist": "MLP GAN 512-256",
}


def as_a_user(recipe: str) -> float:
    """Steps per second of the command line."""
    with elsewhere():
        command_line(
            [
                "fit", f"--config={RECIPES / f'{recipe}.yaml'}",
                "--data=benchmarks.loop.RandomMNIST", f"--data.batch_size={BATCH}",
                f"--data.val_size={VAL}", f"--trainer.max_steps={STEPS[recipe]}",
                "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
                '--trainer.callbacks=[{"class_path":"benchmarks.loop.Stopwatch"}]',
            ]
        )  # fmt: skip
    return Stopwatch.rate


def in_a_plain_loop(recipe: str) -> float:
    """Steps per second of a loop that anyone would write."""
    torch.manual_seed(0)
    model = create_model(*recipe.split("-"), input_shape=(1, 28, 28))
    assert isinstance(model, GAN)
    networks = model.discriminator, model.generator
    lr, betas = model.hparams["lr"], (0.5, 0.999)
    optimizers = [torch.optim.Adam(n.parameters(), lr, betas, fused=True) for n in networks]
    images = RandomMNIST().load(train=True)[0][:TRAIN]

    start = time.perf_counter()
    for indices in torch.randperm(TRAIN).split(BATCH)[: STEPS[recipe]]:
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


def main(chosen: list[str]) -> None:
    keep_freed_memory()
    for recipe in chosen or STEPS:
        contestants = {
            "zoo": partial(as_a_user, recipe),
            "plain": partial(in_a_plain_loop, recipe),
        }
        rates = interleaved(contestants, REPEATS)
        record(
            f"{NAMES[recipe]} on 28×28, batch {BATCH}, generator and critic steps: zoo / plain "
            "loop",
            f"{rates['zoo'] / rates['plain']:.2f} ({rates['zoo']:.0f} / {rates['plain']:.0f} "
            "steps/s)",
            "≥ 0.9",
            REPEATS,
            "benchmarks.gan",
        )


if __name__ == "__main__":
    main(sys.argv[1:])

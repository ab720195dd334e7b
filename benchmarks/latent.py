"""Speed of the latent family, against pythae 0.1.2, a library of autoencoders.

1. Training of an MLP VAE (784-512-2, Bernoulli likelihood, batch size 128, Adam) on random images
   of MNIST's shape: the command line with progress bar, logging, checkpoints and validation,
   against the loop of pythae's trainer without validation and logging. Target: 1.5 times its steps
   per second.
2. Importance-weighted bound of 1,000 images with K = 500 samples, same weights in both. Target: 20
   times the images per second.

Needs pythae: pip install pythae==0.1.2

Hardware: CPU. Run: python -m benchmarks.latent [PART ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import (
    STOPWATCH,
    Stopwatch,
    measure_interleaved,
    record_speed,
    run_parts,
    temporary_folder,
)
from benchmarks.loop import BATCH_SIZE, EPOCHS, STEPS, TRAIN, RandomMNIST
from zoo import VAE
from zoo.cli.main import main as command_line
from zoo.core.registry import RECIPES
from zoo.metrics.latent import importance_weighted_bound

MODULE = "benchmarks.latent"
REPEATS = 5
IMAGES, NUM_SAMPLES = 1_000, 500
PYTHAE_IMAGES = 20  # pythae computes the bound image by image, so a few suffice for its speed


def make_pythae_vae() -> Any:
    """Create pythae's VAE of the same size."""
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig

    return PythaeVAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=2, reconstruction_loss="bce"))


# -- 1. training -----------------------------------------------------------------------------------


def train_zoo() -> float:
    """Return the steps per second of the command line."""
    with temporary_folder():
        command_line(
            [
                "fit", f"--config={RECIPES / 'vae-mnist.yaml'}",
                "--data=benchmarks.loop.RandomMNIST", f"--data.batch_size={BATCH_SIZE}",
                "--data.val_size=5000", "--model.hidden_dims=[512]", "--model.latent_dim=2",
                "--model.binarization=none", f"--trainer.max_epochs={EPOCHS}",
                "--trainer.accelerator=cpu",
                STOPWATCH,
            ]
        )  # fmt: skip
    return Stopwatch.rate


def train_pythae() -> float:
    """Return the steps per second of pythae's trainer."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    x, y = RandomMNIST().load(train=True)
    images = BaseDataset(x[:TRAIN].float() / 255, y[:TRAIN])
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=EPOCHS, per_device_train_batch_size=BATCH_SIZE,
            learning_rate=2e-3,
        )  # fmt: skip
        trainer = BaseTrainer(make_pythae_vae(), images, training_config=config)
        trainer.prepare_training()
        start = time.perf_counter()
        for epoch in range(1, EPOCHS + 1):
            trainer.train_step(epoch)
        return EPOCHS * STEPS / (time.perf_counter() - start)


def benchmark_training() -> None:
    rates = measure_interleaved({"zoo": train_zoo, "pythae": train_pythae}, REPEATS)
    record_speed(
        f"VAE 784-512-2, batch {BATCH_SIZE}, training: zoo / pythae's train_step",
        f"{rates['zoo'] / rates['pythae']:.2f} ({rates['zoo']:.0f} / {rates['pythae']:.0f} "
        "steps/s)",
        "≥ 1.5",
        REPEATS,
        f"{MODULE} 1",
    )


# -- 2. the bound ----------------------------------------------------------------------------------


def copy_weights(model: VAE, other: Any) -> None:
    """Copy the zoo's weights into pythae's model."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    first, latent, up, last = layers
    (mean_weight, log_var_weight), (mean_bias, log_var_bias) = (
        latent.weight.chunk(2), latent.bias.chunk(2),
    )  # fmt: skip
    pairs = [
        (other.encoder.layers[0][0], first.weight, first.bias),
        (other.encoder.embedding, mean_weight, mean_bias),
        (other.encoder.log_var, log_var_weight, log_var_bias),
        (other.decoder.layers[0][0], up.weight, up.bias),
        (other.decoder.layers[1][0], last.weight, last.bias),
    ]
    with torch.no_grad():
        for layer, weight, bias in pairs:
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def benchmark_bound() -> None:
    torch.manual_seed(0)
    model, other = VAE((1, 28, 28), 2, hidden_dims=(512,)).eval(), make_pythae_vae().eval()
    copy_weights(model, other)
    x = torch.rand(IMAGES, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    found: dict[str, Tensor] = {}

    def zoo() -> float:
        start = time.perf_counter()
        found["zoo"] = importance_weighted_bound(model, x, num_samples=NUM_SAMPLES)
        return (time.perf_counter() - start) / IMAGES

    def pythae() -> float:
        start = time.perf_counter()
        with torch.no_grad():
            nll = other.get_nll(x[:PYTHAE_IMAGES], n_samples=NUM_SAMPLES, batch_size=100)
        found["pythae"] = torch.as_tensor(nll)
        return (time.perf_counter() - start) / PYTHAE_IMAGES

    times = measure_interleaved({"zoo": zoo, "pythae": pythae}, REPEATS)
    gap = float(found["zoo"][:PYTHAE_IMAGES].mean() - found["pythae"].mean())
    record_speed(
        f"importance-weighted bound, K = {NUM_SAMPLES}, VAE 784-512-2: pythae's get_nll / zoo",
        f"{times['pythae'] / times['zoo']:.1f} ({1e3 * times['pythae']:.2f} / "
        f"{1e3 * times['zoo']:.2f} ms per image; the bounds differ by {abs(gap):.3f} of "
        f"{abs(float(found['zoo'].mean())):.0f} nats)",
        "≥ 20",
        REPEATS,
        f"{MODULE} 2",
    )


PARTS = {"1": benchmark_training, "2": benchmark_bound}


def main(parts: list[str]) -> None:
    run_parts(PARTS, parts)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The latent family against pythae 0.1.2, the nearest library of autoencoders.

1. Training an MLP VAE (784-512-2, Bernoulli, batch 128, Adam) on images of MNIST's shape: the
   command line with everything on (progress bar, logging, checkpoints, validation) against the loop
   of pythae's trainer, which neither validates nor logs in it.
2. The importance-weighted bound of 1,000 images at K = 500, the same weights in both.

Needs the peer: pip install pythae==0.1.2. Run: python -m benchmarks.latent [number ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.loop import BATCH, EPOCHS, STEPS, TRAIN, RandomMNIST, Stopwatch, elsewhere
from benchmarks.timing import interleaved, record
from zoo import VAE
from zoo.cli.main import main as command_line
from zoo.core.registry import RECIPES
from zoo.core.speed import keep_freed_memory
from zoo.metrics.latent import importance_weighted_bound

MODULE = "benchmarks.latent"
REPEATS = 5
IMAGES, DRAWS = 1_000, 500
PEER_IMAGES = 20  # its bound takes one image at a time: a few tell the rate


def peer() -> Any:
    """pythae's VAE of the same size."""
    from pythae.models import VAE as PeerVAE
    from pythae.models import VAEConfig

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=2, reconstruction_loss="bce")
    return PeerVAE(config)


# -- 1. training -----------------------------------------------------------------------------------


def ours() -> float:
    """Steps per second of the command line."""
    with elsewhere():
        command_line(
            [
                "fit", f"--config={RECIPES / 'vae-mnist.yaml'}",
                "--data=benchmarks.loop.RandomMNIST", f"--data.batch_size={BATCH}",
                "--data.val_size=5000", "--model.hidden_dims=[512]", "--model.latent_dim=2",
                "--model.binarization=none", f"--trainer.max_epochs={EPOCHS}",
                "--trainer.accelerator=cpu",
                '--trainer.callbacks=[{"class_path":"benchmarks.loop.Stopwatch"}]',
            ]
        )  # fmt: skip
    return Stopwatch.rate


def theirs() -> float:
    """Steps per second of pythae's trainer."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    x, y = RandomMNIST().load(train=True)
    images = BaseDataset(x[:TRAIN].float() / 255, y[:TRAIN])
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=EPOCHS, per_device_train_batch_size=BATCH,
            learning_rate=2e-3,
        )  # fmt: skip
        trainer = BaseTrainer(peer(), images, training_config=config)
        trainer.prepare_training()
        start = time.perf_counter()
        for epoch in range(1, EPOCHS + 1):
            trainer.train_step(epoch)
        return EPOCHS * STEPS / (time.perf_counter() - start)


def training() -> None:
    rates = interleaved({"ours": ours, "theirs": theirs}, REPEATS)
    record(
        f"VAE 784-512-2, batch {BATCH}, training: zoo with everything on / pythae's train_step",
        f"{rates['ours'] / rates['theirs']:.2f} ({rates['ours']:.0f} / {rates['theirs']:.0f} "
        "steps/s)",
        "≥ 1.5",
        REPEATS,
        f"{MODULE} 1",
    )


# -- 2. the bound ----------------------------------------------------------------------------------


def same_weights(model: VAE, other: Any) -> None:
    """Copies our weights into pythae's model."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    first, latent, up, last = layers
    mean, log_var = latent.weight.chunk(2), latent.bias.chunk(2)
    pairs = [
        (other.encoder.layers[0][0], first.weight, first.bias),
        (other.encoder.embedding, mean[0], log_var[0]),
        (other.encoder.log_var, mean[1], log_var[1]),
        (other.decoder.layers[0][0], up.weight, up.bias),
        (other.decoder.layers[1][0], last.weight, last.bias),
    ]
    with torch.no_grad():
        for layer, weight, bias in pairs:
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def bounds() -> None:
    torch.manual_seed(0)
    model, other = VAE((1, 28, 28), 2, hidden_dims=(512,)).eval(), peer().eval()
    same_weights(model, other)
    x = torch.rand(IMAGES, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    found: dict[str, Tensor] = {}

    def zoo() -> float:
        start = time.perf_counter()
        found["zoo"] = importance_weighted_bound(model, x, num_samples=DRAWS)
        return (time.perf_counter() - start) / IMAGES

    def pythae() -> float:
        start = time.perf_counter()
        with torch.no_grad():
            nll = other.get_nll(x[:PEER_IMAGES], n_samples=DRAWS, batch_size=100)
        found["pythae"] = torch.as_tensor(nll)
        return (time.perf_counter() - start) / PEER_IMAGES

    times = interleaved({"zoo": zoo, "pythae": pythae}, REPEATS)
    gap = float(found["zoo"][:PEER_IMAGES].mean() - found["pythae"].mean())
    record(
        f"importance-weighted bound, K = {DRAWS}, VAE 784-512-2: pythae's get_nll / zoo",
        f"{times['pythae'] / times['zoo']:.1f} ({1e3 * times['pythae']:.2f} / "
        f"{1e3 * times['zoo']:.2f} ms an image; the bounds differ by {abs(gap):.3f} of "
        f"{abs(float(found['zoo'].mean())):.0f} nats)",
        "≥ 20",
        REPEATS,
        f"{MODULE} 2",
    )


def main(chosen: list[str]) -> None:
    keep_freed_memory()
    parts = {"1": training, "2": bounds}
    for number in chosen or parts:
        parts[number]()


if __name__ == "__main__":
    main(sys.argv[1:])

"""Strength and speed of attacks on images, and adversarial training, on MNIST and digits.

The undefended target model is that of Wong et al. (convolutions with 16 and 32 channels, 100 hidden
units), trained on MNIST for four epochs, once per seed.

1. Strength on 1,000 test images, mean and standard deviation over three models: accuracy under
   gradient attacks at ε = 0.3; under one universal perturbation learned from 5,000 training images;
   under PGD on a substitute model that was trained with 10,000 label queries. For 200 images, mean
   L2 norm of the perturbations found by Carlini and Wagner's and other minimum-norm attacks.
2. Time of PGD-40 at ε = 0.3, step size 0.01, on 1,000 images, against torchattacks.
3. Time of Carlini and Wagner's attack with 6 values of c and 300 steps each on 200 images, against
   foolbox.
4. Accuracy with and without PGD-40 at ε = 0.15 after PGD training on handwritten digits by the
   recipe ``robust_cnn``, against the same network without a defense, mean over three seeds. Writes
   the figure docs/robust_training.png.
5. Accuracy after fast adversarial training by the recipe ``robust_cnn-mnist``, under stronger
   attacks than the recipe's own evaluation, on 1,000 test images: PGD-40 with ten restarts, and
   the standard suite of AutoAttack.

Needs MNIST in the folder given by ZOO_DATA; for part 2 torchattacks (``pip install --no-deps
torchattacks``), for part 3 foolbox, for part 5 pyautoattack. Writes the sections "Attacks" and
"Speed" of docs/results.md.

Hardware: CPU or GPU. Run: python -m benchmarks.attacks [PART ...]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import cache

import lightning.pytorch as L
import torch
from lightning.pytorch import Callback
from torch import Tensor

from benchmarks.common import (
    BestWeights,
    fit,
    mean_and_std,
    measure_interleaved,
    record_speed,
    run_parts,
    write_result,
)
from callbacks import AdversarialTraining, FastAdversarialTraining
from datamodules import MNIST, Digits
from zoo import CNN, create_model, plots
from zoo.attacks import (
    APGD,
    FGSM,
    PGD,
    CarliniWagner,
    DeepFool,
    LBFGSAttack,
    Restarts,
    SubstituteAttack,
    UniversalPerturbation,
    evaluate_robustness,
)
from zoo.cli.commands.reproduce import PAGE, pluralize
from zoo.core.quiet import silence_libraries
from zoo.core.registry import read_recipe

MODULE = "benchmarks.attacks"
SECTION = "Attacks"
HEADER = ("metric", "result", "target", "runs", "command")
SEEDS, EPOCHS = 3, 4
EPS = 0.3


@cache
def data() -> MNIST:
    """Return the data module, shared by all parts."""
    return MNIST(batch_size=100)


@cache
def target_model(seed: int) -> CNN:
    """Return the undefended network, trained once per seed."""
    L.seed_everything(seed)
    model = CNN(
        (1, 28, 28), 10, (16, 32), kernel_size=4, stride=2, padding=1, pool_size=1,
        normalization="none", hidden_dims=(100,), lr=2e-3, schedule="cosine",
    )  # fmt: skip
    fit(model, data(), EPOCHS, accelerator="auto")
    return model.eval()


def images(split: str, count: int) -> tuple[Tensor, Tensor]:
    """Return the first images and labels of a split."""
    x, y = data().evaluation_samples(split)
    return x[:count], y[:count]


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).double().mean())


# -- 1. strength -----------------------------------------------------------------------------------


def measure_strength(seed: int) -> dict[str, float]:
    """Return accuracies under attack and mean norms of perturbations for one target model."""
    model, (x, y) = target_model(seed), images("test", 1_000)
    train, classes = images("train", 5_000)
    batches = list(zip(train.split(100), classes.split(100), strict=True))
    metrics = {"clean": accuracy(model, x, y)}
    for attack in (FGSM(eps=EPS), PGD(eps=EPS, step_size=0.01), APGD(eps=EPS)):
        metrics[attack.name] = accuracy(model, attack(model, x, y), y)
    universal = UniversalPerturbation(eps=EPS).fit(model, batches)
    metrics["universal"] = accuracy(model, universal(model, x, y), y)
    transfer = SubstituteAttack(attack=PGD(eps=EPS), seed=seed).fit(model, train)
    metrics["transfer"] = accuracy(model, transfer(model, x, y), y)
    x, y = x[:200], y[:200]
    for nearest in (CarliniWagner(), LBFGSAttack(), DeepFool()):
        found = nearest(model, x, y)
        metrics[f"{nearest.name} success"] = 1 - accuracy(model, found, y)
        metrics[nearest.name] = float((found - x).flatten(1).norm(dim=1).mean())
    metrics["ratio"] = metrics["LBFGSAttack"] / metrics["CarliniWagner"]
    return metrics


def benchmark_strength() -> None:
    runs = [measure_strength(seed) for seed in range(SEEDS)]

    def write(metric: str, name: str, target: str, is_fraction: bool = True) -> None:
        scale, unit = (100, "%") if is_fraction else (1, "")
        values = [scale * run[name] for run in runs]
        result = f"{statistics.mean(values):.4g} ± {statistics.stdev(values):.2g}{unit}"
        cells = [metric, result, target]
        write_result(SECTION, HEADER, cells, f"{SEEDS} models", f"python -m {MODULE} 1")

    write("undefended CNN on MNIST, accuracy", "clean", "–")
    write("… under FGSM, ε = 0.3", "FGSM", "–")
    write("… under PGD-40, ε = 0.3, step size 0.01", "PGD", "≤ 1%")
    write("… under APGD-100, ε = 0.3", "APGD", "–")
    write("… under one universal perturbation, ε = 0.3, unseen images", "universal", "≤ 40%")
    write("… under PGD on a substitute model, 10,000 queries, ε = 0.3", "transfer", "≤ 50%")
    write("mean L2 norm of perturbations, Carlini and Wagner", "CarliniWagner", "–", False)
    write("… LBFGSAttack", "LBFGSAttack", "–", False)
    write("… LBFGSAttack / Carlini and Wagner", "ratio", "≤ 1.15", False)
    write("… DeepFool", "DeepFool", "–", False)
    write("success rate of Carlini and Wagner", "CarliniWagner success", "100%")


# -- 2. and 3. speed -------------------------------------------------------------------------------


class TimedAttack:
    """An attack that measures its time, for :func:`measure_interleaved`.

    Args:
        attack: function without arguments that returns the adversarial images.

    Attributes:
        found: the adversarial images of the last call.
    """

    def __init__(self, attack: Callable[[], Tensor]) -> None:
        self.attack = attack
        self.found = torch.empty(0)

    def __call__(self) -> float:
        start = time.perf_counter()
        self.found = self.attack()
        return time.perf_counter() - start


def benchmark_pgd() -> None:
    import torchattacks

    model, (x, y) = target_model(0), images("test", 1_000)
    zoo_attack = PGD(eps=EPS, step_size=0.01)
    other_attack = torchattacks.PGD(model, eps=EPS, alpha=0.01, steps=40)
    zoo = TimedAttack(lambda: zoo_attack(model, x, y))
    other = TimedAttack(lambda: other_attack(x, y))
    seconds = measure_interleaved({"zoo": zoo, "torchattacks": other}, 5)
    success = [1 - accuracy(model, attack.found, y) for attack in (other, zoo)]
    record_speed(
        "PGD-40 on 1,000 images, time: torchattacks / zoo",
        f"{seconds['torchattacks'] / seconds['zoo']:.2f} "
        f"({seconds['torchattacks']:.2f} / {seconds['zoo']:.2f} s; "
        f"success rate {success[0]:.1%} / {success[1]:.1%})",
        "≥ 3", 5, f"{MODULE} 2",
    )  # fmt: skip


def benchmark_carlini_wagner() -> None:
    import foolbox

    model, (x, y) = target_model(0), images("test", 200)
    zoo_attack = CarliniWagner(search_steps=6, steps=300)
    other_attack = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=6, steps=300)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    zoo = TimedAttack(lambda: zoo_attack(model, x, y))
    other = TimedAttack(lambda: other_attack(wrapped, x, y, epsilons=None)[1])
    seconds = measure_interleaved({"zoo": zoo, "foolbox": other}, 1)
    success = [1 - accuracy(model, attack.found, y) for attack in (other, zoo)]
    norms = [float((attack.found - x).flatten(1).norm(dim=1).mean()) for attack in (other, zoo)]
    record_speed(
        "Carlini and Wagner on 200 images, time: foolbox / zoo",
        f"{seconds['foolbox'] / seconds['zoo']:.2f} "
        f"({seconds['foolbox']:.1f} / {seconds['zoo']:.1f} s; "
        f"success rate {success[0]:.1%} / {success[1]:.1%}; "
        f"mean L2 {norms[0]:.3f} / {norms[1]:.3f})",
        "≥ 2, mean L2 within 5%", 1, f"{MODULE} 3",
    )  # fmt: skip


# -- 4. PGD training -------------------------------------------------------------------------------

BUDGETS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


class AccuracyCurves(Callback):
    """Callback that records the validation accuracy after each epoch, with and without attack."""

    def __init__(self) -> None:
        self.clean: list[float] = []
        self.robust: list[float] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.clean.append(float(trainer.callback_metrics["val/accuracy"]))
        self.robust.append(float(trainer.callback_metrics["val/robust_accuracy"]))


Run = tuple[AccuracyCurves, list[float]]


def train_on_digits(seed: int, fraction: float) -> Run:
    """Train the recipe's network on digits.

    Args:
        seed: random seed of the split and of training.
        fraction: fraction of each batch that is attacked.

    Returns:
        Accuracies after each epoch, and test accuracies under each ε of ``BUDGETS``.
    """
    L.seed_everything(seed)
    digits, curves = Digits(seed=seed), AccuracyCurves()
    model = create_model("robust_cnn", input_shape=(1, 8, 8), num_classes=10)
    training = AdversarialTraining(
        PGD(eps=0.15, steps=7),
        adversarial_fraction=fraction,
        eps_warmup=0.2,
        val_attack=PGD(eps=0.15),
    )
    fit(model, digits, 40, training, curves, accelerator="auto", limit_val_batches=None)
    report = evaluate_robustness(
        model.eval(), [digits.evaluation_samples("test")], PGD(eps=0.15), BUDGETS
    )
    return curves, list(report.robust_accuracy["PGD"])


def benchmark_digits() -> None:
    fractions = {"undefended": 0.0, "PGD training": 1.0}
    runs = {
        name: [train_on_digits(seed, fraction) for seed in range(SEEDS)]
        for name, fraction in fractions.items()
    }
    accuracies = {
        name: _mean_curve([by_eps for _, by_eps in of_seeds]) for name, of_seeds in runs.items()
    }
    curves = {
        name: (
            _mean_curve([curve.clean for curve, _ in of_seeds]),
            _mean_curve([curve.robust for curve, _ in of_seeds]),
        )
        for name, of_seeds in runs.items()
    }
    figure = plots.robust_training(
        curves, BUDGETS, accuracies, 0.15,
        f"PGD-40 on handwritten digits, mean over {SEEDS} seeds",
    )  # fmt: skip
    figure.savefig(PAGE.parent / "robust_training.png", dpi=110)
    for name, of_seeds in runs.items():
        for index, metric in ((0, "accuracy"), (3, "accuracy under PGD-40, ε = 0.15")):
            values = [100 * by_eps[index] for _, by_eps in of_seeds]
            cells = [f"CNN on digits, {name}: {metric}", f"{mean_and_std(values, 1)}%", "–"]
            budget = f"{SEEDS} models of 40 epochs"
            write_result(SECTION, HEADER, cells, budget, f"python -m {MODULE} 4")


def _mean_curve(curves: list[list[float]]) -> list[float]:
    return [statistics.mean(values) for values in zip(*curves, strict=True)]


# -- 5. fast adversarial training ------------------------------------------------------------------


def train_fast(seed: int) -> CNN:
    """Train the recipe's network as the recipe does."""
    recipe = read_recipe("robust_cnn-mnist")
    (settings,) = (entry["init_args"] for entry in recipe["trainer"]["callbacks"])
    training = FastAdversarialTraining(
        eps=settings["eps"], step_size=settings["step_size"], eps_warmup=settings["eps_warmup"],
        val_attack=PGD(**settings["val_attack"]["init_args"]),
    )  # fmt: skip
    L.seed_everything(seed)
    model, best = create_model("robust_cnn", "mnist"), BestWeights("val/robust_accuracy")
    fit(
        model, MNIST(**recipe["data"]["init_args"], seed=seed), recipe["trainer"]["max_epochs"],
        training, best, gradient_clip_val=recipe["trainer"]["gradient_clip_val"],
        accelerator="auto", limit_val_batches=None,
    )  # fmt: skip
    model.load_state_dict(best.weights)
    return model.eval()


def benchmark_fast_training() -> None:
    from pyautoattack import AutoAttack

    x, y = images("test", 1_000)
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        model = train_fast(seed)
        restarts = Restarts(PGD(eps=EPS, step_size=0.01), 10)
        suite = AutoAttack(model, eps=EPS, norm="Linf", seed=0)
        for metric, attacked in (
            ("accuracy", x),
            ("accuracy under PGD-40 with ten restarts, ε = 0.3", restarts(model, x, y)),
            ("accuracy under AutoAttack (pyautoattack, standard), ε = 0.3",
             suite.run_standard_evaluation(x, y)[0]),
        ):  # fmt: skip
            found.setdefault(metric, []).append(100 * accuracy(model, attacked, y))
        _write_fast_training(found)  # after each model, since AutoAttack takes long


def _write_fast_training(found: dict[str, list[float]]) -> None:
    targets = ("≥ 98.5%", "≥ 88%", "≥ 80%")
    for (metric, values), target in zip(found.items(), targets, strict=True):
        cells = [f"fast training on MNIST: {metric}", f"{mean_and_std(values, 1)}%", target]
        runs = f"{pluralize(len(values), 'model')}, 1,000 images"
        write_result(SECTION, HEADER, cells, runs, f"python -m {MODULE} 5")


PARTS = {
    "1": benchmark_strength, "2": benchmark_pgd, "3": benchmark_carlini_wagner,
    "4": benchmark_digits, "5": benchmark_fast_training,
}  # fmt: skip


def main(parts: list[str]) -> None:
    silence_libraries()
    run_parts(PARTS, parts)


if __name__ == "__main__":
    main(sys.argv[1:])

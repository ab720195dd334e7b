"""How strong the attacks on images are, and how fast, beside torchattacks and foolbox.

The model is that of Wong et al. (convolutions of 16 and 32 maps, 100 hidden units), trained on
MNIST for four epochs without a defence, once for each seed.

1. Strength on 1,000 test images, mean and standard deviation over three models: accuracy under
   PGD-40 at ε = 0.3, under one universal perturbation learned from 5,000 training images, and under
   what fools a substitute that asked 10,000 times for a class; mean distances of the nearest
   adversarial images of 200.
2. PGD-40 at ε = 0.3 against torchattacks', step 0.01, 1,000 images.
3. Carlini and Wagner's attack against foolbox's: 6 values of c with 300 steps each, 200 images.
4. PGD training on handwritten digits by the recipe ``robust_cnn``, beside the same network without
   a defence: accuracy with and without PGD-40 at ε = 0.15, mean over three seeds; the figure
   docs/robust_training.png.
5. Fast training on MNIST by the recipe ``robust_cnn-mnist``, judged harder than the recipe does: on
   the first 1,000 test images, PGD-40 with ten restarts and the standard suite of AutoAttack.

Needs MNIST in the folder that ZOO_DATA names, torchattacks (``pip install --no-deps
torchattacks``), foolbox and pyautoattack. Run: python -m benchmarks.attacks [number ...]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch import Callback
from torch import Tensor

from benchmarks.loop import Best
from benchmarks.timing import interleaved, record
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
from zoo.cli.commands.reproduce import PAGE, hardware, write_row
from zoo.core.registry import read_recipe
from zoo.core.speed import keep_freed_memory

MODULE = "benchmarks.attacks"
HEADER = ("what", "measured", "target", "runs", "command")
SEEDS, EPOCHS = 3, 4
EPS = 0.3


@cache
def data() -> MNIST:
    return MNIST(batch_size=100)


@cache
def victim(seed: int) -> CNN:
    """The network without a defence."""
    L.seed_everything(seed)
    model = CNN(
        (1, 28, 28), 10, (16, 32), kernel_size=4, stride=2, padding=1, pool_size=1,
        normalization="none", hidden_dims=(100,), lr=2e-3, schedule="cosine",
    )  # fmt: skip
    trainer = L.Trainer(
        max_epochs=EPOCHS, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, data())
    return model.eval()


def images(part: str, count: int) -> tuple[Tensor, Tensor]:
    x, y = data().evaluation_samples(part)
    return x[:count], y[:count]


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).double().mean())


# -- 1. strength -----------------------------------------------------------------------------------


def strength(seed: int) -> dict[str, float]:
    """Accuracies under attack, and mean distances, of one model."""
    model, (x, y) = victim(seed), images("test", 1_000)
    many, classes = images("train", 5_000)
    batches = list(zip(many.split(100), classes.split(100), strict=True))
    figures = {"clean": accuracy(model, x, y)}
    for attack in (FGSM(eps=EPS), PGD(eps=EPS, step_size=0.01), APGD(eps=EPS)):
        figures[attack.name] = accuracy(model, attack(model, x, y), y)
    universal = UniversalPerturbation(eps=EPS).fit(model, batches)
    figures["universal"] = accuracy(model, universal(model, x, y), y)
    substitute = SubstituteAttack(attack=PGD(eps=EPS), seed=seed).fit(model, many)
    figures["transfer"] = accuracy(model, substitute(model, x, y), y)
    x, y = x[:200], y[:200]
    for nearest in (CarliniWagner(), LBFGSAttack(), DeepFool()):
        found = nearest(model, x, y)
        figures[f"{nearest.name} success"] = 1 - accuracy(model, found, y)
        figures[nearest.name] = float((found - x).flatten(1).norm(dim=1).mean())
    figures["ratio"] = figures["LBFGSAttack"] / figures["CarliniWagner"]
    return figures


def strengths() -> None:
    runs = [strength(seed) for seed in range(SEEDS)]
    mean = {name: statistics.mean(run[name] for run in runs) for name in runs[0]}
    spread = {name: statistics.stdev(run[name] for run in runs) for name in runs[0]}

    def row(what: str, name: str, target: str, share: bool = True) -> None:
        scale, unit = (100, " %") if share else (1, "")
        number = f"{scale * mean[name]:.4g} ± {scale * spread[name]:.2g}{unit}"
        print(f"{what}: {number} (target {target})")
        where = f"{SEEDS} models, {hardware()}, {date.today().isoformat()}"
        cells = [what, number, target, where, f"`python -m {MODULE} 1`"]
        write_row(Path(PAGE), "Attacks", HEADER, cells)

    row("undefended CNN on MNIST, accuracy", "clean", "–")
    row("… under FGSM, ε = 0.3", "FGSM", "–")
    row("… under PGD-40, ε = 0.3, step 0.01", "PGD", "≤ 1 %")
    row("… under APGD-100, ε = 0.3", "APGD", "–")
    row("… under one universal perturbation, ε = 0.3, unseen images", "universal", "≤ 40 %")
    row("… under PGD on a substitute of 10,000 queries, ε = 0.3", "transfer", "≤ 50 %")
    row("nearest adversarial image, mean L2: Carlini and Wagner", "CarliniWagner", "–", False)
    row("… LBFGSAttack", "LBFGSAttack", "–", False)
    row("… LBFGSAttack over Carlini and Wagner", "ratio", "≤ 1.15", False)
    row("… DeepFool", "DeepFool", "–", False)
    row("… success of Carlini and Wagner", "CarliniWagner success", "100 %")


# -- 2. and 3. speed -------------------------------------------------------------------------------


def timed(
    attack: Callable[[], Tensor], model: CNN, y: Tensor, kept: dict[str, Any], name: str
) -> Callable[[], float]:
    """Measures seconds, and keeps what was found."""

    def measure() -> float:
        start = time.perf_counter()
        found = attack()
        seconds = time.perf_counter() - start
        kept[name] = (found, 1 - accuracy(model, found, y))
        return seconds

    return measure


def pgd_speed() -> None:
    import torchattacks

    model, (x, y) = victim(0), images("test", 1_000)
    ours = PGD(eps=EPS, step_size=0.01)
    theirs = torchattacks.PGD(model, eps=EPS, alpha=0.01, steps=40)
    kept: dict[str, Any] = {}
    seconds = interleaved(
        {
            "ours": timed(lambda: ours(model, x, y), model, y, kept, "ours"),
            "theirs": timed(lambda: theirs(x, y), model, y, kept, "theirs"),
        },
        5,
    )
    record(
        "PGD-40 on 1,000 images over torchattacks'",
        f"{seconds['theirs'] / seconds['ours']:.2f} times as fast ({seconds['ours']:.2f} s against "
        f"{seconds['theirs']:.2f}; breaks {kept['ours'][1]:.1%} against {kept['theirs'][1]:.1%})",
        "≥ 3 times", 5, f"{MODULE} 2",
    )  # fmt: skip


def nearest_speed() -> None:
    import foolbox

    model, (x, y) = victim(0), images("test", 200)
    ours = CarliniWagner(search_steps=6, steps=300)
    theirs = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=6, steps=300)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    kept: dict[str, Any] = {}
    seconds = interleaved(
        {
            "ours": timed(lambda: ours(model, x, y), model, y, kept, "ours"),
            "theirs": timed(
                lambda: theirs(wrapped, x, y, epsilons=None)[1], model, y, kept, "theirs"
            ),
        },
        1,
    )
    far = {
        name: float((found - x).flatten(1).norm(dim=1).mean()) for name, (found, _) in kept.items()
    }
    record(
        "Carlini and Wagner on 200 images over foolbox's",
        f"{seconds['theirs'] / seconds['ours']:.2f} times as fast ({seconds['ours']:.1f} s against "
        f"{seconds['theirs']:.1f}; breaks {kept['ours'][1]:.1%} against {kept['theirs'][1]:.1%}, "
        f"mean L2 {far['ours']:.3f} against {far['theirs']:.3f})",
        "≥ 2 times, mean L2 within 5 %", 1, f"{MODULE} 3",
    )  # fmt: skip


# -- 4. training -----------------------------------------------------------------------------------

BUDGETS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


class Curves(Callback):
    """Validation accuracy without and under the attack after each epoch."""

    def __init__(self) -> None:
        self.clean: list[float] = []
        self.robust: list[float] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.clean.append(float(trainer.callback_metrics["val/accuracy"]))
        self.robust.append(float(trainer.callback_metrics["val/robust_accuracy"]))


def defended(seed: int, share: float) -> tuple[Curves, list[float]]:
    """The recipe's network with that share of a batch attacked: curves, and what each ε leaves."""
    L.seed_everything(seed)
    digits, curves = Digits(seed=seed), Curves()
    model = create_model("robust_cnn", input_shape=(1, 8, 8), num_classes=10)
    against = AdversarialTraining(
        PGD(eps=0.15, steps=7), adversarial_fraction=share, eps_warmup=0.2, val_attack=PGD(eps=0.15)
    )
    trainer = L.Trainer(
        max_epochs=40, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[against, curves],
    )  # fmt: skip
    trainer.fit(model, digits)
    found = evaluate_robustness(
        model.eval(), [digits.evaluation_samples("test")], PGD(eps=0.15), BUDGETS
    )
    return curves, list(found.robust_accuracy["PGD"])


def digits_training() -> None:
    names = {"undefended": 0.0, "PGD training": 1.0}
    runs = {name: [defended(seed, share) for seed in range(SEEDS)] for name, share in names.items()}
    shares = {
        name: [statistics.mean(a) for a in zip(*(found for _, found in of), strict=True)]
        for name, of in runs.items()
    }

    def mean(of: list[tuple[Curves, list[float]]], kind: str) -> list[float]:
        curves = (getattr(curve, kind) for curve, _ in of)
        return [statistics.mean(values) for values in zip(*curves, strict=True)]

    figure = plots.robust_training(
        {name: (mean(of, "clean"), mean(of, "robust")) for name, of in runs.items()},
        BUDGETS, shares, 0.15, f"PGD-40 on handwritten digits, means of {SEEDS} seeds",
    )  # fmt: skip
    figure.savefig(PAGE.parent / "robust_training.png", dpi=110)
    for name, of in runs.items():
        for place, what in ((0, "accuracy"), (3, "accuracy under PGD-40, ε = 0.15")):
            values = [found[place] for _, found in of]
            number = f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f} %"
            print(f"{name}, {what}: {number}")
            where = f"{SEEDS} models of 40 epochs, {hardware()}, {date.today().isoformat()}"
            cells = [f"CNN on digits, {name}: {what}", number, "–", where,
                     f"`python -m {MODULE} 4`"]  # fmt: skip
            write_row(Path(PAGE), "Attacks", HEADER, cells)


# -- 5. fast training, judged harder ---------------------------------------------------------------


def fast_model(seed: int) -> CNN:
    """The recipe's network, trained as the recipe trains it."""
    recipe = read_recipe("robust_cnn-mnist")
    (settings,) = (entry["init_args"] for entry in recipe["trainer"]["callbacks"])
    against = FastAdversarialTraining(
        eps=settings["eps"], step_size=settings["step_size"], eps_warmup=settings["eps_warmup"],
        val_attack=PGD(**settings["val_attack"]["init_args"]),
    )  # fmt: skip
    L.seed_everything(seed)
    model, best = create_model("robust_cnn", "mnist"), Best("val/robust_accuracy")
    trainer = L.Trainer(
        max_epochs=recipe["trainer"]["max_epochs"], callbacks=[against, best], logger=False,
        gradient_clip_val=recipe["trainer"]["gradient_clip_val"], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, MNIST(**recipe["data"]["init_args"], seed=seed))
    model.load_state_dict(best.weights)
    return model.eval()


def fast_training() -> None:
    from pyautoattack import AutoAttack

    x, y = images("test", 1_000)
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        model = fast_model(seed)
        restarts = Restarts(PGD(eps=EPS, step_size=0.01), 10)
        suite = AutoAttack(model, eps=EPS, norm="Linf", seed=0)
        for what, images_under in (
            ("accuracy", x),
            ("accuracy under PGD-40 with ten restarts, ε = 0.3", restarts(model, x, y)),
            ("accuracy under AutoAttack (pyautoattack, standard), ε = 0.3",
             suite.run_standard_evaluation(x, y)[0]),
        ):  # fmt: skip
            found.setdefault(what, []).append(100 * accuracy(model, images_under, y))
            print(seed, what, found[what][-1], flush=True)
        _record_fast(found, seed + 1)


def _record_fast(found: dict[str, list[float]], models: int) -> None:
    """Rows of the models so far."""
    for (what, values), target in zip(found.items(), ("≥ 98.5 %", "≥ 88 %", "≥ 80 %"), strict=True):
        spread = f" ± {statistics.stdev(values):.1f}" if models > 1 else ""
        where = f"{models} models, 1,000 images, {hardware()}, {date.today().isoformat()}"
        cells = [f"fast training on MNIST: {what}", f"{statistics.mean(values):.1f}{spread} %",
                 target, where, f"`python -m {MODULE} 5`"]  # fmt: skip
        write_row(Path(PAGE), "Attacks", HEADER, cells)


PARTS = {
    "1": strengths, "2": pgd_speed, "3": nearest_speed, "4": digits_training,
    "5": fast_training,
}  # fmt: skip

if __name__ == "__main__":
    keep_freed_memory()
    for number in sys.argv[1:] or PARTS:
        PARTS[number]()

"""``zoo attack CKPT``: robustness of a classifier to adversarial attacks."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import torch

from zoo import attacks, plots
from zoo.attacks.robustness import is_correct
from zoo.cli.arguments import Parser, seed
from zoo.cli.checkpoint_data import (
    add_model_option,
    find_checkpoint,
    load_model,
    make_data_module,
    run_folder_of,
)
from zoo.cli.files import save_figure
from zoo.core.classification import Classifier
from zoo.core.files import check_writable
from zoo.core.quiet import silence_libraries
from zoo.errors import InputError, check_at_least, check_non_negative
from zoo.evaluation.robustness import RobustnessRow, TargetModel, model_name
from zoo.evaluation.robustness_dense import NUM_SAMPLES, DenseTarget, make_dense_target


def attack(args: list[str]) -> None:
    """Attack a classifier on its test samples, print a table and save figures in the run folder.

    The table lists the accuracy under each attack and the mean size of the perturbations that
    changed a prediction. Bounded attacks run once for each ε; minimum-norm attacks search for the
    nearest adversarial sample. The first attack of each line is the default.

    images         pgd, fgsm, bim, apgd, square, universal, transfer;
                   minimum-norm: carlini_wagner, deep_fool, lbfgs
    point clouds   pgd, fgsm, bim, apgd, drop; smooth for shapes with the same faces;
                   minimum-norm: carlini_wagner
    voxel grids    flips
    nodes          prbcd, grbcd, greedy, random
    meshes         pgd, fgsm, bim, smooth

    Threat models: white-box attacks use gradients of the model, score-based attacks only its
    scores, and decision-based attacks only its predicted classes.
    """
    options = _parse(args)
    silence_libraries()
    target = _make_target(options.checkpoint, options)
    target.complete_options()
    print(
        f"{target.title}: {target.num_samples:,} test {target.sample_noun}, clean accuracy "
        f"{target.clean_accuracy:.2%}\n"
    )
    folder = options.out or run_folder_of(Path(target.path)) / "figures"
    check_writable(folder / "robustness.png")
    rows: list[RobustnessRow] = []
    figures = {}
    print(f"{'attack':<26}{'eps':>7}{'accuracy':>10}{target.distance_name:>14}   threat model")
    for name in options.attack:
        for row, make_figure in target.evaluate(name):
            print(_format_row(row), flush=True)
            rows.append(row)
            figures[f"attack_{name}"] = make_figure  # the last is that of the largest ε
    print()
    for name, make_figure in figures.items():
        _save(make_figure(), folder, name)
    if curves := _curves(rows):
        title, chance = f"Robust accuracy of {target.title}", 1 / target.model.num_classes
        figure = plots.robustness_curves(
            options.eps, target.clean_accuracy, curves, title, target.eps_unit, chance
        )
        _save(figure, folder, "robustness")
    if options.other_models and isinstance(target, DenseTarget):
        _compare_transfer(target, options, folder)


def _parse(args: list[str]) -> Any:
    parser = Parser("attack", inspect.getdoc(attack))
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint of a classifier, or its run folder")
    add("--attack", nargs="+", metavar="NAME", help="attacks, default: the first one for the data")
    add("--eps", nargs="+", type=float, metavar="E",
        help="radii ε of the perturbation, default: three for the data")  # fmt: skip
    add("--norm", choices=["linf", "l2", "point"],
        help="norm of the perturbation; point clouds and meshes support point, the displacement of "
             "each point")  # fmt: skip
    add("--steps", type=int, metavar="N",
        help="number of steps, queries, epochs or rounds, default: that of the attack")  # fmt: skip
    add("--restarts", type=int, default=1, metavar="N", help="number of random starts, default 1")
    add("--target", type=int, metavar="CLASS", help="target class, default: any wrong class")
    add("--test_samples", type=int, metavar="N",
        help=f"number of images, point clouds or voxel grids, default {NUM_SAMPLES:,}")  # fmt: skip
    add("--other_models", nargs="+", default=[], metavar="CKPT",
        help="checkpoints for a transfer matrix: accuracy of each model on samples crafted on each "
             "model")  # fmt: skip
    add_model_option(parser)
    add("--data", metavar="NAME", help="name of the data set, default: that of the run")
    add("--data.root", dest="root", metavar="FOLDER", help="folder of the data")
    add("--out", type=Path, metavar="FOLDER",
        help="folder of the figures, default: figures in the run folder")  # fmt: skip
    add("--seed", type=seed, default=0, metavar="N", help="random seed, default 0")
    options = parser.parse_args(args)
    check_at_least(1, **{"--test_samples": options.test_samples, "--restarts": options.restarts})
    for eps in options.eps or []:
        check_non_negative(**{"--eps": eps})
    return options


def _make_target(path: str, options: Any) -> TargetModel:
    """Load a model and its test samples."""
    path = str(find_checkpoint(path))
    model = load_model(path, Classifier, own_class=options.model)
    if options.target is not None and not 0 <= options.target < model.num_classes:
        raise InputError(
            f"--target {options.target}: the model has classes 0 to {model.num_classes - 1}"
        )
    data = make_data_module(Path(path), options.data, options.root)
    if hasattr(data, "evaluation_samples"):
        return make_dense_target(path, model, data, options)
    # imports PyG, which is not needed for tensors
    from zoo.evaluation.robustness_structures import make_structure_target

    return make_structure_target(path, model, data, options)


# -- output ----------------------------------------------------------------------------------------


def _format_row(row: RobustnessRow) -> str:
    eps = "" if row.eps is None else f"{row.eps:g}"
    distance = "–" if math.isnan(row.distance) else f"{row.distance:.4g}"
    return f"{row.attack:<26}{eps:>7}{row.accuracy:>10.2%}{distance:>14}   {row.threat_model}"


def _curves(rows: list[RobustnessRow]) -> dict[str, list[float]]:
    """Return the accuracies of each bounded attack."""
    curves: dict[str, list[float]] = {}
    for row in rows:
        if row.eps is not None:
            curves.setdefault(row.attack, []).append(row.accuracy)
    return curves


def _compare_transfer(target: DenseTarget, options: Any, folder: Path) -> None:
    """Print and plot the accuracy of each model on samples crafted on each, at the largest ε."""
    targets = [target, *(_make_target(path, options) for path in options.other_models)]
    shapes = {tuple(t.x.shape[1:]) for t in targets if isinstance(t, DenseTarget)}
    if len(shapes) > 1 or not all(type(t) is type(target) for t in targets):
        raise InputError(
            f"--other_models must take {target.sample_noun} of the same shape, got "
            f"{' and '.join(map(str, sorted(shapes)))}"
        )
    eps = options.eps[-1]
    fixed = target.available_attacks()["pgd"].fixed
    pgd: Any = attacks.PGD(eps=eps, norm=options.norm, seed=options.seed, early_stop=False, **fixed)
    if options.target is not None:
        pgd = attacks.Targeted(pgd, options.target)
    accuracy = torch.zeros(len(targets), len(targets))
    for row, source in enumerate(targets):
        x_adv = target.perturb(source.model, pgd, target.x, target.y)
        for column, other in enumerate(targets):
            accuracy[row, column] = is_correct(other.model, x_adv, target.y).double().mean()
    names = [model_name(t.path) for t in targets]
    width = max(map(len, names))
    title = f"{pgd.name}, ε = {eps:g}"
    noun = target.sample_noun
    print(f"\n{title}: accuracy of the models (columns) on {noun} crafted on each model (rows)")
    print(" " * width, *(f"{name:>12.12}" for name in names))
    for name, values in zip(names, accuracy.tolist(), strict=True):
        print(f"{name:<{width}}", *(f"{value:>12.2%}" for value in values))
    _save(plots.transfer_matrix(accuracy, names, title), folder, "transfer")


def _save(figure: Any, folder: Path, name: str) -> None:
    """Write a figure, if there is one, and print its path."""
    if figure is None:
        return
    path = folder / f"{name}.png"
    save_figure(figure, path, dpi=120, bbox_inches="tight")
    print(f"written to {path}")

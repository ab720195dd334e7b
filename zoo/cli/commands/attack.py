"""``python -m zoo attack CKPT``: how a classifier holds under attack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zoo import attacks, plots
from zoo.attacks.robustness import is_correct
from zoo.cli.arguments import Parser
from zoo.cli.checkpoint_data import load_model, make_data_module
from zoo.core.classification import Classifier
from zoo.core.quiet import silence_libraries
from zoo.errors import InputError, unknown
from zoo.evaluation.robustness import RobustnessRow, TargetModel, model_name
from zoo.evaluation.robustness_dense import DenseTarget, make_dense_target


def attack(args: list[str]) -> None:
    """Attacks a classifier on its test samples: a table, and figures beside the run.

    Attacks with a budget give the accuracy that each ε leaves, the others the distance of the
    nearest adversarial sample. Images: pgd (default), fgsm, bim, apgd, square, universal, transfer;
    carlini_wagner, deep_fool, penalty. Clouds of points: pgd, fgsm, bim, apgd, drop;
    carlini_wagner; shapes with shared faces also smooth. Voxels: flips. Nodes of a graph: prbcd,
    grbcd, greedy, random. Meshes: pgd, fgsm, bim, smooth.
    """
    options = _options(args)
    silence_libraries()
    victim = _victim(options.checkpoint, options)
    _complete(options, victim)
    print(
        f"{victim.title}: {victim.count:,} test {victim.what.removeprefix('test ')}, accuracy "
        f"without an attack {victim.clean:.2%}\n"
    )
    where = options.out or Path(options.checkpoint).absolute().parent.parent / "figures"
    rows: list[RobustnessRow] = []
    figures = {}
    print(f"{'attack':<26}{'eps':>7}{'accuracy':>10}{victim.distance:>13}   sees")
    for name in options.attack:
        for row, draw in victim.judge(name):
            print(_line(row), flush=True)
            rows.append(row)
            figures[f"attack_{name}"] = draw  # of the largest budget
    print()
    for title, draw in figures.items():
        _write(draw(), where, title)
    curves = _curves(rows)
    if curves:
        heading = f"{victim.title}, under attack"
        chance = 1 / victim.model.num_classes
        figure = plots.robustness_curves(
            options.eps, victim.clean, curves, heading, victim.unit, chance
        )
        _write(figure, where, "robustness")
    if options.others and isinstance(victim, DenseTarget):
        _transfer(victim, options, where)


def _options(args: list[str]) -> Any:
    parser = Parser("attack", attack.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--attack", nargs="+", metavar="NAME", help="default: the first one")
    parser.add_argument("--eps", nargs="+", type=float, help="budgets; default: three")
    parser.add_argument("--norm", choices=["linf", "l2", "point"],
                        help="of images linf or l2, of points point (each way) too")  # fmt: skip
    parser.add_argument("--steps", type=int, help="default: the attack's own")
    parser.add_argument("--restarts", type=int, default=1, help="of random starts, default 1")
    parser.add_argument("--target", type=int, help="class to reach; default: any wrong one")
    parser.add_argument("--images", type=int,
                        help="test images, clouds or grids, default 1,000")  # fmt: skip
    parser.add_argument("--others", nargs="+", default=[], metavar="CKPT",
                        help="further models: does what fools one fool the others?")  # fmt: skip
    parser.add_argument("--data", help="default: that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--out", type=Path, help="folder, default: figures of the run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(args)
    for name in ("images", "restarts"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be at least 1, got {value}")
    if options.eps and any(eps < 0 for eps in options.eps):
        raise InputError(f"--eps must not be negative, got {min(options.eps):g}")
    return options


def _complete(options: Any, victim: TargetModel) -> None:
    """What the options leave open, as it suits what is attacked.

    Raises:
        InputError: names the option that does not.
    """
    known = list(victim.entries())
    options.attack = options.attack or known[:1]
    options.eps = sorted(set(options.eps or victim.budgets))
    for name in options.attack:
        if name not in known:
            raise unknown("attack", name, known)
    victim.check()


def _victim(path: str, options: Any) -> TargetModel:
    model = load_model(path, Classifier)
    if options.target is not None and not 0 <= options.target < model.num_classes:
        raise InputError(
            f"--target {options.target}: the model has classes 0 to {model.num_classes - 1}"
        )
    data = make_data_module(Path(path), options.data, options.root)
    if hasattr(data, "evaluation_samples"):
        return make_dense_target(path, model, data, options)
    from zoo.evaluation.robustness_structures import (
        make_structure_target,  # only here is PyG needed
    )

    return make_structure_target(path, model, data, options)


# -- what is shown ---------------------------------------------------------------------------------


def _line(row: RobustnessRow) -> str:
    eps = "" if row.eps is None else f"{row.eps:g}"
    distance = "–" if row.distance != row.distance else f"{row.distance:.4g}"
    return f"{row.attack:<26}{eps:>7}{row.accuracy:>10.2%}{distance:>13}   {row.sight}"


def _curves(rows: list[RobustnessRow]) -> dict[str, list[float]]:
    """Accuracies by attack, of those that have a budget."""
    curves: dict[str, list[float]] = {}
    for row in rows:
        if row.eps is not None:
            curves.setdefault(row.attack, []).append(row.accuracy)
    return curves


def _transfer(victim: DenseTarget, options: Any, where: Path) -> None:
    """Which models the samples made for each of them fool, at the largest ε."""
    victims = [victim, *(_victim(path, options) for path in options.others)]
    shapes = {tuple(v.x.shape[1:]) for v in victims if isinstance(v, DenseTarget)}
    if len(shapes) > 1 or not all(type(v) is type(victim) for v in victims):
        raise InputError(f"--others: the models take {victim.what} of different shapes: {shapes}")
    eps = options.eps[-1]
    settings = {**victim.entries()["pgd"].fixed, "norm": options.norm, "seed": options.seed}
    made: Any = attacks.PGD(eps=eps, early_stop=False, **settings)
    made = made if options.target is None else attacks.Targeted(made, options.target)
    shares = torch.zeros(len(victims), len(victims))
    for row, source in enumerate(victims):
        found = victim.attacked(source.model, made, victim.x, victim.y)
        for column, other in enumerate(victims):
            shares[row, column] = is_correct(other.model, found, victim.y).double().mean()
    names = [model_name(v.path) for v in victims]
    width = max(map(len, names))
    print(f"\n{made.name}, ε = {eps:g}: accuracy on {victim.what} made for (down), of (across)")
    print(" " * width, *(f"{name:>12.12}" for name in names))
    for name, line in zip(names, shares, strict=True):
        print(f"{name:<{width}}", *(f"{value:>12.2%}" for value in line.tolist()))
    title = f"{made.name}, ε = {eps:g}"
    _write(plots.transfer_matrix(shares, names, title), where, "transfer")


def _write(figure: Any, where: Path, name: str) -> None:
    if figure is None:
        return
    target = where / f"{name}.png"
    try:
        where.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=120, bbox_inches="tight")
    except OSError as error:
        raise InputError(f"cannot write {target}: {error}") from error
    print(f"written to {target}")

"""``python -m zoo attack CKPT``: how a classifier holds under attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import attacks, plots
from zoo.arguments import Parser
from zoo.attacks.base import Attack
from zoo.attacks.robustness import correct
from zoo.errors import InputError, unknown
from zoo.evaluation import data_of, load_any
from zoo.messages import quieten
from zoo.prediction import Classifier

SHOWN = 8  # images in a figure
CHUNK = 500  # images that are attacked at once
LEARNED = 5_000  # training images that a universal perturbation or a substitute learns from

#: attacks within ε, by name, from ε and further options
BUDGETED: dict[str, Callable[..., Any]] = {
    "fgsm": attacks.FGSM,
    "bim": attacks.BIM,
    "pgd": attacks.PGD,
    "apgd": attacks.APGD,
    "square": attacks.Square,
    "universal": attacks.UniversalPerturbation,
    "transfer": attacks.PGD,
}
NEAREST: dict[str, Callable[..., Any]] = {
    "carlini_wagner": attacks.CarliniWagner,
    "deep_fool": attacks.DeepFool,
    "penalty": attacks.PenaltyAttack,
}
RANDOM = ("pgd", "apgd", "square")  # what has a seed
SIGHT = {
    "square": "black box, scores",
    "transfer": "black box, classes",
}


@dataclass(frozen=True)
class Row:
    """A line of the table: an attack with its budget, and what it left."""

    attack: str
    eps: float | None
    accuracy: float
    distance: float
    sight: str


@dataclass(frozen=True)
class Victim:
    """A model with the images that it is attacked on.

    Args:
        path: of the checkpoint.
        model: in evaluation mode.
        data: its data module.
        x, y: test images and their classes, on the model's device.
    """

    path: str
    model: Classifier
    data: Any
    x: Tensor
    y: Tensor


def attack(args: list[str]) -> None:
    """Attacks a classifier of images on its test images: a table, and figures beside the run.

    Budgeted attacks (fgsm, bim, pgd, apgd, square, universal, transfer) give the accuracy that each
    ε leaves; carlini_wagner, deep_fool and penalty look for the nearest adversarial image and give
    its distance.
    """
    options = _options(args)
    quieten()
    victim = _victim(options.checkpoint, options)
    right = correct(victim.model, victim.x, victim.y)
    clean = float(right.double().mean())
    print(
        f"{type(victim.model).__name__} on {type(victim.data).__name__}: {len(victim.y):,} test "
        f"images, accuracy without an attack {clean:.2%}\n"
    )
    where = options.out or Path(options.checkpoint).absolute().parent.parent / "figures"
    rows: list[Row] = []
    figures = {}
    print(_header())
    for name in options.attack:
        for row, figure in _judge(name, victim, right, options):
            print(_line(row), flush=True)
            rows.append(row)
            figures[f"attack_{name}"] = figure  # of the largest budget
    print()
    for title, figure in figures.items():
        _write(figure, where, title)
    curves = _curves(rows)
    if curves:
        norm = {"linf": "Linf, pixels in [0, 1]", "l2": "L2"}[options.norm]
        heading = f"{type(victim.model).__name__} on {type(victim.data).__name__}, under attack"
        chance = 1 / victim.model.num_classes
        figure = plots.robustness_curves(options.eps, clean, curves, heading, norm, chance)
        _write(figure, where, "robustness")
    if options.others:
        _transfer(victim, options, where)


def _options(args: list[str]) -> Any:
    known = [*BUDGETED, *NEAREST]
    parser = Parser("attack", attack.__doc__)
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--attack", nargs="+", default=["pgd"], metavar="NAME",
                        help=f"of {', '.join(known)}; default pgd")  # fmt: skip
    parser.add_argument("--eps", nargs="+", type=float, default=[0.1, 0.2, 0.3],
                        help="budgets, default 0.1 0.2 0.3")  # fmt: skip
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument("--steps", type=int, help="default: the attack's own")
    parser.add_argument("--restarts", type=int, default=1, help="of random starts, default 1")
    parser.add_argument("--target", type=int, help="class to reach; default: any wrong one")
    parser.add_argument("--images", type=int, default=1_000, help="test images, default 1,000")
    parser.add_argument("--others", nargs="+", default=[], metavar="CKPT",
                        help="further models: does what fools one fool the others?")  # fmt: skip
    parser.add_argument("--data", help="default: that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--out", type=Path, help="folder, default: figures of the run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(args)
    for name in options.attack:
        if name not in known:
            raise unknown("attack", name, known)
        if options.restarts > 1 and name not in RANDOM:
            raise InputError(f"--restarts: {name} draws nothing at random that could be drawn anew")
    for name in ("images", "restarts"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if any(eps < 0 for eps in options.eps):
        raise InputError(f"--eps must not be negative, got {min(options.eps):g}")
    options.eps = sorted(set(options.eps))
    return options


def _victim(path: str, options: Any) -> Victim:
    model = load_any(path)
    if not isinstance(model, Classifier):
        raise InputError(f"{path} is a {type(model).__name__}: attacks need a classifier")
    data = data_of(Path(path), options.data, options.root)
    x, y = _samples(data, "test", path)
    target = options.target
    if target is not None:
        if not 0 <= target < model.num_classes:
            raise InputError(
                f"--target {target}: the model has classes 0 to {model.num_classes - 1}"
            )
        x, y = x[y != target], y[y != target]  # those of the class itself have nothing to reach
    x, y = x[: options.images], y[: options.images]
    return Victim(path, model, data, x.to(model.device), y.to(model.device))


def _samples(data: Any, part: str, path: str) -> tuple[Tensor, Tensor]:
    if not hasattr(data, "evaluation_samples"):
        raise InputError(f"attacks need images, {type(data).__name__} of {path} has none")
    x, y = data.evaluation_samples(part)
    if x.ndim != 4 or y.is_floating_point():
        raise InputError(
            f"attacks need images with classes, {type(data).__name__} has {tuple(x.shape[1:])}"
        )
    return x, y


# -- attacks ---------------------------------------------------------------------------------------


def _judge(name: str, victim: Victim, right: Tensor, options: Any) -> Iterator[tuple[Row, Any]]:
    """A row for each budget, with a figure of some images."""
    x, y = victim.x[right], victim.y[right]
    budgets = [None] if name in NEAREST else options.eps
    for eps, ready in zip(budgets, _ready(name, victim, budgets, options), strict=True):
        if options.target is not None and name != "universal":
            ready = attacks.Targeted(ready, options.target)
        parts = zip(x.split(CHUNK), y.split(CHUNK), strict=True)
        found = torch.cat([ready(victim.model, *part) for part in parts]) if len(x) else x
        held = correct(victim.model, found, y)
        far = (found - x).flatten(1).norm(dim=1)[~held]
        share = float(held.sum()) / len(victim.y)
        distance = float(far.mean()) if len(far) else float("nan")
        sight = SIGHT.get(name, "white box")
        row = Row(ready.name if name != "transfer" else "transfer", eps, share, distance, sight)
        yield row, _figure(ready, victim, x, found, eps)


def _ready(name: str, victim: Victim, budgets: list[Any], options: Any) -> Iterator[Attack]:
    """The attack for each budget; what has to be learned first is learned on training images."""
    settings: dict[str, Any] = {} if options.steps is None else {"steps": options.steps}
    if name in NEAREST:
        if name != "penalty":
            settings["norm"] = "l2"
        yield NEAREST[name](**settings)
        return
    if name in ("square", "universal") and settings:
        settings = {"queries" if name == "square" else "epochs": options.steps}
    settings["norm"] = options.norm
    if name == "transfer":
        x, _ = _samples(victim.data, "train", victim.path)
        asked = x[:LEARNED].to(victim.model.device)
        substitute = attacks.TransferAttack(
            attack=attacks.PGD(eps=0.0, **settings), seed=options.seed
        ).fit(victim.model, asked)
        yield from (substitute.with_budget(eps) for eps in budgets)
        return
    for eps in budgets:
        if name == "universal":
            x, y = (part[:LEARNED] for part in _samples(victim.data, "train", victim.path))
            device = victim.model.device
            batches = list(zip(x.to(device).split(100), y.to(device).split(100), strict=True))
            kind = attacks.UniversalPerturbation(eps=eps, target=options.target, **settings)
            yield kind.fit(victim.model, batches)
            continue
        made = BUDGETED[name](eps=eps, **settings, **_seed(name, options))
        yield made if options.restarts == 1 else attacks.Restarts(made, options.restarts)


def _seed(name: str, options: Any) -> dict[str, int]:
    return {"seed": options.seed} if name in RANDOM else {}


# -- what is shown ---------------------------------------------------------------------------------


def _header() -> str:
    return f"{'attack':<26}{'eps':>7}{'accuracy':>10}{'mean L2':>9}   sees"


def _line(row: Row) -> str:
    eps = "" if row.eps is None else f"{row.eps:g}"
    distance = "–" if row.distance != row.distance else f"{row.distance:.3f}"
    return f"{row.attack:<26}{eps:>7}{row.accuracy:>10.2%}{distance:>9}   {row.sight}"


def _curves(rows: list[Row]) -> dict[str, list[float]]:
    """Accuracies by attack, of those that have a budget."""
    curves: dict[str, list[float]] = {}
    for row in rows:
        if row.eps is not None:
            curves.setdefault(row.attack, []).append(row.accuracy)
    return curves


def _figure(ready: Attack, victim: Victim, x: Tensor, found: Tensor, eps: float | None) -> Any:
    names = getattr(victim.data, "class_names", None)
    names = list(names) if names else [str(k) for k in range(victim.model.num_classes)]
    budget = "nearest images" if eps is None else f"ε = {eps:g}"
    title = f"{ready.name} on {type(victim.model).__name__}, {budget}"
    x, found = x[:SHOWN], found[:SHOWN]
    if x.shape[1] not in (1, 3):
        return None
    if isinstance(ready, attacks.AddedPerturbation):
        return plots.universal_perturbation(ready.delta, x, found, title)
    said = []
    for images in (x, found):
        with torch.no_grad():
            sure, predicted = victim.model.logits(images).softmax(1).max(1)
        said.append((predicted, sure))
    return plots.adversarial_images(x, found, said[0], said[1], names, title)


def _transfer(victim: Victim, options: Any, where: Path) -> None:
    """Which models the samples made for each of them fool, at the largest ε."""
    victims = [victim, *(_victim(path, options) for path in options.others)]
    shapes = {tuple(v.x.shape[1:]) for v in victims}
    if len(shapes) > 1:
        raise InputError(f"--others: the models take images of different shapes: {shapes}")
    eps = options.eps[-1]
    made: Any = attacks.PGD(eps=eps, norm=options.norm, seed=options.seed, early_stop=False)
    made = made if options.target is None else attacks.Targeted(made, options.target)
    shares = torch.zeros(len(victims), len(victims))
    for row, source in enumerate(victims):
        found = torch.cat(
            [
                made(source.model, *part)
                for part in zip(victim.x.split(CHUNK), victim.y.split(CHUNK), strict=True)
            ]
        )
        for column, other in enumerate(victims):
            shares[row, column] = correct(other.model, found, victim.y).double().mean()
    names = [_model_name(Path(v.path)) for v in victims]
    width = max(map(len, names))
    print(f"\n{made.name}, ε = {eps:g}: accuracy on images made for (down), of (across)")
    print(" " * width, *(f"{name:>12.12}" for name in names))
    for name, line in zip(names, shares, strict=True):
        print(f"{name:<{width}}", *(f"{value:>12.2%}" for value in line.tolist()))
    title = f"{made.name}, ε = {eps:g}"
    _write(plots.transfer_matrix(shares, names, title), where, "transfer")


def _model_name(path: Path) -> str:
    """The recipe of a run, which names the folder above that of its time."""
    parents = path.absolute().parents
    return parents[2].name if len(parents) > 2 else path.stem


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

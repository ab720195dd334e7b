"""``python -m zoo interpolate|traverse|arithmetic|compare CKPT``: pictures without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo import plots
from zoo.arguments import Parser
from zoo.errors import InputError
from zoo.evaluation import data_of, load_latent, samples_of
from zoo.functional.paths import PATHS, path
from zoo.latent.base import LatentModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # latent dimensions of a traversal, at most


def interpolate(args: list[str]) -> None:
    """Decodes the straight line and the arc between the codes of two test inputs."""
    parser = _parser("interpolate", interpolate.__doc__)
    parser.add_argument("--first", type=int, default=0, help="index of a test input, default 0")
    parser.add_argument("--second", type=int, help="default: the next one of another class")
    parser.add_argument("--steps", type=int, default=11, help="images along the path, default 11")
    options = parser.parse_args(args)
    _at_least(2, "steps", options.steps)
    model, x, y = _open(options)
    first, second = _ends(options, y)
    ends = x[first : first + 1], x[second : second + 1]
    blank = torch.ones_like(ends[0])
    with torch.no_grad():
        rows = [
            torch.cat([ends[0], blank, model.interpolate(*ends, options.steps, kind)[:, 0], blank,
                       ends[1]])
            for kind in PATHS
        ]  # fmt: skip
    title = f"{type(model).__name__}: from test input {first} to {second} (inputs at both ends)"
    _write(plots.image_rows(rows, PATHS, title), options)


def traverse(args: list[str]) -> None:
    """Moves one latent dimension at a time through the range that training codes have."""
    parser = _parser("traverse", traverse.__doc__)
    parser.add_argument("--index", type=int, default=0, help="test input to start at, default 0")
    parser.add_argument("--steps", type=int, default=11, help="images a row, default 11")
    parser.add_argument("--dims", help="latent dimensions from 1, such as 1,4; default: the "
                        f"{SHOWN} that vary most")  # fmt: skip
    options = parser.parse_args(args)
    _at_least(2, "steps", options.steps)
    model, x, _ = _open(options)
    _in_range("index", options.index, len(x))
    with torch.no_grad():
        codes = model.encode(x)
        dims = _dims(options.dims, codes)
        levels = torch.linspace(0.01, 0.99, options.steps, device=codes.device)
        values = codes.float().quantile(levels, dim=0).to(codes)  # (steps, D)
        rows = []
        for dim in dims:
            moved = codes[options.index].repeat(options.steps, 1)
            moved[:, dim] = values[:, dim]
            rows.append(model.decode(moved))
    labels = [
        f"z{dim + 1}: {float(values[0, dim]):.2g} to {float(values[-1, dim]):.2g}" for dim in dims
    ]
    title = f"{type(model).__name__}: test input {options.index}, one dimension at a time"
    _write(plots.image_rows(rows, labels, f"{title} (1st to 99th percentile)"), options)


def arithmetic(args: list[str]) -> None:
    """Decodes mean(A) − mean(B) + mean(C) of three groups' codes.

    A group is a class, class:4, or a list of test inputs, 0,7,12.
    """
    parser = _parser("arithmetic", arithmetic.__doc__)
    for flag, what in (("--add", "A"), ("--subtract", "B"), ("--to", "C")):
        parser.add_argument(flag, required=True, metavar=what, help="a group, see above")
    options = parser.parse_args(args)
    model, x, y = _open(options)
    groups = [group(text, y) for text in (options.add, options.subtract, options.to)]
    with torch.no_grad():
        a, b, c = (model.encode(x[members]).mean(0) for members in groups)
        images = model.decode(torch.stack([a, b, c, a - b + c]))
    texts = (options.add, options.subtract, options.to)
    names = [_described(*pair) for pair in zip(texts, groups, strict=True)]
    order = images[[2, 0, 1, 3]]
    labels = [names[2], names[0], names[1], "result"]
    title = f"{type(model).__name__}: arithmetic on mean codes"
    _write(plots.equation(order, ("+", "−", "="), labels, title), options)


def compare(args: list[str]) -> None:
    """Lays latent spaces of several models side by side, with a path between the same inputs."""
    parser = _parser("compare", compare.__doc__, several=True)
    parser.add_argument("--first", type=int, default=0, help="index of a test input, default 0")
    parser.add_argument("--second", type=int, help="default: the next one of another class")
    parser.add_argument("--steps", type=int, default=9, help="images along the path, default 9")
    options = parser.parse_args(args)
    _at_least(2, "steps", options.steps)
    panels = []
    labels = torch.empty(0)
    for checkpoint in options.checkpoint:
        model, x, y = _open(options, checkpoint)
        first, second = _ends(options, y)
        labels = y
        with torch.no_grad():
            codes = model.encode(x)
            line = path("linear", codes[first, None], codes[second, None], options.steps)[:, 0]
            panels.append(plots.Panel(type(model).__name__, codes, line, model.decode(line)))
    title = f"codes of {len(labels):,} test inputs; the line from input {first} to input {second}"
    known = None if labels.is_floating_point() else labels
    _write(plots.latent_comparison(panels, known, title), options)


def group(text: str, labels: Tensor) -> Tensor:
    """Indices of a group of test inputs.

    Args:
        text: ``class:4``, or indices, ``0,7,12``.
        labels: of the test inputs, (N,).

    Raises:
        InputError: neither; an empty group; an index that there is not.
    """
    kind, _, value = text.rpartition(":")
    numbers = [part.strip() for part in value.split(",") if part.strip()]
    if kind not in ("", "class") or not all(part.lstrip("-").isdigit() for part in numbers):
        raise InputError(f"{text!r} is no group: write class:4, or indices such as 0,7,12")
    if kind == "class":
        members = torch.cat([(labels == int(n)).nonzero()[:, 0] for n in numbers or ["-1"]])
    else:
        members = torch.tensor([int(n) for n in numbers], dtype=torch.long)
    if not len(members):
        known = ", ".join(map(str, labels.unique().tolist())) if kind else "none given"
        raise InputError(f"group {text!r} is empty ({'classes' if kind else 'indices'}: {known})")
    if not kind:
        for index in members.tolist():
            _in_range(f"group {text!r}: index", index, len(labels))
    return members


def _described(text: str, members: Tensor) -> str:
    kind, _, value = text.rpartition(":")
    what = f"class {value}, {len(members)} inputs" if kind else f"input(s) {value}"
    return f"mean of {what}"


# -- shared --------------------------------------------------------------------------------------


def _parser(command: str, description: str | None, several: bool = False) -> Parser:
    parser = Parser(command, description)
    parser.add_argument("checkpoint", metavar="CKPT", nargs="+" if several else None)
    parser.add_argument("--data", help="default: that of the run")
    parser.add_argument("--data.root", dest="root", help="folder of the data")
    parser.add_argument("--images", type=int, default=2_000, help="test inputs, default 2,000")
    parser.add_argument("--out", type=Path, help=f"default: figures/{command}.png of the run")
    parser.set_defaults(command=command)
    return parser


def _open(options: Any, checkpoint: str | None = None) -> tuple[LatentModel, Tensor, Tensor]:
    """The model, test inputs and labels."""
    name = checkpoint or options.checkpoint
    model = load_latent(name)
    data = data_of(Path(name), options.data, options.root)
    return model, *samples_of(data, "test", model, options.images)


def _ends(options: Any, y: Tensor) -> tuple[int, int]:
    """Indices of the two inputs that a path joins."""
    first, second = options.first, options.second
    _in_range("first", first, len(y))
    if second is None:
        others = (y != y[first]).reshape(len(y), -1).any(1).nonzero()[:, 0].tolist()
        second = next((i for i in others if i > first), others[0] if others else len(y) - 1)
    _in_range("second", second, len(y))
    return first, second


def _dims(text: str | None, codes: Tensor) -> list[int]:
    """Latent dimensions, counted from 0."""
    count = codes.shape[1]
    if text is None:
        return codes.var(0).argsort(descending=True)[:SHOWN].sort().values.tolist()
    try:
        dims = [int(part) - 1 for part in text.split(",")]
    except ValueError:
        raise InputError(f"--dims {text!r} are no numbers such as 1,4") from None
    for dim in dims:
        if not 0 <= dim < count:
            raise InputError(f"--dims {dim + 1}: the model has dimensions 1 to {count}")
    return dims


def _in_range(name: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        raise InputError(f"{name} {index} is not among the {count:,} test inputs, 0 to {count - 1}")


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise InputError(f"--{name} must be at least {least}, got {value}")


def _write(figure: Figure, options: Any) -> None:
    first = options.checkpoint[0] if isinstance(options.checkpoint, list) else options.checkpoint
    run = Path(first).absolute().parent.parent
    where = options.out or run / "figures" / f"{options.command}.png"
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(where, dpi=120, bbox_inches="tight")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {where}: {error}") from error
    print(f"written to {where}")

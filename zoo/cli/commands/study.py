"""``python -m zoo study``: lists the studies, runs one, or all for the gallery."""

from __future__ import annotations

import ast
import importlib
import json
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import studies
from zoo.errors import InputError, unknown
from zoo.studies import NAMES, module_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USAGE = """\
Run one: python -m zoo study NAME [--SETTING VALUE ...] [--out DIR]   (its settings: NAME --help)
Run all: python -m zoo study --all [--page docs/gallery.md]"""
GALLERY = """\
# Gallery of studies

One figure of each study at its default settings, as `python -m zoo study --all` wrote it on {day}:
{hardware}, seed 0, {minutes:.0f} minutes for all.
"""


def study(args: list[str]) -> None:
    """Lists the studies, runs one of them, or all.

    Raises:
        InputError: no such study or setting, or a value that it cannot run with.
    """
    if not args or args[0] in ("-h", "--help"):
        print_list()
    elif args[0] == "--all":
        run_all(args[1:])
    elif args[0].startswith("-"):
        raise InputError(f"study: the name comes first, got {args[0]!r}; known: {', '.join(NAMES)}")
    else:
        run_one(args[0].replace("_", "-"), args[1:])


def print_list() -> None:
    """One line for each study, without importing any."""
    width = max(map(len, NAMES))
    for name in NAMES:
        print(f"{name:<{width}}  {explanation(name).splitlines()[0]}")
    print(f"\n{USAGE}")


def explanation(name: str) -> str:
    """What the docstring of a study says."""
    source = Path(studies.__file__).parent / f"{module_of(name)}.py"
    return ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""


def run_one(name: str, args: list[str]) -> None:
    """Runs a study and writes its table, figure (PNG and SVG) and JSON."""
    module = _load(name)
    settings, folder = _settings(name, module, args)
    started = time.perf_counter()
    result = module.run(**settings)
    seconds = time.perf_counter() - started
    print(f"{explanation(name)}\n\n{module.table(result)}\n\n{seconds:.1f} s")
    where = folder or Path("runs/studies") / name
    written = write(name, module, settings, result, module.plot(result), where)
    print("written to " + ", ".join(map(str, written)))


def run_all(args: list[str]) -> None:
    """Runs every study at its defaults; writes a page with one picture of each."""
    from zoo.cli.arguments import Parser
    from zoo.cli.commands.reproduce import hardware

    parser = Parser("study --all", run_all.__doc__)
    parser.add_argument("--page", type=Path, default=Path("docs/gallery.md"),
                        help="Markdown page; pictures beside it, in gallery/")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/studies"),
                        help="folder of tables, figures and results")  # fmt: skip
    options = parser.parse_args(args)
    sections = []
    begun = time.perf_counter()
    pictures = options.page.parent / options.page.stem
    for name in NAMES:
        module = _load(name)
        settings, _ = _settings(name, module, [])
        started = time.perf_counter()
        result = module.run(**settings)
        print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)
        figure = module.plot(result)
        write(name, module, settings, result, figure, options.out / name)
        _save(figure, pictures / f"{name}.png", dpi=80)
        title, *_ = explanation(name).splitlines()
        sections.append(
            f"## {name}\n\n{title}\n\n![{title}]({pictures.name}/{name}.png)\n\n"
            f"```bash\npython -m zoo study {name}\n```\n\n```text\n{module.table(result)}\n```\n"
        )
    minutes = (time.perf_counter() - begun) / 60
    head = GALLERY.format(day=date.today().isoformat(), hardware=hardware(), minutes=minutes)
    _write_text(options.page, "\n".join([head, *sections]))
    print(f"written to {options.page}")


def write(
    name: str, module: Any, settings: Any, result: Any, figure: Figure, folder: Path
) -> list[Path]:
    """Figure and numbers of a study, into a folder; gives the files."""
    from zoo.studies.base import plain

    table = module.table(result)
    paths = [folder / f"{name}.{ending}" for ending in ("png", "svg", "json")]
    _save(figure, paths[0], dpi=120)
    _save(figure, paths[1])
    content = {
        "study": name,
        "settings": plain(settings),
        "header": list(table.header),
        "rows": plain(list(table.rows)),
        "result": plain(result),
    }
    _write_text(paths[2], json.dumps(content, ensure_ascii=False, allow_nan=False))
    if hasattr(module, "animate"):
        paths.append(folder / f"{name}.gif")
        module.animate(result, paths[-1])
    return paths


# -- helpers ---------------------------------------------------------------------------------------


def _load(name: str) -> Any:
    if name not in NAMES:
        raise unknown("study", name, NAMES)
    return importlib.import_module(f"zoo.studies.{module_of(name)}")


def _settings(name: str, module: Any, args: list[str]) -> tuple[dict[str, Any], Path | None]:
    """Settings of ``run`` from the command line, and the folder that ``--out`` names."""
    from jsonargparse import ArgumentError, ArgumentParser

    from zoo.cli.error_text import one_line

    title = explanation(name).splitlines()[0]
    prog = f"python -m zoo study {name}"
    parser = ArgumentParser(prog=prog, description=title, exit_on_error=False)
    parser.add_argument("--out", type=Path | None, default=None,
                        help="folder, default runs/studies/NAME")  # fmt: skip
    parser.add_function_arguments(module.run)
    known = [option for action in parser._actions for option in action.option_strings]
    try:
        chosen = parser.parse_args(args).as_dict()
    except ArgumentError as error:
        raise InputError(f"study {name}: {one_line(str(error), known, {})}") from error
    folder = chosen.pop("out")
    return chosen, folder


def _save(figure: Figure, path: Path, **options: Any) -> None:
    import matplotlib

    # the same result gives the same file
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "zoo"}):
            figure.savefig(path, metadata=metadata, **options)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}") from error


def _write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}") from error

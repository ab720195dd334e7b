"""Entry point of the command line.

``main`` selects the command without importing torch, so that help and lists appear immediately.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from zoo.cli.arguments import SUBCOMMANDS, expand
from zoo.core import registry
from zoo.errors import DivergedError, InputError, describe_system_error

HELP = """\
usage: zoo --model NAME [--data NAME] [--OPTION VALUE ...]
       zoo fit|validate|test|predict --model NAME [...]
       zoo fit|validate|test|predict --ckpt_path CKPT [--data.path FILE] [...]
       zoo list | reproduce RECIPE ... [--seeds N]
       zoo evaluate CKPT [--importance_samples K] [--num_samples N] [--sampler NAME]
       zoo interpolate|traverse|arithmetic|compare CKPT ... [--help]
       zoo attack CKPT [--attack NAME ...] [--eps E ...]
       zoo generate CKPT [--prompt TEXT] [--tokens N] [--temperature T]
       zoo translate CKPT TEXT ... | --file FILE [--num_beams N]
       zoo forecast CKPT [--steps N] [--data.path FILE]
       zoo study [NAME [--SETTING VALUE ...] | --all]

Without a command: train, then test the best checkpoint. "python train.py" and "python -m zoo" do
the same as "zoo".

  --model NAME          {models},
                        or a class of your own: package.module.Class
  --data NAME           {data},
                        or a class of your own; default: the recipe's data
  --model.X, --data.X   any argument of the model or the data; --model.help NAME lists them
  --trainer.X           any argument of Lightning's Trainer (max_epochs, devices, precision, ...)
  --logger NAME ...     csv (default), tensorboard, wandb; several allowed
  --name NAME           name of the run, whose folder is runs/NAME/<time>; default: the recipe's
  --seed N              random seed of the run and of its data, default 0
  --config FILE         settings from a YAML file, such as a run's config.yaml
  --ckpt_path FILE      resume from (fit) or evaluate (test) a checkpoint
  --init_from FILE      start training from the weights of a checkpoint, in all layers that match
  --print_config        show every setting and stop

"zoo fit --help" lists every option. ZOO_DEBUG=1 shows where an error came from.
"""

#: command → module in zoo.cli.commands with a function of that name (``list_`` for ``list``)
COMMANDS = {
    "list": "list",
    "reproduce": "reproduce",
    "evaluate": "evaluate",
    "attack": "attack",
    "interpolate": "latent",
    "traverse": "latent",
    "arithmetic": "latent",
    "compare": "latent",
    "generate": "text",
    "translate": "text",
    "forecast": "forecast",
    "study": "study",
}
#: torch's messages on CPUs and on Apple's GPUs
OUT_OF_MEMORY = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|MPS backend out of"
)


class _Terminated(SystemExit):
    """SIGTERM was received."""


def main(args: list[str] | None = None) -> None:
    """Run a command line; on invalid input, print one line and exit with code 2.

    Ctrl-C ends it with one line and code 130, SIGTERM with code 143.

    Args:
        args: default ``sys.argv[1:]``.
    """
    args = sys.argv[1:] if args is None else args
    try:
        with _ended_by_sigterm():
            _dispatch(args)
        sys.stdout.flush()  # raises here if the pipe is closed, not when the interpreter exits
    except BrokenPipeError:
        _exit_if_output_is_closed()
        raise
    except InputError as error:
        if os.environ.get("ZOO_DEBUG"):
            raise
        _fail(str(error), 2)
    except OSError as error:
        if os.environ.get("ZOO_DEBUG") or not error.errno:
            raise
        _discard_unwritten_output()
        _fail(f"{_describe(error)} (ZOO_DEBUG=1 shows where)", 2)
    except DivergedError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except _Terminated:
        _end("ended by SIGTERM", 143)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # the Trainer exits with code 1
            _end("interrupted", 130)
        raise
    except Exception as error:
        reason = _one_line_reason(error)
        if os.environ.get("ZOO_DEBUG") or reason is None:
            raise
        _fail(reason, 2)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that files and processes are closed."""
    if threading.current_thread() is not threading.main_thread():  # which alone handles signals
        yield
        return

    def stop(signum: int, frame: Any) -> NoReturn:
        raise _Terminated(128 + signum)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _dispatch(args: list[str]) -> None:
    _import_own_packages()
    if not args or args[0] in ("-h", "--help"):
        models, data = ", ".join(registry.list_models()), ", ".join(registry.DATA)
        print(HELP.format(models=models, data=data))
        return
    if args[0] in COMMANDS:
        _command(args[0])(args[1:])
        return
    if args[0] in SUBCOMMANDS and args[1:2] in (["-h"], ["--help"]):
        args = [args[0], "--model", registry.list_models()[0], *args[1:]]
    from zoo.core.quiet import silence_libraries

    silence_libraries()  # before the imports of models and data, some of which print warnings
    invocation = expand(args, tuple(COMMANDS))
    from zoo.cli.lightning_cli import run

    run(invocation)


def _command(name: str) -> Callable[[list[str]], None]:
    module = importlib.import_module(f"zoo.cli.commands.{COMMANDS[name]}")
    return getattr(module, "list_" if name == "list" else name)


def _import_own_packages() -> None:
    """Import the zoo's ``callbacks`` and ``datamodules`` before the working folder's.

    Raises:
        InputError: another package of one of these names has been imported already.
    """
    home = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, home)
    try:
        for name in ("callbacks", "datamodules"):
            file = importlib.import_module(name).__file__ or ""
            if Path(file).resolve().parents[1] != Path(home):
                raise InputError(
                    f"the package {name!r} was imported from {file}, but the zoo needs its own "
                    f"package in {home}: rename yours"
                )
    finally:
        sys.path.remove(home)


def _exit_if_output_is_closed() -> None:
    """Exit without a message if the reader of the output, such as ``head``, has ended."""
    try:
        print(flush=True)
    except BrokenPipeError:
        _discard_unwritten_output()
        sys.exit(1)


def _discard_unwritten_output() -> None:
    """Point the output to nowhere if it cannot be written: the interpreter flushes it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line_reason(error: Exception) -> str | None:
    """Describe an error of Weights & Biases, or a lack of memory; return None for any other."""
    import torch

    text = str(error)
    if type(error).__module__.startswith("wandb."):  # which is imported where needed
        return f"Weights & Biases: {text} WANDB_MODE=offline logs to the run folder only"
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if not is_memory and not OUT_OF_MEMORY.search(text):
        return None
    asked = re.search(r"allocate ([\d.]+ \w+)", text)
    size = f": {asked[1]} could not be allocated" if asked else ""
    return (
        f"out of memory{size}; use smaller batches, fewer samples or a smaller model "
        "(ZOO_DEBUG=1 shows where)"
    )


def _describe(error: OSError) -> str:
    """Return the reason of an error of the operating system, with the file if it is known."""
    if error.errno == errno.ENOENT and error.filename is None:  # of os.getcwd
        return "the working folder has been removed: change to another one"
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' → '.join(files) or 'reading or writing failed'}: {describe_system_error(error)}"


def _fail(message: str, code: int) -> NoReturn:
    _end(f"error: {' '.join(message.split())}", code)


def _end(line: str, code: int) -> NoReturn:
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0:
        print(line, file=sys.stderr)
    sys.exit(code)

"""The command line: LightningCLI with names for recipes, run folders and clear errors.

``main`` decides what is asked for without importing torch, so that help and the catalogue come at
once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from zoo.cli.arguments import SUBCOMMANDS, expand
from zoo.core import registry
from zoo.errors import DivergedError, InputError

HELP = """\
usage: python train.py --model NAME [--data NAME] [--OPTION VALUE ...]
       python train.py fit|validate|test|predict --model NAME [...]
       python -m zoo list | reproduce RECIPE ... [--seeds N]
       python -m zoo evaluate CKPT [--draws K] [--samples N] [--sampler NAME]
       python -m zoo interpolate|traverse|arithmetic|compare CKPT ... [--help]
       python -m zoo attack CKPT [--attack NAME ...] [--eps E ...]
       python -m zoo generate CKPT [--prompt TEXT] [--tokens N] [--temperature T]
       python -m zoo translate CKPT TEXT ... [--beams N]
       python -m zoo study [NAME [--SETTING VALUE ...] | --all]

Without a command: trains, then tests the best checkpoint.

  --model NAME          {models},
                        or a class of yours: package.module.Class
  --data NAME           {data},
                        or a class of yours; default: the recipe's own
  --model.X, --data.X   any argument of the model or the data; --model.help CLASS lists them
  --trainer.X           any argument of Lightning's Trainer (max_epochs, devices, precision, ...)
  --logger NAME ...     csv (default), tensorboard, wandb; several allowed
  --name NAME           of the run's folder, runs/NAME/<time>; default: the recipe's
  --seed N              of everything random, default 0
  --config FILE         settings from a YAML file, such as a run's config.yaml
  --ckpt_path FILE      goes on from (fit) or evaluates (test) a checkpoint
  --print_config        shows every setting and stops

python train.py fit --help lists every option. ZOO_DEBUG=1 shows where an error came from.
"""


def main(args: list[str] | None = None) -> None:
    """Runs a command line; exits with 2 after one clear line when the input is at fault.

    Args:
        args: default ``sys.argv[1:]``.
    """
    args = sys.argv[1:] if args is None else args
    try:
        _dispatch(args)
    except InputError as error:
        if os.environ.get("ZOO_DEBUG"):
            raise
        _fail(str(error), 2)
    except DivergedError as error:
        _fail(str(error), 1)


def _dispatch(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        models, data = ", ".join(registry.list_models()), ", ".join(registry.DATA)
        print(HELP.format(models=models, data=data))
    elif args[0] == "list":
        from zoo.cli.commands.list import print_catalog

        print_catalog(args[1:])
    elif args[0] == "reproduce":
        from zoo.cli.commands.reproduce import reproduce

        reproduce(args[1:])
    elif args[0] == "evaluate":
        from zoo.cli.commands.evaluate import evaluate

        evaluate(args[1:])
    elif args[0] == "attack":
        from zoo.cli.commands.attack import attack

        attack(args[1:])
    elif args[0] in ("interpolate", "traverse", "arithmetic", "compare"):
        from zoo.cli.commands import latent as latent_figures

        getattr(latent_figures, args[0])(args[1:])
    elif args[0] in ("generate", "translate"):
        from zoo.cli.commands import text as texts

        getattr(texts, args[0])(args[1:])
    elif args[0] == "study":
        from zoo.cli.commands.study import study

        study(args[1:])
    else:
        _check_own_packages()
        if args[0] in SUBCOMMANDS and args[1:2] in (["-h"], ["--help"]):
            args = [args[0], "--model", registry.list_models()[0], *args[1:]]
        invocation = expand(args)
        from zoo.cli.lightning_cli import run

        run(invocation)


def _check_own_packages() -> None:
    """A project's own ``callbacks`` or ``datamodules`` on the path would hide the zoo's."""
    home = Path(__file__).resolve().parents[2]
    for name in ("callbacks", "datamodules"):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        found = places[0] if places else (spec.origin if spec else None)
        if found is None or Path(found).resolve().parent != home:
            raise InputError(
                f"{found or 'nothing'} stands where the zoo's own package {name!r} should be "
                f"({home / name}): rename it, or run from another folder"
            )


def _fail(message: str, code: int) -> None:
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)

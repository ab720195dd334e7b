"""The command line: the only part of the zoo that prints."""

from zoo.cli.main import main

__all__ = ["main"]

"""The command line. Importing this imports no torch."""

from mplframe.cli.verbs import app, main

__all__ = ["app", "main"]

"""The command line: `main` is the entry point, one module for each group of commands."""

from modelshapley.cli.main import app, main

__all__ = ["app", "main"]

"""The command line: parse, call, print; no logic.

``main`` is the entry point. Each command imports what it needs when it runs, so that ``--help`` answers at once.
"""

from ostinato.cli.main import main

__all__ = ["main"]

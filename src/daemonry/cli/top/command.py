"""`daemonry top`, from its options to the screen.

Owns its requirements: a terminal, and the extra `tui`.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from daemonry.cli import exit_codes
from daemonry.errors import ArgumentInvalid, Refused
from daemonry.home.home import Home
from daemonry.home.home_toml.home_file import load


def top(home: str | None) -> int:
    """Show the screen until its user leaves it, and return the exit code.

    Args:
        home: the directory of the one home that is shown; None for all that this user runs.

    Raises:
        Refused: the extra is not installed, or this is not a terminal.
        HomeNotFound, ConfigError: `home` is not a home.
    """
    if find_spec("textual") is None:
        raise Refused("top needs textual: install the extra, as in pip install 'daemonry[tui]'")
    directory = None
    if home is not None:
        directory = Home.find(home).directory
        load(directory)
    # textual draws on standard error.
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise ArgumentInvalid("top", "it needs a terminal; `daemonry ps` prints the same once")
    from daemonry.cli.top.screen import Top

    Top(directory).run()
    return exit_codes.DONE

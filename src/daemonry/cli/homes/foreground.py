"""`daemonry up --foreground`: being the supervisor, and showing what its services write.

Owns that output.
"""

from __future__ import annotations

import sys
from typing import Any

from daemonry.cli import output
from daemonry.cli.boot import supervised
from daemonry.cli.homes.events import NAME_STYLES, event_text
from daemonry.cli.homes.names import check_names
from daemonry.home import starting
from daemonry.home.home import Home
from daemonry.home.home_toml.home_file import load
from daemonry.home.supervisor import Supervisor
from daemonry.process.spawn import take_boot
from daemonry.terminal_text import printable


def be_supervisor(home: Home, names: list[str]) -> int:
    """Be the supervisor until the home has ended, and return the exit code."""
    boot = take_boot()
    reporter = starting.StartReporter(home, boot)
    if boot:
        supervisor = Supervisor(home, report=reporter, only=names, owns_session=True)
    else:
        file = load(home.directory)
        check_names(file, names)
        console = _Console(list(file.services))
        supervisor = Supervisor(
            home, watch=console.event, line=console.line, stays=False, report=reporter, only=names
        )
    return supervised(supervisor, reporter)


class _Console:
    """Prints what services write, and what happens to them, for one who stays and watches."""

    def __init__(self, names: list[str]) -> None:
        self._width = max(len(name) for name in names)
        self._styles = {name: NAME_STYLES[at % len(NAME_STYLES)] for at, name in enumerate(names)}

    def line(self, name: str, line: str) -> None:
        style = self._styles.setdefault(name, NAME_STYLES[len(self._styles) % len(NAME_STYLES)])
        self._say(output.styled(f"{name.ljust(self._width)} |", style) + f" {printable(line)}")

    def event(self, event: Any) -> None:
        name = output.styled(f"{event.service.ljust(self._width)} *", "dim")
        self._say(f"{name} {event_text(event.state, event.message)}")

    def _say(self, line: str) -> None:
        try:
            output.say(line)
            sys.stdout.flush()
        except OSError:
            output.reader_gone()  # nobody watches any more; the services go on

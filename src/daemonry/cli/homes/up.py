"""`daemonry up`: starts the supervisor of a home, before anything is loaded that is not needed for that.

Owns the checks before the start, and its failure.  The output about the services is `watch`'s.
"""

from __future__ import annotations

from daemonry.cli import kit, output
from daemonry.cli.homes.home_words import HomeWords
from daemonry.clock import Deadline
from daemonry.errors import AlreadyRunning, DaemonryError, StartFailed
from daemonry.home import starting
from daemonry.home.home import Home
from daemonry.limits import HOME_UP_TIMEOUT_S
from daemonry.process.lock import wait_released
from daemonry.terminal_text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def up(home: Home, asked: HomeWords) -> int:
    """Start the home, or be its supervisor; return the exit code."""
    if asked.foreground:
        from daemonry.cli.homes.foreground import be_supervisor

        return be_supervisor(home, asked.services)
    deadline = Deadline(asked.timeout or HOME_UP_TIMEOUT_S)
    try:
        _await_end(home, deadline)
        if home.is_up():
            found = home.record()
            raise AlreadyRunning(home.name, found.pid if found else None, str(home.endpoint))
        if asked.services:
            _check_file(home, asked.services)  # told here, before anything starts
        ready = _start(home, asked.services, deadline)
    except AlreadyRunning:
        from daemonry.cli.homes.watch import complain_of_changes, see_up

        code = see_up(home, asked, "already up", deadline)
        complain_of_changes(home)
        return code
    except StartFailed as error:
        if error.stage == "config":
            _check_file(home, asked.services)  # raises the error that the supervisor has found
        code = kit.fail(error, asked.json)
        for line in error.log_tail.splitlines():
            output.complain("    " + printable(line))
        return code
    from daemonry.cli.homes.watch import see_up

    code = see_up(home, asked, "up", deadline)
    if ready.get("http"):
        from daemonry.cli.ui import complain_of_http

        complain_of_http(home.name, home.endpoint)
    return code


def _await_end(home: Home, deadline: Deadline) -> None:
    """Wait for a supervisor that is going down: "already up" would be true and useless."""
    found = home.record()
    if found is not None and found.draining and home.is_up():
        wait_released(home.lock_path, deadline)


def _check_file(home: Home, names: list[str]) -> None:
    """Read home.toml as the supervisor does; raise its error, or that of a name."""
    from daemonry.cli.homes.names import check_names
    from daemonry.home.home_toml.home_file import load

    check_names(load(home.directory), names)


def _load_what_follows() -> None:
    """Load what watches the start, while the supervisor loads its own."""
    import daemonry.cli.homes.watch
    import daemonry.service.client.blocking  # noqa: F401


def _start(home: Home, names: list[str], deadline: Deadline) -> dict[str, Any]:
    try:
        return starting.start(home, names, deadline, _load_what_follows)
    except OSError as error:
        if isinstance(error, (DaemonryError, PermissionError)):
            raise
        raise StartFailed(home.name, "spawn", kit.reason(error)) from error

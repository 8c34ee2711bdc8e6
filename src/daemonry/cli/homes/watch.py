"""What `daemonry up` shows of the services that start, and how it ends.

Owns its output: an event a line, the end of a failed service's log, and the home as it is then.
"""

from __future__ import annotations

from daemonry.cli import exit_codes, output
from daemonry.cli.homes.events import (
    UP,
    chosen_of,
    connected,
    event_printer,
    listen,
    say_services,
    services_of,
)
from daemonry.cli.homes.home_words import HomeWords
from daemonry.clock import Deadline
from daemonry.errors import (
    ConnectionLost,
    ConnectionRefused,
    DaemonryError,
    DeadlineExceeded,
    NotListening,
    NotReadyInTime,
    NotRunning,
    StartFailed,
)
from daemonry.home.home import Home
from daemonry.home.names import RESERVED
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.service.client.text import request
from daemonry.terminal_text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# What of a failed service's output is shown, in lines.
_FAILED_TAIL_LINES: Final = 5


def complain_of_changes(home: Home) -> None:
    """Say that a home which is up runs by an older home.toml: `up` applies none."""
    try:
        fields = request(home.endpoint, "STATUS").fields or {}
    except (DaemonryError, OSError):
        return
    if fields.get("config_changed") is True:
        import shlex

        how = f"daemonry reload --home {shlex.quote(home.directory)}"
        output.complain(
            printable(f"{home.name}: home.toml has changed since it was read; to apply it: {how}")
        )


def see_up(home: Home, asked: HomeWords, result: str, deadline: Deadline) -> int:
    """Show the services that start until they are ready, and return the exit code.

    Raises:
        NotReadyInTime: they are not, at the deadline.
        StartFailed: the supervisor has ended meanwhile.
    """
    try:
        return _watch_start(home, asked, result, deadline)
    except DeadlineExceeded:
        pid = _supervisor_pid(home)
        raise NotReadyInTime(home.name, "services", deadline.timeout_s or 0.0, pid) from None
    except (ConnectionLost, ConnectionRefused, NotListening, NotRunning):
        raise _gone(home) from None


def _gone(home: Home) -> StartFailed:
    reason = f"the supervisor has ended meanwhile; {home.path(RESERVED, 'log')} tells why"
    return StartFailed(home.name, "services", reason)


def _supervisor_pid(home: Home) -> int | None:
    found = home.record()
    return found.pid if found is not None else None


def _watch_start(home: Home, asked: HomeWords, result: str, deadline: Deadline) -> int:
    quiet = asked.json or result != "up"  # what happened before we came is not news
    names = asked.services
    with connected(home, deadline) as client:
        before = services_of(client)
        chosen = chosen_of(before, names)
        say = event_printer([one["name"] for one in before], quiet=quiet)
        if result == "up":
            listen(client, say, "Settle", None, deadline, chosen)
        else:
            listen(client, say, "StartSeveral", names, deadline, chosen)
            listen(client, say, "Settle", None, deadline, chosen)
    with home.connect(REQUEST_TIMEOUT_S) as client:
        services = [one for one in services_of(client) if one["name"] in chosen]
    record = home.record()
    if record is None or record.draining:
        raise _gone(home)
    failed = [one for one in services if one["state"] not in UP]
    if asked.json and (failed or result == "up"):
        output.say_json({"ok": not failed, "name": home.name, "pid": record.pid, "services": services})
    for one in failed:
        if one["state"] != "waiting":  # its log is of another time
            _show_tail(home, one["name"], quiet=quiet)
    if failed:
        names_failed = ", ".join(f"{one['name']} ({one['state']})" for one in failed)
        where = f"see daemonry logs --home {home.directory}"
        output.complain(printable(f"{home.name}: {result}, but not all of it: {names_failed}; {where}"))
        return exit_codes.FAILED
    if asked.json and result == "up":
        return exit_codes.DONE
    if names and not asked.json:
        return say_services(services)
    return _say_up(home, asked, result, record.pid)


def _say_up(home: Home, asked: HomeWords, result: str, pid: int | None) -> int:
    if asked.json:
        output.say_json({"ok": True, "name": home.name, "result": result, "pid": pid})
    else:
        output.say(printable(f"{home.name}: {result}" + (f" (pid {pid})" if pid is not None else "")))
    return exit_codes.DONE


def _show_tail(home: Home, name: str, *, quiet: bool) -> None:
    if quiet:
        return
    from collections import deque

    from daemonry.process import log_reader

    found: deque[str] = deque()
    for line in log_reader.backwards(home.path(name, "log")):
        fields = log_reader.parsed(line, name)
        message = str(fields.get("message", ""))
        if fields.get("logger") == name:
            found.appendleft(message)
        elif message.startswith("started "):
            break  # of its last run only
        if len(found) == _FAILED_TAIL_LINES:
            break
    for line in found:
        output.complain(f"    {name}: {printable(line)}")

"""`daemonry down`, `restart` and `reload` of a home, and of services of it.

Owns their output, and when each has happened: a home is down when its supervisor's lock is free.
"""

from __future__ import annotations

from daemonry.cli import exit_codes, output
from daemonry.cli.homes.events import (
    INTERFACE,
    UP,
    connected,
    event_printer,
    listen,
    meant_by,
    say_result,
    say_services,
    services_of,
)
from daemonry.cli.homes.home_words import HomeWords
from daemonry.clock import Deadline
from daemonry.errors import ConnectionLost, DaemonryError, DeadlineExceeded, NotRunning, StopFailed
from daemonry.home import starting
from daemonry.home.home import Home
from daemonry.limits import HOME_DOWN_TIMEOUT_S, HOME_UP_TIMEOUT_S, REQUEST_TIMEOUT_S
from daemonry.process.lock import wait_released
from daemonry.terminal_text import printable


def down(home: Home, asked: HomeWords) -> int:
    """Stop the home, or services of it; return the exit code."""
    deadline = Deadline(asked.timeout or HOME_DOWN_TIMEOUT_S)
    if not starting.wait_until_none_starts(home, deadline):
        raise DeadlineExceeded("start", deadline.timeout_s or 0.0, "no", home.name)
    try:
        if asked.services:
            return _stop_some(home, asked, deadline)
        _stop_all(home, asked, deadline)
    except NotRunning:
        return say_result(home, asked, "not up")
    if not wait_released(home.lock_path, deadline):
        raise StopFailed(home.name, deadline.timeout_s or 0.0, _still_there(home))
    return say_result(home, asked, "down")


def _stop_some(home: Home, asked: HomeWords, deadline: Deadline) -> int:
    names = asked.services
    with connected(home, deadline) as client:
        services = services_of(client)
        say = event_printer([one["name"] for one in services], quiet=asked.json)
        listen(client, say, "StopSeveral", names, deadline)
    with home.connect(REQUEST_TIMEOUT_S) as client:
        services = services_of(client)
    stopped = meant_by(names, services)
    gone = {one["name"] for one in stopped if one["state"] == "stopped"}
    left = [one for one in services if one["pid"] is not None and {*one["needs"]} & gone]
    if asked.json:
        told = {"ok": True, "name": home.name, "result": "stopped", "services": stopped}
        output.say_json({**told, "needed_by": [one["name"] for one in left]})
    for one in left:
        lost = ", ".join(name for name in one["needs"] if name in gone)
        output.complain(f"{one['name']} needs {lost}, and goes on without")
    return exit_codes.DONE


def _stop_all(home: Home, asked: HomeWords, deadline: Deadline) -> None:
    with connected(home, deadline) as client:
        say = event_printer([one["name"] for one in services_of(client)], quiet=asked.json)
        try:
            for reply in client.stream(f"{INTERFACE}.Down", idle_s=deadline.remaining_s()):
                say(reply)
        except (ConnectionLost, DeadlineExceeded):
            pass  # the lock tells whether it has ended


def _still_there(home: Home) -> str:
    try:
        with home.connect(1.0) as client:
            return ", ".join(one["name"] for one in services_of(client) if one["pid"] is not None)
    except (DaemonryError, OSError):
        return ""


def restart(home: Home, asked: HomeWords) -> int:
    """Restart services; return the exit code."""
    deadline = Deadline(asked.timeout or HOME_UP_TIMEOUT_S)
    names = asked.services
    with home.connect(REQUEST_TIMEOUT_S) as client:
        listen(client, lambda event: None, "RestartSeveral", names, deadline)
    with home.connect(REQUEST_TIMEOUT_S) as client:
        services = meant_by(names, services_of(client))
    failed = [one for one in services if one["state"] not in UP]
    if asked.json:
        result = {"ok": not failed, "name": ",".join(names), "result": "restarted"}
        output.say_json({**result, **(services[0] if len(services) == 1 else {"services": services})})
    else:
        say_services([one for one in services if one not in failed])
    for one in failed:
        output.complain(printable(f"{one['name']}: {one['note'] or one['state']}"))
    return exit_codes.FAILED if failed else exit_codes.DONE


def reload(home: Home, asked: HomeWords) -> int:
    """Have the home read its home.toml again; return the exit code."""
    with home.connect(REQUEST_TIMEOUT_S) as client:
        limit_s = asked.timeout or HOME_DOWN_TIMEOUT_S
        reply = client.call(f"{INTERFACE}.Reload", timeout_s=limit_s)
    return say_result(home, asked, "reloaded", reply["result"])

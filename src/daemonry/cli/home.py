"""The commands of a home: up, down, ps, logs, restart, reload, each with `--home DIR`.

Owns their output: columns and colours on a terminal, one plain line per fact
elsewhere, and JSON.  What a home is, and does, is `daemonry.home`'s.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

from daemonry.cli import exit_codes, kit, output, terminal
from daemonry.cli.commands import SETUP_NAMES, home_command
from daemonry.cli.parser import parser_of_command
from daemonry.clock import Deadline
from daemonry.errors import (
    AlreadyRunning,
    ArgumentInvalid,
    CallFailed,
    ConnectionLost,
    ConnectionRefused,
    DaemonryError,
    DeadlineExceeded,
    NotListening,
    NotReadyInTime,
    NotRunning,
    StartFailed,
    StopFailed,
)
from daemonry.home import starting
from daemonry.home.home import Home
from daemonry.home.names import RESERVED
from daemonry.limits import (
    HOME_DOWN_TIMEOUT_S,
    HOME_UP_TIMEOUT_S,
    REQUEST_TIMEOUT_S,
)
from daemonry.process import crash_file, log_reader
from daemonry.process.lock import wait_released
from daemonry.process.spawn import take_boot
from daemonry.service.client.text import request
from daemonry.spelling import did_you_mean
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    from daemonry.home.service import HomeFile
    from daemonry.service.client.blocking import Client

# Where a service is up as far as it is meant to be.
_UP: Final = ("ready", "done", "idle")
_COLUMNS: Final = ("service", "state", "pid", "since", "restarts", "last exit", "note")
_STATE: Final = _COLUMNS.index("state")
_NAME_STYLES: Final = ("cyan", "magenta", "blue", "yellow", "green")
_INTERFACE: Final = "org.daemonry.Home"
# What of a failed service's output is shown, in lines.
_FAILED_TAIL_LINES: Final = 5
# How often a supervisor that another `up` has just started is looked for.
_LOOK_S: Final = 0.02


def home(arguments: list[str]) -> int:
    """Do what a command of a home is asked for and return its exit code."""
    parser = parser_of_command("daemonry", home_command(arguments[0]))
    options = parser.parse_args(arguments[1:])
    if arguments[0] in SETUP_NAMES:
        from daemonry.cli import home_setup

        return home_setup.perform(arguments[0], options)
    perform = {
        "up": _up,
        "down": _down,
        "ps": _ps,
        "logs": _logs,
        "restart": _restart,
        "reload": _reload,
        "ui": _ui,
    }
    try:
        if getattr(options, "all", False):
            return _logs_of_all(options)
        return perform[arguments[0]](Home.find(options.home), options)
    except BrokenPipeError:
        raise  # nobody reads our output any more: no error of the command's
    except CallFailed as error:
        return _fail_call(error, options)
    except (DaemonryError, OSError) as error:
        return kit.fail(error, getattr(options, "json", False))


def _fail_call(error: CallFailed, options: argparse.Namespace) -> int:
    told = error.parameters
    name = error.error.rpartition(".")[2]
    if name == "NoSuchService":
        message = _no_service(told["name"], told["known"])
        code = exit_codes.USAGE
    elif name == "GoingDown":
        message = "the home is going down"
        code = exit_codes.FAILED
    elif name in ("NotUp", "HomeFileInvalid"):
        message = f"{told['name']}: {told['reason']}" if "name" in told else told["reason"]
        code = exit_codes.FAILED
    else:
        return kit.fail(error, options.json)
    if options.json:
        output.say_json({"ok": False, "error": message, "kind": name, "exit_code": code})
    output.complain(printable(message))
    return code


def _no_service(name: str, known: list[str]) -> str:
    return f"there is no service {name!r}: {did_you_mean(name, known, 'there are')}"


def _check_names(file: HomeFile, names: list[str]) -> None:
    for name in names:
        if name not in file.services and name not in file.groups:
            raise ArgumentInvalid("SERVICE", _no_service(name, [*file.services, *file.groups]))


# --- up -----------------------------------------------------------------------------------------


def _up(home: Home, options: argparse.Namespace) -> int:
    if options.foreground:
        return _be_supervisor(home, options.services)
    deadline = Deadline(options.timeout or HOME_UP_TIMEOUT_S)
    try:
        _await_end(home, deadline)
        if home.is_up():
            found = home.record()
            raise AlreadyRunning(home.name, found.pid if found else None, str(home.endpoint))
        if options.services:
            _check_file(home, options.services)  # told here, before anything starts
        ready = _start(home, options.services, deadline)
    except AlreadyRunning:
        code = _see_up(home, options, "already up", deadline)
        _complain_of_changes(home)
        return code
    except StartFailed as error:
        if error.stage == "config":
            if not home.is_up():
                crash_file.remove_empty(home.path(RESERVED, "crash"))
            _check_file(home, options.services)  # raises the error that the supervisor has found
        code = kit.fail(error, options.json)
        for line in error.log_tail.splitlines():
            output.complain("    " + printable(line))
        return code
    code = _see_up(home, options, "up", deadline)
    if ready.get("http"):
        from daemonry.cli.ui import complain_of_http

        complain_of_http(home.name, home.endpoint)
    return code


def _complain_of_changes(home: Home) -> None:
    """Say that a home which is up runs by an older home.toml: `up` applies none."""
    try:
        fields = request(home.endpoint, "STATUS").fields or {}
    except (DaemonryError, OSError):
        return
    if fields.get("config_changed") is True:
        how = f"daemonry reload --home {shlex.quote(home.directory)}"
        output.complain(
            printable(f"{home.name}: home.toml has changed since it was read; to apply it: {how}")
        )


def _see_up(home: Home, options: argparse.Namespace, result: str, deadline: Deadline) -> int:
    try:
        return _watch_start(home, options, result, deadline)
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


def _await_end(home: Home, deadline: Deadline) -> None:
    """Wait for a supervisor that is going down: "already up" would be true and useless."""
    found = home.record()
    if found is not None and found.draining and home.is_up():
        wait_released(home.lock_path, deadline)


def _check_file(home: Home, names: list[str]) -> None:
    """Read home.toml as the supervisor does; raise its error, or that of a name."""
    from daemonry.home.home_toml.home_file import load

    _check_names(load(home.directory), names)


def _start(home: Home, names: list[str], deadline: Deadline) -> dict[str, Any]:
    try:
        return starting.start(home, names, deadline)
    except OSError as error:
        if isinstance(error, DaemonryError):
            raise
        raise StartFailed(home.name, "spawn", kit.reason(error)) from error


def _watch_start(home: Home, options: argparse.Namespace, result: str, deadline: Deadline) -> int:
    quiet = options.json or result != "up"  # what happened before we came is not news
    names = options.services
    with _connected(home, deadline) as client:
        before = _services(client)
        chosen = _chosen(before, names)
        say = _event_printer([one["name"] for one in before], quiet=quiet)
        if result == "up":
            _listen(client, say, "Settle", None, deadline, chosen)
        else:
            _listen(client, say, "StartSeveral", names, deadline, chosen)
            _listen(client, say, "Settle", None, deadline, chosen)
    with home.connect(REQUEST_TIMEOUT_S) as client:
        services = [one for one in _services(client) if one["name"] in chosen]
    record = home.record()
    if record is None or record.draining:
        raise _gone(home)
    failed = [one for one in services if one["state"] not in _UP]
    if options.json and (failed or result == "up"):
        output.say_json({"ok": not failed, "name": home.name, "pid": record.pid, "services": services})
    for one in failed:
        if one["state"] != "waiting":  # its log is of another time
            _show_tail(home, one["name"], quiet=quiet)
    if failed:
        names_failed = ", ".join(f"{one['name']} ({one['state']})" for one in failed)
        where = f"see daemonry logs --home {home.directory}"
        output.complain(f"{home.name}: {result}, but not all of it: {names_failed}; {where}")
        return exit_codes.FAILED
    if options.json and result == "up":
        return exit_codes.DONE
    if names and not options.json:
        return _say_services(services)
    return _say_up(home, options, result, record.pid)


def _listen(
    client: Client,
    say: Callable[[dict[str, Any]], None],
    method: str,
    names: list[str] | None,
    deadline: Deadline,
    chosen: Collection[str] = (),
) -> None:
    """Show what happens during a call that tells it; of the `chosen` only, where there are some."""
    parameters = None if names is None else {"names": names}
    left_s = deadline.remaining_s()
    for reply in client.stream(f"{_INTERFACE}.{method}", parameters, idle_s=left_s, first_s=left_s):
        if not chosen or reply["service"] in chosen:
            say(reply)
        if deadline.expired:
            break


def _chosen(services: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Return the services that are meant by names and groups, with what they need; all for no name."""
    known = {one["name"]: one for one in services}
    left = [one["name"] for one in services if one["name"] in names or {*one["groups"]} & {*names}]
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found and name in known:
            found.add(name)
            left += known[name]["needs"]
    return [name for name in known if name in found or not names]


def _say_services(services: list[dict[str, Any]]) -> int:
    for one in services:
        pid = f" (pid {one['pid']})" if one["pid"] is not None else ""
        output.say(f"{one['name']}: {output.state(one['state'])}{pid}")
    return exit_codes.DONE


def _connected(home: Home, deadline: Deadline) -> Client:
    """Return a client of a supervisor that may still be on its way to its socket."""
    while True:
        try:
            return home.connect(REQUEST_TIMEOUT_S)
        except (ConnectionRefused, NotListening):
            if deadline.expired:
                raise DeadlineExceeded("start", deadline.timeout_s or 0.0, "no", home.name) from None
            time.sleep(_LOOK_S)


def _say_up(home: Home, options: argparse.Namespace, result: str, pid: int | None) -> int:
    if options.json:
        output.say_json({"ok": True, "name": home.name, "result": result, "pid": pid})
    else:
        output.say(f"{home.name}: {result}" + (f" (pid {pid})" if pid is not None else ""))
    return exit_codes.DONE


def _services(client: Client) -> list[dict[str, Any]]:
    reply = client.call(f"{_INTERFACE}.Services", timeout_s=REQUEST_TIMEOUT_S)
    found: list[dict[str, Any]] = reply["result"]
    return found


def _event_printer(names: Iterable[str], *, quiet: bool) -> Callable[[dict[str, Any]], None]:
    width = max((len(name) for name in names), default=0)

    def say(event: dict[str, Any]) -> None:
        if not quiet:
            name = printable(event["service"]).ljust(width)
            output.say(f"{name}  {_event_text(event['state'], event['message'])}")
            sys.stdout.flush()

    return say


def _event_text(state: str, message: str) -> str:
    text = printable(message)
    first, blank, rest = text.partition(" ")
    if first.rstrip(":") == state:
        return output.state(first) + blank + rest
    return f"{output.state(state)}: {text}"


def _show_tail(home: Home, name: str, *, quiet: bool) -> None:
    if quiet:
        return
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


# --- being the supervisor -----------------------------------------------------------------------


def _be_supervisor(home: Home, names: list[str]) -> int:
    from daemonry.cli.boot import supervised
    from daemonry.home.home_toml.home_file import load
    from daemonry.home.supervisor import Supervisor

    boot = take_boot()
    reporter = starting.StartReporter(home, boot)
    if boot:
        supervisor = Supervisor(home, report=reporter, only=names, owns_session=True)
    else:
        file = load(home.directory)
        _check_names(file, names)
        console = _Console(list(file.services))
        supervisor = Supervisor(
            home, watch=console.event, line=console.line, stays=False, report=reporter, only=names
        )
    return supervised(supervisor, reporter)


class _Console:
    """Prints what services write, and what happens to them, for one who stays and watches."""

    def __init__(self, names: list[str]) -> None:
        self._width = max(len(name) for name in names)
        self._styles = {name: _NAME_STYLES[at % len(_NAME_STYLES)] for at, name in enumerate(names)}

    def line(self, name: str, line: str) -> None:
        style = self._styles.setdefault(name, _NAME_STYLES[len(self._styles) % len(_NAME_STYLES)])
        self._say(output.styled(f"{name.ljust(self._width)} |", style) + f" {printable(line)}")

    def event(self, event: Any) -> None:
        name = output.styled(f"{event.service.ljust(self._width)} *", "dim")
        self._say(f"{name} {_event_text(event.state, event.message)}")

    def _say(self, line: str) -> None:
        try:
            output.say(line)
            sys.stdout.flush()
        except OSError:
            output.reader_gone()  # nobody watches any more; the services go on


# --- down, restart, reload ----------------------------------------------------------------------


def _down(home: Home, options: argparse.Namespace) -> int:
    deadline = Deadline(options.timeout or HOME_DOWN_TIMEOUT_S)
    if not starting.wait_until_none_starts(home, deadline):
        raise DeadlineExceeded("start", deadline.timeout_s or 0.0, "no", home.name)
    try:
        if options.services:
            return _stop_some(home, options, deadline)
        _stop_all(home, options, deadline)
    except NotRunning:
        return _say_result(home, options, "not up")
    if not wait_released(home.lock_path, deadline):
        raise StopFailed(home.name, deadline.timeout_s or 0.0, _still_there(home))
    return _say_result(home, options, "down")


def _stop_some(home: Home, options: argparse.Namespace, deadline: Deadline) -> int:
    names = options.services
    with _connected(home, deadline) as client:
        services = _services(client)
        say = _event_printer([one["name"] for one in services], quiet=options.json)
        _listen(client, say, "StopSeveral", names, deadline)
    with home.connect(REQUEST_TIMEOUT_S) as client:
        services = _services(client)
    stopped = [one for one in services if one["name"] in names or {*one["groups"]} & {*names}]
    gone = {one["name"] for one in stopped if one["state"] == "stopped"}
    left = [one for one in services if one["pid"] is not None and {*one["needs"]} & gone]
    if options.json:
        told = {"ok": True, "name": home.name, "result": "stopped", "services": stopped}
        output.say_json({**told, "needed_by": [one["name"] for one in left]})
    for one in left:
        lost = ", ".join(name for name in one["needs"] if name in gone)
        output.complain(f"{one['name']} needs {lost}, and goes on without")
    return exit_codes.DONE


def _stop_all(home: Home, options: argparse.Namespace, deadline: Deadline) -> None:
    with _connected(home, deadline) as client:
        say = _event_printer([one["name"] for one in _services(client)], quiet=options.json)
        try:
            for reply in client.stream(f"{_INTERFACE}.Down", idle_s=deadline.remaining_s()):
                say(reply)
        except (ConnectionLost, DeadlineExceeded):
            pass  # the lock tells whether it has ended


def _still_there(home: Home) -> str:
    try:
        with home.connect(1.0) as client:
            return ", ".join(one["name"] for one in _services(client) if one["pid"] is not None)
    except (DaemonryError, OSError):
        return ""


def _restart(home: Home, options: argparse.Namespace) -> int:
    deadline = Deadline(options.timeout or HOME_UP_TIMEOUT_S)
    names = options.services
    with home.connect(REQUEST_TIMEOUT_S) as client:
        _listen(client, lambda event: None, "RestartSeveral", names, deadline)
    with home.connect(REQUEST_TIMEOUT_S) as client:
        services = [one for one in _services(client) if one["name"] in names or {*one["groups"]} & {*names}]
    failed = [one for one in services if one["state"] not in _UP]
    if options.json:
        result = {"ok": not failed, "name": ",".join(names), "result": "restarted"}
        output.say_json({**result, **(services[0] if len(services) == 1 else {"services": services})})
    else:
        _say_services([one for one in services if one not in failed])
    for one in failed:
        output.complain(printable(f"{one['name']}: {one['note'] or one['state']}"))
    return exit_codes.FAILED if failed else exit_codes.DONE


def _reload(home: Home, options: argparse.Namespace) -> int:
    with home.connect(REQUEST_TIMEOUT_S) as client:
        limit_s = options.timeout or HOME_DOWN_TIMEOUT_S
        reply = client.call(f"{_INTERFACE}.Reload", timeout_s=limit_s)
    return _say_result(home, options, "reloaded", reply["result"])


def _ui(home: Home, options: argparse.Namespace) -> int:
    from daemonry.cli.ui import ui
    from daemonry.daemon.instance import Instance

    if not home.is_up():
        raise NotRunning(home.name)
    limit_s = options.timeout or REQUEST_TIMEOUT_S
    how = "`http = true` at the top of its home.toml, then `daemonry down` and `daemonry up`"
    instance = Instance(None, home.endpoint)
    return ui(instance, opens=options.open, as_json=options.json, timeout_s=limit_s, how=how)


def _say_result(home: Home, options: argparse.Namespace, result: str, note: str = "") -> int:
    if options.json:
        fields: dict[str, Any] = {"ok": True, "name": home.name, "result": result}
        output.say_json({**fields, "note": note} if note else fields)
    else:
        output.say(f"{home.name}: {result}" + (f" ({printable(note)})" if note else ""))
    return exit_codes.DONE


# --- ps -----------------------------------------------------------------------------------------


def _ps(home: Home, options: argparse.Namespace) -> int:
    try:
        with home.connect(REQUEST_TIMEOUT_S) as client:
            services = _services(client)
    except NotRunning:
        if options.json:
            output.say_json([])
        else:
            output.say(f"{home.name}: not up")
        return exit_codes.NOT_RUNNING
    if options.json:
        output.say_json(services)
        return exit_codes.DONE
    table = [[name.upper() for name in _COLUMNS], *(_cells(one) for one in services)]
    for line in terminal.aligned(table, dressed=_with_colour):
        output.say(line)
    return exit_codes.DONE


def _with_colour(row: int, column: int, cell: str) -> str:
    return output.state(cell) if row and column == _STATE else cell


def _cells(one: dict[str, Any]) -> list[str]:
    since = output.span(max(0.0, time.time() - one["since"]))
    note = one["note"] or (f"ready by {one['readiness']}" if one["state"] == "ready" else None)
    cells = (one["name"], one["state"], one["pid"], since, one["restarts"], one["last_exit"], note)
    return [output.value(cell) for cell in cells]


# --- logs ---------------------------------------------------------------------------------------


def _logs(home: Home, options: argparse.Namespace) -> int:
    from daemonry.cli import home_logs

    names = _names_with_logs(home, options.services)
    return home_logs.show([home_logs.Source(name, home.path(name, "log"), name) for name in names], options)


def _logs_of_all(options: argparse.Namespace) -> int:
    from daemonry.cli import home_logs

    found = home_logs.sources_of_all()
    if options.services:
        found = [one for one in found if {one.label, one.label.partition("/")[0]} & {*options.services}]
    if not found:
        output.complain("no logs yet" if not options.services else "no logs of these names")
        return exit_codes.DONE
    return home_logs.show(found, options)


def _names_with_logs(home: Home, words: list[str]) -> list[str]:
    from daemonry.home.home_toml.home_file import load

    try:
        file = load(home.directory)
    except DaemonryError:  # the log can be read whatever the file says now
        if not words:
            raise
        known: dict[str, list[str]] = {}
    else:
        known = {**{name: [name] for name in file.services}, **file.groups}
        if not words:
            return list(file.services)
    found: dict[str, None] = {}
    for word in words:
        is_old = "/" not in word and os.path.exists(home.path(word, "log"))
        if word not in known and not is_old:
            raise ArgumentInvalid("SERVICE", _no_service(word, list(known)))
        found |= dict.fromkeys(known.get(word, [word]))
    return list(found)

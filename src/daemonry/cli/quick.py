"""The quick commands: status, ping, pause, resume, reload, stop.

Owns what they print and how they end.  One connection, one line, and out: no asyncio, no
logging, no third-party module, no argparse.  Anything beyond the plain form of a command
(`--help`, an option that is not known) is `full`'s.
"""

from __future__ import annotations

import os

import daemonry
from daemonry.cli import output
from daemonry.limits import REQUEST_TIMEOUT_S, STOP_TIMEOUT_S
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from daemonry.daemon.instance import Instance

_NOT_RUNNING = 3  # as in `exit_codes`, which is imported when there is an error

VERBS = ("status", "ping", "pause", "resume", "reload", "stop")

_DONE = {"pause": "paused", "resume": "running", "reload": "reloaded"}
_ALREADY = {text.ALREADY_PAUSED: "already paused", text.NOT_PAUSED: "not paused"}


class Options:
    """What was asked for besides the command and its daemon.

    Attributes:
        force: kill what does not stop in time.
        json: print JSON.
        timeout_s: how long it may take, in seconds; None for the command's own default.
    """

    __slots__ = ("force", "json", "timeout_s")

    def __init__(self, *, json: bool = False, force: bool = False, timeout_s: float | None = None) -> None:
        self.json = json
        self.force = force
        self.timeout_s = timeout_s


def parse(arguments: list[str]) -> tuple[list[str], Options] | None:
    """Return the plain words and the options, or None where a fuller parser has to look."""
    words: list[str] = []
    options = Options()
    rest = iter(arguments)
    for argument in rest:
        if argument == "--json":
            options.json = True
        elif argument == "--timeout":
            limit_s = seconds(next(rest, ""))
            if limit_s is None:
                return None
            options.timeout_s = limit_s
        elif argument.startswith("-"):
            return None
        else:
            words.append(argument)
    return words, options


def seconds(digits: str) -> float | None:
    """Return the number of seconds that an option says, or None where it says none above 0."""
    try:
        number = float(digits)
    except ValueError:
        return None
    return number if 0 < number < 1e9 else None


def perform(verb: str, instance: Instance, options: Options) -> int:
    """Do one quick command and return its exit code."""
    try:
        code = _status(instance, options) if verb == "status" else _command(verb, instance, options)
    except daemonry.errors.NotRunning as error:
        tell_crash(instance, gone=True)
        return _not_running(verb, instance, options, error)
    except daemonry.errors.DaemonryError as error:
        return fail(error, options.json)
    tell_crash(instance, gone=verb == "stop")
    return code


def _status(instance: Instance, options: Options) -> int:
    fields = instance.status(options.timeout_s or REQUEST_TIMEOUT_S)
    if instance.place is not None:
        from daemonry.process.environment import drift

        differs = drift(instance.place.environment_path)
        if differs:
            fields = {**fields, "environment_differs": differs}
    if options.json:
        output.say_json(fields)
    else:
        _say_status(instance, fields)
    return 0


def _say_status(instance: Instance, fields: Mapping[str, Any]) -> None:
    output.say(f"{instance.name}: {output.state(str(fields.get('state', 'serving')))}")
    for name, value in fields.items():
        if name == "state":
            continue
        if name == "uptime_secs" and isinstance(value, (int, float)):
            output.say(f"  uptime: {output.span(value)}")
        else:
            output.say(f"  {output.value(name)}: {output.value(value)}")


def _command(verb: str, instance: Instance, options: Options) -> int:
    if verb == "stop":
        return _stop(instance, options)
    if verb == "ping":
        instance.command(text.PING, options.timeout_s or REQUEST_TIMEOUT_S)
        return _done(instance, options, "answers")
    try:
        reply = instance.command(verb.upper(), options.timeout_s or REQUEST_TIMEOUT_S)
    except daemonry.errors.CommandFailed as error:
        already = _ALREADY.get(error.message)
        if already is None:
            raise
        return _done(instance, options, already)
    return _done(instance, options, _DONE[verb], reply.message)


def _stop(instance: Instance, options: Options) -> int:
    from daemonry.daemon.stop import stop

    told = ""

    def progress(held_up_by: str) -> None:
        nonlocal told
        if held_up_by != told:
            told = held_up_by
            output.complain(f"{instance.name}: stopping, held up by {text.printable(held_up_by)}")

    stop(instance, timeout_s=options.timeout_s or STOP_TIMEOUT_S, force=options.force, progress=progress)
    return _done(instance, options, "stopped")


def _done(instance: Instance, options: Options, what: str, note: str = "") -> int:
    if options.json:
        fields: dict[str, Any] = {"ok": True, "name": instance.name, "result": what}
        output.say_json({**fields, "note": note} if note else fields)
    else:
        output.say(f"{instance.name}: {what}")
        if note:
            output.say(f"  {output.value(note)}")
    return 0


def _not_running(verb: str, instance: Instance, options: Options, error: daemonry.errors.NotRunning) -> int:
    if verb == "stop":  # already so
        return _done(instance, options, "not running")
    if verb != "status":
        return fail(error, options.json)
    if options.json:
        output.say_json({"state": "absent", "name": instance.name})
    else:
        output.say(str(error))
    return _NOT_RUNNING


def tell_crash(instance: Instance, *, gone: bool) -> None:
    """Print what the last crash left to be told, if nobody has told it yet."""
    place = instance.place
    if place is None or not (gone or os.path.exists(place.crash_note_path)):
        return
    from daemonry.daemon import last_crash

    note = (last_crash.note_if_crashed if gone else last_crash.take_note)(place)
    if note is not None:
        output.complain(note)


def fail(error: daemonry.errors.DaemonryError | OSError, as_json: bool = False) -> int:
    """Print an error, one line, and return its exit code."""
    from daemonry.cli.exit_codes import code_of

    code = code_of(error)
    message = text.printable(str(error))
    if as_json:
        output.say_json({"ok": False, "error": message, "kind": type(error).__name__, "exit_code": code})
    output.complain(message)
    return code

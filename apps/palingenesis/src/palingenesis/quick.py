"""The quick commands: one connection, one line, and out.

Owns the words of status, pause and resume, which are the original's; stopping and reloading are said as the
library says them.  On the path of every `palingenesis status`, see `cli`.
"""

from __future__ import annotations

import daemonry
from daemonry import Instance
from daemonry.cli import kit
from palingenesis import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from daemonry.cli.kit import Options

_REQUEST_TIMEOUT_S = 5.0  # the original client's, for each of its steps

# By verb: the request, the message when it is done, the daemon's words for "already so", and ours.
_COMMANDS = {
    "pause": ("PAUSE", "Monitoring paused", kit.ALREADY_PAUSED, "Already paused"),
    "resume": ("RESUME", "Monitoring resumed", kit.NOT_PAUSED, "Already monitoring"),
}
_LABELS = {"current_session": "Current session", "saves_count": "Saves", "total_resumes": "Total resumes"}


def perform(verb: str, options: Options) -> int:
    """Do one of "status", "pause", "resume", "stop" and "reload", and return its exit code.

    Raises:
        DaemonryError: the daemon has no place to be looked for.
    """
    instance = Instance.named(NAME)
    if verb in ("stop", "reload"):
        return kit.perform(verb, instance, options)
    try:
        code = _status(instance, options) if verb == "status" else _command(verb, instance, options)
    except daemonry.errors.NotRunning as error:
        kit.tell_crash(instance, gone=True)
        return _not_running(verb, instance, options, error)
    except daemonry.errors.DaemonryError as error:
        return kit.fail(error, options.json)
    kit.tell_crash(instance, gone=False)
    return code


def _status(instance: Instance, options: Options) -> int:
    fields = instance.status(options.timeout_s or _REQUEST_TIMEOUT_S)
    if options.json:
        kit.say_json({**fields, "pid": instance.pid()})
    else:
        _say_status(fields, instance.pid())
    return kit.DONE


def _say_status(fields: Mapping[str, Any], pid: int | None) -> None:
    kit.say(f"State: {kit.value(fields.get('state'))}")
    kit.say(f"PID: {kit.value(pid)}")
    kit.say(f"Uptime: {kit.span(fields.get('uptime_secs', 0))}")
    for name, value in fields.items():
        if name not in ("state", "uptime_secs"):
            kit.say(f"{_LABELS.get(name, kit.value(name))}: {kit.value(value)}")


def _command(verb: str, instance: Instance, options: Options) -> int:
    word, done, already_reply, already = _COMMANDS[verb]
    result = done
    try:
        instance.command(word, options.timeout_s or _REQUEST_TIMEOUT_S)
    except daemonry.errors.CommandFailed as error:
        if error.message != already_reply:
            raise
        result = already
    if options.json:
        kit.say_json({"ok": True, "name": instance.name, "result": result})
    else:
        kit.say(result)
    return kit.DONE


def _not_running(verb: str, instance: Instance, options: Options, error: daemonry.errors.NotRunning) -> int:
    if verb != "status":
        return kit.fail(error, options.json)
    if options.json:
        kit.say_json({"state": "absent", "name": instance.name})
    else:
        kit.say(str(error))
    return kit.NOT_RUNNING

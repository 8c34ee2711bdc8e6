"""How a command that failed says so: one line that a person can act on, and an exit code.

Owns the words for each error of `interfaces`, and what each means for the question that matters: did
the call run?  Imported when something failed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from daemonry import errors
from daemonry.cli import kit
from mcp_cli.client.options import Options
from mcp_cli.names import INTERFACE, NAME

NOT_SENT = "not_sent"
MAYBE_RAN = "maybe_ran"
DONE = "done"
NOT_RUN = "not_run"
# Errors that a server gives before it does anything: no such method, parameters that do not fit, a page that
# the user has to visit first.
_BEFORE_RUNNING = (-32600, -32601, -32602, -32042)

# What a shell says of what SIGINT ended.
INTERRUPTED = 130

# How many lines of a server's standard error are shown.
STDERR_LINES = 12


class FailureReport:
    """A failure in words.

    Attributes:
        code: the exit code.
        kind: the error's name.
        lines: for people; the first says it all.
        outcome: `NOT_SENT`, `NOT_RUN` (the server refused), `MAYBE_RAN` or `DONE`.
    """

    def __init__(
        self, kind: str, code: int, outcome: str, line: str, further: list[str] | None = None
    ) -> None:
        self.kind = kind
        self.code = code
        self.outcome = outcome
        self.lines = [line, *(further or [])]


def tell(error: BaseException, options: Options, server: str, tool: str = "") -> int:
    """Print why a command failed, as text and, where asked for, as JSON, and return the exit code."""
    said = report_of(error, server, tool)
    sys.stdout.flush()
    options.printer.failure(lambda: _for_programs(said, error))
    for line in said.lines:
        kit.complain(kit.printable(line))
    return said.code


def _for_programs(said: FailureReport, error: BaseException) -> str:
    fields: dict[str, Any] = {"kind": said.kind, "message": said.lines[0], "exit_code": said.code}
    if isinstance(error, errors.CallFailed):
        fields["fields"] = dict(error.parameters)
    return json.dumps({"outcome": said.outcome, "error": fields}, separators=(",", ":"))


def report_of(error: BaseException, server: str, tool: str = "") -> FailureReport:
    """Return what an error means."""
    name = f"{server}/{tool}" if tool else server
    if isinstance(error, KeyboardInterrupt):
        return FailureReport(
            "Interrupted",
            INTERRUPTED,
            MAYBE_RAN,
            f"{name}: interrupted; the call was cancelled, and its outcome is unknown",
        )
    if isinstance(error, errors.CallFailed):
        interface, _, kind = error.error.rpartition(".")
        made = _OURS.get(kind) if interface in (INTERFACE, "") else None
        if made is not None:
            return made(name, error.parameters)
        if isinstance(error, errors.Draining) and error.ran != "no":
            return FailureReport(
                "Draining",
                kit.UNKNOWN_OUTCOME,
                MAYBE_RAN,
                f"{name}: the daemon was stopped in this call; whether the server did it is not known",
            )
        if isinstance(error, errors.Draining):
            return FailureReport(
                "Draining",
                kit.FAILED,
                NOT_SENT,
                f"{name}: the daemon is stopping; nothing was sent: try again",
            )
        if isinstance(error, errors.Failed):
            return FailureReport(
                "Failed",
                kit.UNKNOWN_OUTCOME,
                MAYBE_RAN,
                f"{name}: the daemon failed in this call: {error}",
            )
        return FailureReport(type(error).__name__, kit.FAILED, NOT_SENT, f"{name}: {error}")
    return _of_ipc(error, name)


def _of_ipc(error: BaseException, name: str) -> FailureReport:
    from mcp_cli.client.probe import DaemonSilent

    kind = type(error).__name__
    ran = getattr(error, "ran", "no")
    if isinstance(error, DaemonSilent):
        return FailureReport(kind, kit.UNKNOWN_OUTCOME, MAYBE_RAN, f"{name}: {error}")
    if isinstance(error, errors.ConnectionLost):
        if ran == "no":
            return FailureReport(
                kind,
                kit.FAILED,
                NOT_SENT,
                f"{name}: the daemon went away before the call was sent; nothing ran",
            )
        return FailureReport(
            kind,
            kit.UNKNOWN_OUTCOME,
            MAYBE_RAN,
            f"{name}: the daemon went away in the call, which may have run",
        )
    if isinstance(error, errors.DeadlineExceeded):
        if ran == "maybe":
            return FailureReport(
                kind,
                kit.UNKNOWN_OUTCOME,
                MAYBE_RAN,
                f"{name}: no answer in time, and the call may have run: {error}",
            )
        return FailureReport(kind, kit.NO_ANSWER, NOT_SENT, f"{name}: {error}")
    if isinstance(error, errors.ProtocolError):
        sent = not isinstance(error, errors.LocalProtocolError)
        code = kit.UNKNOWN_OUTCOME if sent else kit.FAILED
        return FailureReport(kind, code, MAYBE_RAN if sent else NOT_SENT, f"{name}: {error}")
    if isinstance(error, errors.NotRunning):
        return FailureReport(
            kind,
            kit.NOT_RUNNING,
            NOT_SENT,
            f"{NAME}: no daemon runs; start it with `{NAME} daemon start`, or leave out --require-daemon",
        )
    code = next((code for kinds, code in _CODES if isinstance(error, kinds)), kit.FAILED)
    return FailureReport(kind, code, NOT_SENT, str(error))


_CODES = (
    ((errors.ArgumentInvalid, errors.EndpointInvalid, errors.TargetInvalid), kit.USAGE),
    ((errors.AccessDenied,), kit.DENIED),
    ((errors.NotListening, errors.ConnectionRefused), kit.NOT_RUNNING),
    ((errors.NotReadyInTime, errors.StopFailed), kit.NO_ANSWER),
)


# --- the pool's errors ------------------------------------------------------------------------

_Fields = Mapping[str, Any]


def _bad_arguments(name: str, fields: _Fields) -> FailureReport:
    parameter, reason = fields.get("parameter", ""), fields.get("reason", "")
    what = f"{parameter} {reason}" if parameter else reason
    server, tool = fields.get("server", ""), fields.get("tool", "")
    return FailureReport(
        "BadArguments",
        kit.USAGE,
        NOT_SENT,
        f"{name}: {what} (see {NAME} tool {server}/{tool}); nothing was sent",
    )


def _no_such_tool(name: str, fields: _Fields) -> FailureReport:
    server, tool, near = fields.get("server", ""), fields.get("tool", ""), fields.get("nearest", "")
    hint = f"did you mean {near!r}?" if near else f"see {NAME} list {server}"
    return FailureReport("NoSuchTool", kit.FAILED, NOT_SENT, f"{server} has no tool {tool!r}: {hint}")


def _filtered(name: str, fields: _Fields) -> FailureReport:
    name = f"{fields.get('server', name)}/{fields.get('tool', '')}"
    return FailureReport(
        "Filtered",
        kit.FAILED,
        NOT_SENT,
        f"{name}: the configuration hides this tool: {fields.get('rule', '')}",
    )


def stderr_lines(fields: _Fields) -> list[str]:
    """Return what a server wrote to standard error last, as lines to show."""
    lines: list[str] = []
    times: list[int] = []
    for line in fields.get("stderr") or ():
        if lines and line == lines[-1]:
            times[-1] += 1
        elif line.strip():
            lines.append(line)
            times.append(1)
    told = [
        f"  | {line}" + (f" ({count} times)" if count > 1 else "")
        for line, count in zip(lines, times, strict=True)
    ]
    return told[-STDERR_LINES:]


_STAGES = {
    "spawn": "could not be started",
    "connect": "could not be reached",
    "initialize": "did not complete its start",
    "list": "could not list its tools",
    "authorize": "could not be authorized",
}


def _server_failed(name: str, fields: _Fields) -> FailureReport:
    server = fields.get("server", name)
    what = _STAGES.get(fields.get("stage", ""), "failed")
    return FailureReport(
        "ServerFailed",
        kit.FAILED,
        NOT_SENT,
        f"{server} {what}: {fields.get('reason', '')}",
        stderr_lines(fields),
    )


def _needs_authorization(name: str, fields: _Fields) -> FailureReport:
    server = fields.get("server", name)
    line = f"{server} asks for authorization: {NAME} auth {server} ({fields.get('reason', '')})"
    return FailureReport("NeedsAuthorization", kit.DENIED, NOT_SENT, line)


def _server_refused(name: str, fields: _Fields) -> FailureReport:
    data = fields.get("data") or ""
    line = f"{name}: the server answered with error {fields.get('code')}: {fields.get('message', '')}"
    outcome = NOT_RUN if fields.get("code") in _BEFORE_RUNNING else DONE
    return FailureReport("ServerRefused", kit.FAILED, outcome, line, [f"  | {data}"] if data else [])


def _timed_out(name: str, fields: _Fields) -> FailureReport:
    return FailureReport(
        "TimedOut",
        kit.UNKNOWN_OUTCOME,
        MAYBE_RAN,
        f"{name}: silent for {fields.get('seconds', 0):g} s and cancelled; its outcome is unknown",
    )


def _maybe_ran(name: str, fields: _Fields) -> FailureReport:
    line = f"{name}: {fields.get('reason', '')}; its outcome is unknown"
    return FailureReport("MaybeRan", kit.UNKNOWN_OUTCOME, MAYBE_RAN, line, stderr_lines(fields))


def _not_configured(name: str, fields: _Fields) -> FailureReport:
    line = f"{fields.get('server', name)}: the daemon lost its definition twice; nothing ran: try again"
    return FailureReport("NotConfigured", kit.FAILED, NOT_SENT, line)


def _no_such_task(_name: str, fields: _Fields) -> FailureReport:
    near = fields.get("nearest")
    hint = f"did you mean {near!r}?" if near else f"see {NAME} task list"
    return FailureReport("NoSuchTask", kit.FAILED, NOT_SENT, f"there is no task {fields.get('id')!r}: {hint}")


def _no_such_question(_name: str, fields: _Fields) -> FailureReport:
    line = f"question {fields.get('id')!r} was answered already, or its call has ended (see {NAME} questions)"
    return FailureReport("NoSuchQuestion", kit.FAILED, NOT_SENT, line)


def _not_finished(_name: str, fields: _Fields) -> FailureReport:
    task_id, seconds = fields.get("id"), fields.get("seconds") or 0
    after = f" after {seconds:g} s" if seconds else ""
    line = f"{task_id}: goes on{after}: {NAME} task wait {task_id}"
    return FailureReport("NotFinished", kit.NO_ANSWER, "running", line)


def _task_ended(_name: str, fields: _Fields) -> FailureReport:
    status = fields.get("status")
    unknown = status in ("unknown", "cancelled")
    code = kit.UNKNOWN_OUTCOME if unknown else kit.FAILED
    reason = fields.get("reason") or status
    if status == "unknown":
        reason = f"{reason}; its outcome is unknown"
    return FailureReport(
        "TaskEnded", code, MAYBE_RAN if unknown else NOT_SENT, f"{fields.get('id')}: {reason}"
    )


def _too_many_tasks(name: str, fields: _Fields) -> FailureReport:
    line = f"{name}: {fields.get('limit')} tasks are under way already; nothing was sent"
    return FailureReport("TooManyTasks", kit.FAILED, NOT_SENT, line)


_OURS = {
    "NoSuchQuestion": _no_such_question,
    "NoSuchTask": _no_such_task,
    "NotFinished": _not_finished,
    "TaskEnded": _task_ended,
    "TooManyTasks": _too_many_tasks,
    "BadArguments": _bad_arguments,
    "Filtered": _filtered,
    "MaybeRan": _maybe_ran,
    "NeedsAuthorization": _needs_authorization,
    "NoSuchTool": _no_such_tool,
    "NotConfigured": _not_configured,
    "ServerFailed": _server_failed,
    "ServerRefused": _server_refused,
    "TimedOut": _timed_out,
}

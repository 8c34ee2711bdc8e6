"""The errors of the daemon's calls: which the caller can mend, and whether the call ran.

Owns their fields.  `interfaces` names them as the errors of its calls.
"""

from __future__ import annotations

from daemonry import CallError


class NotConfigured(CallError):
    """The daemon was not given this definition: `configure` it and call again.  Nothing ran."""

    server: str
    fingerprint: str


class NoSuchTool(CallError):
    """The server has no such tool.  Nothing ran."""

    server: str
    tool: str
    nearest: str


class Filtered(CallError):
    """The server has such a tool, and the configuration hides it.  Nothing ran.

    `rule` says which: `disabled_tools has "write_*"`, or `allowed_tools has no match`.
    """

    server: str
    tool: str
    rule: str


class BadArguments(CallError):
    """The arguments do not fit the tool's schema.  Nothing ran.

    `parameter` is the one that is wrong, missing or unknown, "" for the whole; `nearest` the nearest known.
    """

    server: str
    tool: str
    parameter: str
    reason: str
    nearest: str


class ServerFailed(CallError):
    """The server could not be started, or not be spoken to.  Nothing ran.

    `stage` is `spawn`, `connect`, `initialize`, `list` or `authorize`; `stderr` its last lines there.
    """

    server: str
    stage: str
    reason: str
    stderr: list[str]


class NeedsAuthorization(CallError):
    """The HTTP server wants OAuth, and there is no token that it takes: `authorize`.  Nothing ran."""

    server: str
    reason: str


class ServerRefused(CallError):
    """The server answered with a JSON-RPC error; `data` is JSON text, or ""."""

    server: str
    code: int
    message: str
    data: str


class TimedOut(CallError):
    """The server was silent for too long, and was asked to cancel.  Its effect is unknown."""

    server: str
    tool: str
    seconds: float


class MaybeRan(CallError):
    """The server went away after it was asked, or its answer makes no sense.  Its effect is unknown."""

    server: str
    tool: str
    reason: str
    stderr: list[str]


class NoSuchTask(CallError):
    """The daemon has no task of this id, or has it no more."""

    id: str
    nearest: str


class NotFinished(CallError):
    """The task goes on; its result is there when it has ended."""

    id: str
    seconds: float


class TaskEnded(CallError):
    """The task ended without a result: `status` is cancelled, failed or unknown."""

    id: str
    status: str
    reason: str


class TooManyTasks(CallError):
    """So many tasks run already that no further one is begun.  Nothing ran."""

    limit: int


class NoSuchQuestion(CallError):
    """The question was answered, or its call has ended."""

    id: str

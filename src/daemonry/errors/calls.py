"""Errors that a daemon answers a call with.

Owns one class for each error of the control interface and of Varlink, and whether the call ran.
"""

from __future__ import annotations

from daemonry.errors.root import DaemonryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from daemonry.errors.root import Ran


class CallFailed(DaemonryError):
    """The daemon understood the call and answered with an error.

    Attributes:
        error: the error's fully-qualified name.
        parameters: what the error tells.
        ran: "no" where the call was refused, "yes" where its handler ran, "maybe" where it was stopped.
    """

    # Without an annotation: those of subclasses are the fields that an interface declares.
    ran = "yes"

    def __init__(self, error: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.error = error
        self.parameters: dict[str, Any] = dict(parameters or {})
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        told = ", ".join(f"{name}: {value}" for name, value in self.parameters.items())
        return f"{self.error} ({told})" if told else self.error


class InterfaceNotFound(CallFailed):
    """The daemon has no such interface; `parameters["interface"]` names it."""

    ran = "no"


class MethodNotFound(CallFailed):
    """The interface has no such method; `parameters["method"]` names it."""

    ran = "no"


class MethodNotImplemented(CallFailed):
    """The interface has the method, and the daemon does not."""

    ran = "no"


class InvalidParameter(CallFailed):
    """A parameter is missing, unknown, or of another type; `parameters["parameter"]` names it."""

    ran = "no"


class PermissionDenied(CallFailed):
    """The caller may not do that."""


class ExpectedMore(CallFailed):
    """The method gives several replies, and the caller did not ask for more than one."""

    ran = "no"


class Paused(CallFailed):
    """The daemon is paused and takes no work."""

    ran = "no"

    def _sentence(self) -> str:
        return f"{self.error}: the daemon is paused, and takes no work until it is resumed"


class Draining(CallFailed):
    """The daemon is ending: it took no work, or it ended a stream that it had begun.

    The latter has `parameters["begun"]`, and `ran` is "maybe": its handler was stopped wherever it was.
    """

    ran: Ran = "no"

    def __init__(self, error: str, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(error, parameters)
        if self.parameters.get("begun"):
            self.ran = "maybe"

    def _sentence(self) -> str:
        so = "this was broken off" if self.parameters.get("begun") else "takes no further work"
        return f"{self.error}: the daemon is ending, and {so}"


class Overloaded(CallFailed):
    """The daemon has all the work that it takes; `parameters["limit"]` tells how much that is."""

    ran = "no"

    def _sentence(self) -> str:
        limit = self.parameters.get("limit")
        return f"{self.error}: the daemon has all the work, or connections, that it takes" + (
            "" if limit is None else f" ({limit})"
        )


class Failed(CallFailed):
    """The handler failed in a way that its interface does not know; the daemon's log tells more.

    `parameters["message"]` has the exception's type and, unless the daemon hides it, its text;
    `parameters["log"]` the path of the log, for callers on the same machine and of the same user;
    `parameters["traceback"]` the trace, in development mode, which is a note of the exception too.
    """

    def __init__(self, error: str, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(error, parameters)
        trace = self.parameters.get("traceback")
        if isinstance(trace, str) and trace:
            self.add_note(f"In the daemon:\n{trace.rstrip()}")

    def _sentence(self) -> str:
        return f"{self.error}: {self._what()}{self._log()}"

    def _what(self) -> str:
        method, message = self.parameters.get("method"), self.parameters.get("message")
        return f"{method} raised {message}" if method else str(message)

    def _log(self) -> str:
        path = self.parameters.get("log")
        return f" (see {path})" if path else ""


class BadReply(Failed):
    """The handler returned what its signature does not allow; that was not sent.

    The call was executed, and the fault is the daemon's: `parameters["method"]` names it, and
    `parameters["reason"]` says what was expected.
    """

    def _what(self) -> str:
        method, reason = self.parameters.get("method"), self.parameters.get("reason")
        return f"{method} returned what its signature does not allow: {reason}"
